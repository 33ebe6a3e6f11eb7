"""Preprocessing: what is fitted is fitted on the training split, then applied to every split.

The functions that apply something take numpy arrays on the host, or traced arrays inside the compiled step.
One-hot labels are `jax.nn.one_hot(label, num_classes)`.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxdl.types import Array, Key


def rescale(x: Any, low: ArrayLike, high: ArrayLike, *, to: tuple[float, float] = (0.0, 1.0)) -> Any:
    """Map the interval from low to high linearly onto another; a constant feature goes to its lower end.

    y = a + (b - a)·(x - low) / (high - low)

    Args:
        x: [..., D], or of any shape if low and high are numbers.
        low: minimum of the training data: a number, or [D] for each feature.
        high: its maximum, of the same shape.
        to: (a, b), the new interval.

    Returns:
        Floats of the shape of x, inside [a, b] where x is inside [low, high].
    """
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    width = np.where(high > low, high - low, 1)
    return to[0] + (to[1] - to[0]) * ((x - _align(low, x)) / _align(width, x))


class Moments(NamedTuple):
    """The mean and the standard deviation of each feature of a training split."""

    mean: np.ndarray
    std: np.ndarray  # 1 where the feature is constant


def moments(train: np.ndarray, axis: int | tuple[int, ...] = 0) -> Moments:
    """Measure the mean and the standard deviation of training data.

    μ = (1/n)·Σᵢ xᵢ,  σ² = (1/n)·Σᵢ (xᵢ - μ)²

    Args:
        train: [N, ...].
        axis: axes to average over: 0 for the statistics of each feature; (0, 1, 2) for those of each
            channel of images [N, H, W, C].

    Returns:
        float32 statistics of the shape that is left. σ is 1 where it would be 0: standardizing a constant
        feature makes it 0.
    """
    mean, std = train.mean(axis, dtype=np.float64), train.std(axis, dtype=np.float64)
    constant = train.min(axis) == train.max(axis)  # std may round to a little more than 0
    return Moments(np.asarray(mean, np.float32), np.asarray(np.where(constant, 1, std), np.float32))


def standardize(x: Any, moments: Moments) -> Any:
    """Shift and scale features to the mean 0 and the standard deviation 1 that they had in training.

    y = (x - μ) / σ

    Args:
        x: [..., D], any split.
        moments: of the training split, [D] each.

    Returns:
        Floats [..., D].
    """
    return (x - _align(moments.mean, x)) / _align(moments.std, x)


class Whitening(NamedTuple):
    """A linear map after which the training split has mean zero and the identity as covariance."""

    mean: np.ndarray  # [D]
    matrix: np.ndarray  # [D, D]


def pca_whitening(train: np.ndarray, *, epsilon: float = 1e-5) -> Whitening:
    """Fit the whitening whose outputs are the principal components, the largest variance first.

    W = (Λ + ε·I)^(-1/2)·Uᵀ,  where (1/n)·Σᵢ (xᵢ - μ)(xᵢ - μ)ᵀ = U·Λ·Uᵀ

    See Kessy, Lewin and Strimmer, "Optimal Whitening and Decorrelation" (2018).

    Args:
        train: [N, D].
        epsilon: added to the variances, in the squared unit of the data; it bounds how much a direction
            with hardly any variance is amplified.

    Returns:
        The mean [D] and the matrix W [D, D], float32.
    """
    mean, variance, u = _principal_axes(train)
    return _whitening(mean, u.T / np.sqrt(variance + epsilon)[:, None])


def zca_whitening(train: np.ndarray, *, epsilon: float = 1e-5) -> Whitening:
    """Fit the whitening that stays as close as possible to the data: images still look like images.

    W = U·(Λ + ε·I)^(-1/2)·Uᵀ,  where (1/n)·Σᵢ (xᵢ - μ)(xᵢ - μ)ᵀ = U·Λ·Uᵀ

    See Bell and Sejnowski (1997); Kessy, Lewin and Strimmer, "Optimal Whitening and Decorrelation" (2018).

    Args:
        train: [N, D].
        epsilon: added to the variances, in the squared unit of the data; it bounds how much a direction
            with hardly any variance is amplified.

    Returns:
        The mean [D] and the symmetric matrix W [D, D], float32.
    """
    mean, variance, u = _principal_axes(train)
    return _whitening(mean, u / np.sqrt(variance + epsilon) @ u.T)


def whiten(x: Any, whitening: Whitening) -> Any:
    """Whiten features: y = W·(x - μ).

    Args:
        x: [..., D], any split.
        whitening: fitted on the training split.

    Returns:
        Floats [..., D].
    """
    return (x - _align(whitening.mean, x)) @ whitening.matrix.T


def _align(statistic: np.ndarray, x: Any) -> np.ndarray:
    """Give a statistic the rank of x by leading axes, as strict rank promotion asks for."""
    return statistic[(None,) * (x.ndim - statistic.ndim)]


def _whitening(mean: np.ndarray, matrix: np.ndarray) -> Whitening:
    return Whitening(mean.astype(np.float32), matrix.astype(np.float32))


def _principal_axes(train: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean [D], the variances [D] in falling order, and their directions as columns [D, D]."""
    if train.ndim != 2:
        raise ValueError(f"train has shape {train.shape}; flatten the examples to [N, D]")
    mean = train.mean(axis=0, dtype=np.float64)
    centered = train - mean
    variance, u = np.linalg.eigh(centered.T @ centered / len(train))
    variance, u = np.maximum(variance[::-1], 0), u[:, ::-1]  # rounding can leave -1e-17
    # An eigenvector's sign is arbitrary: make its largest entry positive, to get the same on each machine.
    largest = u[np.abs(u).argmax(axis=0), np.arange(len(mean))]
    return mean, variance, u * np.sign(largest)


