"""Convolutional generator and discriminator."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets import layers
from jaxdl.types import Array

# All weights start from a normal of standard deviation 0.02, as the paper says.
Dense = partial(layers.Dense, kernel_init=nn.initializers.normal(0.02))
Conv = partial(layers.Conv, kernel_init=nn.initializers.normal(0.02))
ConvTranspose = partial(layers.ConvTranspose, kernel_init=nn.initializers.normal(0.02))


class Generator(nn.Module):
    """Map latents to images through transposed convolutions that double the size.

    See Radford, Metz & Chintala (2016): batch norm and ReLU in all layers but the last.

    Attributes:
        shape: (H, W, C) of an image; H and W divide by 2 to the number of widths.
        widths: channels before each doubling.
        norm: normalisation; for statistics over all devices under pmap, give
            `partial(nn.BatchNorm, axis_name="batch")`.
    """

    shape: tuple[int, int, int]
    widths: tuple[int, ...] = (128, 64)
    norm: Callable[..., nn.Module] = nn.BatchNorm

    @nn.compact
    def __call__(self, z: Array, *, train: bool) -> Array:
        """Map [B, latent_dim] to images [B, H, W, C] in [0, 1]."""
        height, width, channels = self.shape
        shrink = 2 ** len(self.widths)
        if height % shrink or width % shrink:
            raise ValueError(
                f"a {height}x{width} image does not halve {len(self.widths)} times: give fewer widths"
            )
        norm = partial(self.norm, use_running_average=not train, momentum=0.9)
        x = Dense((height // shrink) * (width // shrink) * self.widths[0], use_bias=False)(z)
        x = x.reshape(-1, height // shrink, width // shrink, self.widths[0])
        for features in self.widths[1:]:
            x = nn.relu(norm()(x))
            x = ConvTranspose(features, (4, 4), strides=(2, 2), use_bias=False)(x)
        x = nn.relu(norm()(x))
        x = ConvTranspose(channels, (4, 4), strides=(2, 2), dtype=jnp.float32)(x)
        return nn.sigmoid(x)  # the paper's tanh, moved from [-1, 1] to [0, 1]


class Discriminator(nn.Module):
    """Map images to one logit through convolutions that halve the size.

    See Radford, Metz & Chintala (2016): batch norm in all layers but the first, leaky ReLU of slope 0.2.

    Attributes:
        widths: channels after each halving.
        norm: as of the generator; None for a critic with a gradient penalty (Gulrajani et al., 2017).
        act: nonlinearity of all layers but the last.
    """

    widths: tuple[int, ...] = (64, 128)
    norm: Callable[..., nn.Module] | None = nn.BatchNorm
    act: Callable[[Array], Array] = partial(nn.leaky_relu, negative_slope=0.2)

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Map images [B, H, W, C] in [0, 1] to logits [B]."""
        x = 2 * x - 1
        for index, features in enumerate(self.widths):
            norm = self.norm if index > 0 else None
            x = Conv(features, (4, 4), strides=(2, 2), use_bias=norm is None)(x)
            if norm is not None:
                x = norm(use_running_average=not train, momentum=0.9)(x)
            x = self.act(x)
        return Dense(1, dtype=jnp.float32)(x.reshape(len(x), -1))[:, 0]
