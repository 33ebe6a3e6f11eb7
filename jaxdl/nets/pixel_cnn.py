"""PixelCNNs: convolutions whose output at a pixel sees only the pixels before it.

Pixels are in raster order, rows from the top, and the colours of a pixel in the order of its channels: R sees
earlier pixels, G those and R, B those, R and G. Feature k of a map of C colours belongs to colour k mod C.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxdl.nets.layers import Conv, Dense
from jaxdl.nets.made import MaskedDense
from jaxdl.types import Array


def color_mask(inputs: int, features: int, colors: int, own: bool = True) -> np.ndarray:
    """Return which inputs a feature of the same pixel may see, bool [inputs, features].

    M[k', k] = 1[k' mod C < k mod C], or ≤ where a feature sees its own colour

    Args:
        inputs: features of the map that is seen.
        features: of the map that sees.
        colors: C.
        own: whether features see their own colour.
    """
    seen, color = np.arange(inputs)[:, None] % colors, np.arange(features)[None] % colors
    return seen <= color if own else seen < color


class ColorDense(nn.Module):
    """Map the features of each pixel linearly: a 1x1 convolution of type B, see `MaskedConv`."""

    features: int
    colors: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, H, W, F] to [B, H, W, features]."""
        mask = jnp.asarray(color_mask(x.shape[-1], self.features, self.colors))
        # All pixels as rows of one matrix: over three axes the gradient is three times slower on CPU.
        y = MaskedDense(self.features, dtype=self.dtype)(x.reshape(-1, x.shape[-1]), mask)
        return y.reshape(*x.shape[:-1], self.features)


class MaskedConv(nn.Module):
    """Convolve with the taps of an n by n kernel that lie before its centre, and part of the centre.

    At the centre, features of a colour see those of the colours before it (type A, for the image itself) and
    of their own (type B, for what type A has made of it). Rows below the centre are not even stored.

    See van den Oord, Kalchbrenner & Kavukcuoglu (2016), arXiv:1601.06759, section 3.4.

    Attributes:
        features: of the output.
        size: n, odd.
        colors: C.
        own: whether features see their own colour: type B.
        above: whether the rows above are seen, or the row of the pixel only.
    """

    features: int
    size: int
    colors: int
    own: bool = True
    above: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, H, W, F] to [B, H, W, features]."""
        n = reach(self.size)
        kernel = (n + 1, 2 * n + 1) if self.above else (1, n + 1)
        mask = np.ones((*kernel, x.shape[-1], self.features), bool)
        mask[-1, n] = color_mask(x.shape[-1], self.features, self.colors, self.own)
        mask[-1, n + 1 :] = False
        padding = (kernel[0] - 1, 0), (n, kernel[1] - 1 - n)
        return Conv(self.features, kernel, padding=padding, mask=mask)(x)


class Readout(nn.Module):
    """Map features to the parameters of each pixel's conditional: ReLU and a 1x1 convolution, twice."""

    num_outputs: int
    features: int
    colors: int

    @nn.compact
    def __call__(self, h: Array) -> Array:
        """Map [B, H, W, F] to [B, H, W, C, num_outputs]."""
        h = ColorDense(self.features, self.colors)(nn.relu(h))
        y = ColorDense(self.num_outputs * self.colors, self.colors, jnp.float32)(nn.relu(h))
        return y.reshape(*y.shape[:-1], self.num_outputs, self.colors).swapaxes(-1, -2)


class PixelCNN(nn.Module):
    """Predict each pixel from those before it that a stack of masked convolutions sees.

    h ← h + W_3 relu(W_2 ∗ relu(W_1 relu(h))),  W_1 and W_3 1x1, W_2 3x3

    It has a blind spot: what is further right than above, in the rows above, reaches no layer.

    See van den Oord, Kalchbrenner & Kavukcuoglu (2016), arXiv:1601.06759.

    Attributes:
        num_outputs: P, parameters of each conditional.
        features: h of the paper, a multiple of the colours; maps between blocks have 2h.
        layers: residual blocks.
        size: of the first kernel.
    """

    num_outputs: int = 1
    features: int = 32
    layers: int = 7
    size: int = 7

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None) -> Array:
        """Map images [B, H, W, C] in [0, 1] and context [B, D] to [B, H, W, C, num_outputs]."""
        colors = colors_of(x, self.features)
        h = MaskedConv(2 * self.features, self.size, colors, own=False)(2 * x - 1)
        if context is not None:
            h += Dense(h.shape[-1], use_bias=False)(context)[:, None, None]
        for _ in range(self.layers):
            y = ColorDense(self.features, colors)(nn.relu(h))
            y = MaskedConv(self.features, 3, colors)(nn.relu(y))
            h += ColorDense(2 * self.features, colors)(nn.relu(y))
        return Readout(self.num_outputs, 2 * self.features, colors)(h)


