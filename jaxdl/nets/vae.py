"""Encoder and decoders of a variational autoencoder."""

import math

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.flows import Autoregressive, Bijector, Chain, Reverse, affine
from jaxdl.nets.layers import Dense
from jaxdl.types import Array


def given(x: Array, context: Array | None) -> Array:
    """Flatten examples to vectors [B, D], each followed by what it is conditioned on."""
    parts = [x] if context is None else [x, context]
    return jnp.concatenate([part.reshape(len(part), -1) for part in parts], -1)


class Encoder(nn.Module):
    """Map data to the posterior q(z|x) = N(mean, diag(exp(log_std))²).

    See Kingma & Welling (2014), appendix C.2.

    Attributes:
        latent_dim: dimensions of z.
        hidden: widths of the hidden layers.
        features: of a third output, for a flow that bends the posterior; none for 0.
    """

    latent_dim: int
    hidden: tuple[int, ...] = (400,)
    features: int = 0

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None) -> tuple[Array, ...]:
        """Map [B, ...] to mean and log_std [B, latent_dim], and to h [B, features] where asked for."""
        h = given(x, context)
        for width in self.hidden:
            h = nn.relu(Dense(width)(h))
        mean = Dense(self.latent_dim, dtype=jnp.float32, name="mean")(h)
        log_std = Dense(self.latent_dim, dtype=jnp.float32, name="log_std")(h)
        return (mean, log_std, Dense(self.features)(h)) if self.features else (mean, log_std)


class BernoulliDecoder(nn.Module):
    """Map latents to the logits of p(x|z) = Bernoulli(σ(logits)).

    Attributes:
        shape: of one example.
        hidden: widths of the hidden layers.
    """

    shape: tuple[int, ...]
    hidden: tuple[int, ...] = (400,)

    @nn.compact
    def __call__(self, z: Array, context: Array | None = None) -> Array:
        """Map [B, latent_dim] to logits [B, *shape]."""
        h = given(z, context)
        for width in self.hidden:
            h = nn.relu(Dense(width)(h))
        return Dense(math.prod(self.shape), dtype=jnp.float32)(h).reshape(-1, *self.shape)


class GaussianDecoder(nn.Module):
    """Map latents to p(x|z) = N(mean, σ²), or a logistic one, with one learned σ for all pixels.

    A σ that is learned balances reconstruction and KL by itself; see Rybkin, Daniilidis & Levine (2021).

    Attributes:
        shape: of one example.
        hidden: widths of the hidden layers.
    """

    shape: tuple[int, ...]
    hidden: tuple[int, ...] = (400,)

    @nn.compact
    def __call__(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Map [B, latent_dim] to mean and log_std [B, *shape]."""
        mean = BernoulliDecoder(self.shape, self.hidden)(z, context)
        # From a spread of 0.14: Adam moves a single number slowly, and images in [0, 1] need no more.
        log_std = self.param("log_std", nn.initializers.constant(-2.0), ())
        return mean, jnp.full(mean.shape, log_std, jnp.float32)


def inverse_autoregressive(layers: int, hidden: tuple[int, ...]) -> Bijector:
    """Build a flow that bends a Gaussian posterior, one pass a layer, the order of variables reversed after.

    z_t = σ_t ⊙ z_{t−1} + m_t,  with m_t and σ_t of variable d functions of h and of those before d in z_{t−1}

    It is autoregressive in the direction of sampling: of the noise that it is given, not of what it returns.
    Densities are asked of its own draws only, so that its inverse is never taken.

    See Kingma et al. (2016), arXiv:1606.04934.

    Args:
        layers: T.
        hidden: widths of the hidden layers of each MADE.
    """
    pairs = ((Autoregressive(affine(), hidden), Reverse()) for _ in range(layers))
    return Chain(tuple(layer for pair in pairs for layer in pair))


class Inpainter(nn.Module):
    """Decode what is hidden of a binary image; what is seen is certain, so that p(x|z) tells nothing of it.

    Attributes:
        decoder: z [B, latent_dim], context -> logits [B, H, W, C].
    """

    decoder: nn.Module

    @nn.compact
    def __call__(self, z: Array, context: Array) -> Array:
        """Map [B, latent_dim] to logits [B, H, W, C].

        The context [B, H, W, 2C] is the pixels, 0 where they are hidden, beside the mask of them, 1 = seen.
        """
        seen, mask = jnp.split(context.astype(jnp.float32), 2, -1)
        return jnp.where(mask > 0, 60 * seen - 30, self.decoder(z, context))
