"""Densities and samplers against scipy.stats and sums written out in numpy."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, log_softmax, logit, logsumexp, softmax

from jaxdl.objectives.likelihood import (
    bernoulli_log_prob,
    bits_per_dim,
    categorical_log_prob,
    discretized_logistic_log_prob,
    discretized_logistic_mixture_log_prob,
    importance_weighted_log_likelihood,
    laplace_log_prior,
    laplace_log_prob,
    logistic_log_prob,
    map_penalty,
    multivariate_normal_log_prob,
    normal_log_prior,
    normal_log_prob,
    normal_mixture_log_prior,
    normal_mixture_log_prob,
    standard_normal_log_prob,
)
from jaxdl.objectives.sampling import (
    sample_bernoulli,
    sample_categorical,
    sample_discretized_logistic,
    sample_discretized_logistic_mixture,
    sample_gumbel_softmax,
    sample_laplace,
    sample_logistic,
    sample_multivariate_normal,
    sample_normal,
    sample_normal_mixture,
    sample_standard_normal,
)

BINS = 5


def levels_oracle(x, mean, log_scale):
    """The probability of a level as a plain difference of distribution functions, in float64."""
    half = 0.5 / (BINS - 1)
    cdf = lambda edge: stats.logistic.cdf(edge, mean, np.exp(log_scale))
    upper = np.where(x > 1 - half, 1.0, cdf(x + half))
    lower = np.where(x < half, 0.0, cdf(x - half))
    return upper - lower


def mixture_oracle(logits, probs):
    return np.log((softmax(logits, axis=-1) * probs).sum(axis=-1)).sum()


def mvn_oracle(x, mean, scale_tril):
    scale = np.tril(scale_tril)
    return stats.multivariate_normal.logpdf(x, mean, scale @ scale.T)


def draw(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


X, MEAN, LOG_STD = draw(2, 3), 0.5 * draw(2, 3) + 1, 0.3 * draw(2, 3) - 0.2
LOGITS, MEANS, LOG_STDS = draw(2, 3, 4), draw(2, 3, 4)[::-1], 0.3 * draw(2, 3, 4) - 1
BINARY, LABEL = np.array([[1.0, 0, 1], [0, 1, 0]]), np.array([[3, 0, 1], [2, 2, 0]])
GRID = np.array([[0.0, 0.25, 0.5], [0.75, 1.0, 0.25]])
TRIL = np.array([[0.5, 7.0, 7.0], [0.3, -1.2, 7.0], [-0.4, 0.8, 2.0]])  # what lies above is not read

# name: (log_prob, arguments, oracle, the arguments it is differentiated in)
DENSITIES = {
    "bernoulli": (
        bernoulli_log_prob,
        (BINARY, X),
        lambda x, a: stats.bernoulli.logpmf(x, expit(a)).sum(),
        [1],
    ),
    "categorical": (
        categorical_log_prob,
        (LABEL, LOGITS),
        lambda y, a: sum(log_softmax(a[i])[y[i]] for i in np.ndindex(y.shape)),
        [1],
    ),
    "normal": (
        normal_log_prob,
        (X, MEAN, LOG_STD),
        lambda x, m, s: stats.norm.logpdf(x, m, np.exp(s)).sum(),
        [0, 1, 2],
    ),
    "standard_normal": (standard_normal_log_prob, (X,), lambda x: stats.norm.logpdf(x).sum(), [0]),
    "laplace": (
        laplace_log_prob,
        (X, MEAN, LOG_STD),
        lambda x, m, s: stats.laplace.logpdf(x, m, np.exp(s)).sum(),
        [0, 1, 2],
    ),
    "logistic": (
        logistic_log_prob,
        (X, MEAN, LOG_STD),
        lambda x, m, s: stats.logistic.logpdf(x, m, np.exp(s)).sum(),
        [0, 1, 2],
    ),
    "discretized_logistic": (
        partial(discretized_logistic_log_prob, bins=BINS),
        (GRID, MEAN, LOG_STD - 1),
        lambda x, m, s: np.log(levels_oracle(x, m, s)).sum(),
        [1, 2],
    ),
    "discretized_logistic_mixture": (
        partial(discretized_logistic_mixture_log_prob, bins=BINS),
        (GRID, LOGITS, MEANS, LOG_STDS),
        lambda x, a, m, s: mixture_oracle(a, levels_oracle(x[..., None], m, s)),
        [1, 2, 3],
    ),
    "normal_mixture": (
        normal_mixture_log_prob,
        (X, LOGITS, MEANS, LOG_STDS),
        lambda x, a, m, s: mixture_oracle(a, stats.norm.pdf(x[..., None], m, np.exp(s))),
        [0, 1, 2, 3],
    ),
    "multivariate_normal": (multivariate_normal_log_prob, (X[0], MEAN[0], TRIL), mvn_oracle, [0, 1, 2]),
}


def central_differences(f, args, index, step=1e-6):
    """The gradient of a float64 function in one argument, by central differences."""
    grad = np.zeros(args[index].shape)
    for i in np.ndindex(grad.shape):
        shift = np.zeros(grad.shape)
        shift[i] = step
        ahead, behind = list(args), list(args)
        ahead[index], behind[index] = args[index] + shift, args[index] - shift
        grad[i] = (f(*ahead) - f(*behind)) / (2 * step)
    return grad


def arrays(args):
    return tuple(jnp.asarray(a) if a.dtype.kind == "i" else jnp.asarray(a, jnp.float32) for a in args)


@pytest.mark.parametrize("name", DENSITIES)
def test_densities_and_gradients_of_two_examples_match_the_oracle(name):
    log_prob, args, oracle, argnums = DENSITIES[name]
    examples = [args, tuple(a if a is TRIL else a[::-1] for a in args)]
    batch = arrays(np.stack(pair) for pair in zip(*examples, strict=True))
    values, grads = jax.jit(jax.vmap(jax.value_and_grad(log_prob, argnums)))(*batch)
    np.testing.assert_allclose(values, [oracle(*example) for example in examples], rtol=1e-5)
    for index, grad in zip(argnums, grads, strict=True):
        expected = [central_differences(oracle, example, index) for example in examples]
        np.testing.assert_allclose(grad, np.stack(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in DENSITIES if name != "standard_normal"])
def test_density_never_broadcasts(name):
    log_prob, args, _, _ = DENSITIES[name]
    for index, arg in enumerate(args):
        batched = [*args[:index], np.stack([arg, arg]), *args[index + 1 :]]
        with pytest.raises(AssertionError, match=r"jax\.vmap"):
            log_prob(*arrays(batched))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [([(2, 3), (2, 3, 3)], "vmap"), ([(3,), (1, 3)], "expected$"), ([(3,), (3, 1)], "expected$")],
)
def test_multivariate_normal_takes_a_vector_and_a_square(shapes, message):
    mean, scale_tril = map(jnp.ones, shapes)
    with pytest.raises(AssertionError, match=message):
        multivariate_normal_log_prob(mean, mean, scale_tril)
    with pytest.raises(AssertionError, match=message):
        sample_multivariate_normal(jax.random.key(0), mean, scale_tril)


@pytest.mark.parametrize(
    ("log_prob", "args", "expected", "gradient"),
    [
        (bernoulli_log_prob, ([1.0, 0, 1, 0], [1e4, 1e4, -1e4, -1e4]), -2e4, [0, -1, 1, 0]),
        (categorical_log_prob, (1, [1e4, -1e4, 0]), -2e4, [-1, 1, 0]),
        (categorical_log_prob, (0, [1e4, -1e4, -np.inf]), 0, [0, 0, 0]),
    ],
    ids=["bernoulli", "categorical", "categorical_impossible_class"],
)
def test_extreme_logits(log_prob, args, expected, gradient):
    value, grad = jax.jit(jax.value_and_grad(log_prob, 1))(jnp.asarray(args[0]), jnp.asarray(args[1]))
    np.testing.assert_allclose(value, expected, atol=1e-6)
    np.testing.assert_allclose(grad, gradient, atol=1e-6)


def test_mixture_component_without_weight_leaves_the_others():
    logits, means, log_stds = jnp.array([0.0, -jnp.inf, -1e4]), jnp.array([1.0, 50, 60]), jnp.zeros(3)
    mixture = lambda a: normal_mixture_log_prob(jnp.array([1.5]), a[None], means[None], log_stds[None])
    value, grad = jax.jit(jax.value_and_grad(mixture))(logits)
    np.testing.assert_allclose(value, stats.norm.logpdf(0.5), rtol=1e-6)
    np.testing.assert_array_equal(grad, np.zeros(3))


@pytest.mark.parametrize("bins", [2, 5, 256])
def test_discretized_logistic_is_a_distribution_with_finite_gradients_at_any_scale(bins):
    # 0.3 lies on the edge of two of the 256 bins: edges that differ by a rounding would count it twice.
    means = jnp.array([-1e4, 0.0, 0.3, 0.5, 1.0, 2.0])
    log_scales = jnp.array([-1e4, -100.0, -20.0, -7.0, -1.0, 3.0, 20.0, 1e4])
    log_prob = jax.value_and_grad(partial(discretized_logistic_log_prob, bins=bins), (1, 2))
    over_levels = jax.vmap(log_prob, (0, None, None))
    over_scales = jax.vmap(over_levels, (None, None, 0))
    over_means = jax.jit(jax.vmap(over_scales, (None, 0, None)))
    log_probs, grads = over_means(jnp.arange(bins) / (bins - 1), means, log_scales)
    assert np.isfinite(log_probs).all() and all(np.isfinite(g).all() for g in grads)
    np.testing.assert_allclose(np.exp(np.float64(log_probs)).sum(axis=-1), 1, rtol=1e-5)


def test_discretized_logistic_far_from_its_mean_keeps_the_slope():
    # ½ away with s = e⁻⁷: the difference of the two sigmoids is 0 in float32, its logarithm is about −½/s.
    inverse_scale = np.exp(7.0)
    log_prob = lambda mean: discretized_logistic_log_prob(jnp.float32(0.25), mean, jnp.float32(-7.0), BINS)
    value, grad = jax.jit(jax.value_and_grad(log_prob))(jnp.float32(0.75))
    np.testing.assert_allclose(value, -(0.5 - 0.125) * inverse_scale, rtol=1e-5)
    np.testing.assert_allclose(grad, -inverse_scale, rtol=1e-5)


N = 20_000


def fill(*values):
    return tuple(jnp.broadcast_to(jnp.asarray(v, jnp.float32), (N, *np.shape(v))) for v in values)


WEIGHTS, CENTERS, SPREADS = np.log([0.2, 0.5, 0.3]), np.array([-3.0, 0.0, 4.0]), np.log([0.5, 1.0, 0.2])
mixture_cdf = lambda x: (np.exp(WEIGHTS) * stats.norm.cdf(x[:, None], CENTERS, np.exp(SPREADS))).sum(axis=1)


@pytest.mark.parametrize(
    ("sample", "cdf"),
    [
        (lambda key: sample_normal(key, *fill(1.0, np.log(2))), stats.norm(1, 2).cdf),
        (lambda key: sample_standard_normal(key, (N,)), stats.norm.cdf),
        (lambda key: sample_laplace(key, *fill(1.0, np.log(2))), stats.laplace(1, 2).cdf),
        (lambda key: sample_logistic(key, *fill(1.0, np.log(2))), stats.logistic(1, 2).cdf),
        (lambda key: sample_normal_mixture(key, *fill(WEIGHTS, CENTERS, SPREADS)), mixture_cdf),
    ],
    ids=["normal", "standard_normal", "laplace", "logistic", "normal_mixture"],
)
def test_continuous_sampler_draws_from_its_density(sample, cdf):
    draws = np.float64(jax.jit(sample)(jax.random.key(0)))
    assert draws.shape == (N,)
    assert stats.kstest(draws, cdf).pvalue > 0.01


LEVELS = np.linspace(0, 1, BINS)
level_probs = levels_oracle(LEVELS, 0.2, np.log(0.3))
level_mixture_probs = np.exp(WEIGHTS) @ levels_oracle(LEVELS, CENTERS[:, None], SPREADS[:, None])


@pytest.mark.parametrize(
    ("sample", "values", "probs"),
    [
        (lambda key: sample_bernoulli(key, *fill(1.0)), [0, 1], [expit(-1), expit(1)]),
        (lambda key: sample_categorical(key, *fill(WEIGHTS)), [0, 1, 2], np.exp(WEIGHTS)),
        (
            lambda key: sample_discretized_logistic(key, *fill(0.2, np.log(0.3)), BINS),
            LEVELS,
            level_probs,
        ),
        (
            lambda key: sample_discretized_logistic_mixture(key, *fill(WEIGHTS, CENTERS, SPREADS), BINS),
            LEVELS,
            level_mixture_probs,
        ),
    ],
    ids=["bernoulli", "categorical", "discretized_logistic", "discretized_logistic_mixture"],
)
def test_discrete_sampler_draws_from_its_probabilities(sample, values, probs):
    draws = np.asarray(jax.jit(sample)(jax.random.key(0)))
    counts = [(draws == np.float32(value)).sum() for value in values]
    assert sum(counts) == N
    assert stats.chisquare(counts, N * np.asarray(probs)).pvalue > 0.01


def test_relaxed_labels_of_two_classes_have_the_distribution_of_the_binary_concrete():
    """P(y_1 ≤ t) = σ(τ logit(t) − (l_1 − l_0)), of which τ → 0 leaves the softmax itself."""
    logits, tau = np.array([0.3, -0.9], np.float32), 0.7
    draw = jax.jit(partial(sample_gumbel_softmax, logits=jnp.tile(logits, (N, 1)), temperature=tau))
    y = np.asarray(draw(jax.random.key(0)), np.float64)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-6)
    assert stats.kstest(y[:, 1], lambda t: expit(tau * logit(t) - (logits[1] - logits[0]))).pvalue > 0.01
    gradient = jax.grad(lambda logits: sample_gumbel_softmax(jax.random.key(1), logits, tau)[1])(logits)
    drawn = sample_gumbel_softmax(jax.random.key(1), logits, tau)
    np.testing.assert_allclose(gradient, drawn[0] * drawn[1] / tau * np.array([-1, 1]), rtol=1e-5)


def test_multivariate_sampler_has_the_mean_and_covariance():
    keys = jax.random.split(jax.random.key(0), N)
    mean, scale_tril = arrays((MEAN[0], TRIL))
    draws = jax.jit(jax.vmap(lambda key: sample_multivariate_normal(key, mean, scale_tril)))(keys)
    scale = np.tril(TRIL)
    whitened = np.linalg.solve(scale, (np.float64(draws) - MEAN[0]).T)
    assert stats.kstest(whitened.ravel(), stats.norm.cdf).pvalue > 0.01
    np.testing.assert_allclose(np.cov(whitened), np.eye(3), atol=0.03)


@pytest.mark.parametrize(
    ("sample", "shapes"),
    [
        (sample_normal, [(2, 3), (3,)]),
        (sample_laplace, [(2, 3), (3,)]),
        (sample_logistic, [(2, 3), (3,)]),
        (partial(sample_discretized_logistic, bins=BINS), [(2, 3), (3,)]),
        (partial(sample_discretized_logistic_mixture, bins=BINS), [(2, 3), (1, 3), (1, 3)]),
        (sample_normal_mixture, [(2, 3), (1, 3), (1, 3)]),
        (sample_gumbel_softmax, [(3, 3), (3,)]),
    ],
)
def test_samplers_never_broadcast(sample, shapes):
    with pytest.raises(AssertionError, match=r"jax\.vmap"):
        sample(jax.random.key(0), *map(jnp.ones, shapes))


@pytest.mark.parametrize("sample", [sample_normal, sample_laplace, sample_logistic])
def test_location_scale_sampler_is_differentiable(sample):
    # z = μ + e^{log s} ε: ∂z/∂μ = 1 and ∂z/∂log s = z − μ
    mean, log_scale, draw_one = 1.5, 0.4, partial(sample, jax.random.key(3))
    by_mean, by_log_scale = jax.grad(draw_one, (0, 1))(mean, log_scale)
    np.testing.assert_allclose(by_mean, 1)
    np.testing.assert_allclose(by_log_scale, draw_one(mean, log_scale) - mean, rtol=1e-6)
    assert by_log_scale != 0


def test_bits_per_dim_of_uniform_bytes():
    np.testing.assert_allclose(bits_per_dim(jnp.float32(10 * np.log(256)), 10), 8, rtol=1e-6)
    np.testing.assert_allclose(bits_per_dim(jnp.float32(np.log(2)), num_dims=4), 0.25, rtol=1e-6)
    with pytest.raises(AssertionError, match=r"jax\.vmap"):
        bits_per_dim(jnp.ones(3), 2)


P_Z, P_X_GIVEN_Z, Q_Z = np.array([0.7, 0.3]), np.array([0.2, 0.9]), np.array([0.4, 0.6])
LOG_P_X = np.log(P_Z @ P_X_GIVEN_Z)


def test_importance_weights_of_the_posterior_give_the_likelihood_exactly():
    posterior = P_Z * P_X_GIVEN_Z / np.exp(LOG_P_X)
    log_weights = jnp.log(P_Z * P_X_GIVEN_Z / posterior)
    np.testing.assert_allclose(importance_weighted_log_likelihood(log_weights), LOG_P_X, rtol=1e-6)


def test_importance_weighted_estimate_rises_to_the_likelihood_with_k():
    # Every K-tuple of two latent values enumerated, with its probability under q.
    log_weight, means = np.log(P_Z * P_X_GIVEN_Z / Q_Z), []
    for k in (1, 2, 5):
        tuples = np.array(list(itertools.product([0, 1], repeat=k)))
        estimates = jax.jit(jax.vmap(importance_weighted_log_likelihood))(jnp.asarray(log_weight[tuples]))
        means.append(Q_Z[tuples].prod(axis=1) @ np.float64(estimates))
    np.testing.assert_allclose(means[0], Q_Z @ log_weight, rtol=1e-5)
    assert means[0] < means[1] < means[2] < LOG_P_X


def test_importance_weighted_estimate_at_extremes():
    estimate = jax.jit(jax.value_and_grad(importance_weighted_log_likelihood))
    value, grad = estimate(jnp.array([-1e4, -2e4, -jnp.inf]))
    np.testing.assert_allclose(value, -1e4 - np.log(3), rtol=1e-6)
    np.testing.assert_allclose(grad, [1, 0, 0])
    with pytest.raises(AssertionError, match=r"jax\.vmap"):
        importance_weighted_log_likelihood(jnp.zeros((2, 3)))


PARAMS = {"w": np.array([[0.5, -2.0], [0.0, 1.0]]), "b": np.array(3.0)}
THETA = np.array([0.5, -2.0, 0.0, 1.0, 3.0])
PRIORS = {
    "normal": (partial(normal_log_prior, std=0.5), lambda t: stats.norm.logpdf(t, 0, 0.5)),
    "laplace": (partial(laplace_log_prior, scale=0.5), lambda t: stats.laplace.logpdf(t, 0, 0.5)),
    "mixture": (
        partial(normal_mixture_log_prior, logits=WEIGHTS, means=CENTERS, log_stds=SPREADS),
        lambda t: logsumexp(WEIGHTS + stats.norm.logpdf(t[:, None], CENTERS, np.exp(SPREADS)), axis=1),
    ),
}


@pytest.mark.parametrize("name", PRIORS)
def test_map_penalty_is_minus_the_log_prior_of_every_leaf(name):
    log_prior, oracle = PRIORS[name]
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), PARAMS)
    penalty = partial(map_penalty, log_prior=log_prior)
    value, grads = jax.jit(jax.value_and_grad(penalty))(params)
    np.testing.assert_allclose(value, -oracle(THETA).sum(), rtol=1e-5)
    expected = central_differences(lambda t: -oracle(t).sum(), (THETA,), 0)
    np.testing.assert_allclose(np.append(grads["w"].ravel(), grads["b"]), expected, rtol=1e-3, atol=1e-4)


def test_normal_prior_is_weight_decay():
    # ‼ −log p(θ) = θ²/2σ² + C: the ½ and the sign.
    penalty = partial(map_penalty, log_prior=partial(normal_log_prior, std=2.0))
    np.testing.assert_allclose(
        penalty({"a": jnp.array([6.0])}) - penalty({"a": jnp.zeros(1)}), 4.5, rtol=1e-6
    )
    np.testing.assert_allclose(jax.grad(penalty)({"a": jnp.array([6.0])})["a"], [1.5], rtol=1e-6)
    np.testing.assert_array_equal(penalty({}), 0)
