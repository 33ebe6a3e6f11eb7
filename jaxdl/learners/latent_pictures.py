"""What a person would look at of a latent space: functions of decode, z [B, D] -> images [B, H, W, C]."""

from collections.abc import Callable

import jax.numpy as jnp
from jax.scipy.stats import norm

from jaxdl.ops.pictures import image_grid
from jaxdl.types import Array

Decode = Callable[[Array], Array]


def beside(*images: Array, rows_of: int = 1) -> Array:
    """Lay images [B, H, W, C] out so that each example's stand side by side, `rows_of` examples in a row."""
    cells = jnp.stack(images, 1).reshape(-1, *images[0].shape[1:])
    return image_grid(cells, columns=rows_of * len(images))


def interpolation(decode: Decode, z: Array, columns: int = 10) -> Array:
    """Walk from each latent of the first half to its fellow of the second, one row each, at most eight.

    z_t = (1 − t) z_a + t z_b,  t from 0 to 1
    """
    rows = min(8, len(z) // 2)
    t = jnp.linspace(0, 1, columns)[None, :, None]
    path = (1 - t) * z[:rows, None] + t * z[rows : 2 * rows, None]
    return image_grid(decode(path.reshape(-1, z.shape[-1])), columns=columns)


def latent_map(decode: Decode, columns: int = 15) -> Array:
    """Decode a grid of a latent plane, evenly spaced in probability under N(0, I).

    See Kingma & Welling (2014), arXiv:1312.6114, figure 4.
    """
    axis = norm.ppf((jnp.arange(columns) + 0.5) / columns)
    z = jnp.stack(jnp.meshgrid(axis, axis[::-1]), -1).reshape(-1, 2)
    return image_grid(decode(z), columns=columns)
