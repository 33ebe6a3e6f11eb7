"""Causal convolution over time: a step sees itself and what was before it, never what comes after."""

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.types import Array


def delayed(x: Array) -> Array:
    """Shift a sequence [B, T, C] one step into the future: y_t = x_{t−1}, and y_1 = 0."""
    return jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]


def empty_past(num: int, channels: int, kernel_size: int, dilation: int) -> Array:
    """Return what a convolution sees before sequences start, zeros [num, (K − 1)·dilation, channels]."""
    return jnp.zeros((num, (kernel_size - 1) * dilation, channels))


class CausalConv(nn.Module):
    """Convolve over time with gaps between the taps, without strides: there is an output for each input.

    y_t = b + Σ_j W_j x_{t − (K−1−j)·dilation}

    It is told what was before x, zeros at the start of a sequence: so the same formula serves whole sequences
    and single steps.

    See van den Oord et al. (2016), "WaveNet", arXiv:1609.03499; steps: Paine et al. (2016), arXiv:1611.09482.

    Attributes:
        features: channels of y.
        kernel_size: K.
        dilation: steps from one tap to the next.
    """

    features: int
    kernel_size: int = 2
    dilation: int = 1

    @nn.compact
    def __call__(self, x: Array, past: Array) -> tuple[Array, Array]:
        """Map x [B, T, C] after its past to y [B, T, features], and return the past of what follows."""
        length = x.shape[1]
        seen = jnp.concatenate([past.astype(x.dtype), x], 1)
        taps = [seen[:, j * self.dilation :][:, :length] for j in range(self.kernel_size)]
        y = nn.DenseGeneral(self.features, axis=(-2, -1), name="conv")(jnp.stack(taps, -2))
        return y, seen[:, length:]
