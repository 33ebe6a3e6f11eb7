"""Convolution whose gradients are as fast as itself on CPU, also inside a loop.

XLA for CPU is fast at one layout of a convolution: images [N, H, W, C], a kernel [H, W, I, O]. Both gradients
of a convolution are convolutions again, but JAX writes them in other layouts, which inside of a loop, such as
`lax.scan`, take five to a hundred times longer. Here they are of the fast one: x and w are transposed
beforehand, strided images split into their phases, and x and w change places where a gap would lie between
pixels (`python benchmarks/convolution.py` measures it). For GPU and TPU, what is lowered is what JAX itself
would write (`jax.lax.platform_dependent`).
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from jaxdl.types import Array

Pads = tuple[tuple[int, int], ...]
MANY = 16  # channels from which the phases of a strided image are faster one by one


class Window(NamedTuple):
    """Say how a kernel moves, an entry for each spatial axis; as `lax.conv_general_dilated` means it."""

    strides: tuple[int, ...]
    padding: Pads
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    precision: Any
    preferred_element_type: Any


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Array:
    """Convolve as `jax.lax.conv_general_dilated` does, argument by argument, to rounding.

    It goes into flax's layers: `nn.Conv(..., conv_general_dilated=conv_general_dilated)`. Layouts whose
    channels are not last, groups, images of symbolic size and results of a given sharding are left to JAX.

    Args:
        lhs: x, [N, *spatial, I].
        rhs: the kernel w, [*spatial, I / groups, O].
        window_strides: steps of the window.
        padding: SAME, VALID, or (before, after) for each spatial axis.
        lhs_dilation: 1 + the zeros between the entries of x; above 1 it is a transposed convolution.
        rhs_dilation: 1 + the zeros between the entries of w.
        dimension_numbers: layouts of x, w and the result.
        feature_group_count: groups of channels.
        batch_group_count: groups of examples.
        precision: of the products.
        preferred_element_type: of the result.
        out_sharding: of the result.

    Returns:
        [N, *spatial, O].

    Raises:
        ValueError: if padding is a string and lhs_dilation above 1.
    """
    num = lhs.ndim - 2
    ones = (1,) * num
    lhs_dilation = ones if lhs_dilation is None else tuple(lhs_dilation)
    rhs_dilation = ones if rhs_dilation is None else tuple(rhs_dilation)
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    last = lax.conv_dimension_numbers(lhs.shape, rhs.shape, _layout(num))
    refused = isinstance(padding, str) and set(lhs_dilation) != {1}  # by JAX
    symbolic = not all(isinstance(size, int) for size in lhs.shape[1:])
    grouped = feature_group_count * batch_group_count > 1
    if numbers != last or grouped or refused or symbolic or out_sharding is not None:
        return lax.conv_general_dilated(
            *(lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, numbers),
            feature_group_count=feature_group_count,
            batch_group_count=batch_group_count,
            precision=precision,
            preferred_element_type=preferred_element_type,
            out_sharding=out_sharding,
        )
    strides = tuple(window_strides)
    if isinstance(padding, str):
        extent = [(k - 1) * d + 1 for k, d in zip(rhs.shape, rhs_dilation, strict=False)]
        padding = lax.padtype_to_pads(lhs.shape[1:-1], extent, strides, padding)
    window = Window(
        strides,
        tuple((before, after) for before, after in padding),
        lhs_dilation,
        rhs_dilation,
        precision,
        preferred_element_type,
    )
    return _convolve(lhs, rhs, window)


def conv_transpose(x: Array, w: Array, strides: Sequence[int], padding: str | Pads = "SAME") -> Array:
    """Convolve with a fractional stride, as `jax.lax.conv_transpose` does: y is s times as large as x.

    Args:
        x: [N, *spatial, I].
        w: [*spatial, I, O].
        strides: s, for each spatial axis.
        padding: SAME, VALID, or what is put before and after x once s − 1 zeros stand between its entries.

    Returns:
        [N, *spatial, O].

    Raises:
        ValueError: if padding is another string.
    """
    if isinstance(padding, str):
        padding = tuple(_transposed_padding(k, s, padding) for k, s in zip(w.shape, strides, strict=False))
    ones = (1,) * len(strides)
    return conv_general_dilated(x, w, ones, padding, strides, dimension_numbers=_layout(len(strides)))


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _convolve(x: Array, w: Array, window: Window) -> Array:
    return _native(x, w, window=window)


@partial(_convolve.defjvp, symbolic_zeros=True)
def _convolve_jvp(window: Window, primals: Any, tangents: Any) -> tuple[Array, Any]:
    """y = x ∗ w is bilinear: dy = dx ∗ w + x ∗ dw."""
    (x, w), (dx, dw) = primals, tangents
    y = _convolve(x, w, window)
    native, parts = partial(_native, window=window), []
    for given, fast in (((dx, w), _of_image), ((x, dw), _of_kernel)):
        if not any(isinstance(array, SymbolicZero) for array in given):
            # transposed copies are made anew in the backward pass, and not kept from the forward one
            fast = jax.checkpoint(partial(fast, window=window), prevent_cse=False)
            parts.append(lax.platform_dependent(*given, cpu=fast, default=native))
    return y, sum(parts[1:], parts[0])


def _native(x: Array, w: Array, *, window: Window, layout: Any = None) -> Array:
    return lax.conv_general_dilated(
        *(x, w, window.strides, window.padding, window.lhs_dilation, window.rhs_dilation),
        dimension_numbers=layout or _layout(x.ndim - 2),
        precision=window.precision,
        preferred_element_type=window.preferred_element_type,
    )


def _of_image(x: Array, w: Array, *, window: Window) -> Array:
    """Convolve so that the transpose in x is a convolution without dilation, of a kernel [*spatial, I, O]."""
    *kernel, channels, _ = w.shape
    num, strides = len(kernel), window.strides
    parts = [(x, w)]
    if max(strides) > 1 and max(window.rhs_dilation + window.lhs_dilation) == 1:
        if max(kernel) == 1:
            parts = [(_seen(x, window), w)]
        else:
            parts = [_phases(_padded(x, 1, window.padding), w, strides)]
            if channels >= MANY and any(k % s for k, s in zip(kernel, strides, strict=True)):
                parts = list(_apart(*parts[0], kernel, strides))
        window = window._replace(strides=(1,) * num, padding=((0, 0),) * num)
    images, kernels, _ = _layout(num)
    convolve = partial(_native, window=window, layout=(images, kernels[:-2] + "OI", images))
    first, *rest = (convolve(x, w.swapaxes(-1, -2)) for x, w in parts)
    return sum(rest, first)


def _of_kernel(x: Array, w: Array, *, window: Window) -> Array:
    """Convolve so that the transpose in w is fast: on a few examples at a time, to stay in cache."""
    if math.prod(w.shape[:-2]) == max(window.lhs_dilation) == 1:
        return _pointwise(x, w, window=window)
    num = x.shape[0]
    if not isinstance(num, int):  # symbolic, in an export
        return _native(x, w, window=window)
    gap = max(window.lhs_dilation) > 1 and max(window.strides + window.rhs_dilation) == 1
    # copies are made of a few examples, and not kept of all
    convolve = jax.checkpoint(partial(_spread if gap else _exchanged, w=w, window=window), prevent_cse=False)
    few = max(4, 1024 // max(1, math.prod(x.shape[1:-1])))
    size = next((n for n in range(few, num) if num % n == 0), num)
    if size == num:
        return convolve(x)
    if _on_one_device():
        y: Array = lax.map(convolve, x.reshape(num // size, size, *x.shape[1:]))
    else:  # some of the examples of each device, which lie apart
        x = jnp.moveaxis(x.reshape(size, num // size, *x.shape[1:]), 1, 0)
        y = jnp.moveaxis(lax.map(convolve, x), 0, 1)
    return y.reshape(num, *y.shape[2:])


def _on_one_device() -> bool:
    """Tell whether no array of the program that is traced can be split over devices."""
    mesh = jax.sharding.get_abstract_mesh()
    mapped = not mesh.empty and set(mesh.axis_types) == {jax.sharding.AxisType.Manual}
    return mapped or jax.device_count() == 1


def _pointwise(x: Array, w: Array, *, window: Window) -> Array:
    """Multiply the pixels by a kernel of one pixel, which is a matrix: the transpose in w is one product."""
    x = _seen(x, window)
    how = {"precision": window.precision, "preferred_element_type": window.preferred_element_type}
    y = lax.dot(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), w.reshape(w.shape[-2:]), **how)
    return y.reshape(*x.shape[:-1], w.shape[-1])


def _seen(x: Array, window: Window) -> Array:
    """Return the pixels that a kernel of one pixel comes to."""
    return _padded(x, 1, window.padding)[:, *(slice(None, None, s) for s in window.strides)]


def _exchanged(x: Array, w: Array, *, window: Window) -> Array:
    """Convolve so that the transpose in w is one of images [I, *spatial, N] by a kernel [*spatial, N, O].

    That kernel is as large as the result: larger than x where much is padded, which XLA runs by a naive loop
    unless the zeros are a part of x.
    """
    spatial = _layout(x.ndim - 2)[0][1:-1]
    grown = (
        sum(pads) > d * (k - 1)
        for pads, d, k in zip(window.padding, window.rhs_dilation, w.shape, strict=False)
    )
    if max(window.lhs_dilation) == 1 and any(grown):
        x, window = _padded(x, 1, window.padding), window._replace(padding=((0, 0),) * len(spatial))
    layout = (f"C{spatial}N", f"I{spatial}O", f"{spatial}NC")
    y = _native(jnp.swapaxes(x, 0, -1), jnp.moveaxis(w, -2, 0), window=window, layout=layout)
    return jnp.moveaxis(y, -2, 0)


def _spread(x: Array, w: Array, *, window: Window) -> Array:
    """Let x and w change places in a transposed convolution: the gap is then between the taps of a kernel.

    y[i] = Σ_j x[j] w[s·j + p − i], a sum over what x holds; p is the padding before x.
    """
    images, kernels, _ = _layout(x.ndim - 2)
    axes = range(x.ndim - 2)
    padding = []
    for n, k, s, (before, after) in zip(
        x.shape[1:], w.shape, window.lhs_dilation, window.padding, strict=False
    ):
        ahead = s * (n - 1) + 1 - k + before
        padding.append((ahead, ahead - before + after))
    window = window._replace(
        padding=tuple(padding), lhs_dilation=window.rhs_dilation, rhs_dilation=window.lhs_dilation
    )
    x = jnp.flip(jnp.moveaxis(x, 0, -2), axes)  # [*spatial, N, I]
    w = jnp.moveaxis(jnp.flip(w, axes), -1, 0)  # [O, *spatial, I]
    y = _native(w, x, window=window, layout=(images, kernels[:-2] + "OI", images))
    return jnp.swapaxes(y, 0, -1)


def _phases(x: Array, w: Array, strides: tuple[int, ...]) -> tuple[Array, Array]:
    """Turn a convolution of stride s without padding into one of stride 1 with more channels.

    x'[i, r] = x[s·i + r] and w'[m, r] = w[s·m + r] in each spatial axis, zero beyond their ends; r joins the
    channels.
    """
    x_pads, w_pads = [], []
    for n, k, s in zip(x.shape[1:], w.shape, strides, strict=False):
        taps = -(-k // s)
        w_pads.append((0, s * taps - k))
        x_pads.append((0, s * ((n - k) // s + taps) - n))  # what no window reaches is cut off
    return _split(_padded(x, 1, x_pads), 1, strides), _split(_padded(w, 0, w_pads), 0, strides)


def _apart(
    x: Array, w: Array, kernel: Sequence[int], strides: tuple[int, ...]
) -> Iterator[tuple[Array, Array]]:
    """Take phases apart that `_phases` has joined, each without the zeros beyond the end of the kernel."""
    channels = x.shape[-1] // math.prod(strides)
    for index, phase in enumerate(product(*map(range, strides))):
        taps = [len(range(r, k, s)) for r, k, s in zip(phase, kernel, strides, strict=True)]
        if all(taps):
            block = slice(index * channels, (index + 1) * channels)
            seen = (slice(n - most + k) for n, most, k in zip(x.shape[1:], w.shape, taps, strict=False))
            yield x[:, *seen, block], w[*map(slice, taps), block]


def _padded(a: Array, first: int, pads: Sequence[tuple[int, int]]) -> Array:
    """Put zeros before and after the axes from `first` on; negative numbers cut."""
    rest = a.ndim - first - len(pads)
    around = [(0, 0, 0)] * first + [(*pad, 0) for pad in pads] + [(0, 0, 0)] * rest
    return lax.pad(a, jnp.zeros((), a.dtype), around)


def _split(a: Array, first: int, strides: Sequence[int]) -> Array:
    """Split axes of length n·s from `first` on into n, and s that joins the axis behind all of them."""
    num = len(strides)
    behind = first + num
    pairs = [part for n, s in zip(a.shape[first:], strides, strict=False) for part in (n // s, s)]
    a = a.reshape(*a.shape[:first], *pairs, *a.shape[behind:])
    a = jnp.moveaxis(a, range(first + 1, first + 2 * num, 2), range(behind, behind + num))
    joined, rest = a.shape[behind : behind + num + 1], a.shape[behind + num + 1 :]
    return a.reshape(*a.shape[:behind], math.prod(joined), *rest)


def _transposed_padding(kernel: int, stride: int, padding: str) -> tuple[int, int]:
    """Return what `lax.conv_transpose` puts before and after the spread x."""
    if padding == "VALID":
        return kernel - 1, kernel - 1 + max(stride - kernel, 0)
    if padding != "SAME":
        raise ValueError(f"conv_transpose with padding {padding!r}; give SAME, VALID or pairs of numbers")
    total = kernel + stride - 2
    before = kernel - 1 if stride > kernel - 1 else math.ceil(total / 2)
    return before, total - before


def _layout(num: int) -> tuple[str, str, str]:
    """Name the axes of images, kernel and result where channels come last."""
    spatial = "HWDTUV"[:num]
    return f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"
