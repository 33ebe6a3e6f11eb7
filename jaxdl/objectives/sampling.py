"""Draws of one example: `sample_<name>` takes a key and the parameters of `<name>_log_prob`.

`shape` stands for the parameters where there are none.
"""

import jax
import jax.numpy as jnp

from jaxdl.objectives._check import check_rank, check_same_shape, check_shape
from jaxdl.types import Array, Key


def sample_bernoulli(key: Key, logits: Array) -> Array:
    """Draw zeros and ones.

    Args:
        key: a PRNG key.
        logits: [...], log p/(1 − p).

    Returns:
        [...], in the dtype of the logits.
    """
    logits = jnp.asarray(logits)
    return jax.random.bernoulli(key, jax.nn.sigmoid(logits)).astype(logits.dtype)


def sample_categorical(key: Key, logits: Array) -> Array:
    """Draw class labels.

    Args:
        key: a PRNG key.
        logits: [..., C], log-probabilities up to a constant.

    Returns:
        [...] integers in [0, C).
    """
    return jax.random.categorical(key, logits)


def sample_gumbel_softmax(key: Key, logits: Array, temperature: float | Array) -> Array:
    """Draw relaxed one-hot labels, through which gradients flow; the largest entry is a label drawn exactly.

    y = softmax((log π + g)/τ),  g_c ~ Gumbel(0, 1)

    See Jang, Gu & Poole, 2017 (arXiv:1611.01144); Maddison, Mnih & Teh, 2017 (arXiv:1611.00712).

    Args:
        key: a PRNG key.
        logits: [..., C], log π up to a constant.
        temperature: scalar, τ > 0; near 0 the draws are nearly one-hot, and their gradients vary more.

    Returns:
        [..., C], differentiable in the logits.
    """
    check_rank(0, temperature=temperature)
    return jax.nn.softmax((logits + jax.random.gumbel(key, logits.shape, logits.dtype)) / temperature)


def sample_normal(key: Key, mean: Array, log_std: Array) -> Array:
    """Draw independent normal variables, μ + σ ε with ε ~ N(0, 1).

    Args:
        key: a PRNG key.
        mean: [...], μ.
        log_std: [...], log σ.

    Returns:
        [...], differentiable in both parameters.
    """
    check_same_shape(mean=mean, log_std=log_std)
    mean = jnp.asarray(mean)
    return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype)


def sample_standard_normal(key: Key, shape: tuple[int, ...]) -> Array:
    """Draw from N(0, I).

    Args:
        key: a PRNG key.
        shape: of the draw.

    Returns:
        An array of this shape.
    """
    return jax.random.normal(key, shape)


def sample_laplace(key: Key, mean: Array, log_scale: Array) -> Array:
    """Draw independent Laplace variables.

    Args:
        key: a PRNG key.
        mean: [...], μ.
        log_scale: [...], log b.

    Returns:
        [...], differentiable in both parameters.
    """
    check_same_shape(mean=mean, log_scale=log_scale)
    mean = jnp.asarray(mean)
    return mean + jnp.exp(log_scale) * jax.random.laplace(key, mean.shape, mean.dtype)


def sample_logistic(key: Key, mean: Array, log_scale: Array) -> Array:
    """Draw independent logistic variables.

    Args:
        key: a PRNG key.
        mean: [...], μ.
        log_scale: [...], log s.

    Returns:
        [...], differentiable in both parameters.
    """
    check_same_shape(mean=mean, log_scale=log_scale)
    mean = jnp.asarray(mean)
    return mean + jnp.exp(log_scale) * jax.random.logistic(key, mean.shape, mean.dtype)


def sample_discretized_logistic(key: Key, mean: Array, log_scale: Array, bins: int) -> Array:
    """Draw logistic intensities and round them to the nearest level.

    Args:
        key: a PRNG key.
        mean: [...], μ, in units of the levels' range [0, 1].
        log_scale: [...], log s.
        bins: number of levels, at least 2.

    Returns:
        [...] in [0, 1], on the grid k/(bins − 1).
    """
    levels = bins - 1
    return jnp.clip(jnp.round(sample_logistic(key, mean, log_scale) * levels) / levels, 0, 1)


def sample_discretized_logistic_mixture(
    key: Key, logits: Array, means: Array, log_scales: Array, bins: int
) -> Array:
    """Draw a component per dimension, then a level from it.

    Args:
        key: a PRNG key.
        logits: [..., K], log π up to a constant.
        means: [..., K], in units of the levels' range [0, 1].
        log_scales: [..., K], log s.
        bins: number of levels, at least 2.

    Returns:
        [...] in [0, 1], on the grid k/(bins − 1).
    """
    key_component, key_level = jax.random.split(key)
    mean, log_scale = _draw_component(key_component, logits, means, log_scales)
    return sample_discretized_logistic(key_level, mean, log_scale, bins)


def sample_normal_mixture(key: Key, logits: Array, means: Array, log_stds: Array) -> Array:
    """Draw a component per dimension, then a value from it.

    Args:
        key: a PRNG key.
        logits: [..., K], log π up to a constant.
        means: [..., K], μ.
        log_stds: [..., K], log σ.

    Returns:
        [...].
    """
    key_component, key_value = jax.random.split(key)
    return sample_normal(key_value, *_draw_component(key_component, logits, means, log_stds))


def sample_multivariate_normal(key: Key, mean: Array, scale_tril: Array) -> Array:
    """Draw a normal vector with covariance L Lᵀ, μ + L ε with ε ~ N(0, I).

    Args:
        key: a PRNG key.
        mean: [D], μ.
        scale_tril: [D, D], lower triangular L; what lies above the diagonal is not read.

    Returns:
        [D], differentiable in both parameters.
    """
    check_rank(1, mean=mean)
    check_shape(2 * mean.shape, scale_tril=scale_tril)
    return mean + jnp.tril(scale_tril) @ jax.random.normal(key, mean.shape, mean.dtype)


def _draw_component(key: Key, logits: Array, means: Array, log_scales: Array) -> tuple[Array, Array]:
    check_same_shape(logits=logits, means=means, log_scales=log_scales)
    component = jax.random.categorical(key, logits)[..., None]
    mean, log_scale = (jnp.take_along_axis(table, component, axis=-1) for table in (means, log_scales))
    return mean[..., 0], log_scale[..., 0]
