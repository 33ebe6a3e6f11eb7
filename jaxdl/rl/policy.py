"""From a net's output to an action, for one state."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from jaxdl import objectives
from jaxdl.nets.policy import CategoricalPolicy, GaussianPolicy
from jaxdl.rl.envs import Box, Discrete
from jaxdl.types import Array, Key


class Head(NamedTuple):
    """Say what the output of a policy net means, for one state.

    Attributes:
        sample: (key, output) -> action drawn from π(·∣s); of several states, one for each.
        mode: output -> the likeliest action.
        log_prob: (action, output) -> log π(a∣s).
        entropy: output -> H(π(·∣s)).
        kl: (output, output′) -> KL(π(·∣s) ‖ π′(·∣s)).
        policy_gradient_loss: (output, action, advantage) -> −log π(a∣s)·A.
    """

    sample: Callable[[Key, Any], Array]
    mode: Callable[[Any], Array]
    log_prob: Callable[[Array, Any], Array]
    entropy: Callable[[Any], Array]
    kl: Callable[[Any, Any], Array]
    policy_gradient_loss: Callable[[Any, Array, Array], Array]


# The output of the one is logits [A], of the other (mean, log_std) [D].
CATEGORICAL = Head(
    objectives.sample_categorical,
    lambda logits: logits.argmax(-1),
    objectives.categorical_log_prob,
    objectives.entropy_bonus,
    objectives.kl_categorical,
    objectives.policy_gradient_loss,
)
GAUSSIAN = Head(
    lambda key, output: objectives.sample_normal(key, *output),
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
    return CATEGORICAL if isinstance(actions, Discrete) else GAUSSIAN


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


def sampled(net: nn.Module, head: Head, params: Any, observation: Array, key: Key) -> Array:
    """Draw an action [N, ...] for each observation [N, ...]."""
    return head.sample(key, net.apply(params, observation))


def likeliest(net: nn.Module, head: Head, params: Any, observation: Array, key: Key) -> Array:
    """Return the likeliest action [N, ...] for each observation [N, ...]; nothing is random."""
    return jax.vmap(head.mode)(net.apply(params, observation))
