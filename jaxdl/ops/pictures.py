"""Arrangements of images for a person to look at."""

import math

import jax.numpy as jnp

from jaxdl.types import Array


def image_grid(images: Array, columns: int | None = None, gap: int = 1) -> Array:
    """Lay images out in rows, grey gaps between them and in the cells left over.

    Args:
        images: [N, H, W, C] in [0, 1].
        columns: images in a row; by default a square is filled.
        gap: pixels between images.

    Returns:
        One picture [rows·(H + gap) - gap, columns·(W + gap) - gap, C].
    """
    num, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(num))
    rows = math.ceil(num / columns)
    padding = ((0, rows * columns - num), (0, gap), (0, gap), (0, 0))
    cells = jnp.pad(images, padding, constant_values=0.5)
    cells = cells.reshape(rows, columns, height + gap, width + gap, channels).swapaxes(1, 2)
    picture = cells.reshape(rows * (height + gap), columns * (width + gap), channels)
    return picture[: rows * (height + gap) - gap, : columns * (width + gap) - gap]


def scatter_picture(points: Array, bound: float, size: int = 256) -> Array:
    """Draw points of the plane as dark dots, denser ones darker.

    Args:
        points: [N, 2].
        bound: b, the picture shows [-b, b]², y upwards.
        size: pixels along a side.

    Returns:
        [size, size] in [0, 1].
    """
    edges = jnp.linspace(-bound, bound, size + 1)
    counts, _, _ = jnp.histogram2d(points[:, 1], points[:, 0], bins=(edges, edges))
    return 1.0 - jnp.minimum(counts[::-1], 4) / 4


def line_picture(
    points: Array, low: Array, high: Array, shape: tuple[int, int], drawn: Array | None = None
) -> Array:
    """Draw a line through points of the plane, as wide as a pixel.

    Args:
        points: [N, 2], x and y.
        low: [2], the lower left corner of the picture.
        high: [2], its upper right corner.
        shape: pixels along the sides, height and width.
        drawn: [N], 0 where the pen is lifted on its way to the point.

    Returns:
        [height, width] in [0, 1], dark on white.
    """
    height, width = shape
    to_pixels = jnp.array([width, height]) / (high - low)
    ends = (points - low[None]) * to_pixels[None]
    start, way = ends[:-1], jnp.diff(ends, axis=0)
    x, y = jnp.meshgrid(jnp.arange(width) + 0.5, height - 0.5 - jnp.arange(height))
    pixels = jnp.stack([x, y], -1).reshape(-1, 1, 2)
    offset = pixels - start[None]
    share = jnp.clip((offset * way[None]).sum(-1) / ((way**2).sum(-1) + 1e-8)[None], 0, 1)
    distance = jnp.linalg.norm(offset - share[..., None] * way[None], axis=-1)
    if drawn is not None:
        distance = jnp.where(drawn[None, 1:] > 0, distance, jnp.inf)
    return jnp.clip(distance.min(1) - 0.25, 0, 1).reshape(shape)
