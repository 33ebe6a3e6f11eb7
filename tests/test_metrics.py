"""Measures of quality: cases counted by hand, and scipy's matrix root."""

from functools import partial

import jax
import numpy as np
import pytest
from scipy.linalg import sqrtm

from jaxdl.metrics import frechet_distance, mode_coverage

CENTERS = np.array([[0.0, 0.0], [10.0, 0.0]])


def samples(near, far=0, beyond=0):
    """Samples at the first center, at the second, and at no center, 5 away from both."""
    return np.repeat([*CENTERS, [5.0, 0.0]], [near, far, beyond], axis=0).astype(np.float32)


@pytest.mark.parametrize(
    ("points", "modes", "high_quality"),
    [
        (samples(10, 10), 2, 1.0),
        (samples(20), 1, 1.0),
        (samples(0, 0, 7), 0, 0.0),
        (samples(6, 2, 12), 2, 0.4),
        # A fair share is half of the samples: a twentieth of all covers a mode, one sample fewer does not.
        (samples(95, 5), 2, 1.0),
        (samples(96, 4), 1, 1.0),
        (samples(95, 4, 1), 1, 0.99),
        (samples(18, 1, 1), 2, 0.95),
        (samples(19, 1, 1), 1, 20 / 21),
        # Within 3σ counts, beyond it does not, however the sample lies.
        (np.array([[2.9, 0.0], [10.0, -2.9]], np.float32), 2, 1.0),
        (np.array([[3.1, 0.0], [10.0, -3.1]], np.float32), 0, 0.0),
        (np.array([[2.2, 2.2], [7.2, 0.0]], np.float32), 1, 0.5),
    ],
)
def test_mode_coverage(points, modes, high_quality):
    for coverage in (mode_coverage, jax.jit(mode_coverage)):
        measured = coverage(points, CENTERS, 1.0)
        assert measured["modes"] == modes
        np.testing.assert_allclose(measured["high_quality"], high_quality, rtol=1e-6)


@pytest.mark.parametrize(("num_modes", "least"), [(8, 5), (9, 3), (25, 3)])
def test_a_share_just_met_is_met(num_modes, least):
    # A tenth of a fair share is `least` samples: in floats, compiled, 3 / 270 < 0.1 / 9.
    centers = 10.0 * np.eye(num_modes, dtype=np.float32)
    counts = [least, least - 1, *[0] * (num_modes - 2)]
    counts[-1] = 10 * num_modes * least - sum(counts)
    points = np.repeat(centers, counts, axis=0)
    assert (
        jax.jit(mode_coverage)(points, centers, 1.0)["modes"] == 2
    )  # the first and the last, not the second


def by_scipy(x, y):
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = sqrtm(cov_x.astype(np.complex128) @ cov_y)
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root).real


@pytest.mark.parametrize(
    ("num_x", "num_y"), [(50, 50), (200, 30), (4, 50), (4, 3)], ids=["full", "uneven", "one singular", "both"]
)
def test_frechet_distance_equals_the_one_with_scipys_matrix_root(num_x, num_y):
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(5, 5))
    x = rng.normal(size=(num_x, 5))
    y = rng.normal(size=(num_y, 5)) @ mix + 0.5
    for distance in (frechet_distance, jax.jit(frechet_distance)):
        value = distance(x.astype(np.float32), y.astype(np.float32))
        np.testing.assert_allclose(value, by_scipy(x, y), rtol=1e-3)


def test_frechet_distance_by_hand():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 3)).astype(np.float32)
    close = partial(np.testing.assert_allclose, atol=1e-4)
    close(frechet_distance(x, x), 0)
    close(frechet_distance(x, x + np.float32([1, 2, 2])), 9)  # ‖μ_x − μ_y‖²
    close(frechet_distance(x - x.mean(0), 3 * (x - x.mean(0))), 4 * np.trace(np.cov(x.T)), rtol=1e-4)
