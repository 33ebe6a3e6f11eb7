"""Stochastic temporal convolutional net: a ladder of latents for each step, over dilated convolutions."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.causal_conv import delayed, empty_past
from jaxdl.nets.layers import Dense
from jaxdl.nets.vrnn import LatentPath, Normal, NormalHead, joined
from jaxdl.nets.wavenet import GatedBlock, Pasts
from jaxdl.types import Array

State = tuple[tuple[Array, ...], Pasts]  # d_{t−1} of each layer, and what the convolutions have still to see


def weighted(a: Normal, b: Normal) -> Normal:
    """Multiply two normal densities, and normalize: their means weighted by their precisions.

    σ² = 1/(σ_a⁻² + σ_b⁻²),  μ = σ² (μ_a σ_a⁻² + μ_b σ_b⁻²)

    See Sønderby et al. (2016), "Ladder Variational Autoencoders", arXiv:1602.02282.
    """
    share = jax.nn.sigmoid(2 * (b.log_std - a.log_std))  # σ² σ_a⁻²
    log_std = -0.5 * jnp.logaddexp(-2 * a.log_std, -2 * b.log_std)
    return Normal(share * a.mean + (1 - share) * b.mean, log_std)


class STCN(nn.Module):
    """Compute latents z_t^1 … z_t^L of each step, z_t^L first, from the layers d_t^l of a causal net.

    p(z_t^l|d_{t−1}^l, z_t^{l+1}) = N(μ_p, σ_p²)
    q(z_t^l|d_t^l, z_t^{l+1}) ∝ N(μ̂, σ̂²) N(μ_p, σ_p²),  p(x_t|z_t^1 … z_t^L)

    What is carried from step to step is what the convolutions see: a sequence is one pass, and not a loop.
    All parts see the context, of the step that is drawn.

    See Aksan & Hilliges (2019), arXiv:1902.06568.

    Attributes:
        num_outputs: P, parameters of p(x_t|z_t).
        latent_dims: dimensions of z^1 … z^L.
        dilations: of the blocks below each z^l; they see the last 1 + Σ dilations steps.
        channels: of the blocks.
        width: of the hidden layers.
    """

    num_outputs: int
    latent_dims: tuple[int, ...] = (16, 8, 4)
    dilations: tuple[tuple[int, ...], ...] = ((1, 2), (4, 8), (16, 32))
    channels: int = 64
    width: int = 128

    @property
    def latent_dim(self) -> int:
        """Dimensions of all latents of a step."""
        return sum(self.latent_dims)

    def setup(self) -> None:
        """Make the nets."""
        if len(self.latent_dims) != len(self.dilations):
            counts = f"{len(self.latent_dims)} latent_dims and {len(self.dilations)} groups of dilations"
            raise ValueError(f"there are {counts}; give one of each for a layer")
        self.inlet = Dense(self.channels)
        self.layers = [[GatedBlock(self.channels, 2, gap) for gap in gaps] for gaps in self.dilations]
        self.priors = [NormalHead(num, self.width) for num in self.latent_dims]
        self.posteriors = [NormalHead(num, self.width) for num in self.latent_dims]
        self.hidden, self.outlet = Dense(self.width), Dense(self.num_outputs, dtype=jnp.float32)

    def __call__(self, x: Array, context: Array | None, noise: Array) -> LatentPath:
        """Map x [B, T, D], context [B, T, C] and noise [B, T, latent_dim] to draws of the posterior."""
        seen, _ = self.convolve(x, context, self.start(len(x))[1])
        return self.descend(tuple(map(delayed, seen)), context, noise, seen)

    def convolve(self, x: Array, context: Array | None, pasts: Pasts) -> tuple[tuple[Array, ...], Pasts]:
        """Map x [B, T, D] and context [B, T, C] after their pasts to d^1 … d^L, [B, T, channels] each."""
        h, seen, following = self.inlet(joined(x, context)), [], []
        before = iter(pasts)
        for blocks in self.layers:
            for block in blocks:
                h, _, past = block(h, next(before))
                following.append(past)
            seen.append(h)
        return tuple(seen), tuple(following)

    def descend(
        self,
        before: tuple[Array, ...],
        context: Array | None,
        noise: Array,
        seen: tuple[Array, ...] | None = None,
    ) -> LatentPath:
        """Draw z^L, then those below it: from the posterior where d_t is given, or else from the prior."""
        paths: list[tuple[Array, Normal, Normal]] = []
        z, start = None, self.latent_dim
        for level in reversed(range(len(self.latent_dims))):
            start -= self.latent_dims[level]
            own_noise = noise[..., start : start + self.latent_dims[level]]
            prior = posterior = self.priors[level](joined(before[level], z, context))
            if seen is not None:
                posterior = weighted(self.posteriors[level](joined(seen[level], z, context)), prior)
            z = posterior.draw(own_noise)
            paths.insert(0, (z, posterior, prior))
        latents, posterior, prior = jax.tree.map(lambda *leaves: joined(*leaves), *paths)
        output = self.outlet(nn.relu(self.hidden(joined(latents, context))))
        return LatentPath(latents, output, posterior, prior)

    def start(self, num: int) -> State:
        """Return d_0 and what was before `num` sequences."""
        pasts = tuple(empty_past(num, self.channels, 2, gap) for gaps in self.dilations for gap in gaps)
        return tuple(jnp.zeros((num, self.channels)) for _ in self.latent_dims), pasts

    def draw(self, state: State, context_t: Array | None, noise_t: Array) -> tuple[Array, Array]:
        """Draw z_t from the prior; return the parameters of x_t, and z_t."""
        path = self.descend(state[0], context_t, noise_t)
        return path.output, path.z

    def update(self, state: State, x_t: Array, z_t: Array, context_t: Array | None) -> State:
        """Return d_t and what the convolutions have still to see; z_t leaves no trace."""
        context = None if context_t is None else context_t[:, None]
        seen, pasts = self.convolve(x_t[:, None], context, state[1])
        return tuple(d[:, 0] for d in seen), pasts
