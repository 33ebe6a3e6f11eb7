"""Autoregressive models: each element of an example given those before it, trained by maximum likelihood."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxdl.learners._check import check_interval
from jaxdl.learners.latent import density_programs, optional
from jaxdl.learners.latent_pictures import beside
from jaxdl.nets.made import Degrees
from jaxdl.objectives import (
    bernoulli_log_prob,
    bits_per_dim,
    categorical_log_prob,
    discretized_logistic_mixture_log_prob,
    importance_weighted_log_likelihood,
    normal_log_prob,
    normal_mixture_log_prob,
    sample_bernoulli,
    sample_categorical,
    sample_discretized_logistic_mixture,
    sample_normal,
    sample_normal_mixture,
)
from jaxdl.ops.pictures import image_grid
from jaxdl.train import Options, Player, gradient_learner
from jaxdl.types import Array, Batch, Key, Learner, Metrics, Picture, Programs

Apply: TypeAlias = Callable[..., Array]  # x [B, ...], context -> output [B, ..., P]: a net with its params
# (apply, key, x, places, context) -> x: see `sample`, of which the conditionals are given
Sampler: TypeAlias = Callable[[Apply, Key, Array, Array | None, Array | None], Array]
Draw: TypeAlias = Callable[[Apply, Batch, Key], Mapping[str, Picture]]


class Conditionals(NamedTuple):
    """Say what a net's output means: the conditionals p(x_d | x_1 … x_{d−1}) of the elements of an example.

    Attributes:
        num_params: P, parameters of each conditional.
        log_prob: x [...], output [..., P] -> log p(x), summed over the elements.
        sample: key, output [..., P] -> x [...], each element drawn from its own conditional.
        levels: of x, which lies on the grid k/(levels − 1); none where it is real.
    """

    num_params: int
    log_prob: Callable[[Array, Array], Array]
    sample: Callable[[Key, Array], Array]
    levels: int | None = None


BERNOULLI = Conditionals(
    1,
    lambda x, output: bernoulli_log_prob(x, output[..., 0]),
    lambda key, output: sample_bernoulli(key, output[..., 0]),
    levels=2,
)
NORMAL = Conditionals(  # mean and log_std
    2,
    lambda x, output: normal_log_prob(x, output[..., 0], output[..., 1]),
    lambda key, output: sample_normal(key, output[..., 0], output[..., 1]),
)


def check_levels(levels: int) -> None:
    """Raise a ValueError unless there are levels to choose from."""
    if levels < 2:
        raise ValueError(f"levels is {levels}; give 2 or more")


def categorical(levels: int) -> Conditionals:
    """Let each element be one of some levels in [0, 1], any distribution over them: P = levels logits."""
    check_levels(levels)

    def log_prob(x: Array, output: Array) -> Array:
        return categorical_log_prob(jnp.round(x * (levels - 1)).astype(jnp.int32), output)

    def sample(key: Key, output: Array) -> Array:
        return sample_categorical(key, output) / (levels - 1)

    return Conditionals(levels, log_prob, sample, levels)


def logistic_mixture(components: int, levels: int) -> Conditionals:
    """Let each element be one of some levels in [0, 1], from discretized logistics: P = 3 components."""
    check_levels(levels)

    def log_prob(x: Array, output: Array) -> Array:
        logits, means, log_scales = jnp.split(output, 3, -1)
        return discretized_logistic_mixture_log_prob(x, logits, means, log_scales, levels)

    def sample(key: Key, output: Array) -> Array:
        logits, means, log_scales = jnp.split(output, 3, -1)
        return sample_discretized_logistic_mixture(key, logits, means, log_scales, levels)

    return Conditionals(3 * components, log_prob, sample, levels)


def normal_mixture(components: int) -> Conditionals:
    """Let each element be real, from a mixture of normals: P = 3 components, logits, means and log_stds.

    The log_stds are held within ±10, lest samples grow from element to element beyond what float32 can hold.
    """

    def parts(output: Array) -> tuple[Array, Array, Array]:
        logits, means, log_stds = jnp.split(output, 3, -1)
        return logits, means, jnp.clip(log_stds, -10, 10)

    return Conditionals(
        3 * components,
        lambda x, output: normal_mixture_log_prob(x, *parts(output)),
        lambda key, output: sample_normal_mixture(key, *parts(output)),
    )


def log_prob(conditionals: Conditionals, apply: Apply, batch: Batch) -> Array:
    """Return the log-probability of each example of a batch, [B].

    log p(x) = Σ_d log p(x_d | x_1 … x_{d−1})

    Args:
        conditionals: what the output means.
        apply: x [B, ...], context -> output [B, ..., P].
        batch: {"x": [B, ...]}, with a "context" [B, ...] where the net has one, and a "log_det" [B] of what
            was done to real data before, as `jaxdl.learners.flow.dequantized` gives it.
    """
    output = apply(batch["x"], *optional(batch.get("context")))
    log_probs = jax.vmap(conditionals.log_prob)(batch["x"].astype(jnp.float32), output)
    return log_probs + batch.get("log_det", 0.0)


def sample(
    conditionals: Conditionals,
    apply: Apply,
    key: Key,
    x: Array,
    places: Array | None = None,
    context: Array | None = None,
) -> Array:
    """Draw elements one after the other, each given those drawn before, a pass of the net for each.

    x_d ~ p(x_d | x_1 … x_{d−1})

    Args:
        conditionals: what the output means.
        apply: x [B, ...], context -> output [B, ..., P].
        key: of the draws.
        x: [B, ...]; what is not drawn stays as it is: an image is completed where the rest of it is given.
        places: [N] of the elements that are drawn, in the order of the net, counted as x is flattened; by
            default all, in this order: by rows and columns, channels innermost.
        context: [B, ...], what the net is conditioned on, if anything.

    Returns:
        [B, ...].
    """
    size = x[0].size
    places = jnp.arange(size) if places is None else places

    def draw(x_flat: Array, now: tuple[Array, Key]) -> tuple[Array, None]:
        place, key = now
        output = apply(x_flat.reshape(x.shape), *optional(context)).reshape(len(x), size, -1)
        return x_flat.at[:, place].set(conditionals.sample(key, output[:, place])), None

    keys = jax.random.split(key, len(places))
    return jax.lax.scan(draw, x.reshape(len(x), size), (places, keys))[0].reshape(x.shape)


def sample_in_one_pass(
    conditionals: Conditionals,
    apply: Apply,
    key: Key,
    x: Array,
    places: Array | None = None,
    context: Array | None = None,
) -> Array:
    """Draw what `sample` draws, by the net's own method of this name, which needs one pass only."""
    return apply(key, x, places, conditionals.sample, *optional(context), method="sample")


