"""Augmentation: functions (key, image) -> image that keep the shape [H, W, C] and the range [0, 1].

They see one image, run inside the compiled step, and do nothing at strength zero:

    augment = compose(random_flip, partial(random_crop, padding=4))
    images = jax.vmap(augment)(jax.random.split(key, len(images)), images)

Augment the training split only. A target that is itself a picture (a mask, a depth map) moves along with its
image when it is given to the same geometric function with the same key.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from jaxdl.types import Array, Key

Augmentation: TypeAlias = Callable[[Key, Array], Array]


def compose(*augmentations: Augmentation) -> Augmentation:
    """Chain augmentations, the first one first, each with a key of its own."""

    def augment(key: Key, image: Array) -> Array:
        keys = jax.random.split(key, len(augmentations))
        for own_key, augmentation in zip(keys, augmentations, strict=True):
            image = augmentation(own_key, image)
        return image

    return augment


def random_flip(key: Key, image: Array, *, probability: float = 0.5) -> Array:
    """Swap left and right with the given probability.

    Args:
        key: of the draw.
        image: [H, W, C].
        probability: of a swap.

    Returns:
        [H, W, C].
    """
    _check(image)
    return jnp.where(jax.random.uniform(key) < probability, image[:, ::-1], image)


def random_crop(key: Key, image: Array, *, padding: int) -> Array:
    """Pad each side with zeros and cut out a window of the old size at random: a shift by up to `padding`.

    Args:
        key: of the draw.
        image: [H, W, C].
        padding: in pixels.

    Returns:
        [H, W, C].
    """
    _check(image)
    row, column = jax.random.randint(key, (2,), 0, 2 * padding + 1)
    padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    return jax.lax.dynamic_slice(padded, (row, column, 0), image.shape)


def random_rotation(key: Key, image: Array, *, max_angle: float) -> Array:
    """Rotate by an angle drawn uniformly from [-max_angle, max_angle]; see `rotate`.

    Args:
        key: of the draw.
        image: [H, W, C].
        max_angle: in radians.

    Returns:
        [H, W, C].
    """
    return rotate(image, jax.random.uniform(key, minval=-max_angle, maxval=max_angle))


def rotate(image: Array, angle: Array | float) -> Array:
    """Rotate counter-clockwise about the centre, with bilinear interpolation and zeros from outside.

    Args:
        image: [H, W, C].
        angle: in radians; π/2 turns a square image as `jnp.rot90` does.

    Returns:
        [H, W, C].
    """
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return _resample(image, lambda y, x: (cos * y + sin * x, cos * x - sin * y))


def random_scaling(key: Key, image: Array, *, max_factor: float) -> Array:
    """Scale by a factor drawn log-uniformly from [1 / max_factor, max_factor]; see `scale`.

    Args:
        key: of the draw.
        image: [H, W, C].
        max_factor: 1 or more.

    Returns:
        [H, W, C].
    """
    limit = jnp.log(max_factor)
    return scale(image, jnp.exp(jax.random.uniform(key, minval=-limit, maxval=limit)))


def scale(image: Array, factor: Array | float) -> Array:
    """Magnify about the centre, with bilinear interpolation and zeros from outside.

    Args:
        image: [H, W, C].
        factor: above 1 the content grows, below 1 it shrinks.

    Returns:
        [H, W, C].
    """
    return _resample(image, lambda y, x: (y / factor, x / factor))


def _resample(image: Array, where: Callable[[Array, Array], tuple[Array, Array]]) -> Array:
    """Fill each pixel from the point (y, x), counted from the centre, that `where` names for it."""
    _check(image)
    center = (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2
    row, column = jnp.meshgrid(*map(jnp.arange, image.shape[:2]), indexing="ij")
    y, x = where(row - center[0], column - center[1])
    points = [y + center[0], x + center[1]]
    return jax.vmap(lambda channel: map_coordinates(channel, points, order=1), -1, -1)(image)


def gaussian_noise(key: Key, image: Array, *, std: float) -> Array:
    """Add Gaussian noise to each value: clip(x + std·ε, 0, 1).

    Args:
        key: of the draw.
        image: [H, W, C].
        std: of the noise.

    Returns:
        [H, W, C].
    """
    _check(image)
    return jnp.clip(image + std * jax.random.normal(key, image.shape), 0, 1)


def random_blur(key: Key, image: Array, *, max_std: float) -> Array:
    """Blur by a Gaussian whose standard deviation is drawn uniformly from [0, max_std]; see `blur`.

    Args:
        key: of the draw.
        image: [H, W, C].
        max_std: in pixels.

    Returns:
        [H, W, C].
    """
    return blur(image, jax.random.uniform(key, maxval=max_std))


def blur(image: Array, std: Array | float) -> Array:
    """Average each pixel's surroundings with Gaussian weights, normalised over what lies inside the image.

    y_ij = Σ_hw k_ih·k_jw·x_hw,  k_ih ∝ exp(-(i - h)² / 2·std²),  Σ_h k_ih = 1

    Args:
        image: [H, W, C].
        std: in pixels; 0 leaves the image as it is.

    Returns:
        [H, W, C].
    """
    _check(image)
    std = jnp.maximum(std, 1e-3)  # there, all other pixels have weight exp(-500000) = 0

    def weights(size: int) -> Array:
        position = jnp.arange(size)
        return jax.nn.softmax(-((position[:, None] - position[None]) ** 2) / (2 * std**2))

    rows, columns = weights(image.shape[0]), weights(image.shape[1])
    return jnp.einsum("ih,jw,hwc->ijc", rows, columns, image, precision="highest")


def salt_and_pepper(key: Key, image: Array, *, probability: float) -> Array:
    """Replace pixels, all channels together, by black or white with equal odds.

    Args:
        key: of the draw.
        image: [H, W, C].
        probability: that a pixel is replaced.

    Returns:
        [H, W, C].
    """
    _check(image)
    u = jax.random.uniform(key, (*image.shape[:2], 1))
    return jnp.where(u < probability, (u < probability / 2).astype(image.dtype), image)


def channel_dropout(key: Key, image: Array, *, probability: float) -> Array:
    """Set whole channels to zero; the others keep their values, and so the range.

    See Tompson et al., "Efficient Object Localization Using Convolutional Networks" (2015), for dropout of
    whole channels.

    Args:
        key: of the draw.
        image: [H, W, C].
        probability: that a channel is set to zero.

    Returns:
        [H, W, C].
    """
    _check(image)
    return jnp.where(jax.random.uniform(key, (1, 1, image.shape[-1])) < probability, 0, image)


def _check(image: Array) -> None:
    if image.ndim != 3:
        raise ValueError(
            f"image has shape {image.shape}, but [H, W, C] is expected: "
            "an augmentation sees one image, map it over a batch with jax.vmap"
        )
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(f"image is {image.dtype}, but floats in [0, 1] are expected: divide by 255 first")
