"""WaveNet: dilated causal convolutions with gates, for waveforms one sample at a time."""

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.causal_conv import CausalConv, delayed, empty_past
from jaxdl.nets.layers import Dense
from jaxdl.types import Array

Pasts = tuple[Array, ...]  # of each convolution, what it has still to see


class GatedBlock(nn.Module):
    """Add a gated convolution to its input, and give what is behind the gate to the side.

    y = tanh(W_f ∗ x + V_f c) ⊙ σ(W_g ∗ x + V_g c),  x ← x + W_r y

    See van den Oord et al. (2016), section 2.3; c: section 2.5.

    Attributes:
        channels: of x and y.
        kernel_size: of the convolution.
        dilation: of the convolution.
    """

    channels: int
    kernel_size: int = 2
    dilation: int = 1

    @nn.compact
    def __call__(self, x: Array, past: Array, context: Array | None = None) -> tuple[Array, Array, Array]:
        """Map x [B, T, channels], its past and context [B, 1, C] to x, y and the past of what follows."""
        h, past = CausalConv(2 * self.channels, self.kernel_size, self.dilation)(x, past)
        if context is not None:
            h += Dense(2 * self.channels, use_bias=False)(context)
        filtered, gate = jnp.split(h, 2, -1)
        y = nn.tanh(filtered) * nn.sigmoid(gate)
        return x + Dense(self.channels)(y), y, past


class WaveNet(nn.Module):
    """Compute for each sample of a waveform the parameters of its distribution given those before it.

    It sees the last 1 + (K − 1)·Σ dilations of them. A context is seen by all blocks.

    See van den Oord et al. (2016), arXiv:1609.03499.

    Attributes:
        num_outputs: P, parameters of each conditional.
        dilations: of each block.
        channels: of the blocks.
        skip: channels of the sum of what the blocks give to the side.
        kernel_size: K.
    """

    num_outputs: int
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    channels: int = 32
    skip: int = 64
    kernel_size: int = 2

    def setup(self) -> None:
        """Make the layers."""
        self.inlet = Dense(self.channels)
        sizes = self.channels, self.kernel_size
        self.blocks = [GatedBlock(*sizes, dilation) for dilation in self.dilations]
        self.sides = [Dense(self.skip) for _ in self.dilations]
        self.hidden = Dense(self.skip)
        self.outlet = Dense(self.num_outputs, dtype=jnp.float32)

    def pasts(self, num: int) -> Pasts:
        """Return what is before waveforms, as `step` starts from it."""
        sizes = num, self.channels, self.kernel_size
        return tuple(empty_past(*sizes, dilation) for dilation in self.dilations)

    def __call__(self, x: Array, context: Array | None = None) -> Array:
        """Map waveforms [B, T] in [0, 1] and context [B, C] to [B, T, num_outputs]."""
        return self.run(delayed(2 * x[..., None] - 1), self.pasts(len(x)), context)[0]

    def step(self, before: Array, pasts: Pasts, context: Array | None = None) -> tuple[Array, Pasts]:
        """Map the sample before, [B, 1] in [-1, 1], to the parameters of the next one, [B, num_outputs]."""
        output, pasts = self.run(before[:, None], pasts, context)
        return output[:, 0], pasts

    def run(self, before: Array, pasts: Pasts, context: Array | None = None) -> tuple[Array, Pasts]:
        """Map samples [B, T, 1] to the parameters of those that follow, given what was before them."""
        h, skips, following = self.inlet(before), [], []
        c = None if context is None else context[:, None]
        for block, side, past in zip(self.blocks, self.sides, pasts, strict=True):
            h, y, past = block(h, past, c)
            skips.append(side(y))
            following.append(past)
        return self.outlet(nn.relu(self.hidden(nn.relu(sum(skips))))), tuple(following)
