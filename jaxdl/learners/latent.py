"""Latent-variable models p(x, z) = p(x|z) p(z) with a posterior q(z|x): what their learners share."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxdl.objectives import (
    bernoulli_log_prob,
    discretized_logistic_log_prob,
    importance_weighted_log_likelihood,
    kl_standard_normal,
    normal_log_prob,
    reparameterize,
    standard_normal_log_prob,
)
from jaxdl.types import Array, Batch, Key, Programs


class Likelihood(NamedTuple):
    """Say what a decoder's output means: log p(x|z) of one example, and the mean of x that is drawn."""

    log_prob: Callable[[Array, Any], Array]
    mean: Callable[[Any], Array]
    low: float = -math.inf  # x lies in [low, high]
    high: float = math.inf


# The output of the one is logits, of the others (mean, log_std) and (mean, log_scale).
BERNOULLI = Likelihood(bernoulli_log_prob, jax.nn.sigmoid, low=0, high=1)
GAUSSIAN = Likelihood(lambda x, output: normal_log_prob(x, *output), lambda output: output[0])
DISCRETIZED_LOGISTIC = Likelihood(
    lambda x, output: discretized_logistic_log_prob(x, output[0], output[1], bins=256),
    lambda output: output[0],
    0,
    1,
)


class LatentModel(NamedTuple):
    """The nets of a model and of its posterior; `flow` makes the posterior more than a Gaussian.

    Attributes:
        encoder: x [B, ...], context -> mean, log_std [B, latent_dim], and what the flow is given.
        decoder: z [B, latent_dim], context -> output, the parameters of p(x|z).
        likelihood: what the decoder's output means.
        flow: a Bijector of vectors, z = f(z_0; h) with z_0 ~ N(mean, diag(exp(log_std))²).
    """

    encoder: nn.Module
    decoder: nn.Module
    likelihood: Likelihood = BERNOULLI
    flow: nn.Module | None = None


class Draw(NamedTuple):
    """A draw z ~ q(z|x) for each example, and what it is worth in nats, [B]."""

    z: Array
    output: Any
    log_likelihood: Array  # log p(x|z)
    log_ratio: Array  # log q(z|x) − log p(z)
    kl: Array  # KL(q(z|x) ‖ p(z)): in closed form for a Gaussian posterior, else log_ratio


def optional(context: Array | None) -> tuple[Array, ...]:
    """Return the arguments that a context is: one, or none for nets that take none."""
    return () if context is None else (context,)


def alone(example: Any) -> Any:
    """Make a batch of one example; nothing of None."""
    return jax.tree.map(lambda leaf: leaf[None], example)


def density_programs(
    nll: Callable[[Batch], Array], draw: Callable[[Key, tuple[int, ...], Array | None], Array], batch: Batch
) -> Programs:
    """Export a model of p(x), or of p(x | context): log_prob of an x, and an x for each seed.

    Args:
        nll: batch -> −log p(x) [B].
        draw: key, shape (1, ...), context [1, ...] -> x [1, ...].
        batch: {"x": [B, ...]}, with a "context" [B, ...] where the model takes one.
    """
    x, given = batch["x"], optional(batch.get("context"))

    def log_prob(x: Array, context: Array | None = None) -> Array:
        return -nll(alone({"x": x, "context": context}))[0]

    def sample(seed: Array, context: Array | None = None) -> Array:
        return draw(jax.random.key(seed), (1, *x.shape[1:]), alone(context))[0]

    seed = jnp.zeros(1, jnp.uint32)
    return {"log_prob": (log_prob, x, *given), "sample": (sample, seed, *given)}


def init_latent_model(model: LatentModel, key: Key, x: Array, context: Array | None = None) -> dict[str, Any]:
    """Initialize the variables of the nets, keyed encoder, decoder and, where there is one, flow."""
    key_encoder, key_decoder, key_flow = jax.random.split(key, 3)
    (mean, _, *given), encoder = model.encoder.init_with_output(key_encoder, x, *optional(context))
    variables = {"encoder": encoder, "decoder": model.decoder.init(key_decoder, mean, *optional(context))}
    if model.flow is not None:
        variables["flow"] = model.flow.init(key_flow, mean, *given)
    return variables