def binarize(key: Key, image: Array) -> Array:
    """Draw a binary image whose mean is the grey one: dynamic binarization, when drawn anew at each visit.

    b_i ~ Bernoulli(x_i)

    See Salakhutdinov and Murray, "On the Quantitative Analysis of Deep Belief Networks" (2008).

    Args:
        key: of the draw.
        image: intensities in [0, 1], of any shape.

    Returns:
        float32 zeros and ones of the shape of the image.
    """
    return jax.random.bernoulli(key, image).astype(jnp.float32)


def quantize(image: Any, levels: int) -> Any:
    """Round intensities in [0, 1] to the nearest of evenly spaced levels, the grid k/(levels − 1)."""
    return jnp.round(image * (levels - 1)) / (levels - 1)


def mu_law(wave: Any, levels: int) -> Any:
    """Round a waveform to levels that lie closer where it is quiet.

    F(x) = sign(x) log(1 + μ|x|)/log(1 + μ),  μ = levels − 1

    See ITU-T recommendation G.711 (1988).

    Args:
        wave: [...] in [-1, 1].
        levels: 256 in telephony.

    Returns:
        (F + 1)/2, rounded to the grid k/(levels − 1), [...] in [0, 1].
    """
    mu = levels - 1
    companded = jnp.sign(wave) * jnp.log1p(mu * jnp.abs(wave)) / math.log1p(mu)
    return quantize((companded + 1) / 2, levels)


def mu_law_inverse(x: Any, levels: int) -> Any:
    """Map levels back to a waveform.

    F⁻¹(u) = sign(u) ((1 + μ)^|u| − 1)/μ,  u = 2 x − 1,  μ = levels − 1

    Args:
        x: [...] in [0, 1], as `mu_law` gives it.
        levels: of `mu_law`.

    Returns:
        [...] in [-1, 1].
    """
    mu, u = levels - 1, 2 * x - 1
    return jnp.sign(u) * jnp.expm1(jnp.abs(u) * math.log1p(mu)) / mu


def random_split(source: Any, sizes: Sequence[float], seed: int) -> tuple[Any, ...]:
    """Deal the examples of a source to disjoint parts at random.

    Args:
        source: pytree of arrays [N, ...].
        sizes: of the parts: counts that add up to N, such as (50_000, 10_000), or fractions that add up to 1.
        seed: of the permutation.

    Returns:
        One source for each size; together they hold every example once.

    Raises:
        ValueError: if the sizes add up to neither N nor 1, or one is negative.
    """
    count = len(jax.tree.leaves(source)[0])
    total = sum(sizes)
    if not (total == count or math.isclose(total, 1)) or min(sizes) < 0:
        raise ValueError(f"sizes are {tuple(sizes)}; they must add up to the {count} examples, or to 1")
    cuts = np.round(np.cumsum(sizes)[:-1] * count / total).astype(int)

    def part(rows: np.ndarray) -> Any:
        return jax.tree.map(lambda array: array[rows], source)

    return tuple(map(part, np.split(np.random.default_rng(seed).permutation(count), cuts)))
