"""Masked autoencoder for distribution estimation: a net each of whose outputs sees earlier inputs only.

Unit k of layer l has a degree m^l(k), and those of the inputs are their places 1 … D in the order. A hidden
unit sees inputs of degree ≤ its own, an output inputs of lower degree only:

    M^l[k', k] = 1[m^{l−1}(k') ≤ m^l(k)],  M^out[k, d] = 1[m^L(k) < m^0(d)]
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from jaxdl.nets.layers import Dense
from jaxdl.ops.encoding import fourier_features
from jaxdl.types import Array, Key

Degrees = tuple[Array, ...]  # m^0 [D] and those of each hidden layer


def even_degrees(num_inputs: int, hidden: tuple[int, ...]) -> Degrees:
    """Return the degrees of the natural order, those of hidden units spread evenly over 1 … D − 1.

    Args:
        num_inputs: D.
        hidden: widths of the hidden layers.
    """
    spread = max(num_inputs - 1, 1)
    return jnp.arange(num_inputs) + 1, *(jnp.arange(width) * spread // width + 1 for width in hidden)


def random_degrees(key: Key, num_inputs: int, hidden: tuple[int, ...], *, shuffle: bool = True) -> Degrees:
    """Draw degrees, and with them masks and order: for training with several, key = fold_in(key, step mod n).

    m^l(k) ~ U{min_k' m^{l−1}(k'), …, D − 1}, so that no unit is cut off

    See Germain et al. (2015), sections 4.1 and 4.2.

    Args:
        key: of the draw.
        num_inputs: D.
        hidden: widths of the hidden layers.
        shuffle: whether the order is drawn too, or the natural one.
    """
    key_order, *keys = jax.random.split(key, 1 + len(hidden))
    order = jnp.arange(num_inputs) + 1
    degrees, lowest = [jax.random.permutation(key_order, order) if shuffle else order], jnp.ones((), int)
    for key_layer, width in zip(keys, hidden, strict=True):
        degrees.append(jax.random.randint(key_layer, (width,), lowest, max(num_inputs, 2)))
        lowest = degrees[-1].min()
    return tuple(degrees)


class MaskedDense(nn.Module):
    """Map linearly through the weights that a mask leaves: y = x (W ⊙ M) + b, or without b."""

    features: int
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    dtype: Any = None
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> Array:
        """Map [B, D] to [B, features]; the mask is [D, features], 1 = keep."""
        shape = x.shape[-1], self.features
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros, shape[1:]) if self.use_bias else None
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        y: Array = x @ (kernel * mask)
        return y if bias is None else y + bias[None]


class MADE(nn.Module):
    """Compute for each variable d the parameters of p(x_d | x_1 … x_{d−1}) in one pass.

    Without hidden layers it is a fully visible sigmoid belief net. A context is seen by all units.

    See Germain, Gregor, Murray & Larochelle (2015), arXiv:1502.03509.

    Attributes:
        num_outputs: P, parameters of each conditional.
        hidden: widths of the hidden layers.
        octaves: of `fourier_features` of the input.
        final_init: initializer of the last layer's weights.
        direct: whether outputs see the inputs past the hidden layers too.
    """

    num_outputs: int = 1
    hidden: tuple[int, ...] = (500,)
    octaves: int = 0
    final_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    direct: bool = False

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, degrees: Degrees | None = None) -> Array:
        """Map [B, ...] and context [B, C] to [B, ..., num_outputs], by the even degrees or those given."""
        flat = x.reshape(len(x), -1)
        first, *inner = even_degrees(flat.shape[-1], self.hidden) if degrees is None else degrees
        h, seen = fourier_features(flat, self.octaves), jnp.tile(first, 1 + 2 * self.octaves)
        for width, degree in zip(self.hidden, inner, strict=True):
            h = MaskedDense(width)(h, seen[:, None] <= degree[None])
            h = nn.relu(h if context is None else h + Dense(width, use_bias=False)(context))
            seen = degree
        last = jnp.repeat(first, self.num_outputs)
        final = partial(MaskedDense, len(last), self.final_init, jnp.float32)
        y = final()(h, seen[:, None] < last[None])
        if self.direct:
            y += final(use_bias=False)(flat, first[:, None] < last[None])
        if context is not None:
            y += Dense(len(last), use_bias=False, kernel_init=self.final_init, dtype=jnp.float32)(context)
        return y.reshape(*x.shape, self.num_outputs)