class GatedLayer(nn.Module):
    """Map two stacks on by a gated layer: v, that of the rows above, and h, that of the pixel's own row.

    v' = gate(W_v ∗ v + V_v c),  h' = h + W gate(W_h ∗ h + U (W_v ∗ v) + V_h c),
    gate(y) = tanh(y_f) ⊙ σ(y_g)

    See van den Oord et al. (2016), arXiv:1606.05328, equations 2 and 4 and figure 2.
    """

    features: int
    size: int
    colors: int

    @nn.compact
    def __call__(self, v: Array, h: Array, context: Array | None) -> tuple[Array, Array]:
        """Map v and h [B, H, W, features] to maps of the same shape."""
        width = 2 * self.features
        y_v = upper_conv(width, self.size)(v)
        y_h = MaskedConv(width, self.size, self.colors, above=False)(h) + ColorDense(width)(y_v)
        if context is not None:
            y_v, y_h = (y + Dense(width, use_bias=False)(context)[:, None, None] for y in (y_v, y_h))
        return gate(y_v), h + ColorDense(self.features, self.colors)(gate(y_h))


class GatedPixelCNN(nn.Module):
    """Predict each pixel from all those before it, by two stacks of gated convolutions without a blind spot.

    The vertical stack sees the rows above, all their colours; the horizontal one the row of the pixel, and
    what the vertical one has made of the rows above.

    See van den Oord et al. (2016), arXiv:1606.05328.

    Attributes:
        num_outputs: P, parameters of each conditional.
        features: of each stack, a multiple of the colours.
        layers: gated layers, after the first convolutions.
        size: of the kernels, odd.
        first_size: of the first kernels, odd.
    """

    num_outputs: int = 1
    features: int = 32
    layers: int = 7
    size: int = 3
    first_size: int = 7

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None) -> Array:
        """Map images [B, H, W, C] in [0, 1] and context [B, D] to [B, H, W, C, num_outputs]."""
        colors = colors_of(x, self.features)
        x = 2 * x - 1
        v = upper_conv(self.features, self.first_size)(down(x))
        h = MaskedConv(self.features, self.first_size, colors, own=False, above=False)(x)
        for _ in range(self.layers):
            v, h = GatedLayer(self.features, self.size, colors)(v, h, context)
        return Readout(self.num_outputs, self.features, colors)(h)


def upper_conv(features: int, size: int) -> nn.Conv:
    """Convolve with the rows of an n by n kernel down to its centre, the centre's included."""
    n = reach(size)
    return Conv(features, (n + 1, 2 * n + 1), padding=((n, 0), (n, n)))


def reach(size: int) -> int:
    """Return how many pixels an n by n kernel reaches from its centre, (n − 1)/2."""
    if size < 1 or size % 2 == 0:
        raise ValueError(f"a kernel of {size} by {size} has no centre; give an odd number")
    return size // 2


def down(x: Array) -> Array:
    """Move images [B, H, W, C] down by one row, zeros above, so that a pixel holds what was above it."""
    return jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]


def gate(y: Array) -> Array:
    """Gate one half of the features by the other: tanh(y_f) ⊙ σ(y_g)."""
    y_f, y_g = jnp.split(y, 2, -1)
    return jnp.tanh(y_f) * nn.sigmoid(y_g)


def colors_of(x: Array, features: int) -> int:
    """Return the channels of images, which the features must divide into."""
    colors = x.shape[-1]
    if x.ndim != 4 or features % colors:
        raise ValueError(
            f"x is {list(x.shape)}; give images [B, H, W, C], C a divisor of features={features}"
        )
    return colors
