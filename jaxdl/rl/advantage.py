"""From a path through many environments to the advantages of its actions."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxdl.objectives import gae
from jaxdl.rl.rollout import Transition
from jaxdl.types import Array


def advantages(
    value: Callable[[Array], Array], path: Transition, discount: float, lambda_: float
) -> tuple[Array, Array]:
    """Estimate how much better each action was than what the policy does on average.

    Aₜ₋₁ = δₜ + γₜλ(1 − cutₜ)Aₜ,  δₜ = rₜ + γₜV(sₜ) − V(sₜ₋₁),  γₜ = 0 where the episode terminated

    sₜ is what the action led to before any reset, so that a truncated episode is valued to its end.

    See Schulman et al. (2016), arXiv:1506.02438. λ = 0 leaves the temporal-difference error, λ = 1 the sum of
    all rewards of the path, with the value of its last state, less V(sₜ₋₁).

    Args:
        value: observations [B, ...] -> [B].
        path: [T, N].
        discount: γ.
        lambda_: λ.

    Returns:
        The advantages and the values V(sₜ₋₁), [T, N] each.
    """
    v_tm1, v_t = (
        value(observation.reshape(-1, *observation.shape[2:])).reshape(path.reward.shape)
        for observation in (path.observation, path.next_observation)
    )

    def of_stream(r_t: Array, discount_t: Array, v_tm1: Array, v_t: Array, truncated_t: Array) -> Array:
        return gae(r_t, discount_t, v_tm1, v_t, lambda_, truncated_t)

    discount_t = discount * (1.0 - path.terminated)
    truncated_t = path.truncated.astype(jnp.float32)
    by_stream = jax.vmap(of_stream, in_axes=1, out_axes=1)
    return by_stream(path.reward, discount_t, v_tm1, v_t, truncated_t), v_tm1


def flatten(path: Transition) -> Transition:
    """Join the axes of time and environment: [T, N, ...] becomes [T·N, ...]."""
    return Transition(*(leaf.reshape(-1, *leaf.shape[2:]) for leaf in path))


def standardize(advantage: Array) -> Array:
    """Shift and scale the advantages [B] of a batch to mean 0 and standard deviation 1."""
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)
