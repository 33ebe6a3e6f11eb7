"""Penalties on parameters and on representations. Scale them at the call."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxdl.objectives._absolute import absolute
from jaxdl.objectives._check import check_rank
from jaxdl.types import Array, PyTree


def l1_penalty(params: PyTree) -> Array:
    """Return the sum of the absolute parameters.

    Σ |θ|, whose gradient is sign θ, 0 at 0

    See Tibshirani, 1996.

    Args:
        params: a pytree of arrays.

    Returns:
        A scalar.
    """
    return sum((absolute(theta).sum() for theta in jax.tree.leaves(params)), start=jnp.zeros(()))


def l2_penalty(params: PyTree) -> Array:
    """Return half the sum of the squared parameters.

    ½ Σ θ², whose gradient is θ

    See Hoerl & Kennard, 1970. It is `map_penalty` under N(0, 1) less its constant.

    Args:
        params: a pytree of arrays.

    Returns:
        A scalar.
    """
    return sum((0.5 * jnp.sum(theta**2) for theta in jax.tree.leaves(params)), start=jnp.zeros(()))


def contractive_penalty(encode: Callable[[Array], Array], x: Array) -> Array:
    """Ask an encoder to be insensitive to its input at an example.

    Ω = ‖∂h/∂x‖²_F = Σ_i ‖∇ₓ h_i‖²

    See Rifai, Vincent, Muller, Glorot & Bengio, 2011.

    Args:
        encode: h, maps x to a representation of any shape; its Jacobian is taken row by row.
        x: [...], an example.

    Returns:
        A scalar.
    """
    return (jax.jacrev(encode)(x) ** 2).sum()


def sparsity_kl_penalty(mean_activation: Array, rho: float | Array) -> Array:
    """Ask hidden units to be active a fraction ρ of the time.

    Ω = Σ_j ρ log ρ/ρ̂_j + (1 − ρ) log (1 − ρ)/(1 − ρ̂_j)

    See Ng, "Sparse Autoencoder", 2011.

    Args:
        mean_activation: [H], ρ̂: each unit's activation in [0, 1], averaged over the data by the caller.
        rho: ρ in (0, 1).

    Returns:
        A scalar, at least 0. A dead or saturated unit counts as 1e-6 away from the end of the interval:
        finite, with a steep slope back.
    """
    check_rank(1, mean_activation=mean_activation)
    epsilon = 1e-6  # shrinking, not clipping: a clipped unit would have no gradient
    log_on = jnp.log(epsilon + (1 - 2 * epsilon) * mean_activation)
    log_off = jnp.log(epsilon + (1 - 2 * epsilon) * (1 - mean_activation))
    return (rho * (jnp.log(rho) - log_on) + (1 - rho) * (jnp.log1p(-rho) - log_off)).sum()
