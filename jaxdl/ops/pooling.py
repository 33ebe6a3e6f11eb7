"""Pooling."""

import itertools
from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.types import Array


def max_pool(
    x: Array,
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
) -> Array:
    """Take the maximum over windows as flax's `nn.max_pool` does, argument by argument.

    y[i, j] = max over a < h, b < w of x[s·i + a, t·j + b]

    Where windows of two axes lie side by side, its gradient on CPU selects by comparing, which is much faster
    than that of `lax.reduce_window`; all else, and elsewhere, is `lax.reduce_window`. Where entries of such
    windows tie, the gradient goes to the first of them.

    Args:
        x: [..., *spatial, C], floating.
        window_shape: (h, w), or as many lengths as there are spatial axes.
        strides: (s, t), from one window to the next; 1 by default.
        padding: VALID, SAME, or what is put before and after each spatial axis.

    Returns:
        [..., *spatial, C].

    Raises:
        ValueError: if a window is empty or larger than the image, or does not fit its axes.
    """
    window = tuple(window_shape)
    strides = (1,) * len(window) if strides is None else tuple(strides)
    spatial = x.shape[-1 - len(window) : -1]
    if len(spatial) != len(window) or len(strides) != len(window):
        raise ValueError(f"max_pool with window {window} and strides {strides} does not fit x {x.shape}")
    if min(window) < 1 or (padding == "VALID" and any(w > n for w, n in zip(window, spatial, strict=True))):
        raise ValueError(f"max_pool with window {window} of images {spatial}; give (1, ...) to {spatial}")
    reduced = partial(_reduce, window=window, strides=strides, padding=padding)
    if padding != "VALID" or len(window) != 2 or strides != window:
        return reduced(x)
    return lax.platform_dependent(x, cpu=partial(_compare, window=window), default=reduced)


def _reduce(x: Array, *, window: Any, strides: Any, padding: Any) -> Array:
    before = x.ndim - 1 - len(window)
    size, step = ((*(1,) * before, *lengths, 1) for lengths in (window, strides))
    pads = padding if isinstance(padding, str) else (*((0, 0),) * before, *padding, (0, 0))
    return lax.reduce_window(x, np.array(-np.inf, x.dtype), lax.max, size, step, pads)


def _compare(x: Array, *, window: tuple[int, int]) -> Array:
    (height, width), (h, w) = x.shape[-3:-1], window
    rows, columns = height // h, width // w
    x = lax.slice_in_dim(lax.slice_in_dim(x, 0, rows * h, axis=-3), 0, columns * w, axis=-2)
    return _largest(x.reshape(*x.shape[:-3], rows, h, columns, w, x.shape[-1]))


@jax.custom_jvp
def _largest(x: Array) -> Array:
    """Take the maximum over axes −4 and −2 of [..., H, h, W, w, C]."""
    return reduce(jnp.maximum, _entries(x))


@_largest.defjvp
def _largest_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    """y = x[first], ẏ = ẋ[first]: a comparison with places, which is fast where a gather is not."""
    (x,), (moved,) = primals, tangents
    largest, h, w = _largest(x), x.shape[-4], x.shape[-2]
    first = jnp.full(largest.shape, -1)  # which stays where an entry is not a number
    for place, entry in reversed(list(enumerate(_entries(x)))):
        first = jnp.where(entry == largest, place, first)
    places = jnp.arange(h * w).reshape(h, 1, w, 1)
    chosen = first[..., :, None, :, None, :] == places[(None,) * (x.ndim - 4)]
    return largest, jnp.where(chosen, moved, 0).sum((-4, -2))


def _entries(x: Array) -> list[Array]:
    """Return x[..., a, :, b, :] for each (a, b)."""
    return [x[..., a, :, b, :] for a, b in itertools.product(range(x.shape[-4]), range(x.shape[-2]))]
