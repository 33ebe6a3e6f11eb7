"""Pixel recurrent neural networks: LSTMs that run over the rows or the diagonals of an image."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.layers import Dense
from jaxdl.nets.pixel_cnn import ColorDense, MaskedConv, Readout, colors_of, down
from jaxdl.types import Array


class LineCell(nn.Module):
    """Move all pixels of a line on by one step of an LSTM, each given its neighbours in the line before.

    o, f, i, g = K_ss ∗ h_{t−1} + (K_is ∗ x)_t,  c_t = σ(f) ⊙ c_{t−1} + σ(i) ⊙ tanh(g),
    h_t = σ(o) ⊙ tanh(c_t)

    Attributes:
        neighbours: their places relative to the pixel's own, such as -1, 0 and 1.
    """

    neighbours: tuple[int, ...]

    @nn.compact
    def __call__(self, carry: tuple[Array, Array], inputs: Array) -> tuple[tuple[Array, Array], Array]:
        """Map h and c of the line before, [B, L, F], and what the image gives, [B, L, 4F], to those after."""
        h, c = carry
        padded = jnp.pad(h, ((0, 0), (1, 1), (0, 0)))
        seen = jnp.concatenate([padded[:, 1 + at : 1 + at + h.shape[1]] for at in self.neighbours], -1)
        gates = inputs + Dense(inputs.shape[-1], use_bias=False)(seen)
        o, f, i, g = jnp.split(gates, 4, -1)
        c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
        h = nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h


def run_lines(inputs: Array, axis: int, neighbours: tuple[int, ...]) -> Array:
    """Run an LSTM over the lines of a map [B, ., ., 4F] along an axis, from a state of zeros."""
    lines = nn.scan(
        LineCell, variable_broadcast="params", split_rngs={"params": False}, in_axes=axis, out_axes=axis
    )
    line = inputs.take(0, axis)
    zeros = jnp.zeros_like(line[..., : line.shape[-1] // 4])
    outputs: Array = lines(neighbours)((zeros, zeros), inputs)[1]
    return outputs


class RowLSTM(nn.Module):
    """Run from the top row down: a pixel sees three of the row before, a triangle of those above."""

    features: int
    colors: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, H, W, F] to [B, H, W, features]."""
        inputs = MaskedConv(4 * self.features, 3, self.colors, above=False)(x)
        return run_lines(inputs, 1, (-1, 0, 1))


class DiagonalLSTM(nn.Module):
    """Run from the top left corner, diagonal after diagonal: a pixel sees that to its left and that above."""

    features: int
    colors: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, H, W, F] to [B, H, W, features]."""
        inputs = ColorDense(4 * self.features, self.colors)(x)
        return unskew(run_lines(skew(inputs), 2, (-1, 0)), x.shape[2])


class DiagonalBiLSTM(nn.Module):
    """Run over the diagonals from both upper corners, so that together they see all pixels before.

    The map from the right moves down by a row before it is added: as it is, it has seen pixels to the right.
    """

    features: int
    colors: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, H, W, F] to [B, H, W, features]."""
        left = DiagonalLSTM(self.features, self.colors)(x)
        right = DiagonalLSTM(self.features, self.colors)(x[:, :, ::-1])[:, :, ::-1]
        return left + down(right)


class PixelRNN(nn.Module):
    """Predict each pixel from those before it, by layers of LSTMs after a masked convolution.

    h ← h + W LSTM(h)

    See van den Oord, Kalchbrenner & Kavukcuoglu (2016), arXiv:1601.06759.

    Attributes:
        num_outputs: P, parameters of each conditional.
        features: h of the paper, a multiple of the colours; maps between layers have 2h.
        layers: LSTMs.
        lstm: (features, colors) -> `DiagonalBiLSTM` or `RowLSTM`.
        size: of the first kernel, odd.
    """

    num_outputs: int = 1
    features: int = 16
    layers: int = 2
    lstm: Callable[[int, int], nn.Module] = DiagonalBiLSTM
    size: int = 7

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None) -> Array:
        """Map images [B, H, W, C] in [0, 1] and context [B, D] to [B, H, W, C, num_outputs]."""
        colors = colors_of(x, self.features)
        # One column more: a map holds a pixel only after its place, where the last of a row has none.
        x = jnp.pad(2 * x - 1, ((0, 0), (0, 0), (0, 1), (0, 0)))
        h = MaskedConv(2 * self.features, self.size, colors, own=False)(x)
        if context is not None:
            h += Dense(h.shape[-1], use_bias=False)(context)[:, None, None]
        for _ in range(self.layers):
            h += ColorDense(2 * self.features, colors)(self.lstm(self.features, colors)(h))
        return Readout(self.num_outputs, 2 * self.features, colors)(h[:, :, :-1])


def skew(x: Array) -> Array:
    """Move row i of [B, H, W, F] right by i, so that diagonals become columns: [B, H, H + W − 1, F].

    A pixel's neighbours to the left and above then are in the column before, in its own row and that above.
    """
    num, height, _, features = x.shape
    rows = jnp.pad(x, ((0, 0), (0, 0), (0, height), (0, 0))).reshape(num, -1, features)
    return rows[:, :-height].reshape(num, height, -1, features)  # one cell less a row: each starts one later


def unskew(x: Array, width: int) -> Array:
    """Move the rows of a skewed map back: [B, H, H + W − 1, F] to [B, H, W, F]."""
    num, height, length, features = x.shape
    rows = jnp.pad(x.reshape(num, -1, features), ((0, 0), (0, height), (0, 0)))
    return rows.reshape(num, height, length + 1, features)[:, :, :width]
