"""The linear layers of Glow: normalization of channels that learns its scale, and their mixing."""

import jax.numpy as jnp
from flax import linen as nn
from jax.scipy.linalg import lu, solve_triangular

from jaxdl.nets.flows.bijector import Bijector
from jaxdl.types import Array


class ActNorm(Bijector):
    """Scale and shift each channel, at first to mean zero and unit variance over the first batch it sees.

    z = eˢ (x + b),  log |det ∂z/∂x| = H W Σ s

    See Kingma & Dhariwal (2018), "Glow", arXiv:1807.03039, section 3.1.
    """

    @nn.compact
    def scale_and_shift(self, x: Array) -> tuple[Array, Array]:
        """Return s and b [C]; a flow is initialized in its forward direction, from data x."""
        axes = tuple(range(x.ndim - 1))
        # These run on data within `init`, and never again: the params are then given.
        b = self.param("shift", lambda key: -x.mean(axes))
        s = self.param("log_scale", lambda key: -jnp.log(x.std(axes) + 1e-3))
        return s, b

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Normalize."""
        s, b = self.scale_and_shift(x)
        s_x, b_x = (row.reshape((1,) * (x.ndim - 1) + row.shape) for row in (s, b))
        return jnp.exp(s_x) * (x + b_x), jnp.full(len(x), s.sum() * num_pixels(x))

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Undo it: x = e⁻ˢ z − b."""
        s, b = self.scale_and_shift(z)
        s_x, b_x = (row.reshape((1,) * (z.ndim - 1) + row.shape) for row in (s, b))
        return jnp.exp(-s_x) * z - b_x, jnp.full(len(z), -s.sum() * num_pixels(z))


class InvertibleConv(Bijector):
    """Mix channels by a matrix that is kept as its PLU factors: an invertible 1x1 convolution.

    z = x W,  W = P L (U + diag(s)),  log |det ∂z/∂x| = H W Σ log |s|

    L is unit lower and U strictly upper triangular; P and the signs of s stay as they were at the start, when
    W was a random rotation. L, log |s| and U are one matrix of params, below, on and above its diagonal.

    See Kingma & Dhariwal (2018), "Glow", arXiv:1807.03039, section 3.2.
    """

    @nn.compact
    def factors(self, channels: int) -> tuple[Array, Array, Array, Array]:
        """Return P, L, U + diag(s) [C, C] and log |s| [C]."""
        start, shape = nn.initializers.orthogonal(), (channels, channels)
        w = start(self.make_rng("params"), shape) if self.is_initializing() else jnp.eye(channels)
        p_0, l_0, u_0 = lu(w)
        s_0 = jnp.diag(u_0)
        p = self.variable("constants", "permutation", lambda: p_0).value
        sign = self.variable("constants", "sign", lambda: jnp.sign(s_0)).value
        packed = jnp.tril(l_0, -1) + jnp.triu(u_0, 1) + jnp.diag(jnp.log(jnp.abs(s_0)))
        packed = self.param("factors", lambda key: packed)
        log_s = jnp.diag(packed)
        lower, upper = jnp.tril(packed, -1) + jnp.eye(channels), jnp.triu(packed, 1)
        return p, lower, upper + jnp.diag(sign * jnp.exp(log_s)), log_s

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Multiply by W."""
        p, lower, upper, log_s = self.factors(x.shape[-1])
        return jnp.dot(x, p @ lower @ upper), jnp.full(len(x), log_s.sum() * num_pixels(x))

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Multiply by W⁻¹ = (U + diag(s))⁻¹ L⁻¹ Pᵀ."""
        p, lower, upper, log_s = self.factors(z.shape[-1])
        inverse = solve_triangular(upper, solve_triangular(lower, p.T, lower=True, unit_diagonal=True))
        return jnp.dot(z, inverse), jnp.full(len(z), -log_s.sum() * num_pixels(z))


def num_pixels(x: Array) -> int:
    """Count the pixels of an image [B, H, W, C]; a vector [B, C] is one."""
    return x[0, ..., 0].size
