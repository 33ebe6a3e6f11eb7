"""Waveforms of an autoregressive net that remembers what its layers have still to see."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from jaxdl.learners.autoregressive import Apply, Conditionals, Draw, Sampler
from jaxdl.nets.wavenet import Pasts, WaveNet
from jaxdl.ops.pictures import image_grid, line_picture
from jaxdl.types import Array, Batch, Key, Picture


def sample_by_steps(
    net: WaveNet,
    conditionals: Conditionals,
    apply: Apply,
    key: Key,
    x: Array,
    places: Array | None = None,
    context: Array | None = None,
) -> Array:
    """Draw what `autoregressive.sample` draws from the same key, at the cost of one pass in all.

    What a layer has computed is kept for as long as a later sample sees it, so that none is computed twice.

    See Paine et al. (2016), "Fast Wavenet Generation Algorithm", arXiv:1611.09482.

    Args:
        net: whose steps are taken.
        conditionals: what the output means.
        apply: the net with its params.
        key: of the draws.
        x: [B, T]; what is not drawn stays as it is.
        places: [N] of the samples that are drawn, in rising order; by default all.
        context: [B, C], what the net is conditioned on, if anything.

    Returns:
        [B, T].
    """
    length = x.shape[1]
    drawn = jnp.ones(length, bool) if places is None else jnp.zeros(length, bool).at[places].set(True)
    keys = jax.random.split(key, length if places is None else len(places))

    def draw(state: tuple[Array, Pasts], now: tuple[Array, ...]) -> tuple[tuple[Array, Pasts], Array]:
        before, pasts = state
        given, is_drawn, key = now
        output, pasts = apply(before, pasts, context, method="step")
        x_t = jnp.where(is_drawn, conditionals.sample(key, output), given)
        return (2 * x_t[:, None] - 1, pasts), x_t

    start = jnp.zeros((len(x), 1)), net.pasts(len(x))
    return jax.lax.scan(draw, start, (x.T, drawn, keys[jnp.cumsum(drawn) - 1]))[1].T


def draw_waves(
    sampler: Sampler,
    to_wave: Callable[[Array], Array],
    examples: int = 8,
    copies: int = 2,
    shape: tuple[int, int] = (48, 192),
) -> Draw:
    """Draw examples beside samples of the same context, and beside ways in which their first half goes on.

    Args:
        sampler: as `partial(sample_by_steps, net, conditionals)`.
        to_wave: x [...] -> waveform [...] in [-1, 1].
        examples: rows.
        copies: columns beside the examples.
        shape: pixels of each curve, height and width.
    """

    def curve(x: Array) -> Array:
        points = jnp.stack([jnp.linspace(0, 1, len(x)), to_wave(x)], 1)
        return line_picture(points, jnp.array([0.0, -1.0]), jnp.ones(2), shape)[..., None]

    def draw(apply: Apply, batch: Batch, key: Key) -> Mapping[str, Picture]:
        key_samples, key_completions = jax.random.split(key)
        x, context = batch["x"][:examples], batch.get("context")
        repeated = jnp.repeat(x, copies, 0)
        given = None if context is None else jnp.repeat(context[:examples], copies, 0)

        def rows(drawn: Array) -> Array:
            cells = jnp.concatenate([x[:, None], drawn.reshape(len(x), copies, -1)], 1)
            return image_grid(jax.lax.map(curve, cells.reshape(-1, x.shape[1])), columns=1 + copies)

        half = jnp.arange(x.shape[1] // 2, x.shape[1])
        return {
            "samples": rows(sampler(apply, key_samples, repeated, None, given)),
            "completions": rows(sampler(apply, key_completions, repeated, half, given)),
        }

    return draw
