"""Normalizing flows, trained by maximum likelihood."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl.learners.flow_pictures import Draw, draw_samples, sample
from jaxdl.learners.latent import density_programs
from jaxdl.nets.flows import Bijector
from jaxdl.objectives import (
    bits_per_dim,
    change_of_variables_log_prob,
    dequantize,
    inverse_logit_transform,
    logit_transform,
    standard_normal_log_prob,
)
from jaxdl.train import Options, Player, gradient_learner
from jaxdl.types import Array, Batch, Key, Learner, Metrics, Picture, Programs


def dequantized(image: Array, key: Key, bins: int, alpha: float = 0.05) -> dict[str, Array]:
    """Map the levels of an image to the real line, where a flow can have a density.

    x = logit(α + (1 − 2α)(k + u)/bins),  u ~ U[0, 1)

    Args:
        image: [...] in [0, 1], on the grid k/(bins − 1).
        key: of u.
        bins: number of levels.
        alpha: α.

    Returns:
        {"x": [...], "log_det": log |det ∂x/∂(k + u)|}, so that log p(x) + log_det bounds log P(k) from below.
    """
    y = dequantize(key, image, bins)
    x, log_det = logit_transform(y, alpha)
    return {"x": x, "log_det": log_det - y.size * jnp.log(bins)}


def quantized(x: Array, bins: int, alpha: float = 0.05) -> Array:
    """Map the real line back to the levels of images, k/(bins − 1): the inverse of `dequantized`."""
    y, _ = inverse_logit_transform(x, alpha)
    return jnp.clip(jnp.floor(y * bins), 0, bins - 1) / (bins - 1)


def log_prob(flow: Bijector, batch: Batch) -> Array:
    """Return the log-density of each example of a batch, [B].

    log p(x) = log N(f(x); 0, I) + log |det ∂f/∂x|

    Args:
        flow: f, its params bound.
        batch: {"x": [B, ...]}, with a "context" [B, ...] where f has one, and a "log_det" [B] of what was
            done to the data before, as `dequantized` gives it.
    """
    x = batch["x"].astype(jnp.float32)  # densities stay in float32 under mixed precision
    z, log_det = flow.forward_and_log_det(x, batch.get("context"))
    log_det += batch.get("log_det", 0.0)
    return jax.vmap(change_of_variables_log_prob)(jax.vmap(standard_normal_log_prob)(z), log_det)


def flow(
    net: Bijector,
    optimizer: optax.GradientTransformation,
    *,
    draw: Draw = draw_samples(),
    true_log_prob: Callable[[Array], Array] | None = None,
    options: Options = Options(),
) -> Learner:
    """Train a flow to give data a high density: minimise −log p(x).

    See Dinh, Sohl-Dickstein & Bengio (2017), arXiv:1605.08803.

    Args:
        net: f, initialized on a batch.
        optimizer: of its params.
        draw: what is drawn of the flow.
        true_log_prob: of one example, where the density of the data is known.
        options: of the shared step.

    Returns:
        A Learner of the batches of `log_prob`. It evaluates the nll in nats; where the truth is known also
        the gap to it, log p_true(x) − log p(x), whose mean is the KL divergence; and for batches with a
        "log_det" the bits per dimension. It exports log_prob: x -> log p(x), and sample: seed -> x.
    """

    def bound(params: Any, model_state: Any, key: Key) -> Bijector:
        return net.bind({"params": params["flow"], **model_state}, rngs={"trace": key})

    def init(key: Key, batch: Batch) -> tuple[Any, Any]:
        key_params, key_trace = jax.random.split(key)
        keys = {"params": key_params, "trace": key_trace}
        variables = net.init(keys, batch["x"], batch.get("context"))
        return {"flow": variables["params"]}, {k: v for k, v in variables.items() if k != "params"}

    def loss(params: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        return -log_prob(bound(params, model_state, key), batch).mean(), (model_state, {})

    def evaluate(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        nll = -log_prob(bound(params, model_state, key), batch)
        values = {"nll": nll}
        if true_log_prob is not None:
            values["gap"] = jax.vmap(true_log_prob)(batch["x"]) + nll
        if "log_det" in batch:
            values["bits_per_dim"] = jax.vmap(partial(bits_per_dim, num_dims=batch["x"][0].size))(nll)
        return values

    def export(params: Any, model_state: Any, batch: Batch) -> Programs:
        def draw_one(key: Key, shape: tuple[int, ...], context: Array | None) -> Array:
            key_trace, key_draw = jax.random.split(key)
            return sample(bound(params, model_state, key_trace), key_draw, shape, context)

        nll = lambda example: evaluate(params, model_state, example, jax.random.key(0))["nll"]
        return density_programs(nll, draw_one, batch)

    @jax.jit
    def render(params: Any, model_state: Any, batch: Batch, key: Key) -> Mapping[str, Picture]:
        key_trace, key_draw = jax.random.split(key)
        return draw(bound(params, model_state, key_trace), batch, key_draw)

    players = {"flow": Player(loss, optimizer)}
    return gradient_learner(init, players, evaluate=evaluate, render=render, export=export, options=options)
