"""Neural autoregressive distribution estimator, of binary and of real data."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl.types import Array, Key

Weights = tuple[Array, ...]


class NADE(nn.Module):
    """Compute the parameters of all p(x_d | x_1 … x_{d−1}), whose hidden layers share a sum.

    h_d = g(ρ_d a_d),  a_d = c + Σ_{e<d} W_e x_e,  so that a_{d+1} = a_d + W_d x_d;  output_d = V_d h_d + b_d

    In this way all D outputs cost O(D H), as much as one hidden layer does; so do all draws of a sample. With
    g = σ and one logit it is NADE; with ReLU, the scales ρ and mixtures of normals it is RNADE.

    See Larochelle & Murray (2011); Uria, Murray & Larochelle (2013), arXiv:1306.0186.

    Attributes:
        num_outputs: P, parameters of each conditional.
        width: H.
        activation: g.
        scaled: whether ρ is learned, or 1.
    """

    num_outputs: int = 1
    width: int = 500
    activation: Callable[[Array], Array] = nn.sigmoid
    scaled: bool = False

    @nn.compact
    def weights(self, size: int) -> tuple[Array, Weights]:
        """Return c [H]; and W [D, H], ρ [D], V [D, H, P], b [D, P]. The sum a is kept in float32."""
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        # Of c + W x, D inputs; of V_d h, H inputs.
        kernel = nn.initializers.lecun_normal()
        each = nn.initializers.lecun_normal(in_axis=1, out_axis=2, batch_axis=0)
        shape = size, self.width, self.num_outputs
        c, w = self.param("c", zeros, shape[1:2]), self.param("W", kernel, shape[:2])
        rho = self.param("rho", ones, shape[:1]) if self.scaled else jnp.ones(size)
        v, b = self.param("V", each, shape), self.param("b", zeros, (size, self.num_outputs))
        return c.astype(jnp.float32), tuple(leaf.astype(jnp.float32) for leaf in (w, rho, v, b))

    def output(self, a: Array, weights: Weights) -> Array:
        """Return the parameters [B, P] of the conditional of a variable, whose weights are given."""
        _, rho, v, b = weights
        return self.activation(rho * a) @ v + b[None]

    def __call__(self, x: Array) -> Array:
        """Map [B, ...] to [B, ..., P], of the variables in the order in which x is flattened."""
        x_flat = x.reshape(len(x), -1).astype(jnp.float32)
        c, weights = self.weights(x_flat.shape[1])

        # Not kept for the gradient, which would take B D H numbers: a_d alone is as large.
        @jax.checkpoint
        def step(a: Array, now: tuple[Array, Weights]) -> tuple[Array, Array]:
            x_d, weights_d = now
            return a + x_d[:, None] * weights_d[0][None], self.output(a, weights_d)

        start = jnp.tile(c, (len(x), 1))
        outputs = jax.lax.scan(step, start, (x_flat.T, weights))[1]
        return outputs.swapaxes(0, 1).reshape(*x.shape, self.num_outputs)

    def sample(self, key: Key, x: Array, places: Array | None, draw: Callable[[Key, Array], Array]) -> Array:
        """Draw variables one after the other in one pass: as the D passes of the learner's `sample` do.

        Args:
            key: of the draws.
            x: [B, ...]; what is not drawn stays as it is.
            places: [N] of the variables that are drawn, in rising order; all by default.
            draw: key, output [B, P] -> x_d [B].

        Returns:
            [B, ...].
        """
        x_flat = x.reshape(len(x), -1).astype(jnp.float32)
        size = x_flat.shape[1]
        c, weights = self.weights(size)
        places = jnp.arange(size) if places is None else places
        drawn = jnp.zeros(size, bool).at[places].set(True)
        keys = jax.random.split(key, len(places))[jnp.cumsum(drawn) - 1]

        def step(a: Array, now: tuple[Array, Array, Key, Weights]) -> tuple[Array, Array]:
            x_d, drawn_d, key_d, weights_d = now
            x_d = jnp.where(drawn_d, draw(key_d, self.output(a, weights_d)), x_d)
            return a + x_d[:, None] * weights_d[0][None], x_d

        start = jnp.tile(c, (len(x), 1))
        return jax.lax.scan(step, start, (x_flat.T, drawn, keys, weights))[1].T.reshape(x.shape)
