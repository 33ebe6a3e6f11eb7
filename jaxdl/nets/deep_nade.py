"""Nets that tell the elements of an example that are not seen from those that are, whichever these are."""

import math

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.layers import Conv, Dense
from jaxdl.types import Array


def beside_mask(x: Array, mask: Array) -> Array:
    """Return [x ⊙ m, m] along the last axis: what is hidden is 0, and said to be hidden."""
    return jnp.concatenate([x * mask, mask.astype(x.dtype)], -1)


class DeepNADE(nn.Module):
    """Compute the parameters of p(x_i | what is seen of x) for all elements i.

    See Uria, Murray & Larochelle (2014), arXiv:1310.1757.

    Attributes:
        num_outputs: P, parameters of each conditional.
        hidden: widths of the hidden layers.
    """

    num_outputs: int = 1
    hidden: tuple[int, ...] = (500, 500)

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> Array:
        """Map x [B, ...] and a mask of the same shape, 1 = seen, to [B, ..., P]."""
        h = beside_mask(x.reshape(len(x), -1), mask.reshape(len(x), -1))
        for width in self.hidden:
            h = nn.relu(Dense(width)(h))
        y = Dense(math.prod(x.shape[1:]) * self.num_outputs, dtype=jnp.float32)(h)
        return y.reshape(*x.shape, self.num_outputs)


class ConvNADE(nn.Module):
    """Compute the parameters of p(x_i | what is seen of x) for all pixels i by convolutions.

    See Uria, Côté, Gregor, Murray & Larochelle (2016), arXiv:1605.02226.

    Attributes:
        num_outputs: P, parameters of each conditional.
        width: channels.
        depth: residual blocks of two 3x3 convolutions.
    """

    num_outputs: int = 1
    width: int = 32
    depth: int = 4

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> Array:
        """Map x [B, H, W, C] and a mask of the same shape, 1 = seen, to [B, H, W, C, P]."""
        h = Conv(self.width, (3, 3))(beside_mask(x, mask))
        for _ in range(self.depth):
            inner = Conv(self.width, (3, 3))(nn.relu(h))
            h += Conv(self.width, (3, 3))(nn.relu(inner))
        y = Conv(x.shape[-1] * self.num_outputs, (1, 1), dtype=jnp.float32)(nn.relu(h))
        return y.reshape(*x.shape, self.num_outputs)
