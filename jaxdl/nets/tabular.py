"""The autoregressive model that assumes nothing: a table, a parameter for each beginning of an example."""

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxdl.types import Array


class Tabular(nn.Module):
    """Look up the logit of p(x_d = 1 | x_1 … x_{d−1}) of binary examples.

    Beginnings are nodes of a binary tree, numbered as in a heap: n_1 = 1, n_{d+1} = 2 n_d + x_d. There are
    2^{d−1} of length d − 1, so that the table has Σ_{d=1}^D 2^{d−1} = 2^D − 1 parameters.
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, ...] in {0, 1} to logits [B, ..., 1]."""
        bits = x.reshape(len(x), -1).astype(jnp.int32)
        d = np.arange(bits.shape[1])
        table = self.param("logits", nn.initializers.zeros, (2 ** len(d) - 1,))
        weight = np.where(d[:, None] < d, 2 ** np.maximum(d - 1 - d[:, None], 0), 0)
        node = 2 ** d[None] + bits @ weight  # n_{d+1} = 2^d + Σ_{e≤d} 2^{d−e} x_e
        return table.astype(jnp.float32)[node - 1].reshape(*x.shape, 1)
