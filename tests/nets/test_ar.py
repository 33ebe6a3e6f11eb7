"""Autoregression against least squares, its formula, and the paths that it draws."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.learners.autoregressive import NORMAL, log_prob, sample
from jaxdl.nets.ar import AR, forecast, is_stationary

KEY = jax.random.key(0)
B_0, B, STD = 0.5, np.array([1.34, -0.65], np.float32), 0.7


def series(num):
    noise, x = np.random.default_rng(0).normal(size=num), [1.0, 2.0]
    for epsilon in noise:
        x.append(B_0 + B[0] * x[-1] + B[1] * x[-2] + STD * epsilon)
    return np.array(x)


def nll(params, x, order):
    """The conditional likelihood of a series, given its first values, of one step on average."""
    batch = {"x": x[None, order:], "context": x[None, :order]}
    apply = partial(AR(order).apply, {"params": params})
    return -log_prob(NORMAL, apply, batch)[0] / (len(x) - order)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_least_squares_is_its_maximum_likelihood(order):
    x = series(400)
    design = np.stack([np.ones(len(x) - order), *(x[order - i : len(x) - i] for i in range(1, order + 1))], 1)
    solution, (residual,), _, _ = np.linalg.lstsq(design, x[order:])
    variance = residual / len(design)
    params = {"b_0": solution[0], "b": solution[1:], "log_std": np.log(variance) / 2}
    params = jax.tree.map(partial(jnp.asarray, dtype=jnp.float32), params)
    value, slope = jax.jit(jax.value_and_grad(partial(nll, x=jnp.float32(x), order=order)))(params)
    np.testing.assert_allclose(value, 0.5 * np.log(2 * np.pi * np.e * variance), rtol=1e-5)
    for leaf in jax.tree.leaves(slope):
        np.testing.assert_allclose(leaf, 0, atol=1e-4)
    if order == 2:
        np.testing.assert_allclose(solution, [B_0, *B], atol=0.1)


def test_a_step_depends_on_the_last_values_alone_the_nearest_by_b_1():
    net = AR(2)
    params = {"b_0": jnp.array(10.0), "b": jnp.array([2.0, 3.0]), "log_std": jnp.array(0.5)}
    x, context = jnp.array([[1.0, 5.0, 7.0, 9.0]]), jnp.array([[100.0, 1000.0]])
    output = net.apply({"params": params}, x, context)
    np.testing.assert_allclose(output[0, :, 0], [10 + 2000 + 300, 10 + 2 + 3000, 10 + 10 + 3, 10 + 14 + 15])
    np.testing.assert_allclose(output[..., 1], 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_a_series_of_two_lags_is_stationary_inside_the_triangle(seed):
    for b in np.random.default_rng(seed).uniform(-2, 2, (20, 2)):
        assert is_stationary(b) == (b.sum() < 1 and b[1] - b[0] < 1 and abs(b[1]) < 1)
    assert is_stationary(np.array([0.9])) and not is_stationary(np.array([-1.1]))


def test_forecasts_of_one_lag_in_closed_form():
    b, past = 0.8, 3.0
    mean, std = forecast(jnp.array(1.0), jnp.array([b]), jnp.log(2.0), jnp.array([past]), 6)
    k = np.arange(1, 7)
    np.testing.assert_allclose(mean, b**k * past + (1 - b**k) / (1 - b), rtol=1e-5)
    np.testing.assert_allclose(std, 2 * np.sqrt((1 - b ** (2 * k)) / (1 - b**2)), rtol=1e-5)


def test_forecasts_are_the_moments_of_what_is_drawn():
    past = jnp.array([1.0, 4.0])
    params = {"b_0": jnp.array(B_0), "b": jnp.asarray(B), "log_std": jnp.log(STD)}
    mean, std = jax.jit(partial(forecast, steps=5))(params["b_0"], params["b"], params["log_std"], past)
    apply = partial(AR(2).apply, {"params": params})
    paths = jax.jit(partial(sample, NORMAL, apply))(
        KEY, jnp.zeros((20_000, 5)), context=jnp.tile(past, (20_000, 1))
    )
    np.testing.assert_allclose(paths.mean(0), mean, atol=0.04)
    np.testing.assert_allclose(paths.std(0), std, rtol=0.02)
    np.testing.assert_allclose(mean[0], B_0 + B[0] * 4 + B[1] * 1, rtol=1e-5)  # the nearest value is the last
