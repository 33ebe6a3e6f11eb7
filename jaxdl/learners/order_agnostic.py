"""Autoregressive models of all orders at once: one net that predicts any element from any others."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxdl.learners._check import check_interval
from jaxdl.learners.autoregressive import BERNOULLI, Apply, Conditionals
from jaxdl.learners.latent_pictures import beside
from jaxdl.objectives import bits_per_dim, importance_weighted_log_likelihood
from jaxdl.ops.pictures import image_grid
from jaxdl.train import Options, Player, gradient_learner
from jaxdl.types import Array, Batch, Key, Learner, Metrics, Picture, Programs


def draw_mask(key: Key, size: int) -> Array:
    """Draw what is seen before a place d ~ U{1 … D} of an order drawn at random: the d − 1 before it, [D]."""
    key_order, key_place = jax.random.split(key)
    rank = jax.random.permutation(key_order, size)
    return (rank < jax.random.randint(key_place, (), 0, size)).astype(jnp.float32)


def order_agnostic_nll(log_probs: Array, mask: Array) -> Array:
    """Estimate −log p(x), of an order drawn at random, from a mask that `draw_mask` drew.

    D/(D − d + 1) Σ_{i not seen} −log p(x_i | x_{o_1} … x_{o_{d−1}}),  whose mean is E_o[−log p_o(x)]

    See Uria, Murray & Larochelle (2014), arXiv:1310.1757.

    Args:
        log_probs: [D], of all elements given those seen.
        mask: [D], 1 for the d − 1 that are seen.

    Returns:
        A scalar, in nats.
    """
    return -len(mask) / (len(mask) - mask.sum()) * (log_probs * (1 - mask)).sum()


def log_prob(conditionals: Conditionals, apply: Apply, x: Array, order: Array, chunk: int) -> Array:
    """Return the log-probability of each example in one order, in D passes.

    log p_o(x) = Σ_d log p(x_{o_d} | x_{o_1} … x_{o_{d−1}})

    Args:
        conditionals: what the output means.
        apply: x [B, ...], mask [B, ...] -> output [B, ..., P].
        x: [B, ...].
        order: [D], o, places in x as it is flattened.
        chunk: passes at a time.

    Returns:
        [B], in nats.
    """
    rank, x_flat = jnp.argsort(order), x.reshape(len(x), -1)

    def of_place(d: Array) -> Array:
        mask = jnp.tile((rank < d).astype(x.dtype), (len(x), 1)).reshape(x.shape)
        output = apply(x, mask).reshape(*x_flat.shape, -1)
        return jax.vmap(conditionals.log_prob)(x_flat[:, order[d]], output[:, order[d]])

    return jax.lax.map(of_place, jnp.arange(len(order)), batch_size=chunk).sum(0)


def sample(conditionals: Conditionals, apply: Apply, key: Key, x: Array, places: Array) -> Array:
    """Draw elements one after the other, given those drawn before and all that are not to be drawn.

    Args:
        conditionals: what the output means.
        apply: x [B, ...], mask [B, ...] -> output [B, ..., P].
        key: of the draws.
        x: [B, ...].
        places: [N] of the elements that are drawn, in the order of the draws, counted as x is flattened.

    Returns:
        [B, ...].
    """
    x_flat = x.reshape(len(x), -1)
    seen = jnp.ones_like(x_flat).at[:, places].set(0)

    def draw(state: tuple[Array, Array], now: tuple[Array, Key]) -> tuple[tuple[Array, Array], None]:
        (x_flat, seen), (place, key) = state, now
        output = apply(x_flat.reshape(x.shape), seen.reshape(x.shape)).reshape(*x_flat.shape, -1)
        x_flat = x_flat.at[:, place].set(conditionals.sample(key, output[:, place]))
        return (x_flat, seen.at[:, place].set(1)), None

    keys = jax.random.split(key, len(places))
    return jax.lax.scan(draw, (x_flat, seen), (places, keys))[0][0].reshape(x.shape)


def order_agnostic(
    net: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    conditionals: Conditionals = BERNOULLI,
    num_orders: int = 4,
    chunk: int = 64,
    options: Options = Options(),
) -> Learner:
    """Train a net to predict the elements that are not seen from those that are, whichever these are.

    minimise E_o E_d D/(D − d + 1) Σ_{i not seen} −log p(x_i | x_{o_1} … x_{o_{d−1}})

    See Uria, Murray & Larochelle (2014), arXiv:1310.1757; Uria et al. (2016), arXiv:1605.02226.

    Args:
        net: x [B, ...], mask [B, ...] -> output [B, ..., P].
        optimizer: of the net.
        conditionals: what the output means.
        num_orders: K, orders drawn for an evaluation.
        chunk: passes of the net that are made at a time in evaluation.
        options: of the shared step.

    Returns:
        A Learner of batches {"x": [B, H, W, C]}. It evaluates in nats the nll of K models as one, that is
        −log (1/K) Σ_o p_o(x), and their mean, nll_of_one_order. It draws samples and fills gaps, and exports
        sample: seed -> x, of an order of its own each.
    """

    def init(key: Key, batch: Batch) -> tuple[Any, Any]:
        return {"net": net.init(key, batch["x"], jnp.ones_like(batch["x"]))["params"]}, {}

    def apply_of(params: Any) -> Apply:
        apply: Any = partial(net.apply, {"params": params["net"]})
        return apply

    def loss(params: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        x = batch["x"].reshape(len(batch["x"]), -1)
        masks = jax.vmap(partial(draw_mask, size=x.shape[1]))(jax.random.split(key, len(x)))
        output = apply_of(params)(batch["x"], masks.reshape(batch["x"].shape).astype(x.dtype))
        log_probs = jax.vmap(jax.vmap(conditionals.log_prob))(
            x.astype(jnp.float32), output.reshape(*x.shape, -1)
        )
        return jax.vmap(order_agnostic_nll)(log_probs, masks).mean(), (model_state, {})

    def evaluate(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        x = batch["x"]

        def of_order(key: Key) -> Array:
            order = jax.random.permutation(key, x[0].size)
            return log_prob(conditionals, apply_of(params), x, order, chunk)

        log_probs = jnp.stack([of_order(key) for key in jax.random.split(key, num_orders)])  # [K, B]
        nll = -jax.vmap(importance_weighted_log_likelihood, 1)(log_probs)
        values = {"nll": nll, "nll_of_one_order": -log_probs.mean(0)}
        if conditionals.levels not in (None, 2):
            values["bits_per_dim"] = jax.vmap(partial(bits_per_dim, num_dims=x[0].size))(nll)
        return values

    def check(params: Any, model_state: Any, batch: Batch, held: Mapping[str, np.ndarray]) -> None:
        if batch["x"].ndim != 4:
            raise ValueError(f"x has shape {list(batch['x'].shape)}; give images [B, H, W, C]")
        if conditionals.levels is not None:
            check_interval("x", held.get("x"), 0, 1)

    def export(params: Any, model_state: Any, batch: Batch) -> Programs:
        shape = batch["x"].shape[1:]

        def draw_one(seed: Array) -> Array:
            key_order, key_draw = jax.random.split(jax.random.key(seed))
            order = jax.random.permutation(key_order, math.prod(shape))
            return sample(conditionals, apply_of(params), key_draw, jnp.zeros((1, *shape)), order)[0]

        return {"sample": (draw_one, jnp.zeros(1, jnp.uint32))}

    @jax.jit
    def render(params: Any, model_state: Any, batch: Batch, key: Key) -> Mapping[str, Picture]:
        apply, x = apply_of(params), batch["x"][:12]
        _, height, width, channels = x.shape
        rows, columns = np.indices((height, width, channels))[:2]
        scattered = np.random.default_rng(0).random((height, width, 1)) < 0.75
        regions = {
            "lower half": rows >= height // 2,
            "left half": columns < width // 2,
            "three pixels of four": np.broadcast_to(scattered, (height, width, channels)),
        }

        def fill(hidden: np.ndarray, key: Key) -> Array:
            key_order, key_draw = jax.random.split(key)
            places = jax.random.permutation(key_order, np.flatnonzero(hidden))
            filled = sample(conditionals, apply, key_draw, jnp.repeat(x, 6, 0), places)
            seen = jnp.where(jnp.asarray(hidden)[None], 0.5, x)
            return beside(x, seen, *filled.reshape(-1, 6, *x.shape[1:]).swapaxes(0, 1))

        key_samples, key_order, *keys = jax.random.split(key, 2 + len(regions))
        order = jax.random.permutation(key_order, x[0].size)
        samples = sample(conditionals, apply, key_samples, jnp.zeros((64, *x.shape[1:])), order)
        filled = [fill(hidden, key) for hidden, key in zip(regions.values(), keys, strict=True)]
        return {"samples": image_grid(samples), **dict(zip(regions, filled, strict=True))}

    players = {"net": Player(loss, optimizer)}
    return gradient_learner(
        init, players, evaluate=evaluate, render=render, check=check, export=export, options=options
    )
