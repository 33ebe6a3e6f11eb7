"""Penalties by hand, against the closed Jacobian of a sigmoid layer, and against scipy's entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from jaxdl.objectives.regularization import (
    contractive_penalty,
    l1_penalty,
    l2_penalty,
    sparsity_kl_penalty,
)

PARAMS = {"w": jnp.array([[1.0, -2.0], [0.0, 4.0]]), "b": [jnp.array(-3.0)]}


@pytest.mark.parametrize(
    ("penalty", "expected", "w", "b"),
    [
        (l1_penalty, 10, [[1, -1], [0, 1]], -1),
        (l2_penalty, 15, [[1, -2], [0, 4]], -3),
    ],
)
def test_norm_penalties_of_a_tree_by_hand(penalty, expected, w, b):
    value, grads = jax.jit(jax.value_and_grad(penalty))(PARAMS)
    np.testing.assert_allclose(value, expected)
    np.testing.assert_allclose(grads["w"], w)
    np.testing.assert_allclose(grads["b"][0], b)
    np.testing.assert_array_equal(penalty({}), 0)


def test_contractive_penalty_of_a_sigmoid_layer():
    # ∂h_i/∂x_j = h_i (1 − h_i) w_ij
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(4, 3)), rng.normal(size=3)
    encode = lambda w, x: jax.nn.sigmoid(w @ x)
    penalty = lambda w: contractive_penalty(lambda x: encode(w, x), jnp.asarray(x, jnp.float32))
    oracle = lambda w: ((expit(w @ x) * expit(-w @ x)) ** 2 * (w**2).sum(axis=1)).sum()
    value, grad = jax.jit(jax.value_and_grad(penalty))(jnp.asarray(w, jnp.float32))
    np.testing.assert_allclose(value, oracle(w), rtol=1e-5)
    step = np.zeros((4, 3))
    step[1, 2] = 1e-5
    np.testing.assert_allclose(grad[1, 2], (oracle(w + step) - oracle(w - step)) / 2e-5, rtol=1e-4)


def test_contractive_penalty_takes_arrays_of_any_rank():
    # h = 2x on a [2, 3] example: six derivatives of 2
    np.testing.assert_allclose(contractive_penalty(lambda x: 2 * x, jnp.ones((2, 3))), 24)


def test_sparsity_penalty_is_the_divergence_of_two_coins():
    rho, mean_activation = 0.05, np.array([0.05, 0.2, 0.9])
    value, grad = jax.jit(jax.value_and_grad(sparsity_kl_penalty))(jnp.asarray(mean_activation), rho)
    coins = [stats.entropy([rho, 1 - rho], [r, 1 - r]) for r in mean_activation]
    np.testing.assert_allclose(value, sum(coins), rtol=1e-4)
    slopes = -rho / mean_activation + (1 - rho) / (1 - mean_activation)
    np.testing.assert_allclose(grad, slopes, rtol=1e-4, atol=1e-4)


def test_sparsity_penalty_of_dead_and_saturated_units_is_finite_and_pushes_them_back():
    value, grad = jax.value_and_grad(sparsity_kl_penalty)(jnp.array([0.0, 1.0]), rho=0.05)
    assert np.isfinite(value) and np.isfinite(grad).all()
    assert grad[0] < -1e3 and grad[1] > 1e3


def test_sparsity_penalty_sees_one_row_of_units():
    with pytest.raises(AssertionError, match=r"jax\.vmap"):
        sparsity_kl_penalty(jnp.ones((2, 3)), 0.1)
