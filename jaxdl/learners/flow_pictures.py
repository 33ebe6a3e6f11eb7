"""What a person would look at of a flow: functions of the flow, its params bound, a batch and a key."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import jax
import jax.numpy as jnp

from jaxdl.nets.flows import Bijector
from jaxdl.ops.pictures import image_grid, scatter_picture
from jaxdl.types import Array, Batch, Key, Picture

Draw: TypeAlias = Callable[[Bijector, Batch, Key], Mapping[str, Picture]]


def sample(
    flow: Bijector, key: Key, shape: tuple[int, ...], context: Array | None = None, temperature: float = 1.0
) -> Array:
    """Draw x = f⁻¹(z), z ~ N(0, T² I), of a shape [B, ...]; a low temperature T gives likely ones.

    See Kingma & Dhariwal (2018), arXiv:1807.03039.
    """
    return flow.inverse_and_log_det(temperature * jax.random.normal(key, shape), context)[0]


def draw_samples(
    to_image: Callable[[Array], Array] = lambda x: x,
    num: int = 64,
    temperatures: tuple[float, ...] = (1.0, 0.7),
) -> Draw:
    """Draw samples of images, the same latents at each temperature.

    Args:
        to_image: [B, ...] -> images [B, H, W, C] in [0, 1].
        num: samples of a picture.
        temperatures: of the pictures.
    """

    def draw(flow: Bijector, batch: Batch, key: Key) -> Mapping[str, Picture]:
        shape = (num, *batch["x"].shape[1:])
        return {
            f"samples at temperature {t:g}": image_grid(to_image(sample(flow, key, shape, temperature=t)))
            for t in temperatures
        }

    return draw


def draw_plane(true_log_prob: Callable[[Array], Array], bound: float, num: int = 10_000) -> Draw:
    """Draw samples of the plane, and the density beside the true one.

    Args:
        true_log_prob: of one point [2].
        bound: b, the pictures show [-b, b]².
        num: samples.
    """

    def draw(flow: Bijector, batch: Batch, key: Key) -> Mapping[str, Picture]:
        def log_prob(x: Array) -> Array:
            z, log_det = flow.forward_and_log_det(x)
            return log_det - 0.5 * (z**2).sum(-1)  # up to a constant, which the picture does not show

        maps = [heat_map(density, bound) for density in (log_prob, jax.vmap(true_log_prob))]
        samples = scatter_picture(sample(flow, key, (num, 2)), bound)
        return {"samples": samples, "density beside the truth": jnp.concatenate(maps, 1)}

    return draw


def heat_map(log_prob: Callable[[Array], Array], bound: float, size: int = 256) -> Array:
    """Draw a density of the plane, dark where it is high.

    Args:
        log_prob: [N, 2] -> [N], up to a constant.
        bound: b, the picture shows [-b, b]², y upwards.
        size: pixels along a side.

    Returns:
        [size, size] in [0, 1], 0 at the largest density.
    """
    axis = (jnp.arange(size) + 0.5) / size * 2 * bound - bound
    points = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
    values = log_prob(points).reshape(size, size)
    return 1 - jnp.exp(values[::-1] - values.max())


def draw_given(
    to_image: Callable[[Array], Array], examples: int = 12, samples: int = 6, temperature: float = 0.8
) -> Draw:
    """Draw rows of a condition, what it belongs to, and samples given the condition.

    The condition is an image, batch["context"]; without one it is the first half of the channels, of a pair
    of images whose flows are `Paired`, and samples keep the latents of that half.

    Args:
        to_image: [B, ...] -> images [B, H, W, C] in [0, 1].
        examples: rows.
        samples: columns.
        temperature: of the samples.
    """

    def draw(flow: Bijector, batch: Batch, key: Key) -> Mapping[str, Picture]:
        x, context = batch["x"][:examples], batch.get("context")
        if context is None:
            given, truth = jnp.split(to_image(x), 2, -1)
            z_given = jnp.split(flow.forward_and_log_det(x)[0], 2, -1)[0]
        else:
            context = context[:examples]
            given, truth = jax.image.resize(context, x.shape, "nearest"), to_image(x)
        columns = [given, truth]
        for key_column in jax.random.split(key, samples):
            z = temperature * jax.random.normal(key_column, x.shape)
            if context is None:
                z = jnp.concatenate([z_given, jnp.split(z, 2, -1)[1]], -1)
            x_drawn = to_image(flow.inverse_and_log_det(z, context)[0])
            columns.append(x_drawn if context is not None else jnp.split(x_drawn, 2, -1)[1])
        rows = jnp.stack(columns, 1).reshape(-1, *truth.shape[1:])
        return {"condition beside truth and samples": image_grid(rows, columns=2 + samples)}

    return draw


def draw_edits(to_image: Callable[[Array], Array], examples: int = 12, temperature: float = 0.8) -> Draw:
    """Draw samples of each attribute, and examples whose attribute is changed: z = f(x; u), x' = f⁻¹(z; u').

    See Abdal, Zhu, Mitra & Wonka (2021), "StyleFlow", arXiv:2008.02401.

    Args:
        to_image: [B, ...] -> images [B, H, W, C] in [0, 1].
        examples: rows.
        temperature: of the samples.
    """

    def draw(flow: Bijector, batch: Batch, key: Key) -> Mapping[str, Picture]:
        x, context = batch["x"][:examples], batch["context"][:examples]
        num = context.shape[-1]
        every = jnp.repeat(jnp.eye(num), len(x), 0)  # [num · B, num], attributes one-hot

        def rows(z: Array) -> Array:
            drawn = to_image(flow.inverse_and_log_det(jnp.tile(z, (num, *[1] * (z.ndim - 1))), every)[0])
            return drawn.reshape(num, *z.shape).swapaxes(0, 1)  # [B, num, H, W, C]

        edited = rows(flow.forward_and_log_det(x, context)[0])
        edited = jnp.concatenate([to_image(x)[:, None], edited], 1).reshape(-1, *x.shape[1:])
        drawn = rows(temperature * jax.random.normal(key, x.shape)).reshape(-1, *x.shape[1:])
        return {"edits": image_grid(edited, columns=1 + num), "samples": image_grid(drawn, columns=num)}

    return draw
