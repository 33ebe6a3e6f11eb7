"""Small convolutional classifier."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.layers import Conv, Dense
from jaxdl.ops.pooling import max_pool
from jaxdl.types import Array


class CNN(nn.Module):
    """Classify images: stages of a 3x3 convolution with batch norm and a pooling, then a dense head.

    See LeCun et al. (1998); small kernels and doubling widths: Simonyan & Zisserman (2015); the
    batch norm: Ioffe & Szegedy (2015). A stage pools only where the image is still larger than 4 pixels.

    Attributes:
        num_classes: width of the output.
        widths: channels of each stage.
        hidden: width of the dense layer.
        dropout: share of its units dropped in training.
        norm: normalisation of the stages, or None; for statistics over all devices under pmap, give
            `partial(nn.BatchNorm, axis_name="batch")`.
    """

    num_classes: int
    widths: tuple[int, ...] = (32, 64)
    hidden: int = 256
    dropout: float = 0.5
    norm: Callable[..., nn.Module] | None = nn.BatchNorm

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Map images [B, H, W, C] to logits [B, num_classes]."""
        for width in self.widths:
            x = Conv(width, (3, 3), use_bias=self.norm is None)(x)
            if self.norm is not None:
                x = self.norm(use_running_average=not train, momentum=0.9)(x)
            x = nn.relu(x)
            if min(x.shape[1:3]) > 4:
                x = max_pool(x, (2, 2), (2, 2))
        x = nn.relu(Dense(self.hidden)(x.reshape(len(x), -1)))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return Dense(self.num_classes, dtype=jnp.float32)(x)
