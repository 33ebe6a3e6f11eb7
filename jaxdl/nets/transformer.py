"""Decoder-only Transformer."""

import math
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.layers import Dense, flat, row_products
from jaxdl.ops.attention import attention
from jaxdl.types import Array


class Attention(nn.Module):
    """Attend to earlier positions with several heads: softmax(QKᵀ/√D + M)V, M = -∞ for later positions.

    See Vaswani et al. (2017), section 3.2.
    """

    num_heads: int
    out_std: float

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, T, D] to [B, T, D]."""
        init, width = nn.initializers.normal, x.shape[-1]
        # Dense and not DenseGeneral, whose bias has several axes: weight decay would take it for a matrix.
        qkv = flat(Dense(3 * width, kernel_init=init(0.02), name="qkv"), x)
        q, k, v = jnp.moveaxis(qkv.reshape(*x.shape[:2], 3, self.num_heads, -1), 2, 0)
        y = attention(q, k, v, causal=True).reshape(x.shape)
        return flat(Dense(width, kernel_init=init(self.out_std), name="out"), y)


class Block(nn.Module):
    """Add attention, then an MLP of four times the width, each after a layer norm."""

    num_heads: int
    dropout: float
    out_std: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """Map [B, T, D] to [B, T, D]."""
        init, width = nn.initializers.normal, x.shape[-1]
        drop = nn.Dropout(self.dropout, deterministic=not train)
        x = x + drop(Attention(self.num_heads, self.out_std)(nn.LayerNorm()(x)))
        h = nn.gelu(flat(Dense(4 * width, kernel_init=init(0.02)), nn.LayerNorm()(x)))
        return x + drop(flat(Dense(width, kernel_init=init(self.out_std)), h))


class Transformer(nn.Module):
    """Predict each next token from the tokens before it.

    See Vaswani et al. (2017) and Radford et al. (2019, GPT-2): layer norm before each part, learned
    positions, output weights tied to the embedding, residual projections started smaller by √(2·layers).

    Attributes:
        vocab_size: number of tokens.
        context: longest sequence T.
        num_layers: blocks.
        num_heads: heads of each attention.
        width: D.
        dropout: share of units dropped in training, after the embedding and each part of a block.
        remat: whether the backward pass computes each block anew from its input, so that memory holds the
            arrays of one block (Chen et al., 2016, arXiv:1604.06174); XLA saves none by it on CPU.
    """

    vocab_size: int
    context: int = 64
    num_layers: int = 4
    num_heads: int = 4
    width: int = 128
    dropout: float = 0.0
    remat: bool = False

    @nn.compact
    def __call__(self, tokens: Array, *, train: bool, head: bool = True) -> Any:
        """Map tokens [B, T] to logits of the next ones [B, T, vocab_size].

        Without the head, to vectors [B, T, D], of the type of computation, and the table [vocab_size, D] in
        float32: the logits are their products.
        """
        length = tokens.shape[-1]
        if length > self.context:
            raise ValueError(
                f"a sequence of {length} tokens exceeds context={self.context}; cut it, or raise that"
            )
        if self.width % self.num_heads:
            raise ValueError(
                f"width={self.width} does not divide into {self.num_heads} heads; give a multiple"
            )
        init = nn.initializers.normal(0.02)
        embed = nn.Embed(self.vocab_size, self.width, embedding_init=init)
        positions = self.param("positions", init, (self.context, self.width))
        x = embed(tokens) + positions[None, :length]
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        block = nn.remat(Block, static_argnums=2) if self.remat else Block
        for index in range(self.num_layers):
            out_std = 0.02 / math.sqrt(2 * self.num_layers)
            x = block(self.num_heads, self.dropout, out_std, name=f"Block_{index}")(x, train)
        x, table = nn.LayerNorm()(x), embed.embedding
        return row_products(x, table) if head else (x, table.astype(jnp.float32))
