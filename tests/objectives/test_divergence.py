"""Divergences against scipy.stats, quadrature, linear programming and sums written out in numpy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, stats
from scipy.special import expit, softmax
from sklearn.metrics import mutual_info_score
from sklearn.metrics.pairwise import rbf_kernel

from jaxdl.objectives.divergence import (
    conditional_entropy,
    cross_entropy,
    entropy,
    f_divergence,
    gaussian_kernel,
    js_divergence,
    kl_bernoulli,
    kl_categorical,
    kl_generator,
    kl_normal,
    kl_standard_normal,
    mmd,
    mutual_information,
    reverse_kl_generator,
    squared_hellinger_affinity_generator,
    squared_hellinger_generator,
    total_variation_generator,
    wasserstein1_1d,
)

rng = np.random.default_rng(0)
A, B = rng.normal(size=4), rng.normal(size=4)
JOINT = rng.dirichlet(np.ones(6)).reshape(2, 3)
POINTS, OTHERS = rng.normal(size=(4, 2)), rng.normal(size=(3, 2)) + 1


def kl_oracle(p, q):
    return (p * np.log(p / q)).sum()


def js_oracle(a, b):
    p, q = softmax(a), softmax(b)
    return 0.5 * kl_oracle(p, (p + q) / 2) + 0.5 * kl_oracle(q, (p + q) / 2)


def conditional_entropy_oracle(joint):
    # H(X|Y) = Σ_y p(y) H(X|y), a different route from the ratio of tables
    return sum(column.sum() * stats.entropy(column) for column in joint.T)


def mutual_information_oracle(joint):
    return kl_oracle(joint, np.outer(joint.sum(axis=1), joint.sum(axis=0)))


def kl_normal_oracle(mean_p, log_std_p, mean_q, log_std_q):
    """The integral of p log p/q by the trapezoid rule, one dimension at a time."""
    total = 0.0
    for m_p, s_p, m_q, s_q in zip(mean_p, np.exp(log_std_p), mean_q, np.exp(log_std_q), strict=True):
        x = np.linspace(m_p - 12 * s_p, m_p + 12 * s_p, 401)
        log_p, log_q = stats.norm.logpdf(x, m_p, s_p), stats.norm.logpdf(x, m_q, s_q)
        total += integrate.trapezoid(np.exp(log_p) * (log_p - log_q), x)
    return total


def mmd_oracle(x, y):
    gamma = 1 / (2 * 0.7**2)
    return (
        rbf_kernel(x, x, gamma).mean() + rbf_kernel(y, y, gamma).mean() - 2 * rbf_kernel(x, y, gamma).mean()
    )


# name: (function, arguments, oracle)
DIVERGENCES = {
    "entropy": (entropy, (A,), lambda a: stats.entropy(softmax(a))),
    "entropy_in_bits": (partial(entropy, base=2), (A,), lambda a: stats.entropy(softmax(a), base=2)),
    "cross_entropy": (cross_entropy, (A, B), lambda a, b: -(softmax(a) * np.log(softmax(b))).sum()),
    "conditional_entropy": (conditional_entropy, (JOINT,), conditional_entropy_oracle),
    "mutual_information": (mutual_information, (JOINT,), mutual_information_oracle),
    "kl_categorical": (kl_categorical, (A, B), lambda a, b: stats.entropy(softmax(a), softmax(b))),
    "kl_bernoulli": (
        kl_bernoulli,
        (A, B),
        lambda a, b: kl_oracle(expit(a), expit(b)) + kl_oracle(expit(-a), expit(-b)),
    ),
    "kl_normal": (kl_normal, (A[:2], 0.5 * B[:2], A[2:], 0.5 * B[2:]), kl_normal_oracle),
    "kl_standard_normal": (
        kl_standard_normal,
        (A[:2], 0.5 * B[:2]),
        lambda m, s: kl_normal_oracle(m, s, np.zeros(2), np.zeros(2)),
    ),
    "js_divergence": (js_divergence, (A, B), js_oracle),
    "wasserstein1_1d": (wasserstein1_1d, (A, B[:3]), stats.wasserstein_distance),
    "mmd": (partial(mmd, kernel=partial(gaussian_kernel, bandwidth=0.7)), (POINTS, OTHERS), mmd_oracle),
}


def central_differences(f, args, index, step=1e-5):
    """The gradient of a float64 function in one argument, by central differences."""
    grad = np.zeros(args[index].shape)
    for i in np.ndindex(grad.shape):
        shift = np.zeros(grad.shape)
        shift[i] = step
        ahead, behind = list(args), list(args)
        ahead[index], behind[index] = args[index] + shift, args[index] - shift
        grad[i] = (f(*ahead) - f(*behind)) / (2 * step)
    return grad


def within_simplex(table):
    """The gradient within the simplex: a shift of all entries leaves it and is removed."""
    return table - table.mean(axis=(1, 2), keepdims=True)


def arrays(args):
    return tuple(jnp.asarray(a, jnp.float32) for a in args)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_values_and_gradients_of_two_examples_match_the_oracle(name):
    f, args, oracle = DIVERGENCES[name]
    examples = [args, tuple(a[::-1] for a in args)]
    batch = arrays(np.stack(pair) for pair in zip(*examples, strict=True))
    values, grads = jax.jit(jax.vmap(jax.value_and_grad(f, tuple(range(len(args))))))(*batch)
    np.testing.assert_allclose(values, [oracle(*example) for example in examples], rtol=2e-5)
    for index, grad in enumerate(grads):
        expected = np.stack([central_differences(oracle, example, index) for example in examples])
        if args[index] is JOINT:  # scipy normalises what it is given: compare the moves within the simplex
            grad, expected = within_simplex(grad), within_simplex(expected)
        np.testing.assert_allclose(grad, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_shapes_are_checked(name):
    f, args, _ = DIVERGENCES[name]
    for index in range(len(args)):
        batched = [*args[:index], np.stack([args[index]] * 2), *args[index + 1 :]]
        with pytest.raises(AssertionError, match=r"jax\.vmap"):
            f(*arrays(batched))
    if name not in ("kl_bernoulli", "kl_normal", "kl_standard_normal"):  # these sum over all axes
        with pytest.raises(AssertionError, match=r"jax\.vmap"):
            f(*arrays(np.stack([a, a]) for a in args))


GENERATORS = {
    "kl": (kl_generator, lambda p, q: stats.entropy(p, q)),
    "reverse_kl": (reverse_kl_generator, lambda p, q: stats.entropy(q, p)),
    "squared_hellinger": (squared_hellinger_generator, lambda p, q: ((np.sqrt(p) - np.sqrt(q)) ** 2).sum()),
    "squared_hellinger_affinity": (
        squared_hellinger_affinity_generator,
        lambda p, q: 2 - 2 * np.sqrt(p * q).sum(),
    ),
    "total_variation": (total_variation_generator, lambda p, q: 0.5 * np.abs(p - q).sum()),
    "pearson_chi_squared": (lambda t: (t - 1) ** 2, lambda p, q: np.float64((p - q) ** 2 / q).sum()),
}
P, Q = np.array([0.5, 0.2, 0.3, 0.0]), np.array([0.1, 0.6, 0.3, 0.0])


@pytest.mark.parametrize("name", GENERATORS)
def test_f_divergence_matches_its_closed_form(name):
    generator, oracle = GENERATORS[name]
    f = jax.jit(jax.value_and_grad(partial(f_divergence, generator=generator), (0, 1)))
    value, grads = f(*arrays((P, Q)))
    np.testing.assert_allclose(value, oracle(P[:3], Q[:3]), rtol=1e-5)
    assert all(np.isfinite(g).all() for g in grads)
    # Along the simplex: mass moved from the first to the second outcome.
    move = np.array([-1.0, 1, 0, 0])
    ahead, behind = P + 1e-6 * move, P - 1e-6 * move
    slope = (oracle(ahead[:3], Q[:3]) - oracle(behind[:3], Q[:3])) / 2e-6
    np.testing.assert_allclose(grads[0] @ move, slope, rtol=1e-4)


# What mass of p outside the support of q costs, and mass of q outside the support of p.
P_WIDE, Q_NARROW = np.array([0.5, 0.5, 0.0]), np.array([1.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("name", "p_outside_q", "q_outside_p"),
    [
        ("kl", np.inf, np.log(2)),
        ("reverse_kl", np.log(2), np.inf),
        ("squared_hellinger", 2 - np.sqrt(2), 2 - np.sqrt(2)),
        ("squared_hellinger_affinity", 2 - np.sqrt(2), 2 - np.sqrt(2)),
        ("total_variation", 0.5, 0.5),
        ("pearson_chi_squared", np.inf, 1),
    ],
)
def test_f_divergence_with_zero_probabilities_takes_the_limits(name, p_outside_q, q_outside_p):
    f = jax.jit(jax.value_and_grad(partial(f_divergence, generator=GENERATORS[name][0]), (0, 1)))
    for p, q, expected in [(P_WIDE, Q_NARROW, p_outside_q), (Q_NARROW, P_WIDE, q_outside_p)]:
        value, grads = f(*arrays((p, q)))
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        if np.isfinite(expected):
            assert all(np.isfinite(g).all() for g in grads)


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_are_convex_with_a_zero_at_one(name):
    # ‼ Jensen's D_f ≥ f(1) = 0 needs f″ ≥ 0.
    f = GENERATORS[name][0]
    values = np.asarray(jax.jit(f)(jnp.linspace(0.1, 5, 50)))
    np.testing.assert_allclose(values[9], 0, atol=1e-6)  # t = 1
    assert (np.diff(values, 2) > -1e-5).all() and (np.diff(values, 2) > 1e-6).any()


def test_the_two_hellinger_generators_differ_by_t_minus_1():
    t = jnp.linspace(0, 4, 9)
    difference = squared_hellinger_generator(t) - squared_hellinger_affinity_generator(t)
    np.testing.assert_allclose(difference, t - 1, atol=1e-6)  # equal divergences: the two tests above


def test_total_variation_has_no_slope_where_the_distributions_agree():
    grad = jax.jit(jax.grad(partial(f_divergence, generator=total_variation_generator)))(*arrays((P, P)))
    np.testing.assert_array_equal(grad, np.zeros(4))


def test_f_divergence_checks_its_shapes():
    for p, q in [(np.ones((2, 3)), np.ones((2, 3))), (np.ones(3), np.ones(2))]:
        with pytest.raises(AssertionError, match=r"jax\.vmap"):
            f_divergence(*arrays((p, q)), kl_generator)


HALF, SKEWED = np.log([0.5, 0.5]), np.log([0.75, 0.25])


def test_hand_worked_numbers():
    # ‼ D_KL(P‖Q) = E_P[log P − log Q]: the expectation is over the first argument.
    half, skewed = arrays((HALF, SKEWED))
    np.testing.assert_allclose(kl_categorical(half, skewed), 0.5 * np.log(4 / 3), rtol=1e-5)
    np.testing.assert_allclose(kl_categorical(skewed, half), 0.75 * np.log(1.5) - 0.25 * np.log(2), rtol=1e-5)
    np.testing.assert_allclose(entropy(half, base=2), 1, rtol=1e-6)
    np.testing.assert_allclose(cross_entropy(half, skewed, base=4), 1 - np.log2(3) / 4, rtol=1e-6)
    np.testing.assert_allclose(wasserstein1_1d(*arrays(([0, 1, 3], [5, 6, 8]))), 5, rtol=1e-6)


def test_cross_entropy_is_entropy_plus_divergence():
    # ‼ −Σ p log q = −Σ p log p − Σ p log(q/p): the sign of the last sum.
    a, b = arrays((A, B))
    for base in (np.e, 2):
        total = entropy(a, base=base) + kl_categorical(a, b, base=base)
        np.testing.assert_allclose(cross_entropy(a, b, base=base), total, rtol=1e-5)
    assert cross_entropy(a, b) > entropy(a)


@pytest.mark.parametrize(
    ("joint", "information", "left_of_rows"),
    [
        # ‼ Independence is p(x, y) = p(x) p(y), not a sum.
        (np.outer([0.25, 0.75], [0.2, 0.5, 0.3]), 0, 2 - 0.75 * np.log2(3)),
        (np.diag([0.25, 0.25, 0.5]), 1.5, 0),
        # X is a coin and Y is constant: nothing is learnt of the coin. Then the other way about.
        (np.array([[0.5], [0.5]]), 0, 1),
        (np.array([[0.5, 0.5]]), 0, 0),
        # H(X) = 1; the first column leaves H(⅔, ⅓) = log₂ 3 − ⅔ in ¾ of the cases, the second leaves none.
        (np.array([[0.5, 0], [0.25, 0.25]]), 1.5 - 0.75 * np.log2(3), 0.75 * np.log2(3) - 0.5),
    ],
    ids=["independent", "copy", "coin", "coin_transposed", "half_known"],
)
def test_information_of_joint_tables_in_bits(joint, information, left_of_rows):
    both = lambda joint: (mutual_information(joint, base=2), conditional_entropy(joint, base=2))
    np.testing.assert_allclose(jax.jit(both)(*arrays((joint,))), (information, left_of_rows), atol=1e-6)


def test_mutual_information_of_counts_matches_scikit_learn():
    counts = np.array([[5, 0, 2], [1, 3, 0]])
    expected = mutual_info_score(None, None, contingency=counts)
    np.testing.assert_allclose(jax.jit(mutual_information)(*arrays((counts / 11,))), expected, rtol=1e-5)


@pytest.mark.parametrize("f", [conditional_entropy, mutual_information])
def test_joint_tables_with_zeros_have_finite_gradients(f):
    joint = jnp.array([[0.5, 0.0, 0.0], [0.25, 0.25, 0.0]])
    value, grad = jax.jit(jax.value_and_grad(f))(joint)
    assert np.isfinite(value) and np.isfinite(grad).all()


EXTREME = np.array([1e4, -1e4, 0.0, -np.inf])


@pytest.mark.parametrize(
    ("f", "args", "expected"),
    [
        (entropy, (EXTREME,), 0),
        (entropy, (np.array([0, -np.inf, 0]),), np.log(2)),
        (cross_entropy, (EXTREME, EXTREME), 0),
        (cross_entropy, (EXTREME[:3], -EXTREME[:3]), 2e4),
        (kl_categorical, (EXTREME, EXTREME), 0),
        (kl_categorical, (EXTREME[:3], -EXTREME[:3]), 2e4),
        (js_divergence, (EXTREME, EXTREME), 0),
        (js_divergence, (np.array([0.0, -87]), np.array([0.0, -1000])), 0),  # 1.6e-38, half of which is none
        (js_divergence, (EXTREME[:3], -EXTREME[:3]), np.log(2)),
        (js_divergence, (np.array([0, -np.inf, -np.inf]), np.array([-np.inf, 0, -np.inf])), np.log(2)),
        (kl_bernoulli, (EXTREME[:3], EXTREME[:3]), 0),
        (kl_bernoulli, (EXTREME[:3], -EXTREME[:3]), 2e4),
        (kl_normal, (np.full(2, 1e4), np.zeros(2), np.full(2, -1e4), np.zeros(2)), 4e8),
        (kl_standard_normal, (np.zeros(2), np.full(2, -1e4)), 2e4 - 1),
    ],
)
def test_extremes_are_finite(f, args, expected):
    value, grads = jax.jit(jax.value_and_grad(f, tuple(range(len(args)))))(*arrays(args))
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
    assert all(np.isfinite(g).all() for g in grads)


def test_js_divergence_is_symmetric_and_bounded_by_log_2():
    # ‼ against the mixture ½(P + Q), each half weighted ½.
    (a, b, zero), bits = arrays((A, B, 0 * A)), jax.jit(partial(js_divergence, base=2))
    np.testing.assert_allclose(bits(a, b), bits(b, a), rtol=1e-5)
    np.testing.assert_allclose(bits(zero.at[0].set(50), zero.at[1].set(50)), 1, rtol=1e-6)


def test_gaussian_kl_keeps_the_log_of_the_standard_deviation():
    # ‼ −KL = ½ Σ 1 + log σ² − μ² − σ², and ∫ p log q holds ½ Σ log σ_q², not ½ Σ σ_q².
    mean, log_std = arrays((A, B))
    np.testing.assert_allclose(kl_normal(mean, log_std, mean, log_std), 0, atol=1e-6)
    three, log_two = jnp.array([3.0]), jnp.log(jnp.array([2.0]))
    np.testing.assert_allclose(kl_standard_normal(three, log_two), 6 - np.log(2), rtol=1e-6)
    np.testing.assert_allclose(kl_normal(three, 0 * three, 0 * three, log_two), 0.75 + np.log(2), rtol=1e-6)
    # near σ = 1 it is (log σ)², which σ² − 1 − 2 log σ in float32 would miss by its rounding, 6e-8
    np.testing.assert_allclose(kl_standard_normal(0 * three, jnp.array([1e-4])), 1e-8, rtol=1e-2)


def test_wasserstein_is_the_value_of_the_transport_problem():
    # ‼ the Kantorovich problem and its dual, sup over 1-Lipschitz d of E_p d − E_q d, as linear programs
    x, y = A, B[:3]
    n, m = len(x), len(y)
    cost = np.abs(x[:, None] - y[None]).ravel()
    marginals = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    masses = np.append(np.full(n, 1 / n), np.full(m, 1 / m))
    primal = optimize.linprog(cost, A_eq=marginals, b_eq=masses)
    points, gain = np.append(x, y), np.append(np.full(n, 1 / n), np.full(m, -1 / m))
    pairs = [(i, j) for i in range(n + m) for j in range(n + m) if i != j]
    slopes = np.array([np.eye(n + m)[i] - np.eye(n + m)[j] for i, j in pairs])
    lengths = np.array([abs(points[i] - points[j]) for i, j in pairs])
    dual = optimize.linprog(-gain, A_ub=slopes, b_ub=lengths, bounds=[(0, 0)] + [(None, None)] * (n + m - 1))
    value = wasserstein1_1d(*arrays((x, y)))
    np.testing.assert_allclose([primal.fun, -dual.fun], value, rtol=1e-5)


def test_sample_distances_vanish_on_equal_samples_with_finite_gradients():
    same = jnp.array([1.0, 1.0, 2.0])
    value, grad = jax.jit(jax.value_and_grad(wasserstein1_1d))(same, same)
    np.testing.assert_allclose(value, 0)
    assert np.isfinite(grad).all()
    (points,) = arrays((POINTS,))
    value, grad = jax.jit(jax.value_and_grad(partial(mmd, kernel=gaussian_kernel)))(points, points)
    np.testing.assert_allclose(value, 0, atol=1e-6)
    np.testing.assert_allclose(grad, 0, atol=1e-6)
