"""Exploration by hand, at its limits, and over time."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl.rl.tabular import epsilon_greedy, greedy, power_decay, scheduled, softmax


@pytest.mark.parametrize(
    ("rule", "q", "amount", "expected"),
    [
        (epsilon_greedy, [1, 3, 2], 0.3, [0.1, 0.8, 0.1]),
        (epsilon_greedy, [3, 3, 2], 0.3, [0.45, 0.45, 0.1]),
        (epsilon_greedy, [0, 0, 0, 0], 0.0, [0.25] * 4),
        (epsilon_greedy, [1, 2], 1.0, [0.5, 0.5]),
        (softmax, [0, np.log(3)], 1.0, [0.25, 0.75]),
        (softmax, [0, np.log(3)], 0.5, [0.1, 0.9]),
        (softmax, [1e4, -1e4], 1e-6, [1, 0]),
        (softmax, [1e4, -1e4], 1e9, [0.5, 0.5]),
    ],
)
def test_probabilities(rule, q, amount, expected):
    q = jnp.asarray(q, jnp.float32)
    np.testing.assert_allclose(rule(q, amount), expected, atol=2e-5)
    np.testing.assert_allclose(jax.jit(rule)(q, amount), expected, atol=2e-5)


def test_softmax_has_a_gradient_at_extremes():
    assert np.isfinite(jax.jit(jax.jacobian(softmax))(jnp.array([1e4, -1e4]), 1e-6)).all()


def test_greedy_shares_ties_along_the_last_axis():
    q = jnp.array([[1.0, 2, 0], [5, 5, 5], [-1, -1, -2]])
    np.testing.assert_allclose(greedy(q), [[0, 1, 0], [1 / 3] * 3, [0.5, 0.5, 0]], rtol=1e-6)


def test_a_schedule_sets_the_amount():
    policy = scheduled(epsilon_greedy, optax.linear_schedule(1.0, 0.0, 100))
    for step, expected in ((0, 0.5), (50, 0.25), (100, 0.0), (1_000, 0.0)):
        np.testing.assert_allclose(policy(jnp.array([1.0, 2.0]), jnp.asarray(step))[0], expected, atol=1e-6)


def test_learning_rates_decay_with_visits():
    assert [float(power_decay(0.5)(jnp.asarray(n))) for n in (0, 1, 4, 100)] == pytest.approx(
        [1, 1, 0.5, 0.1]
    )
    assert float(power_decay(1.0)(jnp.asarray(8))) == pytest.approx(1 / 8)
