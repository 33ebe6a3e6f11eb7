"""Autoregressive flows: each variable is mapped given those before it."""

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.flows.bijector import Bijector
from jaxdl.nets.flows.elementwise import Elementwise
from jaxdl.nets.made import MADE
from jaxdl.types import Array


class Autoregressive(Bijector):
    """Map each variable by a family whose parameters MADE computes from those before it.

    z_d = h(x_d; β_d(x_1 … x_{d−1})),  log |det ∂z/∂x| = Σ_d log ∂h/∂x_d

    One pass maps data to latents; back it takes D passes, one for each variable. This is the masked
    autoregressive flow; its `Inverse` samples in one pass and is the inverse autoregressive flow.

    See Papamakarios, Pavlakou & Murray (2017), arXiv:1705.07057; Kingma et al. (2016), arXiv:1606.04934.

    Attributes:
        transform: h.
        hidden: widths of the hidden layers of MADE.
        octaves: of `fourier_features` of its input.
    """

    transform: Elementwise
    hidden: tuple[int, ...] = (64, 64)
    octaves: int = 0

    def setup(self) -> None:
        """Make the net, which starts at zero, where h is the identity."""
        self.net = MADE(self.transform.num_params, self.hidden, self.octaves, nn.initializers.zeros)

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Map all variables at once."""
        z, log_slope = self.transform.forward(x, self.net(x, context))
        return z, log_slope.sum(-1)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Find the variables one after the other, in one compiled loop."""

        def find(net: MADE, found: tuple[Array, Array], d: Array) -> tuple[tuple[Array, Array], None]:
            x, log_slope = found
            now = (jnp.arange(z.shape[-1]) == d)[None]
            x_d, log_slope_d = self.transform.inverse(z, net(x, context))
            return (jnp.where(now, x_d, x), jnp.where(now, log_slope_d, log_slope)), None

        scan = nn.scan(find, variable_broadcast="params", split_rngs={"params": False})
        nothing = jnp.zeros_like(z), jnp.zeros_like(z)
        (x, log_slope), _ = scan(self.net, nothing, jnp.arange(z.shape[-1]))
        return x, log_slope.sum(-1)
