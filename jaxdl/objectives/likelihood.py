"""Log-densities of one example, and what is built on them.

A density takes the arrays of ONE example, sums over all its axes and returns a scalar. Shapes must be equal:
nothing is broadcast. The samplers are in `sampling`.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.scipy.linalg import solve_triangular

from jaxdl.objectives._absolute import absolute
from jaxdl.objectives._check import check_rank, check_same_shape, check_shape
from jaxdl.types import Array, PyTree

_LOG_2PI = math.log(2 * math.pi)


def bernoulli_log_prob(x: Array, logits: Array) -> Array:
    """Return the log-probability of binary data.

    log p(x) = Σ x log σ(l) + (1 − x) log σ(−l) = Σ xl − log(1 + eˡ), finite for every finite logit.

    Args:
        x: [...] in {0, 1}; values between are allowed and give the cross-entropy of a probability.
        logits: [...], log p/(1 − p).

    Returns:
        A scalar, in nats.
    """
    check_same_shape(x=x, logits=logits)
    # XLA for CPU is slow to sum products over an axis of length 1, and optax's loss takes two logarithms
    x, logits = jnp.ravel(x), jnp.ravel(logits)
    return (x * logits - jax.nn.softplus(logits)).sum()


def categorical_log_prob(label: Array, logits: Array) -> Array:
    """Return the log-probability of class labels.

    log p(y) = Σ l_y − log Σ_c exp l_c

    Args:
        label: [...] integers in [0, C).
        logits: [..., C], log-probabilities up to a constant.

    Returns:
        A scalar, in nats.
    """
    check_same_shape(label=label, logits_of_one_class=logits[..., 0])
    return -optax.losses.softmax_cross_entropy_with_integer_labels(logits, label).sum()


def normal_log_prob(x: Array, mean: Array, log_std: Array) -> Array:
    """Return the log-density of independent normal variables.

    log p(x) = Σ −½ ((x − μ)/σ)² − log σ − ½ log 2π

    Args:
        x: [...].
        mean: [...], μ.
        log_std: [...], log σ: the logarithm of the standard deviation, not of the variance.

    Returns:
        A scalar, in nats.
    """
    check_same_shape(x=x, mean=mean, log_std=log_std)
    return _normal(x, mean, log_std).sum()


def standard_normal_log_prob(x: Array) -> Array:
    """Return the log-density of N(0, I).

    log p(x) = Σ −½ x² − ½ log 2π

    Args:
        x: [...].

    Returns:
        A scalar, in nats.
    """
    return -0.5 * jnp.sum(x**2 + _LOG_2PI)


def laplace_log_prob(x: Array, mean: Array, log_scale: Array) -> Array:
    """Return the log-density of independent Laplace variables.

    log p(x) = Σ −|x − μ|/b − log 2b

    Args:
        x: [...].
        mean: [...], μ.
        log_scale: [...], log b.

    Returns:
        A scalar, in nats.
    """
    check_same_shape(x=x, mean=mean, log_scale=log_scale)
    return -(absolute(x - mean) * jnp.exp(-log_scale) + log_scale + math.log(2)).sum()


def logistic_log_prob(x: Array, mean: Array, log_scale: Array) -> Array:
    """Return the log-density of independent logistic variables.

    log p(x) = Σ log σ(z) + log σ(−z) − log s,  z = (x − μ)/s

    Args:
        x: [...].
        mean: [...], μ.
        log_scale: [...], log s.

    Returns:
        A scalar, in nats.
    """
    check_same_shape(x=x, mean=mean, log_scale=log_scale)
    z = (x - mean) * jnp.exp(-log_scale)
    return (jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z) - log_scale).sum()


def discretized_logistic_log_prob(x: Array, mean: Array, log_scale: Array, bins: int) -> Array:
    """Return the log-probability of levels whose intensity is logistic before rounding.

    P(x) = σ((x + h − μ)/s) − σ((x − h − μ)/s),  h = 1/(2(bins − 1)); the end bins take the tails.

    See Salimans, Karpathy, Chen & Kingma, "PixelCNN++", 2017 (arXiv:1701.05517).

    Args:
        x: [...] in [0, 1], on the grid k/(bins − 1).
        mean: [...], μ, in the units of x.
        log_scale: [...], log s; held within ±60, where float32 still carries the value and its gradient.
        bins: number of levels, at least 2 (256 for 8-bit images).

    Returns:
        A scalar, in nats.
    """
    check_same_shape(x=x, mean=mean, log_scale=log_scale)
    return _discretized_logistic(x, mean, log_scale, bins).sum()


def discretized_logistic_mixture_log_prob(
    x: Array, logits: Array, means: Array, log_scales: Array, bins: int
) -> Array:
    """Return the log-probability of levels under a mixture of discretized logistics per dimension.

    log P(x) = Σ_d log Σ_k π_dk P(x_d; μ_dk, s_dk)

    See Salimans, Karpathy, Chen & Kingma, "PixelCNN++", 2017 (arXiv:1701.05517).

    Args:
        x: [...] in [0, 1], on the grid k/(bins − 1).
        logits: [..., K], log π up to a constant.
        means: [..., K], in the units of x.
        log_scales: [..., K], see `discretized_logistic_log_prob`.
        bins: number of levels, at least 2.

    Returns:
        A scalar, in nats.
    """
    _check_mixture(x, logits=logits, means=means, log_scales=log_scales)
    return _mixture(logits, _discretized_logistic(x[..., None], means, log_scales, bins))


def normal_mixture_log_prob(x: Array, logits: Array, means: Array, log_stds: Array) -> Array:
    """Return the log-density of a mixture of normals per dimension.

    log p(x) = Σ_d log Σ_k π_dk N(x_d; μ_dk, σ_dk²)

    See Bishop, "Mixture Density Networks", 1994.

    Args:
        x: [...].
        logits: [..., K], log π up to a constant.
        means: [..., K], μ.
        log_stds: [..., K], log σ.

    Returns:
        A scalar, in nats.
    """
    _check_mixture(x, logits=logits, means=means, log_stds=log_stds)
    return _mixture(logits, _normal(x[..., None], means, log_stds))


def multivariate_normal_log_prob(x: Array, mean: Array, scale_tril: Array) -> Array:
    """Return the log-density of a normal vector with covariance L Lᵀ.

    log p(x) = −½ ‖L⁻¹(x − μ)‖² − log |det L| − ½ D log 2π

    Args:
        x: [D].
        mean: [D], μ.
        scale_tril: [D, D], lower triangular L with a non-zero diagonal; what lies above it is not read.

    Returns:
        A scalar, in nats.
    """
    check_rank(1, x=x, mean=mean)
    check_same_shape(x=x, mean=mean)
    check_shape(2 * mean.shape, scale_tril=scale_tril)
    z = solve_triangular(scale_tril, x - mean, lower=True)
    return standard_normal_log_prob(z) - jnp.log(jnp.abs(jnp.diag(scale_tril))).sum()


def bits_per_dim(nll: Array, num_dims: int) -> Array:
    """Return a negative log-likelihood in bits per dimension, nll / (D log 2).

    Args:
        nll: scalar, in nats.
        num_dims: D, the number of dimensions the nll is summed over.

    Returns:
        A scalar, in bits.
    """
    check_rank(0, nll=nll)
    return nll / (num_dims * math.log(2))


def importance_weighted_log_likelihood(log_weights: Array) -> Array:
    """Estimate log p(x) from K importance samples.

    log p(x) ≈ log (1/K) Σ_k w_k,  w_k = p(x, z_k)/q(z_k|x),  z_k ~ q(z|x)

    The estimate is low on average, and less so as K grows.

    See Burda, Grosse & Salakhutdinov, 2016 (arXiv:1509.00519).

    Args:
        log_weights: [K], log w_k.

    Returns:
        A scalar, in nats.
    """
    check_rank(1, log_weights=log_weights)
    return jax.nn.logsumexp(log_weights) - math.log(log_weights.shape[0])


def map_penalty(params: PyTree, log_prior: Callable[[Array], Array]) -> Array:
    """Return −log p(θ), which turns maximum likelihood into maximum a posteriori.

    −log p(θ) = −Σ_leaves log_prior(leaf); with N(0, σ²) it is ‖θ‖²/2σ² + C, weight decay.

    Args:
        params: a pytree of arrays.
        log_prior: maps a leaf to its scalar log-density, as in `partial(normal_log_prior, std=0.1)`.

    Returns:
        A scalar, in nats.
    """
    return -sum((log_prior(theta) for theta in jax.tree.leaves(params)), start=jnp.zeros(()))


def normal_log_prior(theta: Array, *, std: float | Array) -> Array:
    """Return the log-density of weights under N(0, σ²): the prior behind L2.

    Args:
        theta: [...], weights.
        std: scalar, σ.

    Returns:
        A scalar, in nats.
    """
    return normal_log_prob(theta, jnp.zeros_like(theta), jnp.full_like(theta, jnp.log(std)))


def laplace_log_prior(theta: Array, *, scale: float | Array) -> Array:
    """Return the log-density of weights under Laplace(0, b): the prior behind L1.

    Args:
        theta: [...], weights.
        scale: scalar, b.

    Returns:
        A scalar, in nats.
    """
    return laplace_log_prob(theta, jnp.zeros_like(theta), jnp.full_like(theta, jnp.log(scale)))


def normal_mixture_log_prior(theta: Array, *, logits: Array, means: Array, log_stds: Array) -> Array:
    """Return the log-density of weights under one mixture of normals that they share.

    log p(θ) = Σ_i log Σ_k π_k N(θ_i; μ_k, σ_k²)

    See Nowlan & Hinton, "Simplifying Neural Networks by Soft Weight-Sharing", 1992.

    Args:
        theta: [...].
        logits: [K], log π up to a constant.
        means: [K], μ.
        log_stds: [K], log σ.

    Returns:
        A scalar, in nats.
    """
    check_rank(1, logits=logits, means=means, log_stds=log_stds)
    theta = jnp.asarray(theta)
    tables = (jnp.broadcast_to(row, (*theta.shape, row.shape[0])) for row in (logits, means, log_stds))
    return normal_mixture_log_prob(theta, *tables)


def _normal(x: Array, mean: Array, log_std: Array) -> Array:
    z = (x - mean) * jnp.exp(-log_std)
    return -0.5 * (z**2 + _LOG_2PI) - log_std


def _discretized_logistic(x: Array, mean: Array, log_scale: Array, bins: int) -> Array:
    # σ(u) − σ(l) = σ(u) σ(−l) (1 − e^{−(u−l)}): no difference of nearly equal numbers, no log of zero.
    # In units of one level the edges k ± ½ are exact, so that neighbouring bins share theirs; the rounding
    # keeps a compiler from fusing the product with one of the differences below and not with another.
    level = jnp.round(x * (bins - 1))
    center = jax.lax.reduce_precision(mean * (bins - 1), exponent_bits=8, mantissa_bits=22)
    inverse_scale = jnp.exp(-jnp.clip(log_scale, -60, 60)) / (bins - 1)
    below_upper = jax.nn.log_sigmoid((level + 0.5 - center) * inverse_scale)
    above_lower = jax.nn.log_sigmoid((center - level + 0.5) * inverse_scale)
    width = jnp.log(-jnp.expm1(-inverse_scale))
    inner = below_upper + above_lower + width
    return jnp.where(level == 0, below_upper, jnp.where(level == bins - 1, above_lower, inner))


def _mixture(logits: Array, log_probs: Array) -> Array:
    return jax.nn.logsumexp(jax.nn.log_softmax(logits) + log_probs, axis=-1).sum()


def _check_mixture(x: Array, **tables: Array) -> None:
    check_same_shape(**tables)
    check_same_shape(x=x, logits_of_one_component=tables["logits"][..., 0])
