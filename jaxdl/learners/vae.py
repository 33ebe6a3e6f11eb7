"""Variational autoencoder."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxdl.learners._check import check_interval
from jaxdl.objectives import bernoulli_log_prob, elbo, kl_standard_normal, normal_log_prob, reparameterize
from jaxdl.ops.pictures import image_grid
from jaxdl.train import Options, Player, gradient_learner
from jaxdl.types import Array, Batch, Key, Learner, Metrics


class Likelihood(NamedTuple):
    """Say what a decoder's output means: log p(x|z) of one example, and the mean of x that is drawn."""

    log_prob: Callable[[Array, Any], Array]
    mean: Callable[[Any], Array]
    low: float = -math.inf  # x lies in [low, high]
    high: float = math.inf


# The output of the one is logits, of the other (mean, log_std).
BERNOULLI = Likelihood(bernoulli_log_prob, jax.nn.sigmoid, low=0, high=1)
GAUSSIAN = Likelihood(lambda x, output: normal_log_prob(x, *output), lambda output: output[0])


def vae(
    encoder: nn.Module,
    decoder: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    likelihood: Likelihood = BERNOULLI,
    beta: float = 1.0,
    options: Options = Options(),
) -> Learner:
    """Train an encoder and a decoder to maximise the evidence lower bound.

    maximise E_q(z|x)[log p(x|z)] − β KL(q(z|x) ‖ N(0, I)),  z = μ + σ ε

    See Kingma & Welling (2014), arXiv:1312.6114; β: Higgins et al. (2017).

    Args:
        encoder: x [B, ...] -> mean, log_std [B, latent_dim] of q(z|x).
        decoder: z [B, latent_dim] -> output, the parameters of p(x|z).
        optimizer: of both.
        likelihood: what the decoder's output means.
        beta: weight of the KL divergence; the metric `elbo` is of β = 1 whatever it is.
        options: of the shared step.

    Returns:
        A Learner of batches {"x": [B, H, W, C]}. It evaluates elbo, log_likelihood and kl in nats, one draw
        of z for each example, and draws samples, and examples beside their reconstructions.
    """

    def init(key: Key, batch: Batch) -> tuple[Any, Any]:
        key_encoder, key_decoder = jax.random.split(key)
        (mean, _), encoder_variables = encoder.init_with_output(key_encoder, batch["x"])
        decoder_variables = decoder.init(key_decoder, mean)
        return {"model": {"encoder": encoder_variables, "decoder": decoder_variables}}, {}

    def reconstruct(params: Any, x: Array, key: Key) -> tuple[Any, Array, Array]:
        posterior: Any = encoder.apply(params["model"]["encoder"], x)
        mean, log_std = posterior
        z = jax.vmap(reparameterize)(jax.random.split(key, len(x)), mean, log_std)
        z = z.astype(optax.tree.dtype(params))  # under mixed precision the decoder computes in bfloat16
        return decoder.apply(params["model"]["decoder"], z), mean, log_std

    def terms(params: Any, batch: Batch, key: Key) -> dict[str, Array]:
        x = batch["x"].astype(jnp.float32)
        output, mean, log_std = reconstruct(params, batch["x"], key)
        log_likelihood = jax.vmap(likelihood.log_prob)(x, output)
        kl = jax.vmap(kl_standard_normal)(mean, log_std)
        return {"elbo": jax.vmap(elbo)(log_likelihood, kl), "log_likelihood": log_likelihood, "kl": kl}

    def loss(params: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        metrics = jax.tree.map(jnp.mean, terms(params, batch, key))
        return -elbo(metrics["log_likelihood"], metrics["kl"], beta=beta), (model_state, metrics)

    def evaluate(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        return terms(params, batch, key)

    def check(params: Any, model_state: Any, batch: Batch, held: Mapping[str, np.ndarray]) -> None:
        check_interval("x", held.get("x"), likelihood.low, likelihood.high)

    @jax.jit
    def render(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        key_prior, key_posterior = jax.random.split(key)
        x = batch["x"][:32]
        output, mean, _ = reconstruct(params, x, key_posterior)
        z = jax.random.normal(key_prior, (64, mean.shape[-1]))
        samples = likelihood.mean(decoder.apply(params["model"]["decoder"], z))
        pairs = jnp.stack([x, likelihood.mean(output)], 1).reshape(-1, *x.shape[1:])
        return {"samples": image_grid(samples), "reconstructions": image_grid(pairs, columns=8)}

    players = {"model": Player(loss, optimizer)}
    return gradient_learner(init, players, evaluate=evaluate, render=render, check=check, options=options)
