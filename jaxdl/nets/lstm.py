"""Recurrent language model."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.layers import Dense, flat, row_products
from jaxdl.ops.recurrent import lstm
from jaxdl.types import Array, Key


class LSTM(nn.Module):
    """Predict each next token from the tokens before it, by layers of LSTMs.

    See Hochreiter & Schmidhuber (1997); Gers, Schmidhuber & Cummins (2000); layers and dropout between them:
    Zaremba, Sutskever & Vinyals (2014), arXiv:1409.2329.

    Attributes:
        vocab_size: number of tokens.
        num_layers: LSTMs, each on top of the one before.
        width: D, of the embedding and of each layer.
        dropout: share of units dropped in training, after each layer; never from one step to the next.
        tied: whether the output weights are the embedding's (Press & Wolf, 2017, arXiv:1608.05859).
        forget_bias: of the forget gates at the start; above 0, memory lasts from the first step of training
            on (Jozefowicz, Zaremba & Sutskever, 2015).
    """

    vocab_size: int
    num_layers: int = 2
    width: int = 256
    dropout: float = 0.0
    tied: bool = False
    forget_bias: float = 1.0

    @nn.compact
    def __call__(self, tokens: Array, *, train: bool, head: bool = True) -> Any:
        """Map tokens [B, T] to logits of the next ones [B, T, vocab_size].

        Without the head, to vectors [B, T, D], of the type of computation, and the table [vocab_size, D] in
        float32: the logits are their products.
        """
        init, width = nn.initializers.lecun_normal, self.width
        embed = nn.Embed(self.vocab_size, width, embedding_init=nn.initializers.normal(width**-0.5))
        x = embed(tokens.T)  # [T, B, D]: no layer has to turn it
        for layer in range(self.num_layers):
            bias_init = partial(open_gates, self.forget_bias)
            project = Dense(4 * width, bias_init=bias_init, name=f"inputs_{layer}")
            if layer == 0 and self.vocab_size <= tokens.size:
                z = project(embed.embedding)[tokens.T]  # the same, but each token of the vocabulary only once
            else:
                z = flat(project, x)
            kernel = self.param(f"kernel_{layer}", init(), (width, 4 * width))
            x = lstm(z, kernel)
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        table = embed.embedding if self.tied else self.param("head", init(-1, -2), (self.vocab_size, width))
        x = x.swapaxes(0, 1)
        return row_products(x, table) if head else (x, table.astype(jnp.float32))


def open_gates(forget_bias: float, key: Key, shape: tuple[int, ...], dtype: Any) -> Array:
    """Initialise the biases [4H] of the gates: those that forget, in the second block, with a number."""
    return jnp.zeros((4, shape[0] // 4), dtype).at[1].set(forget_bias).reshape(shape)