def draw_images(
    sampler: Sampler,
    to_image: Callable[[Array], Array] = lambda x: x,
    num: int = 64,
    examples: int = 12,
    copies: int = 6,
) -> Draw:
    """Draw samples, and the lower half of examples anew; with a context, samples beside its example.

    Args:
        sampler: as `partial(sample, conditionals)`.
        to_image: x [B, H, W, C] -> images in [0, 1].
        num: samples.
        examples: that are completed, or whose context is taken.
        copies: of each.
    """

    def draw(apply: Apply, batch: Batch, key: Key) -> Mapping[str, Picture]:
        key_samples, key_completions = jax.random.split(key)
        x, context = batch["x"][:examples], batch.get("context")
        repeated = jnp.repeat(x, copies, 0)
        given = None if context is None else jnp.repeat(context[:examples], copies, 0)
        half = jnp.arange(x[0].size)[(x.shape[1] // 2) * x[0, 0].size :]

        def rows(drawn: Array) -> Array:
            images = to_image(drawn).reshape(-1, copies, *x.shape[1:])
            return beside(to_image(x), *images.swapaxes(0, 1))

        completions = rows(sampler(apply, key_completions, repeated, half, given))
        if context is None:
            drawn = sampler(apply, key_samples, jnp.zeros((num, *x.shape[1:])), None, None)
            samples = image_grid(to_image(drawn))
        else:
            samples = rows(sampler(apply, key_samples, jnp.zeros_like(repeated), None, given))
        return {"samples": samples, "completions": completions}

    return draw


def autoregressive(
    net: nn.Module,
    conditionals: Conditionals,
    optimizer: optax.GradientTransformation,
    *,
    degrees: Degrees | None = None,
    draw: Draw | None = None,
    options: Options = Options(),
) -> Learner:
    """Train a net to predict each element from those before it: minimise −log p(x).

    log p(x) = Σ_d log p(x_d | x_1 … x_{d−1});  with n masks, log (1/n) Σ_i p_i(x) in evaluation

    See Larochelle & Murray (2011); n masks: Germain et al. (2015), arXiv:1502.03509.

    Args:
        net: x [B, ...], context -> output [B, ..., P], of element d a function of those before it.
        conditionals: what the output means.
        optimizer: of the net.
        degrees: [n, ...] each, of a MADE with n masks, of which each step trains one at random.
        draw: what is drawn of the model; images by default.
        options: of the shared step.

    Returns:
        A Learner of the batches of `log_prob`. It evaluates the nll in nats; and for data with more than two
        levels, or with a "log_det", the bits per dimension. It exports log_prob: x -> log p(x), and
        sample: seed -> x.
    """
    draw = draw_images(partial(sample, conditionals)) if draw is None else draw

    def init(key: Key, batch: Batch) -> tuple[Any, Any]:
        return {"net": net.init(key, batch["x"], *optional(batch.get("context")))["params"]}, {}

    def apply_of(params: Any, mask: Array | int = 0) -> Apply:
        apply: Any = partial(net.apply, {"params": params["net"]})
        if degrees is None:
            return apply
        return partial(apply, degrees=jax.tree.map(lambda leaf: leaf[mask], degrees))

    def drawn_mask(key: Key) -> Array | int:
        return 0 if degrees is None else jax.random.randint(key, (), 0, len(degrees[0]))

    def loss(params: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        apply = apply_of(params, drawn_mask(key))
        return -log_prob(conditionals, apply, batch).mean(), (model_state, {})

    def evaluate(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        def log_prob_of(mask: Array | int) -> Array:
            return log_prob(conditionals, apply_of(params, mask), batch)

        if degrees is None:
            nll = -log_prob_of(0)
        else:
            log_probs = jax.lax.map(log_prob_of, jnp.arange(len(degrees[0])))  # [n, B]
            nll = -jax.vmap(importance_weighted_log_likelihood, 1)(log_probs)
        if conditionals.levels in (None, 2) and "log_det" not in batch:
            return {"nll": nll}
        return {"nll": nll, "bits_per_dim": jax.vmap(partial(bits_per_dim, num_dims=batch["x"][0].size))(nll)}

    def check(params: Any, model_state: Any, batch: Batch, held: Mapping[str, np.ndarray]) -> None:
        x, expected = batch["x"], (*batch["x"].shape, conditionals.num_params)
        output = apply_of(params)(x, *optional(batch.get("context")))
        if output.shape != expected:
            raise ValueError(f"the net maps {list(x.shape)} to {list(output.shape)}, not {list(expected)}")
        if conditionals.levels is not None:
            check_interval("x", held.get("x"), 0, 1)

    def export(params: Any, model_state: Any, batch: Batch) -> Programs:
        def draw_one(key: Key, shape: tuple[int, ...], context: Array | None) -> Array:
            key_mask, key_draw = jax.random.split(key)
            mask = drawn_mask(key_mask)
            order = None if degrees is None else jnp.argsort(degrees[0][mask])  # each mask has its own
            return sample(conditionals, apply_of(params, mask), key_draw, jnp.zeros(shape), order, context)

        nll = lambda example: evaluate(params, model_state, example, jax.random.key(0))["nll"]
        return density_programs(nll, draw_one, batch)

    @jax.jit
    def render(params: Any, model_state: Any, batch: Batch, key: Key) -> Mapping[str, Picture]:
        return draw(apply_of(params), batch, key)

    players = {"net": Player(loss, optimizer)}
    return gradient_learner(
        init, players, evaluate=evaluate, render=render, check=check, export=export, options=options
    )