def draw_posterior(model: LatentModel, variables: Any, x: Array, context: Array | None, keys: Key) -> Draw:
    """Draw from the posterior of each example, once for each key.

    log q(z|x) = log N(z_0; μ, σ²) − log |det ∂z/∂z_0|,  z_0 = μ + σ ε

    See Kingma & Welling (2014), arXiv:1312.6114; the flow: Kingma et al. (2016), arXiv:1606.04934.

    Args:
        model: the nets.
        variables: of the nets, as `init_latent_model` returns them.
        x: [B, ...], examples.
        context: [B, ...], what model and posterior are conditioned on, if anything.
        keys: [K].

    Returns:
        The draws, [K, B, ...] each.
    """
    posterior = model.encoder.apply(variables["encoder"], x, *optional(context))
    return jax.vmap(partial(weigh, model, variables, x, context, posterior))(keys)


def weigh(
    model: LatentModel, variables: Any, x: Array, context: Array | None, posterior: Any, key: Key
) -> Draw:
    """Draw z of each example from what the encoder says, and weigh it."""
    mean, log_std, *given = posterior
    z = jax.vmap(reparameterize)(jax.random.split(key, len(mean)), mean, log_std)
    log_q = jax.vmap(normal_log_prob)(z, mean, log_std)
    if model.flow is not None:
        bent: Any = model.flow.apply(variables["flow"], z, *given)
        z, log_det = bent
        log_q -= log_det
    log_ratio = log_q - jax.vmap(standard_normal_log_prob)(z)
    kl = jax.vmap(kl_standard_normal)(mean, log_std) if model.flow is None else log_ratio
    # under mixed precision the decoder computes in bfloat16, densities in float32
    z_low = z.astype(optax.tree.dtype(variables))
    output = model.decoder.apply(variables["decoder"], z_low, *optional(context))
    log_likelihood = jax.vmap(model.likelihood.log_prob)(x.astype(jnp.float32), output)
    return Draw(z, output, log_likelihood, log_ratio, kl)


def importance_sampled_nll(
    model: LatentModel,
    variables: Any,
    x: Array,
    context: Array | None,
    key: Key,
    *,
    num_samples: int,
    chunk: int = 64,
) -> Array:
    """Estimate −log p(x) of each example by importance samples of the posterior, see `nll_of_weights`.

    −log p(x) ≈ −log (1/K) Σ_k p(x, z_k)/q(z_k|x),  z_k ~ q(z|x)

    Args:
        model: the nets.
        variables: of the nets.
        x: [B, ...], examples.
        context: [B, ...], what model and posterior are conditioned on, if anything.
        key: of the draws.
        num_samples: K.
        chunk: draws of each example that are decoded at a time.

    Returns:
        [B], in nats.
    """
    posterior = model.encoder.apply(variables["encoder"], x, *optional(context))

    def log_weight(key: Key) -> Array:
        draw = weigh(model, variables, x, context, posterior, key)
        return draw.log_likelihood - draw.log_ratio

    return nll_of_weights(log_weight, key, num_samples, chunk)


def nll_of_weights(log_weight: Callable[[Key], Array], key: Key, num_samples: int, chunk: int) -> Array:
    """Estimate −log p(x) of each example from K importance samples, few of them in memory at a time.

    −log p(x) ≈ −log (1/K) Σ_k w_k

    The estimate is high on average, and less so as K grows: a number is worth what its K says.

    See Burda, Grosse & Salakhutdinov (2016), arXiv:1509.00519; Rezende, Mohamed & Wierstra (2014).

    Args:
        log_weight: key -> log w = log p(x, z) − log q(z|x) of one draw of z for each example, [B].
        key: of the draws.
        num_samples: K.
        chunk: draws of each example at a time; the estimate does not depend on it.

    Returns:
        [B], in nats.
    """
    log_weights = jax.lax.map(log_weight, jax.random.split(key, num_samples), batch_size=chunk)  # [K, B]
    return -jax.vmap(importance_weighted_log_likelihood, 1)(log_weights)
