import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from sklearn.datasets import make_moons

from jaxdl.data import densities

NUM = 40_000
SAMPLERS = [densities.two_moons, densities.spirals, densities.eight_gaussians, densities.checkerboard]
LOG_PROBS = [
    densities.two_moons_log_prob,
    densities.spirals_log_prob,
    densities.eight_gaussians_log_prob,
    densities.checkerboard_log_prob,
]


def grid(step):
    """The midpoints of a grid over [-5, 5]², whose cells have the area step²."""
    axis = np.arange(-5 + step / 2, 5, step)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(np.float32)


def distance(points, curve):
    """The distance of each point to the nearest point of a densely drawn curve."""
    return np.linalg.norm(points[:, None] - curve[None], axis=-1).min(axis=1)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_are_functions_of_their_seed(sampler):
    x = sampler(3, NUM)["x"]
    assert x.shape == (NUM, 2) and x.dtype == np.float32
    assert sampler(3, 5)["x"].shape == (5, 2)
    np.testing.assert_array_equal(sampler(3, NUM)["x"], x)
    assert not np.any(np.all(sampler(4, NUM)["x"] == x, axis=1))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_are_centred_and_inside_the_stated_square(sampler):
    x = sampler(0, NUM)["x"]
    assert np.abs(x).max() < 4
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=5 * 2.5 / np.sqrt(NUM))


def test_two_moons_are_those_of_scikit_learn_rescaled():
    curve = 2 * make_moons(4000, noise=None)[0] - [1, 0.5]
    x = densities.two_moons(0, 2000)["x"]
    np.testing.assert_allclose(np.sqrt(np.mean(distance(x, curve) ** 2)), 0.1, rtol=0.1)
    near = distance(curve[::40], densities.two_moons(0, NUM)["x"])
    assert near.max() < 0.1  # all of both moons is covered


def test_spirals_are_two_arms_evenly_filled():
    t = np.linspace(0, 3 * np.pi, 3000)
    arm = (t / 3)[:, None] * np.stack([-np.cos(t), np.sin(t)], axis=1)
    x = densities.spirals(0, 2000)["x"]
    np.testing.assert_allclose(np.sqrt(np.mean(distance(x, np.concatenate([arm, -arm])) ** 2)), 0.1, rtol=0.1)
    outer = x[np.linalg.norm(x, axis=1) > 2]
    np.testing.assert_allclose(np.mean(distance(outer, arm) < distance(outer, -arm)), 0.5, atol=0.05)
    # t = 3π√u makes the squared radius uniform on [0, π²], up to the noise
    squared_radius = np.sum(densities.spirals(1, NUM)["x"] ** 2, axis=1) - 2 * 0.1**2
    np.testing.assert_allclose(squared_radius.mean(), np.pi**2 / 2, rtol=0.02)
    np.testing.assert_allclose(squared_radius.std(), np.pi**2 / np.sqrt(12), rtol=0.05)


def test_ring_centers_lie_on_a_circle_of_radius_two():
    half = np.sqrt(2)
    np.testing.assert_allclose(
        densities.RING_CENTERS[:4], [[2, 0], [half, half], [0, 2], [-half, half]], atol=1e-6
    )
    np.testing.assert_allclose(densities.RING_CENTERS[4:], -densities.RING_CENTERS[:4], atol=1e-6)


def test_eight_gaussians_visit_each_mode_equally_with_the_stated_std():
    for std in (densities.RING_STD, 0.02):
        x = densities.eight_gaussians(0, NUM, std=std)["x"]
        offset = x[:, None] - densities.RING_CENTERS[None]
        mode = np.linalg.norm(offset, axis=-1).argmin(axis=1)
        np.testing.assert_allclose(np.bincount(mode) / NUM, 1 / 8, atol=5 * np.sqrt(1 / 8 / NUM))
        np.testing.assert_allclose(offset[np.arange(NUM), mode].std(axis=0), std, rtol=0.02)


@pytest.mark.parametrize("std", [0.1, 0.5])
def test_eight_gaussians_log_prob_is_that_of_scipy(std):
    x = np.array([[2, 0], [0, 0], [-1.3, 1.5], [30, -4]], np.float32)
    parts = [scipy.stats.multivariate_normal(center, std**2).logpdf(x) for center in densities.RING_CENTERS]
    expected = scipy.special.logsumexp(parts, axis=0) - np.log(8)
    log_prob = jax.vmap(lambda x: densities.eight_gaussians_log_prob(x, std=std))(x)
    np.testing.assert_allclose(log_prob, expected, rtol=2e-5)


