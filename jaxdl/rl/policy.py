"""From a net's output to an action, for one state."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import objectives
from jaxdl.nets.policy import CategoricalPolicy, GaussianPolicy
from jaxdl.rl.envs import Box, Discrete
from jaxdl.types import Array, Key


class Head(NamedTuple):
    """Say what the output of a policy net means, for one state.

    Attributes:
        noise: (key, N) -> what is random in one action for each of N states.
        sample: (noise, output) -> these actions [N, ...], drawn from π(·∣s).
        mode: output -> the likeliest action.
        log_prob: (action, output) -> log π(a∣s).
        entropy: output -> H(π(·∣s)).
        kl: (output, output′) -> KL(π(·∣s) ‖ π′(·∣s)).
        policy_gradient_loss: (output, action, advantage) -> −log π(a∣s)·A.
    """

    noise: Callable[[Key, int], Array]
    sample: Callable[[Array, Any], Array]
    mode: Callable[[Any], Array]
    log_prob: Callable[[Array, Any], Array]
    entropy: Callable[[Any], Array]
    kl: Callable[[Any, Any], Array]
    policy_gradient_loss: Callable[[Any, Array, Array], Array]


def categorical(num: int) -> Head:
    """Draw actions argmaxₐ lₐ + gₐ, gₐ ~ Gumbel(0, 1), of a softmax; the output is its logits l [A]."""
    return Head(
        lambda key, n: jax.random.gumbel(key, (n, num)),
        lambda gumbel, logits: (logits + gumbel).argmax(-1),
        lambda logits: logits.argmax(-1),
        objectives.categorical_log_prob,
        objectives.entropy_bonus,
        objectives.kl_categorical,
        objectives.policy_gradient_loss,
    )


def gaussian(num: int) -> Head:
    """Draw actions μ + σε, ε ~ N(0, 1); the output is (μ, log σ), [D] each."""
    return Head(
        lambda key, n: jax.random.normal(key, (n, num)),
        lambda epsilon, output: output[0] + jnp.exp(output[1]) * epsilon,
        lambda output: output[0],
        lambda action, output: objectives.normal_log_prob(action, *output),
        lambda output: objectives.gaussian_entropy_bonus(output[1]),
        lambda output, other: objectives.kl_normal(*output, *other),
        lambda output, action, advantage: objectives.gaussian_policy_gradient_loss(
            output[0], output[1], action, advantage
        ),
    )


def head(actions: Discrete | Box) -> Head:
    """Return what a policy over these actions gives: a categorical or a Gaussian distribution."""
    return categorical(actions.num) if isinstance(actions, Discrete) else gaussian(actions.low.size)


def policy_net(actions: Discrete | Box, hidden: tuple[int, ...]) -> nn.Module:
    """Make the net that goes with the head of these actions."""
    if isinstance(actions, Discrete):
        return CategoricalPolicy(actions.num, hidden)
    return GaussianPolicy(actions.low.size, hidden)


def init_policy_and_value(
    policy: nn.Module, value: nn.Module, key: Key, observation: Array
) -> dict[str, Any]:
    """Initialize both nets of an actor-critic on observations [N, ...]."""
    key_policy, key_value = jax.random.split(key)
    return {"policy": policy.init(key_policy, observation), "value": value.init(key_value, observation)}


def sampled(net: nn.Module, head: Head, params: Any, observation: Array, noise: Array) -> Array:
    """Draw an action [N, ...] for each observation [N, ...]."""
    return head.sample(noise, net.apply(params, observation))


def likeliest(net: nn.Module, head: Head, params: Any, observation: Array, key: Key) -> Array:
    """Return the likeliest action [N, ...] for each observation [N, ...]; nothing is random."""
    return jax.vmap(head.mode)(net.apply(params, observation))
