"""Pooling."""

import itertools
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.types import Array


def max_pool(x: Array, window: int = 2) -> Array:
    """Take the maximum over non-overlapping windows; rows and columns left over at the end are dropped.

    y[i, j] = max over 0 ≤ a, b < w of x[w·i + a, w·j + b]

    On CPU its gradient selects by comparing, which is much faster than that of `lax.reduce_window`; elsewhere
    it is `lax.reduce_window`. Where entries tie, the gradient goes to the first of them.

    Args:
        x: [..., H, W, C], floating.
        window: w, width, height and stride.

    Returns:
        [..., H // w, W // w, C].

    Raises:
        ValueError: if the window is empty or larger than the image.
    """
    height, width = x.shape[-3:-1]
    largest = min(height, width)
    if not 1 <= window <= largest:
        raise ValueError(f"max_pool with window {window} of images {height}x{width}; give 1 to {largest}")
    compared, reduced = partial(_compare, window=window), partial(_reduce, window=window)
    return lax.platform_dependent(x, cpu=compared, default=reduced)


def _reduce(x: Array, *, window: int) -> Array:
    size = (*(1,) * (x.ndim - 3), window, window, 1)
    return lax.reduce_window(x, np.array(-np.inf, x.dtype), lax.max, size, size, "VALID")


def _compare(x: Array, *, window: int) -> Array:
    rows, columns = x.shape[-3] // window, x.shape[-2] // window
    x = lax.slice_in_dim(lax.slice_in_dim(x, 0, rows * window, axis=-3), 0, columns * window, axis=-2)
    return _largest(x.reshape(*x.shape[:-3], rows, window, columns, window, x.shape[-1]))


@jax.custom_jvp
def _largest(x: Array) -> Array:
    """Take the maximum over axes −4 and −2 of [..., H, w, W, w, C]."""
    return reduce(jnp.maximum, _entries(x))


@_largest.defjvp
def _largest_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    """y = x[first], ẏ = ẋ[first]: a comparison with places, which is fast where a gather is not."""
    (x,), (moved,) = primals, tangents
    largest, window = _largest(x), x.shape[-2]
    first = jnp.full(largest.shape, -1)  # which stays where an entry is not a number
    for place, entry in reversed(list(enumerate(_entries(x)))):
        first = jnp.where(entry == largest, place, first)
    places = jnp.arange(window**2).reshape(window, 1, window, 1)
    chosen = first[..., :, None, :, None, :] == places[(None,) * (x.ndim - 4)]
    return largest, jnp.where(chosen, moved, 0).sum((-4, -2))


def _entries(x: Array) -> list[Array]:
    """Return x[..., a, :, b, :] for each (a, b)."""
    window = x.shape[-2]
    return [x[..., a, :, b, :] for a, b in itertools.product(range(window), repeat=2)]