@pytest.mark.parametrize("x", [(0.0, 0.0), (1.9, 0.1), (1.2, 1.2), (0.5, -0.2), (-2.0, 0.3)])
def test_eight_gaussians_log_prob_has_the_gradient_of_a_mixture(x):
    std = 0.5
    offset = densities.RING_CENTERS.astype(np.float64) - x
    share = scipy.special.softmax(-np.sum(offset**2, axis=1) / (2 * std**2))
    gradient = jax.grad(lambda x: densities.eight_gaussians_log_prob(x, std=std))(jnp.array(x))
    np.testing.assert_allclose(gradient, share @ offset / std**2, rtol=1e-4, atol=1e-5)


def test_eight_gaussians_log_prob_and_its_gradient_are_finite_far_away():
    value, gradient = jax.jit(jax.value_and_grad(densities.eight_gaussians_log_prob))(jnp.array([1e4, 0.0]))
    np.testing.assert_allclose(value, -((1e4 - 2) ** 2) / 0.02, rtol=1e-6)
    np.testing.assert_allclose(gradient, [-(1e4 - 2) / 0.1**2, 0], rtol=1e-5, atol=1)


@pytest.mark.parametrize(
    ("log_prob", "step"),
    [
        (densities.eight_gaussians_log_prob, 0.05),
        (densities.checkerboard_log_prob, 0.1),
        (densities.two_moons_log_prob, 0.1),
        (densities.spirals_log_prob, 0.1),
    ],
)
def test_log_probs_integrate_to_one(log_prob, step):
    values = jax.jit(jax.vmap(log_prob))(grid(step))
    np.testing.assert_allclose(np.exp(values, dtype=np.float64).sum() * step**2, 1, rtol=1e-5)


def test_log_probs_see_one_point():
    for log_prob in LOG_PROBS:
        assert log_prob(jnp.zeros(2)).shape == ()


@pytest.mark.parametrize(("sampler", "log_prob"), list(zip(SAMPLERS, LOG_PROBS, strict=True)))
def test_samples_are_distributed_as_log_prob_says(sampler, log_prob):
    cells, area = grid(0.5), 0.5**2
    offsets = np.float32(0.5) * ((np.arange(12) + 0.5) / 12 - 0.5)
    points = cells[:, None] + np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(1, -1, 2)
    share = np.exp(jax.jit(jax.vmap(jax.vmap(log_prob)))(points), dtype=np.float64).mean(axis=1) * area
    edges = np.arange(-5, 5.1, 0.5)
    x = sampler(1, NUM)["x"]
    counts = np.histogram2d(x[:, 1], x[:, 0], bins=(edges, edges))[0].ravel()
    likely = share * NUM > 5
    observed = np.append(counts[likely], counts[~likely].sum())
    expected = np.append(share[likely], share[~likely].sum()) * NUM
    keep = expected > 5
    assert (
        scipy.stats.chisquare(
            observed[keep], expected[keep] * observed[keep].sum() / expected[keep].sum()
        ).pvalue
        > 0.01
    )


@pytest.mark.parametrize(
    ("x", "black"),
    [((0.5, 0.5), True), ((-0.5, 0.5), False), ((-0.5, -0.5), True), ((3.9, 1.9), False), ((3.9, 3.9), True),
     ((-3.9, 0.1), True), ((4.1, 0.1), False), ((0.1, -4.1), False), ((4.1, 4.1), False)],
)  # fmt: skip
def test_checkerboard_log_prob_knows_the_squares(x, black):
    expected = -np.log(32) if black else -np.inf
    np.testing.assert_allclose(densities.checkerboard_log_prob(jnp.array(x)), expected, rtol=1e-6)


def test_checkerboard_fills_the_black_squares_evenly():
    x = densities.checkerboard(0, NUM)["x"]
    column, row = np.floor(x.astype(np.float64) / 2).T
    assert np.all((column + row) % 2 == 0)
    counts = np.unique(np.stack([column, row]), axis=1, return_counts=True)[1]
    assert len(counts) == 8
    np.testing.assert_allclose(counts / NUM, 1 / 8, atol=5 * np.sqrt(1 / 8 / NUM))
    for axis in range(2):
        assert scipy.stats.kstest(x[:, axis] % 2, "uniform", (0, 2)).pvalue > 0.01
