"""Energy and score losses against enumerated machines and Gaussians whose score is known."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax

from jaxdl.objectives.energy import (
    contrastive_divergence_loss,
    ddpm_loss,
    denoising_score_matching_loss,
    nce_loss,
    sliced_score_matching_loss,
)

STATES = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))
W = np.array([[0.0, 0.5, -0.3], [0.5, 0.0, 0.8], [-0.3, 0.8, 0.0]])


def test_contrastive_divergence_follows_the_likelihood_of_a_boltzmann_machine():
    # ‼ E = −½ xᵀWx, ∇_W log p = ½ (E_data − E_model)[x xᵀ]: an outer product, and E(data) goes down.
    data = np.array([1.0, 1.0, -1.0])
    energy = lambda w, x: -0.5 * x @ w @ x
    loss = lambda w, x: contrastive_divergence_loss(energy(w, jnp.asarray(data)), energy(w, x))
    grads = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(jnp.asarray(W), jnp.asarray(STATES))
    p_model = softmax(0.5 * np.einsum("si,ij,sj->s", STATES, W, STATES))
    outer = np.einsum("si,sj->sij", STATES, STATES)
    expected = 0.5 * (np.outer(data, data) - np.einsum("s,sij->ij", p_model, outer))
    np.testing.assert_allclose(-np.einsum("s,sij->ij", p_model, grads), expected, atol=1e-6)
    np.testing.assert_allclose(loss(jnp.asarray(W), jnp.asarray(data)), 0)


@pytest.mark.parametrize("num_noise", [1, 3])
def test_nce_is_stationary_at_the_normalised_data_distribution(num_noise):
    # The expected loss over a space of three points, as a function of the unnormalised log-density.
    p_data, p_noise = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])

    def expected_loss(log_model):
        ratio = log_model - jnp.log(p_noise)
        tuples = np.array(list(itertools.product(range(3), repeat=num_noise)))
        losses = jax.vmap(jax.vmap(nce_loss, (0, None)), (None, 0))(ratio, ratio[tuples])
        return p_noise[tuples].prod(axis=1) @ losses @ p_data

    grad = jax.jit(jax.grad(expected_loss))
    np.testing.assert_allclose(grad(jnp.log(p_data)), 0, atol=1e-6)
    assert (grad(jnp.log(p_data) + 0.1) > 0.001).all()  # the constant is fitted too


def test_nce_by_hand_and_at_extremes():
    # G = log 3 at the data and log 2 at both noise points: σ(log 3/2) = 3/5, 1 − σ(log 2/2) = 1/2.
    value = nce_loss(jnp.log(3.0), jnp.log(jnp.array([2.0, 2.0])))
    np.testing.assert_allclose(value, np.log(5 / 3) + 2 * np.log(2), rtol=1e-6)
    value, grads = jax.value_and_grad(nce_loss, (0, 1))(jnp.float32(-1e4), jnp.array([1e4, -1e4]))
    np.testing.assert_allclose(value, 2e4, rtol=1e-4)
    np.testing.assert_allclose(grads[0], -1)
    np.testing.assert_allclose(grads[1], [1, 0])


EXAMPLE, STD = np.array([[0.5, -1.0, 2.0]] * 2), 0.3


def linear(a, b):
    return lambda x: a * x + b


def test_denoising_loss_is_the_distance_to_the_score_of_the_noise():
    seen = []
    score = lambda x: (seen.append(x), -0.5 * x + 1)[1]
    value = denoising_score_matching_loss(score, jnp.asarray(EXAMPLE), jax.random.key(0), std=STD)
    noisy = np.float64(seen[0])
    expected = 0.5 * ((1 - 0.5 * noisy + (noisy - EXAMPLE) / STD**2) ** 2).sum()
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_denoising_noise_has_the_given_standard_deviation():
    # A score that returns its input doubled shows the noise in its gradient; zeros show it in the value.
    keys = jax.random.split(jax.random.key(0), 5000)
    loss = partial(denoising_score_matching_loss, lambda x: 0 * x, jnp.zeros(2), std=STD)
    losses = jax.jit(jax.vmap(loss))(keys)  # ½ ‖ε‖²/σ², half a χ² of two degrees over σ²
    assert stats.kstest(2 * STD**2 * np.float64(losses), stats.chi2(2).cdf).pvalue > 0.01


def test_denoising_loss_is_least_at_the_score_of_the_blurred_data():
    # x ~ N(0, 1) blurred by σ is N(0, 1 + σ²), with score −x/(1 + σ²); the loss is a parabola in the slope.
    keys, std = jax.random.split(jax.random.key(0), 20_000), 1.0
    x = jax.random.normal(jax.random.key(1), (20_000, 1))
    loss = lambda a, x, key: denoising_score_matching_loss(linear(a, 0.0), x, key, std=std)
    slope = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0)))
    np.testing.assert_allclose(slope(-0.5, x, keys).mean(), 0, atol=0.03)
    np.testing.assert_allclose(slope(0.0, x, keys).mean(), 1, atol=0.05)


def test_sliced_loss_of_a_diagonal_gaussian_is_exact_along_any_direction():
    # s = −x/σ²: tr ∂s/∂x + ½ ‖s‖² = −D/σ² + ½ ‖x‖²/σ⁴
    value_and_slope = jax.jit(
        jax.value_and_grad(
            lambda a: sliced_score_matching_loss(linear(a, 0.0), jnp.asarray(EXAMPLE), jax.random.key(5))
        )
    )
    value, slope = value_and_slope(-1 / STD**2)
    np.testing.assert_allclose(value, -6 / STD**2 + 0.5 * (EXAMPLE**2).sum() / STD**4, rtol=1e-5)
    np.testing.assert_allclose(slope, 6 - (EXAMPLE**2).sum() / STD**2, rtol=1e-5)


def test_sliced_loss_is_hyvarinens_on_average():
    a, x = np.array([[-1.0, 0.4], [0.3, -2.0]]), np.array([0.5, 1.5])
    score = lambda x: jnp.asarray(a, jnp.float32) @ x
    loss = partial(sliced_score_matching_loss, score, jnp.asarray(x))
    losses = np.asarray(jax.jit(jax.vmap(loss))(jax.random.split(jax.random.key(0), 5000)))
    mean = np.trace(a) + 0.5 * ((a @ x) ** 2).sum()
    np.testing.assert_allclose(np.unique(losses.round(4)), [mean - 0.7, mean + 0.7], atol=1e-4)
    np.testing.assert_allclose(losses.mean(), mean, atol=0.05)


ALPHA_BAR = np.array([0.9, 0.5, 0.04])


@pytest.mark.parametrize("t", [0, 2])
def test_ddpm_loss_is_the_distance_to_the_noise_it_has_mixed_in(t):
    seen = []
    denoiser = lambda x_t, t: (seen.append((x_t, t)), 0.5 * x_t + t)[1]
    value = ddpm_loss(denoiser, jnp.asarray(EXAMPLE), jnp.array(t), jnp.asarray(ALPHA_BAR), jax.random.key(0))
    x_t = np.float64(seen[0][0])
    noise = (x_t - np.sqrt(ALPHA_BAR[t]) * EXAMPLE) / np.sqrt(1 - ALPHA_BAR[t])
    np.testing.assert_allclose(value, ((noise - 0.5 * x_t - t) ** 2).sum(), rtol=1e-5)
    assert seen[0][1] == t


def test_ddpm_noise_is_standard_normal():
    loss = lambda key: ddpm_loss(lambda x, t: 0 * x, jnp.zeros(2), jnp.array(1), jnp.asarray(ALPHA_BAR), key)
    losses = jax.jit(jax.vmap(loss))(jax.random.split(jax.random.key(0), 5000))
    assert stats.kstest(np.float64(losses), stats.chi2(2).cdf).pvalue > 0.01


KEY, SCALAR, ROW = jax.random.key(0), jnp.ones(()), jnp.ones(3)


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (contrastive_divergence_loss, (ROW, ROW)),
        (nce_loss, (ROW, ROW)),
        (nce_loss, (SCALAR, jnp.ones((2, 3)))),
        (partial(denoising_score_matching_loss, std=1.0), (jnp.sum, ROW, KEY)),
        (sliced_score_matching_loss, (jnp.sum, ROW, KEY)),
        (ddpm_loss, (lambda x, t: x, ROW, jnp.zeros(3, int), ROW, KEY)),
        (ddpm_loss, (lambda x, t: x, ROW, jnp.array(0), jnp.ones((2, 3)), KEY)),
        (ddpm_loss, (lambda x, t: x.sum(), ROW, jnp.array(0), ROW, KEY)),
    ],
)
def test_shapes_are_checked(f, args):
    with pytest.raises(AssertionError, match=r"jax\.vmap"):
        f(*args)
