"""Multilayer perceptron."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.layers import Dense
from jaxdl.types import Array


class MLP(nn.Module):
    """Map a flattened example through dense layers: f = W_L σ(W_{L-1} ⋯ σ(W_1 x)) with biases.

    See Rumelhart, Hinton & Williams (1986).

    Attributes:
        features: width of the output; None for one number instead of an array, as a critic gives it.
        hidden: widths of the hidden layers.
        act: σ.
        dropout: share of hidden units dropped in training (Srivastava et al., 2014).
    """

    features: int | None
    hidden: tuple[int, ...] = (256, 256)
    act: Callable[[Array], Array] = nn.relu
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Map [B, ...] to [B, features], or to [B]."""
        x = x.reshape(len(x), -1)
        for width in self.hidden:
            x = self.act(Dense(width)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = Dense(self.features or 1, dtype=jnp.float32)(x)
        return x[:, 0] if self.features is None else x
