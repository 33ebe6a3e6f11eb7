"""The contract that the layers of a normalizing flow keep, and the ways to put them together."""

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.types import Array


class Bijector(nn.Module):
    """Map data to latents, z = f(x), invertibly, and tell how much it stretches volume.

    log p(x) = log p_z(f(x)) + log |det ∂f/∂x|

    Arrays have a leading batch axis, each example keeps its shape, and log-determinants are one per example.
    A flow is itself a Bijector. Sampling is `inverse_and_log_det` of z ~ N(0, T²I), T the temperature.

    See Rezende & Mohamed (2015), arXiv:1505.05770; Papamakarios et al. (2021), arXiv:1912.02762.
    """

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Map data to latents.

        Args:
            x: [B, ...].
            context: [B, ...], what f is conditioned on, if anything.

        Returns:
            z [B, ...] of the same shape, and log |det ∂z/∂x| [B].
        """
        raise NotImplementedError

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Map latents to data.

        Args:
            z: [B, ...].
            context: [B, ...], as in the forward map.

        Returns:
            x [B, ...] of the same shape, and log |det ∂x/∂z| [B].
        """
        raise NotImplementedError

    def __call__(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Map data to latents, so that `init` and `apply` need not name the method."""
        return self.forward_and_log_det(x, context)


class Chain(Bijector):
    """Compose: f = f_K ∘ ⋯ ∘ f_1, log |det ∂f/∂x| = Σ_k log |det ∂f_k|."""

    layers: tuple[Bijector, ...]

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Apply the layers from first to last."""
        total = jnp.zeros(len(x))
        for layer in self.layers:
            x, log_det = layer.forward_and_log_det(x, context)
            total += log_det
        return x, total

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Undo the layers from last to first."""
        total = jnp.zeros(len(z))
        for layer in reversed(self.layers):
            z, log_det = layer.inverse_and_log_det(z, context)
            total += log_det
        return z, total


class Inverse(Bijector):
    """Swap the two directions of a bijector: what was fast in one becomes fast in the other."""

    bijector: Bijector

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Apply the inverse."""
        return self.bijector.inverse_and_log_det(x, context)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Apply the forward map."""
        return self.bijector.forward_and_log_det(z, context)


class Reverse(Bijector):
    """Reverse the last axis, so that the variables take turns."""

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Reverse; a permutation keeps volume."""
        return x[..., ::-1], jnp.zeros(len(x))

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Reverse again."""
        return z[..., ::-1], jnp.zeros(len(z))


class Flat(Bijector):
    """Give a bijector of vectors the pixels of an image as one vector."""

    bijector: Bijector

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Map [B, H, W, C] as [B, H·W·C]."""
        z, log_det = self.bijector.forward_and_log_det(x.reshape(len(x), -1), context)
        return z.reshape(x.shape), log_det

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Map back."""
        x, log_det = self.bijector.inverse_and_log_det(z.reshape(len(z), -1), context)
        return x.reshape(z.shape), log_det
