"""Losses for models known up to a constant (energies, scores) and for denoising diffusion."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxdl.objectives._check import check_rank, check_same_shape
from jaxdl.types import Array, Key


def contrastive_divergence_loss(energy_data: Array, energy_model: Array) -> Array:
    """Return a loss whose gradient is that of the negative log-likelihood of p(x) = exp(−E(x))/Z.

    L = E(x) − E(x̃),  ∇(−log p) = ∇E(x) − E_{x̃~p}[∇E(x̃)]

    x̃ comes from a chain that was started at the data (CD-k) or kept from the step before (PCD). Hold it
    constant: the gradient does not run through the chain. The value is no likelihood and may be negative.

    See Hinton, 2002; Tieleman, 2008.

    Args:
        energy_data: scalar, E(x) of a data point.
        energy_model: scalar, E(x̃) of a sample from the model.

    Returns:
        A scalar, in nats.
    """
    check_rank(0, energy_data=energy_data, energy_model=energy_model)
    return energy_data - energy_model


def nce_loss(log_ratio_data: Array, log_ratio_noise: Array) -> Array:
    """Tell one data point from K noise points, which fits an unnormalised density and its constant.

    L = −log σ(G(x) − log K) − Σ_k log σ(log K − G(y_k)),  G = log p_model − log p_noise

    See Gutmann & Hyvärinen, 2010.

    Args:
        log_ratio_data: scalar, G at the data point x.
        log_ratio_noise: [K], G at the noise points y_k.

    Returns:
        A scalar, in nats.
    """
    check_rank(0, log_ratio_data=log_ratio_data)
    check_rank(1, log_ratio_noise=log_ratio_noise)
    log_k = math.log(log_ratio_noise.shape[0])
    return jax.nn.softplus(log_k - log_ratio_data) + jax.nn.softplus(log_ratio_noise - log_k).sum()


def denoising_score_matching_loss(
    score: Callable[[Array], Array], x: Array, key: Key, *, std: float | Array
) -> Array:
    """Match a score to that of the data blurred by Gaussian noise.

    L = ½ ‖s(x̃) + (x̃ − x)/σ²‖²,  x̃ = x + σ ε,  ε ~ N(0, I)

    See Vincent, 2011.

    Args:
        score: s, maps an array of the shape of x to one of the same shape, ∇ₓ log p.
        x: [...], a clean example.
        key: a PRNG key.
        std: σ, in the units of x. The loss grows as 1/σ²: weigh it by σ² where several σ are trained at once.

    Returns:
        A scalar.
    """
    noise = jax.random.normal(key, x.shape, x.dtype)
    estimate = score(x + std * noise)
    check_same_shape(score=estimate, x=x)
    return 0.5 * ((estimate + noise / std) ** 2).sum()


def sliced_score_matching_loss(score: Callable[[Array], Array], x: Array, key: Key) -> Array:
    """Match a score to that of the data itself, along one random direction.

    L = vᵀ (∂s/∂x) v + ½ ‖s(x)‖²,  v uniform on {−1, 1}^D, so that E_v[v vᵀ] = I

    It is the variance-reduced form, whose mean over v is Hyvärinen's tr ∂s/∂x + ½ ‖s‖².

    See Song, Garg, Shi & Ermon, 2019 (arXiv:1905.07088); Hyvärinen, 2005.

    Args:
        score: s, maps an array of the shape of x to one of the same shape, ∇ₓ log p.
        x: [...], an example.
        key: a PRNG key.

    Returns:
        A scalar.
    """
    v = jax.random.rademacher(key, x.shape, x.dtype)
    estimate, derivative_along_v = jax.jvp(score, (x,), (v,))
    check_same_shape(score=estimate, x=x)
    return (v * derivative_along_v).sum() + 0.5 * (estimate**2).sum()


def ddpm_loss(
    denoiser: Callable[[Array, Array], Array], x: Array, t: Array, alpha_bar: Array, key: Key
) -> Array:
    """Predict the noise that a diffusion process has added by step t.

    L = ‖ε − ε_θ(x_t, t)‖²,  x_t = √ᾱ_t x + √(1 − ᾱ_t) ε,  ε ~ N(0, I)

    See Ho, Jain & Abbeel, 2020 (arXiv:2006.11239), algorithm 1.

    Args:
        denoiser: ε_θ, (x_t [...], t) -> [...].
        x: [...], a clean example.
        t: scalar integer in [0, T).
        alpha_bar: [T], ᾱ, the running product of 1 − β.
        key: a PRNG key.

    Returns:
        A scalar.
    """
    check_rank(0, t=t)
    check_rank(1, alpha_bar=alpha_bar)
    noise = jax.random.normal(key, x.shape, x.dtype)
    x_t = jnp.sqrt(alpha_bar[t]) * x + jnp.sqrt(1 - alpha_bar[t]) * noise
    estimate = denoiser(x_t, t)
    check_same_shape(noise_estimate=estimate, x=x)
    return ((noise - estimate) ** 2).sum()
