"""Encoder and decoders of a variational autoencoder."""

import math

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.types import Array


class Encoder(nn.Module):
    """Map data to the posterior q(z|x) = N(mean, diag(exp(log_std))²).

    See Kingma & Welling (2014), appendix C.2.

    Attributes:
        latent_dim: dimensions of z.
        hidden: widths of the hidden layers.
    """

    latent_dim: int
    hidden: tuple[int, ...] = (400,)

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Map [B, ...] to mean and log_std [B, latent_dim]."""
        h = x.reshape(len(x), -1)
        for width in self.hidden:
            h = nn.relu(nn.Dense(width)(h))
        mean = nn.Dense(self.latent_dim, dtype=jnp.float32, name="mean")(h)
        log_std = nn.Dense(self.latent_dim, dtype=jnp.float32, name="log_std")(h)
        return mean, log_std


class BernoulliDecoder(nn.Module):
    """Map latents to the logits of p(x|z) = Bernoulli(σ(logits)).

    Attributes:
        shape: of one example.
        hidden: widths of the hidden layers.
    """

    shape: tuple[int, ...]
    hidden: tuple[int, ...] = (400,)

    @nn.compact
    def __call__(self, z: Array) -> Array:
        """Map [B, latent_dim] to logits [B, *shape]."""
        h = z
        for width in self.hidden:
            h = nn.relu(nn.Dense(width)(h))
        return nn.Dense(math.prod(self.shape), dtype=jnp.float32)(h).reshape(-1, *self.shape)


class GaussianDecoder(nn.Module):
    """Map latents to p(x|z) = N(mean, σ²), with one learned σ for all pixels.

    A σ that is learned balances reconstruction and KL by itself; see Rybkin, Daniilidis & Levine (2021).

    Attributes:
        shape: of one example.
        hidden: widths of the hidden layers.
    """

    shape: tuple[int, ...]
    hidden: tuple[int, ...] = (400,)

    @nn.compact
    def __call__(self, z: Array) -> tuple[Array, Array]:
        """Map [B, latent_dim] to mean and log_std [B, *shape]."""
        mean = BernoulliDecoder(self.shape, self.hidden)(z)
        # From a spread of 0.14: Adam moves a single number slowly, and images in [0, 1] need no more.
        log_std = self.param("log_std", nn.initializers.constant(-2.0), ())
        return mean, jnp.full(mean.shape, log_std, jnp.float32)
