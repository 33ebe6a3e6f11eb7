"""Autoregressive language model."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxdl.learners._check import check_classes
from jaxdl.objectives import chunked_cross_entropy, softmax_cross_entropy
from jaxdl.train import Options, Player, gradient_learner
from jaxdl.types import Array, Batch, Key, Learner, Metrics, Programs


def language_model(
    net: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    decode: Callable[[np.ndarray], str],
    sample_length: int = 500,
    chunk: int | None = None,
    options: Options = Options(),
) -> Learner:
    """Train a net to predict each token from those before it: log p(w) = Σ_t log p(w_t | w_1 … w_{t−1}).

    See Bengio et al. (2003).

    Args:
        net: tokens [B, T] -> logits of the next tokens [B, T, V], called with `train`.
        optimizer: of its params.
        decode: tokens -> text, for the sample that is shown.
        sample_length: tokens of that sample.
        chunk: tokens of a sequence whose logits are in memory at a time, for a large vocabulary; by default
            all. The net is called with head=False then, and gives vectors [B, T, D] and a table [V, D].
        options: of the shared step.

    Returns:
        A Learner of batches {"tokens": int [B, T + 1]}. It evaluates the loss in nats per token, and exports
        predict: tokens [T] -> logits of the next ones [T, V], and sample: seed, tokens [T] -> what follows.
    """

    def init(key: Key, batch: Batch) -> tuple[Any, Any]:
        return {"net": net.init(key, batch["tokens"][:, :-1], train=False)["params"]}, {}

    def nll(params: Any, tokens: Array, key: Key, train: bool) -> Array:
        tokens = tokens.astype(jnp.int32)
        variables = {"params": params["net"]}
        apply: Any = partial(net.apply, variables, tokens[:, :-1], train=train, rngs={"dropout": key})
        if chunk is not None:
            hidden, table = apply(head=False)
            score = partial(chunked_cross_entropy, chunk=chunk)
            return jax.vmap(score, in_axes=(0, None, 0))(hidden, table, tokens[:, 1:])
        return jax.vmap(jax.vmap(softmax_cross_entropy))(apply(), tokens[:, 1:])

    def loss(params: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        return nll(params, batch["tokens"], key, train=True).mean(), (model_state, {})

    def evaluate(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        return {"loss": nll(params, batch["tokens"], key, train=False).mean(-1)}

    def check(params: Any, model_state: Any, batch: Batch, held: Mapping[str, np.ndarray]) -> None:
        logits: Any = net.apply({"params": params["net"]}, batch["tokens"][:, :-1], train=False)
        check_classes("tokens", batch["tokens"], 2, held.get("tokens"), logits.shape[-1])

    @jax.jit
    def sample(params: Any, prompt: Array, key: Key) -> Array:
        """Continue a prompt [T] by sample_length tokens, each drawn given the T before it."""

        def draw(window: Array, key: Key) -> tuple[Array, Array]:
            logits: Any = net.apply({"params": params["net"]}, window[None], train=False)
            token = jax.random.categorical(key, logits[0, -1])
            return jnp.append(window[1:], token), token

        return jax.lax.scan(draw, prompt, jax.random.split(key, sample_length))[1]

    def render(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, str]:
        prompt = jnp.asarray(batch["tokens"][0, :-1], jnp.int32)
        continued = sample(params, prompt, key)
        return {"sample": f"{decode(np.asarray(prompt))} | {decode(np.asarray(continued))}"}

    def export(params: Any, model_state: Any, batch: Batch) -> Programs:
        def predict(tokens: Array) -> Any:
            logits: Any = net.apply({"params": params["net"]}, tokens[None], train=False)
            return logits[0]

        def follow(seed: Array, tokens: Array) -> Array:
            return sample(params, tokens, jax.random.key(seed))

        tokens = batch["tokens"][:, :-1].astype(jnp.int32)
        return {"predict": (predict, tokens), "sample": (follow, jnp.zeros(1, jnp.uint32), tokens)}

    players = {"net": Player(loss, optimizer)}
    return gradient_learner(
        init, players, evaluate=evaluate, render=render, check=check, export=export, options=options
    )
