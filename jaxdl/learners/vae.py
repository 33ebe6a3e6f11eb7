"""Variational autoencoder, with its kin: β-VAE, IWAE, conditional, inverse autoregressive posterior."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxdl.learners._check import check_interval
from jaxdl.learners.latent import (
    BERNOULLI,
    Draw,
    LatentModel,
    Likelihood,
    alone,
    draw_posterior,
    importance_sampled_nll,
    init_latent_model,
    optional,
)
from jaxdl.learners.latent_pictures import beside, interpolation, latent_map
from jaxdl.objectives import elbo, iwae_bound
from jaxdl.ops.pictures import image_grid
from jaxdl.train import Options, Player, gradient_learner
from jaxdl.types import Array, Batch, Key, Learner, Metrics, Programs


def vae(
    encoder: nn.Module,
    decoder: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    likelihood: Likelihood = BERNOULLI,
    flow: nn.Module | None = None,
    k: int = 1,
    beta: float = 1.0,
    nll: tuple[str, int] | None = None,
    show_context: Callable[[Array], Array] | None = None,
    options: Options = Options(),
) -> Learner:
    """Train an encoder and a decoder to maximise the evidence lower bound, or the importance-weighted one.

    maximise E_q(z|x)[log p(x|z)] − β KL(q(z|x) ‖ N(0, I)),  z = μ + σ ε
    or, for k > 1, E[log (1/k) Σ_i p(x|z_i) (p(z_i)/q(z_i|x))^β]

    See Kingma & Welling (2014), arXiv:1312.6114; β: Higgins et al. (2017); k: Burda, Grosse & Salakhutdinov
    (2016), arXiv:1509.00519; context: Sohn, Lee & Yan (2015).

    Args:
        encoder: x [B, ...], context -> mean, log_std [B, latent_dim] of q(z|x), and what the flow is given.
        decoder: z [B, latent_dim], context -> output, the parameters of p(x|z).
        optimizer: of all nets.
        likelihood: what the decoder's output means.
        flow: a Bijector that bends the posterior; inverse autoregressive where its map is autoregressive.
        k: draws of z for each example, in training and evaluation.
        beta: weight of the KL divergence; the metrics are of β = 1 whatever it is.
        nll: (what is measured, K) to evaluate the importance-sampled −log p(x) too, as nll_k{K}_{what}.
        show_context: context -> images beside which samples are drawn.
        options: of the shared step.

    Returns:
        A Learner of batches {"x": [B, H, W, C]}, with a "context" [B, ...] where the nets take one. It
        evaluates elbo, log_likelihood and kl in nats, means over k draws of z, and for k > 1 iwae_k{k}. It
        draws samples, examples beside their reconstructions, and paths from one example to another. It
        exports encode: x -> mean and log_std of q(z|x), before the flow; decode: z -> mean of p(x|z); sample.
    """
    model = LatentModel(encoder, decoder, likelihood, flow)

    def init(key: Key, batch: Batch) -> tuple[Any, Any]:
        return {"model": init_latent_model(model, key, batch["x"], batch.get("context"))}, {}

    def draws(params: Any, batch: Batch, key: Key) -> Draw:
        keys = jax.random.split(key, k)
        return draw_posterior(model, params["model"], batch["x"], batch.get("context"), keys)

    def bound(draw: Draw, beta: float) -> Array:
        """Return the bound of each example, [B], which is maximised."""
        if k == 1:
            return jax.vmap(lambda ll, kl: elbo(ll, kl, beta))(draw.log_likelihood[0], draw.kl[0])
        return jax.vmap(iwae_bound, 1)(draw.log_likelihood - beta * draw.log_ratio)

    def terms(draw: Draw) -> dict[str, Array]:
        log_likelihood, kl = draw.log_likelihood.mean(0), draw.kl.mean(0)
        values = {"elbo": jax.vmap(elbo)(log_likelihood, kl), "log_likelihood": log_likelihood, "kl": kl}
        return values if k == 1 else values | {f"iwae_k{k}": bound(draw, 1.0)}

    def loss(params: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        draw = draws(params, batch, key)
        return -bound(draw, beta).mean(), (model_state, jax.tree.map(jnp.mean, terms(draw)))

    def evaluate(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        key_draw, key_nll = jax.random.split(key)
        values = terms(draws(params, batch, key_draw))
        if nll is not None:
            what, num = nll
            data = batch["x"], batch.get("context")
            values[f"nll_k{num}_{what}"] = importance_sampled_nll(
                model, params["model"], *data, key_nll, num_samples=num
            )
        return values

    def check(params: Any, model_state: Any, batch: Batch, held: Mapping[str, np.ndarray]) -> None:
        check_interval("x", held.get("x"), likelihood.low, likelihood.high)

    def export(params: Any, model_state: Any, batch: Batch) -> Programs:
        nets, given = params["model"], optional(batch.get("context"))

        def encode(x: Array, context: Array | None = None) -> tuple[Array, Array]:
            output: Any = encoder.apply(nets["encoder"], x[None], *optional(alone(context)))
            return output[0][0], output[1][0]

        def decode(z: Array, context: Array | None = None) -> Array:
            output: Any = decoder.apply(nets["decoder"], z[None], *optional(alone(context)))
            return likelihood.mean(output)[0]

        def sample(seed: Array, context: Array | None = None) -> Array:
            return decode(jax.random.normal(jax.random.key(seed), z.shape[1:]), context)

        z, _ = jax.eval_shape(jax.vmap(encode), batch["x"], *given)
        return {
            "encode": (encode, batch["x"], *given),
            "decode": (decode, z, *given),
            "sample": (sample, jnp.zeros(1, jnp.uint32), *given),
        }

    @jax.jit
    def render(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        def decode(z: Array, context: Array | None = None) -> Array:
            output: Any = decoder.apply(params["model"]["decoder"], z, *optional(context))
            return likelihood.mean(output)

        key_prior, key_posterior = jax.random.split(key)
        batch = jax.tree.map(lambda leaf: leaf[:32], batch)
        x, context = batch["x"], batch.get("context")
        draw = jax.tree.map(lambda leaf: leaf[0], draws(params, batch, key_posterior))
        pictures = {"reconstructions": beside(x, likelihood.mean(draw.output), rows_of=4)}
        if context is not None:
            first = context[:8]
            z = jax.random.normal(key_prior, (8, len(first), draw.z.shape[-1]))
            shown = [] if show_context is None else [show_context(first)]
            samples = jax.vmap(decode, (0, None))(z, first)
            return pictures | {"samples": beside(*shown, x[:8], *samples)}
        z = jax.random.normal(key_prior, (64, draw.z.shape[-1]))
        pictures |= {"samples": image_grid(decode(z)), "interpolations": interpolation(decode, draw.z)}
        return pictures | ({"latent map": latent_map(decode)} if z.shape[-1] == 2 else {})

    players = {"model": Player(loss, optimizer)}
    return gradient_learner(
        init, players, evaluate=evaluate, render=render, check=check, export=export, options=options
    )
