"""Coordinate ascent on the mixture of Gaussians: its bound rises, to where it is flat, below the evidence."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxdl.learners.cavi import Means, assignment_logits, best_means, mixture_cavi, predictive_log_prob
from jaxdl.objectives import gaussian_mixture_elbo

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(30, 2)) + 4 * RNG.integers(-1, 2, (30, 2)), jnp.float32)
SIGMA = 3.0


def start(components=3):
    return Means(X[:components], jnp.linspace(-1, 1, components)[:, None] * jnp.ones((1, 2)))


def bound(logits, q, x=X):
    return gaussian_mixture_elbo(x, logits, *q, prior_std=SIGMA)


def test_the_bound_never_falls():
    q, bounds = start(), []
    for _ in range(12):
        logits = assignment_logits(X, q)
        bounds.append(float(bound(logits, q)))
        q = best_means(X, logits, SIGMA)
        bounds.append(float(bound(logits, q)))
    assert (np.diff(bounds) > -1e-3).all()
    assert bounds[1] > bounds[0] + 1 and bounds[-1] > bounds[1] + 0.1


def test_each_half_of_a_sweep_goes_where_the_bound_is_flat():
    q = start()
    logits = assignment_logits(X, q)
    np.testing.assert_allclose(jax.grad(bound)(logits, q), 0, atol=1e-4)
    best = best_means(X, logits, SIGMA)
    for gradient in jax.grad(bound, 1)(logits, best):
        np.testing.assert_allclose(gradient, 0, atol=1e-3)
    assert np.abs(jax.grad(bound, 1)(logits, q)[0]).max() > 1


def test_the_bound_stays_below_the_evidence():
    x = X[:4, :1]
    evidence = []
    for labels in itertools.product(range(2), repeat=4):  # given who belongs together, x is normal
        same = np.equal.outer(labels, labels)
        density = stats.multivariate_normal(np.zeros(4), np.eye(4) + SIGMA**2 * same)
        evidence.append(density.logpdf(np.asarray(x)[:, 0]) - 4 * np.log(2))
    evidence = np.logaddexp.reduce(evidence)
    q = Means(x[:2], jnp.zeros((2, 1)))
    for _ in range(10):
        logits = assignment_logits(x, q)
        q = best_means(x, logits, SIGMA)
    assert evidence - 3 < bound(logits, q, x) < evidence


def test_the_density_of_a_new_point():
    q = Means(jnp.array([[0.0, 1.0], [4.0, -2.0]]), jnp.log(jnp.array([[0.5, 0.5], [0.1, 0.1]])))
    x = np.array([1.0, 0.3], np.float32)
    parts = [stats.norm.pdf(x, m, np.sqrt(1 + s**2)).prod() for m, s in zip(q.mean, (0.5, 0.1), strict=True)]
    np.testing.assert_allclose(predictive_log_prob(x, q), np.log(np.mean(parts)), rtol=1e-5)


def test_the_best_of_several_mixtures_counts():
    learner = mixture_cavi(X, X[:5], components=3, prior_std=SIGMA, restarts=4)
    state = learner.init(KEY, None)
    assert state.mean.shape == (4, 3, 2) and len(np.unique(state.mean[:, 0, 0])) > 1
    after, metrics = jax.jit(learner.step)(state, None)
    bounds = []
    for r in range(4):
        logits = assignment_logits(X, Means(*(leaf[r] for leaf in state)))
        swept = best_means(X, logits, SIGMA)
        np.testing.assert_allclose(after.mean[r], swept.mean, rtol=1e-4, atol=1e-4)
        bounds.append(float(bound(logits, swept)) / 30)
    assert max(bounds) - min(bounds) > 0.01
    np.testing.assert_allclose([metrics["elbo"], -metrics["loss"]], max(bounds), rtol=1e-5)
    values = jax.jit(learner.evaluate)(after, None, KEY)
    assert values["log_prob"].shape == (5,) and values["elbo"] >= max(bounds)


@pytest.mark.parametrize("k", range(2))
def test_means_by_hand(k):
    # All points but one belong to the first component: m = Σx/(n + 1/σ²), s² = 1/(n + 1/σ²).
    logits = jnp.where(jnp.arange(30)[:, None] > 0, jnp.array([[50.0, -50.0]]), jnp.array([[-50.0, 50.0]]))
    q, members = best_means(X, logits, 2.0), np.asarray([X[1:], X[:1]][k])
    np.testing.assert_allclose(q.mean[k], members.sum(0) / (len(members) + 0.25), rtol=1e-5)
    np.testing.assert_allclose(np.exp(2 * q.log_std[k]), 1 / (len(members) + 0.25), rtol=1e-5)
