"""Variational recurrent net: a latent for each step of a sequence, its prior told by the steps before.

Nets of latent sequences map x [B, T, D], context [B, T, C] or None, and noise [B, T, latent_dim] to a
`LatentPath`, and have three methods that generate: `start`, `draw` and `update`.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.causal_conv import delayed
from jaxdl.nets.layers import Dense
from jaxdl.types import Array


class Normal(NamedTuple):
    """Independent normal variables."""

    mean: Array
    log_std: Array

    def draw(self, noise: Array) -> Array:
        """Return μ + σ ε."""
        return self.mean + jnp.exp(self.log_std) * noise


class LatentPath(NamedTuple):
    """Draws z_t ~ q(z_t|x_≤t, z_<t), what they are drawn from and what they lead to, [B, T, …] each."""

    z: Array
    output: Array  # the parameters of p(x_t|z_≤t, x_<t)
    posterior: Normal  # q(z_t|x_≤t, z_<t)
    prior: Normal  # p(z_t|x_<t, z_<t)


def joined(*parts: Array | None) -> Array:
    """Concatenate channels, those that are there."""
    return jnp.concatenate([part for part in parts if part is not None], -1)


class NormalHead(nn.Module):
    """Map features to independent normal variables, by one hidden layer."""

    num: int
    width: int

    @nn.compact
    def __call__(self, h: Array) -> Normal:
        """Map [..., D] to mean and log_std [..., num]."""
        h = nn.relu(Dense(self.width)(h))
        return Normal(*jnp.split(Dense(2 * self.num, dtype=jnp.float32)(h), 2, -1))


class VRNN(nn.Module):
    """Compute a VAE for each step, all parts of which see the state of a recurrent net.

    p(z_t|h_{t−1}) = N(μ_p, σ_p²),  q(z_t|x_t, h_{t−1}) = N(μ_q, σ_q²),  p(x_t|z_t, h_{t−1})
    h_t = GRU(h_{t−1}; φ(x_t), φ(z_t), c_t)

    All of them see the context c_t, of the step that is drawn.

    See Chung et al. (2015), arXiv:1506.02216; c: Aksan, Pece & Hilliges (2018), "DeepWriting",
    arXiv:1801.08379.

    Attributes:
        num_outputs: P, parameters of p(x_t|z_t, h_{t−1}).
        latent_dim: dimensions of z_t.
        width: of h and of the hidden layers.
    """

    num_outputs: int
    latent_dim: int = 16
    width: int = 128

    def setup(self) -> None:
        """Make the nets."""
        self.x_features, self.z_features = Dense(self.width), Dense(self.width)
        self.prior = NormalHead(self.latent_dim, self.width)
        self.posterior = NormalHead(self.latent_dim, self.width)
        self.hidden, self.outlet = Dense(self.width), Dense(self.num_outputs, dtype=jnp.float32)
        self.recurrence = nn.GRUCell(self.width)

    def __call__(self, x: Array, context: Array | None, noise: Array) -> LatentPath:
        """Map x [B, T, D], context [B, T, C] and noise [B, T, latent_dim] to draws of the posterior."""

        def step(net: VRNN, h: Array, now: Any) -> tuple[Array, LatentPath]:
            x_t, context_t, noise_t = now
            prior = net.prior(joined(h, context_t))
            posterior = net.posterior(joined(nn.relu(net.x_features(x_t)), h, context_t))
            z_t = posterior.draw(noise_t)
            path = LatentPath(z_t, net.decode(h, z_t, context_t), posterior, prior)
            return net.update(h, x_t, z_t, context_t), path

        scan = nn.scan(step, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1)
        path: LatentPath = scan(self, self.start(len(x)), (x, context, noise))[1]
        return path

    def decode(self, h: Array, z_t: Array, context_t: Array | None) -> Array:
        """Map a latent to the parameters of x_t."""
        hidden = self.hidden(joined(nn.relu(self.z_features(z_t)), h, context_t))
        return self.outlet(nn.relu(hidden))

    def start(self, num: int) -> Array:
        """Return h_0 of `num` sequences."""
        return jnp.zeros((num, self.width))

    def draw(self, h: Array, context_t: Array | None, noise_t: Array) -> tuple[Array, Array]:
        """Draw z_t from the prior; return the parameters of x_t, and z_t."""
        z_t = self.prior(joined(h, context_t)).draw(noise_t)
        return self.decode(h, z_t, context_t), z_t

    def update(self, h: Array, x_t: Array, z_t: Array, context_t: Array | None) -> Array:
        """Return h_t."""
        seen = joined(nn.relu(self.x_features(x_t)), nn.relu(self.z_features(z_t)), context_t)
        return self.recurrence(h, seen)[0]


class StyleEncoder(nn.Module):
    """Tell what a whole sequence has in common: q(s|x, c), from features averaged over its steps.

    See Aksan, Pece & Hilliges (2018), "DeepWriting", arXiv:1801.08379.
    """

    num: int
    width: int = 128

    @nn.compact
    def __call__(self, x: Array, context: Array | None, mask: Array) -> Normal:
        """Map x [B, T, D], context [B, T, C] and mask [B, T] to mean and log_std [B, num]."""
        h = joined(x, context)
        features = nn.relu(Dense(self.width)(joined(h, delayed(h), delayed(delayed(h)))))
        weight = mask / jnp.maximum(mask.sum(1, keepdims=True), 1)
        return NormalHead(self.num, self.width)((features * weight[..., None]).sum(1))
