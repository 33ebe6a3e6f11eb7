"""Autoencoders: undercomplete, or kept from copying by a penalty on the code or by noise on the input."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxdl.learners.latent_pictures import beside, interpolation
from jaxdl.objectives import contractive_penalty, l1_penalty, sparsity_kl_penalty, squared_loss
from jaxdl.ops.pictures import image_grid
from jaxdl.train import Options, Player, gradient_learner
from jaxdl.types import Array, Batch, Key, Learner, Metrics, Programs

Encode = Callable[[Array], Array]  # x [B, ...] -> h [B, D]
Penalty = Callable[[Encode, Array], Array]  # (encode, x [B, ...]) -> scalar
Corruption = Callable[[Key, Array], Array]  # of one example


def sparse_l1(weight: float) -> Penalty:
    """Ask for codes with few large entries: λ Σ_j |h_j|."""
    return lambda encode, x: weight * jax.vmap(l1_penalty)(encode(x)).mean()


def sparse_kl(weight: float, rho: float = 0.05) -> Penalty:
    """Ask each unit of the code to be active a fraction ρ of the time: λ Σ_j KL(ρ ‖ ρ̂_j), ρ̂ of the batch.

    Under `pmap` and with `accumulate`, ρ̂ is that of a part of the batch, as the statistics of batch norm are.

    See Ng, "Sparse Autoencoder" (2011).
    """
    return lambda encode, x: weight * sparsity_kl_penalty(encode(x).mean(0), rho)


def contractive(weight: float) -> Penalty:
    """Ask the code to be insensitive to the input: λ ‖∂h/∂x‖²_F.

    See Rifai, Vincent, Muller, Glorot & Bengio (2011).
    """

    def penalty(encode: Encode, x: Array) -> Array:
        of_one = lambda x: contractive_penalty(lambda x: encode(x[None])[0], x)
        return weight * jax.vmap(of_one)(x).mean()

    return penalty


def masking_noise(rate: float) -> Corruption:
    """Set a share of the entries to zero.

    See Vincent, Larochelle, Bengio & Manzagol (2008).
    """
    return lambda key, x: jnp.where(jax.random.bernoulli(key, rate, x.shape), 0, x)


def autoencoder(
    encoder: nn.Module,
    decoder: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    act: Callable[[Array], Array] = lambda h: h,
    penalty: Penalty | None = None,
    corrupt: Corruption | None = None,
    options: Options = Options(),
) -> Learner:
    """Train an encoder and a decoder to give back what they were given.

    minimise ‖g(f(x̃)) − x‖² + Ω(f, x),  x̃ = x, or a corrupted x

    Linear ones find the subspace of the principal components: Baldi & Hornik (1989). See Hinton &
    Salakhutdinov (2006).

    Args:
        encoder: x [B, ...] -> [B, D], called with `train`; f = act ∘ encoder.
        decoder: g, h [B, D] -> [B, ...].
        optimizer: of both.
        act: of the code.
        penalty: Ω.
        corrupt: x -> x̃.
        options: of the shared step.

    Returns:
        A Learner of batches {"x": [B, H, W, C]}. It evaluates the loss, the squared error of what is given
        back without Ω, and the activation, the mean of |h|. It draws examples, corrupted ones where they are,
        and what is given back; paths from one code to another; and what decodes from codes drawn at random.
        It exports encode: x -> h, and decode: h -> x.
    """

    def encode(params: Any, x: Array) -> Array:
        code: Any = encoder.apply(params["model"]["encoder"], x, train=False)
        return act(code)

    def decode(params: Any, h: Array) -> Array:
        h = h.astype(optax.tree.dtype(params))  # under mixed precision it computes in bfloat16
        output: Any = decoder.apply(params["model"]["decoder"], h)
        return output

    def corrupted(x: Array, key: Key) -> Array:
        return x if corrupt is None else jax.vmap(corrupt)(jax.random.split(key, len(x)), x)

    def init(key: Key, batch: Batch) -> tuple[Any, Any]:
        key_encoder, key_decoder = jax.random.split(key)
        h, encoder_variables = encoder.init_with_output(key_encoder, batch["x"], train=False)
        return {"model": {"encoder": encoder_variables, "decoder": decoder.init(key_decoder, h)}}, {}

    def terms(params: Any, batch: Batch, key: Key) -> dict[str, Array]:
        h = encode(params, corrupted(batch["x"], key))
        error = jax.vmap(squared_loss)(decode(params, h), batch["x"].astype(jnp.float32))
        return {"loss": error, "activation": jnp.abs(h).mean(-1)}

    def loss(params: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        metrics = jax.tree.map(jnp.mean, terms(params, batch, key))
        error = metrics.pop("loss")
        omega = jnp.zeros(()) if penalty is None else penalty(lambda x: encode(params, x), batch["x"])
        return error + omega, (model_state, metrics | {"error": error, "penalty": omega})

    def evaluate(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        return terms(params, batch, key)

    def render(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        x, codes = batch["x"], encode(params, batch["x"])
        images = lambda h: jnp.clip(decode(params, h), 0, 1)
        key_noise, key_codes = jax.random.split(key)
        given = corrupted(x[:32], key_noise)
        noisy = [] if corrupt is None else [given]
        mean, std = codes.mean(0, keepdims=True), codes.std(0, keepdims=True)
        normal = mean + std * jax.random.normal(key_codes, (64, codes.shape[-1]))
        return {
            "reconstructions": beside(x[:32], *noisy, images(encode(params, given)), rows_of=4),
            "interpolations": interpolation(images, codes),
            "samples of independent normal codes": image_grid(images(normal)),
            "samples of a normal fitted to the codes": image_grid(images(fitted_samples(codes, 1))),
            "samples of a mixture fitted to the codes": image_grid(images(fitted_samples(codes, 20))),
        }

    def export(params: Any, model_state: Any, batch: Batch) -> Programs:
        codes = jax.eval_shape(encode, params, batch["x"])
        return {
            "encode": (lambda x: encode(params, x[None])[0], batch["x"]),
            "decode": (lambda h: decode(params, h[None])[0], codes),
        }

    players = {"model": Player(loss, optimizer)}
    return gradient_learner(init, players, evaluate=evaluate, render=render, export=export, options=options)


def fitted_samples(codes: Array, components: int, num: int = 64) -> Array:
    """Draw codes from a mixture of Gaussians fitted to codes [N, D], on the host; return [num, D]."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(min(components, len(codes)), reg_covar=1e-3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # to be drawn from, it need not have converged
        mixture.fit(np.asarray(codes, np.float64))
    drawn, component = mixture.sample(num)
    return jnp.asarray(drawn[np.random.default_rng(0).permutation(len(component))], jnp.float32)
