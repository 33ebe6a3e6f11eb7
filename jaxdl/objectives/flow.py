"""What a normalizing flow needs beside its layers: the change of variables and the way from pixels to ℝ."""

import jax
import jax.numpy as jnp

from jaxdl.objectives._check import check_rank
from jaxdl.types import Array, Key


def change_of_variables_log_prob(base_log_prob: Array, log_det: Array) -> Array:
    """Return the log-density of data that a bijection z = f(x) maps to a known density.

    log p(x) = log p_z(f(x)) + log |det ∂f/∂x|

    For a composition log_det is the sum over its layers; log p_z is counted once. A flow that is written from
    latent to data, x = g(z), has log |det ∂f/∂x| = −log |det ∂g/∂z|.

    See Rezende & Mohamed, 2015 (arXiv:1505.05770); Dinh, Sohl-Dickstein & Bengio, 2017 (arXiv:1605.08803).

    Args:
        base_log_prob: scalar, log p_z at f(x).
        log_det: scalar, of the data-to-latent map.

    Returns:
        A scalar, in nats.
    """
    check_rank(0, base_log_prob=base_log_prob, log_det=log_det)
    return base_log_prob + log_det


def dequantize(key: Key, x: Array, bins: int) -> Array:
    """Spread each level uniformly over its bin, so that a density can be fitted to discrete data.

    y = (k + u)/bins,  k = x (bins − 1),  u ~ U[0, 1)

    log P(x) ≥ E_u[log p(y)] − D log bins, the bound that bits per dimension are computed from.

    See Theis, van den Oord & Bethge, 2016 (arXiv:1511.01844).

    Args:
        key: a PRNG key.
        x: [...] in [0, 1], on the grid k/(bins − 1).
        bins: number of levels (256 for 8-bit images).

    Returns:
        [...] in [0, 1), with ⌊bins · y⌋ = k.
    """
    x = jnp.asarray(x)
    level = jnp.round(x * (bins - 1))
    # The top of the range stays free of the values that k + u would round up into the next bin.
    u = jax.random.uniform(key, x.shape, x.dtype, maxval=1 - bins * jnp.finfo(x.dtype).eps)
    return (level + u) / bins


def logit_transform(x: Array, alpha: float | Array) -> tuple[Array, Array]:
    """Map [0, 1] to the real line, away from the infinities at both ends.

    y = logit(s),  s = α + (1 − 2α) x;  log |det ∂y/∂x| = Σ log(1 − 2α) − log s − log(1 − s)

    See Dinh, Sohl-Dickstein & Bengio, 2017 (arXiv:1605.08803); Papamakarios, Pavlakou & Murray, 2017
    (arXiv:1705.07057).

    Args:
        x: [...] in [0, 1].
        alpha: α in (0, ½), such as 0.05 or 1e-6.

    Returns:
        The value [...] and the log-determinant, a scalar over all axes.
    """
    log_s = jnp.log(alpha + (1 - 2 * alpha) * x)
    log_1_minus_s = jnp.log(alpha + (1 - 2 * alpha) * (1 - x))
    return log_s - log_1_minus_s, (jnp.log1p(-2 * alpha) - log_s - log_1_minus_s).sum()


def inverse_logit_transform(y: Array, alpha: float | Array) -> tuple[Array, Array]:
    """Map the real line back to pixels: the inverse of `logit_transform`.

    x = (σ(y) − α)/(1 − 2α);  log |det ∂x/∂y| = Σ log σ(y) + log σ(−y) − log(1 − 2α)

    Args:
        y: [...].
        alpha: α in (0, ½), the one of the forward map.

    Returns:
        The value [...], in [0, 1] for every y that the forward map reaches, and the log-determinant, a
        scalar.
    """
    log_det = jax.nn.log_sigmoid(y) + jax.nn.log_sigmoid(-y) - jnp.log1p(-2 * alpha)
    return (jax.nn.sigmoid(y) - alpha) / (1 - 2 * alpha), log_det.sum()
