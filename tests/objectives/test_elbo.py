"""Bounds against models small enough to enumerate, or conjugate enough to solve."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp, softmax

from jaxdl.objectives.divergence import kl_categorical, kl_standard_normal
from jaxdl.objectives.elbo import (
    elbo,
    gaussian_mixture_elbo,
    iwae_bound,
    m2_labelled_bound,
    m2_unlabelled_bound,
    reparameterize,
)

# A latent of three values: prior, likelihood of the observation, and what follows from them.
LOG_PRIOR, LOG_LIKELIHOOD = np.log([0.5, 0.3, 0.2]), np.log([0.1, 0.6, 0.9])
LOG_EVIDENCE = logsumexp(LOG_PRIOR + LOG_LIKELIHOOD)
POSTERIOR_LOGITS = LOG_PRIOR + LOG_LIKELIHOOD
OTHER_LOGITS = np.array([1.0, -1.0, 0.5])


def posterior_gap(logits):
    """KL(q(z) ‖ p(z|x)): how far each of these bounds lies below the evidence."""
    return stats.entropy(softmax(logits), softmax(POSTERIOR_LOGITS))


@pytest.mark.parametrize("logits", [POSTERIOR_LOGITS, OTHER_LOGITS], ids=["posterior", "other"])
def test_elbo_is_the_evidence_less_the_divergence_from_the_posterior(logits):
    # ‼ Σ q log p(x|z)p(z)/q, not Σ q log p(z)/q; and the gap is KL ≥ 0, not 0.
    log_likelihood = jnp.float32(softmax(logits) @ LOG_LIKELIHOOD)
    value = elbo(log_likelihood, kl_categorical(jnp.asarray(logits), jnp.asarray(LOG_PRIOR)))
    np.testing.assert_allclose(value, LOG_EVIDENCE - posterior_gap(logits), rtol=1e-5)


def test_elbo_of_a_linear_gaussian_model_is_tight_at_its_posterior():
    # z ~ N(0, 1), x|z ~ N(z, 1): the posterior is N(x/2, 1/2) and x ~ N(0, 2).
    # ‼ exp(σ) as a standard deviation here and as a variance there, or a KL without its ½, would miss it.
    x = 1.7

    def bound(mean, log_std):
        log_likelihood = -0.5 * (jnp.log(2 * jnp.pi) + (x - mean) ** 2 + jnp.exp(2 * log_std))
        return elbo(log_likelihood, kl_standard_normal(mean, log_std))

    posterior = jnp.float32(x / 2), jnp.float32(0.5 * np.log(0.5))
    value, grads = jax.jit(jax.value_and_grad(bound, (0, 1)))(*posterior)
    np.testing.assert_allclose(value, stats.norm.logpdf(x, scale=np.sqrt(2)), rtol=1e-6)
    np.testing.assert_allclose(grads, 0, atol=1e-6)


def test_beta_weighs_the_divergence_against_the_likelihood():
    # ‼ max E[log p] − β KL
    log_likelihood, kl = jnp.float32(-10), jnp.float32(3)
    np.testing.assert_allclose(elbo(log_likelihood, kl), -13)
    np.testing.assert_allclose(elbo(log_likelihood, kl, beta=4.0), -22)
    np.testing.assert_allclose(jax.grad(elbo, (0, 1))(log_likelihood, kl, 4.0), (1, -4))


def test_reparameterize_draws_with_the_standard_deviation():
    # ‼ N(a, b) = a + √b ε: the second parameter is log σ, and ε is multiplied by σ.
    mean, log_std = jnp.full(20_000, 1.0), jnp.full(20_000, np.log(3.0))
    draws = jax.jit(reparameterize)(jax.random.key(0), mean, log_std)
    assert stats.kstest(np.float64(draws), stats.norm(1, 3).cdf).pvalue > 0.01


def test_reparameterized_gradient_is_that_of_the_expectation():
    # E[z²] = μ² + σ²: the gradient is (2μ, 2σ²) in (μ, log σ).
    keys = jax.random.split(jax.random.key(1), 20_000)
    square = lambda key, mean, log_std: reparameterize(key, mean, log_std) ** 2
    grads = jax.jit(jax.vmap(jax.grad(square, (1, 2)), (0, None, None)))(keys, 0.5, jnp.log(1.5))
    np.testing.assert_allclose([g.mean() for g in grads], [1, 4.5], atol=0.1)


def test_iwae_bound_is_the_log_of_the_mean_weight():
    value, grad = jax.value_and_grad(iwae_bound)(jnp.log(jnp.array([0.1, 0.3])))
    np.testing.assert_allclose(value, np.log(0.2), rtol=1e-6)
    np.testing.assert_allclose(grad, [0.25, 0.75], rtol=1e-5)
    np.testing.assert_allclose(iwae_bound(jnp.array([-1e4])), -1e4)


@pytest.mark.parametrize("logits", [POSTERIOR_LOGITS, OTHER_LOGITS], ids=["posterior", "other"])
def test_unlabelled_bound_enumerates_the_labels(logits):
    # With ELBO(x|y) = log p(x|y) exact, the only gap is that of the classifier from p(y|x).
    bound = jax.jit(jax.value_and_grad(m2_unlabelled_bound, 1))
    value, grad = bound(jnp.asarray(LOG_LIKELIHOOD), jnp.asarray(logits), jnp.asarray(LOG_PRIOR + 3))
    q = softmax(logits)
    np.testing.assert_allclose(value, LOG_EVIDENCE - posterior_gap(logits), rtol=1e-5)
    centered = POSTERIOR_LOGITS - logits - q @ (POSTERIOR_LOGITS - logits)
    np.testing.assert_allclose(grad, q * centered, atol=1e-6)


def test_labelled_bound_is_the_unlabelled_one_of_a_certain_classifier():
    for label in range(3):
        labelled = m2_labelled_bound(
            jnp.float32(LOG_LIKELIHOOD[label]), jnp.array(label), jnp.asarray(LOG_PRIOR)
        )
        certain = jnp.where(jnp.arange(3) == label, 1e4, -1e4)
        unlabelled = m2_unlabelled_bound(jnp.asarray(LOG_LIKELIHOOD), certain, jnp.asarray(LOG_PRIOR))
        np.testing.assert_allclose(labelled, LOG_PRIOR[label] + LOG_LIKELIHOOD[label], rtol=1e-6)
        np.testing.assert_allclose(unlabelled, labelled, rtol=1e-6)


X, PRIOR_STD = np.array([[-1.0], [0.4], [2.5]]), 2.0
LOGITS = np.array([[0.3, -0.5], [1.0, 0.2], [-2.0, 0.1]])
MEAN, LOG_STD = np.array([[-0.7], [1.3]]), np.array([[-0.2], [-0.9]])


def gaussian_mixture_oracle(x, logits, mean, log_std):
    """E_q[log p(x, c, μ) − log q(c, μ)]: every assignment enumerated, μ by Gauss-Hermite quadrature."""
    node, weight = np.polynomial.hermite_e.hermegauss(8)
    std, total = np.exp(log_std), 0.0
    for i, j in itertools.product(range(8), repeat=2):
        mu = mean[:, 0] + std[:, 0] * node[[i, j]]
        log_ratio = (
            stats.norm.logpdf(mu, 0, PRIOR_STD).sum() - stats.norm.logpdf(mu, mean[:, 0], std[:, 0]).sum()
        )
        for c in itertools.product(range(2), repeat=len(x)):
            log_q_c = np.log(softmax(logits, axis=1)[range(len(x)), c]).sum()
            log_p = stats.norm.logpdf(x[:, 0], mu[list(c)]).sum() + len(x) * np.log(0.5)
            total += weight[i] * weight[j] / (2 * np.pi) * np.exp(log_q_c) * (log_p + log_ratio - log_q_c)
    return total


def log_evidence(x, k):
    """Log p(x) of the mixture: given the assignments x is jointly normal, and there are K^N of them."""
    assignments = np.array(list(itertools.product(range(k), repeat=len(x))))
    same = assignments[:, :, None] == assignments[:, None]
    terms = [
        sum(stats.multivariate_normal.logpdf(column, cov=np.eye(len(x)) + PRIOR_STD**2 * s) for column in x.T)
        for s in same
    ]
    return logsumexp(terms) - len(x) * np.log(k)


def test_gaussian_mixture_elbo_is_the_expectation_under_the_mean_field_family():
    args = (jnp.asarray(a, jnp.float32) for a in (X, LOGITS, MEAN, LOG_STD))
    value = jax.jit(gaussian_mixture_elbo)(*args, prior_std=PRIOR_STD)
    np.testing.assert_allclose(value, gaussian_mixture_oracle(X, LOGITS, MEAN, LOG_STD), rtol=1e-5)
    assert value < log_evidence(X, 2)


def test_gaussian_mixture_elbo_is_stationary_where_coordinate_ascent_stops():
    mean, variance = MEAN[:, 0], np.ones(2)
    for _ in range(300):
        logits = X * mean - 0.5 * (mean**2 + variance)
        phi = softmax(logits, axis=1)
        variance = 1 / (1 / PRIOR_STD**2 + phi.sum(axis=0))
        mean = variance * (phi * X).sum(axis=0)
    found = (logits, mean[:, None], 0.5 * np.log(variance)[:, None])
    bound = jax.jit(
        jax.value_and_grad(lambda *q: gaussian_mixture_elbo(X, *q, prior_std=PRIOR_STD), (0, 1, 2))
    )
    value, grads = bound(*(jnp.asarray(a, jnp.float32) for a in found))
    for grad in grads:
        np.testing.assert_allclose(grad, 0, atol=1e-5)
    assert gaussian_mixture_oracle(X, LOGITS, MEAN, LOG_STD) < value < log_evidence(X, 2)


def test_gaussian_mixture_elbo_of_one_component_is_tight_at_its_posterior():
    x = np.array([[-1.0, 0.2], [0.4, 1.0], [2.5, -0.3]])
    variance = 1 / (1 / PRIOR_STD**2 + len(x))
    mean, log_std = variance * x.sum(axis=0, keepdims=True), np.full((1, 2), 0.5 * np.log(variance))
    bound = jax.jit(partial(gaussian_mixture_elbo, prior_std=PRIOR_STD))
    value = bound(*(jnp.asarray(a, jnp.float32) for a in (x, np.zeros((3, 1)), mean, log_std)))
    np.testing.assert_allclose(value, log_evidence(x, 1), rtol=1e-6)


ONE, TWO, FOUR = jnp.ones(3), jnp.ones((2, 3)), jnp.ones((4, 3))


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (elbo, (ONE, ONE)),
        (iwae_bound, (TWO,)),
        (reparameterize, (jax.random.key(0), TWO, ONE)),
        (m2_labelled_bound, (ONE, jnp.zeros(3, int), TWO)),
        (m2_unlabelled_bound, (TWO, TWO, TWO)),
        (m2_unlabelled_bound, (ONE, ONE, jnp.ones(4))),
        (gaussian_mixture_elbo, (TWO[None], TWO[None], TWO[None], TWO[None])),
        (gaussian_mixture_elbo, (TWO, jnp.ones((2, 4)), FOUR, TWO)),
        (gaussian_mixture_elbo, (TWO, jnp.ones((2, 4)), jnp.ones((4, 1)), jnp.ones((4, 1)))),
        (gaussian_mixture_elbo, (TWO, jnp.ones((2, 1)), FOUR, FOUR)),
    ],
)
def test_shapes_are_checked(f, args):
    keywords = {"prior_std": 1.0} if f is gaussian_mixture_elbo else {}
    with pytest.raises(AssertionError, match=r"jax\.vmap"):
        f(*args, **keywords)
