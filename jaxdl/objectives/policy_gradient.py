"""Losses whose gradient improves a policy.

Advantages, action values of a target network and whatever else a term does not train are held constant
inside the term, so that a caller cannot forget to.
"""

import math

import jax
import jax.numpy as jnp

from jaxdl.objectives._check import check_rank, check_same_shape
from jaxdl.objectives.divergence import entropy
from jaxdl.objectives.likelihood import normal_log_prob
from jaxdl.objectives.supervised import softmax_cross_entropy
from jaxdl.types import Array

_MAX_LOG_RATIO = 20.0


def policy_gradient_loss(logits: Array, action: Array, advantage: Array) -> Array:
    """Make an action likelier in proportion to its advantage.

    −log π(a∣s)·A, whose expected gradient under π is minus that of the expected return

    See Williams, 1992. A is the discounted return (REINFORCE), the return less a baseline, or a
    temporal-difference error (actor-critic).

    Args:
        logits: [A], logits of π(·∣s).
        action: integer scalar, the action a that was drawn.
        advantage: scalar, A, not differentiated.

    Returns:
        A scalar.
    """
    check_rank(0, action=action, advantage=advantage)
    return softmax_cross_entropy(logits, action) * jax.lax.stop_gradient(advantage)


def gaussian_policy_gradient_loss(mean: Array, log_std: Array, action: Array, advantage: Array) -> Array:
    """Make a continuous action likelier in proportion to its advantage.

    −log N(a; μ, σ²)·A

    See Williams, 1992.

    Args:
        mean: [D], μ of the policy.
        log_std: [D], log σ of the policy.
        action: [D], the action a that was drawn, not differentiated.
        advantage: scalar, A, not differentiated.

    Returns:
        A scalar.
    """
    check_rank(1, mean=mean)
    check_rank(0, advantage=advantage)
    action, advantage = jax.lax.stop_gradient((action, advantage))
    return -normal_log_prob(action, mean, log_std) * advantage


def ppo_clip_loss(log_ratio: Array, advantage: Array, epsilon: float = 0.2) -> Array:
    """Follow the advantage only while the new policy stays near the one that acted.

    −min(ρA, clip(ρ, 1 − ε, 1 + ε)A), ρ = π(a∣s)/π_old(a∣s)

    See Schulman et al., 2017 (arXiv:1707.06347). A ratio above e²⁰ is cut off there before it overflows.

    Args:
        log_ratio: scalar, log π(a∣s) − log π_old(a∣s).
        advantage: scalar, A, not differentiated.
        epsilon: ε, half the width of the trusted region.

    Returns:
        A scalar.
    """
    check_rank(0, log_ratio=log_ratio, advantage=advantage)
    advantage = jax.lax.stop_gradient(advantage)
    ratio = jnp.exp(jnp.minimum(log_ratio, _MAX_LOG_RATIO))
    return -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - epsilon, 1 + epsilon) * advantage)


def entropy_bonus(logits: Array) -> Array:
    """Reward a policy for staying undecided; maximised, so subtract it from a loss.

    H(π) = −Σₐ π(a∣s) log π(a∣s)

    See Williams & Peng, 1991.

    Args:
        logits: [A], logits of π(·∣s).

    Returns:
        A scalar in nats, between 0 and log A.
    """
    return entropy(logits)


def gaussian_entropy_bonus(log_std: Array) -> Array:
    """Reward a Gaussian policy for staying wide; maximised, so subtract it from a loss.

    H(π) = Σᵢ log σᵢ + ½ log 2πe

    Args:
        log_std: [D], log σ of the policy.

    Returns:
        A scalar in nats.
    """
    check_rank(1, log_std=log_std)
    return (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum()


def deterministic_policy_gradient_loss(action: Array, dqda: Array) -> Array:
    """Move the action of a deterministic policy along the slope of its value.

    ½‖a + ∂Q/∂a − a‖² with a + ∂Q/∂a held constant, so that the gradient is −∂Q/∂a · ∂a/∂θ

    See Silver et al., 2014; Lillicrap et al., 2016, DDPG (arXiv:1509.02971).

    Args:
        action: [D], a = μ(s).
        dqda: [D], ∂Q(s, a)/∂a at that action, not differentiated.

    Returns:
        A scalar.
    """
    check_rank(1, action=action)
    check_same_shape(action=action, dqda=dqda)
    return 0.5 * ((jax.lax.stop_gradient(action + dqda) - action) ** 2).sum()


def sac_actor_loss(log_prob: Array, q: Array, temperature: Array) -> Array:
    """Weigh the value of a reparameterised action against the entropy of its policy.

    α log π(a∣s) − minₖ Qₖ(s, a)

    See Haarnoja et al., 2018 (arXiv:1812.05905).

    Args:
        log_prob: scalar, log π(a∣s) of an action a = f(s, ε) that the policy is differentiated through.
        q: [K], values Qₖ(s, a) of that action by the critics.
        temperature: scalar, α, not differentiated.

    Returns:
        A scalar.
    """
    check_rank(0, log_prob=log_prob, temperature=temperature)
    check_rank(1, q=q)
    return jax.lax.stop_gradient(temperature) * log_prob - q.min()


def sac_target(r_t: Array, discount_t: Array, q_t: Array, log_prob_t: Array, temperature: Array) -> Array:
    """Return the soft value that each critic is regressed on.

    r + γ(minₖ Qₖ(s′, a′) − α log π(a′∣s′)), a′ ∼ π(·∣s′)

    See Haarnoja et al., 2018 (arXiv:1812.05905).

    Args:
        r_t: scalar, reward r.
        discount_t: scalar, discount γ, zero at termination.
        q_t: [K], values Qₖ(s′, a′) by the target critics.
        log_prob_t: scalar, log π(a′∣s′).
        temperature: scalar, α.

    Returns:
        A scalar, not differentiated.
    """
    check_rank(0, r_t=r_t, discount_t=discount_t, log_prob_t=log_prob_t, temperature=temperature)
    check_rank(1, q_t=q_t)
    return jax.lax.stop_gradient(r_t + discount_t * (q_t.min() - temperature * log_prob_t))


def sac_temperature_loss(temperature: Array, log_prob: Array, target_entropy: float | Array) -> Array:
    """Raise the temperature while the policy's entropy is below its target, and lower it above.

    −α(log π(a∣s) + H̄)

    See Haarnoja et al., 2018 (arXiv:1812.05905).

    Args:
        temperature: scalar, α > 0, such as the exponential of a parameter.
        log_prob: scalar, log π(a∣s), not differentiated.
        target_entropy: scalar, H̄ in nats; often minus the number of action dimensions.

    Returns:
        A scalar.
    """
    check_rank(0, temperature=temperature, log_prob=log_prob, target_entropy=target_entropy)
    return -temperature * jax.lax.stop_gradient(log_prob + target_entropy)
