"""The change of variables against known densities and dense Jacobians; pixels there and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import logit

from jaxdl.objectives.flow import (
    change_of_variables_log_prob,
    dequantize,
    inverse_logit_transform,
    logit_transform,
)
from jaxdl.objectives.likelihood import standard_normal_log_prob

# Data made from a standard normal z: the map back to z with log |det ∂z/∂x|, and the density in scipy.
# ‼ p(x) = p_z(f⁻¹(x)) |det ∂f/∂z|⁻¹: the determinant of the latent-to-data map enters inverted.
DENSITIES = {
    "affine": (lambda x: ((x - 1) / 2, -jnp.log(2.0)), stats.norm(1, 2)),
    # ‼ two layers, x = exp(2z + 1): log-determinants are summed, log p_z is counted once.
    "composed": (lambda x: ((jnp.log(x) - 1) / 2, -jnp.log(2.0) - jnp.log(x)), stats.lognorm(2, scale=np.e)),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_change_of_variables_gives_the_density_of_the_data(name):
    to_latent, density = DENSITIES[name]

    def log_prob(x):
        z, log_det = to_latent(x)
        return change_of_variables_log_prob(standard_normal_log_prob(z), log_det)

    x = np.array([0.3, 1.0, 5.0])
    np.testing.assert_allclose(jax.jit(jax.vmap(log_prob))(jnp.asarray(x)), density.logpdf(x), rtol=1e-5)
    grid = np.linspace(*density.ppf([0.001, 0.9]), 20_001)
    mass = integrate.trapezoid(np.exp(np.float64(jax.jit(jax.vmap(log_prob))(jnp.asarray(grid)))), grid)
    np.testing.assert_allclose(mass, 0.899, atol=1e-4)


def test_change_of_variables_sees_one_example():
    np.testing.assert_allclose(jax.grad(change_of_variables_log_prob, (0, 1))(1.0, 2.0), (1, 1))
    with pytest.raises(AssertionError, match=r"jax\.vmap"):
        change_of_variables_log_prob(jnp.ones(3), jnp.ones(3))


@pytest.mark.parametrize("bins", [2, 256, 65_536])
def test_dequantize_stays_in_the_bin_and_fills_it(bins):
    # At 65,536 bins k + u would round into the next bin for one u in 500. The levels come a little low, as a
    # product with a rounded 1/(bins − 1) leaves them.
    level = np.random.default_rng(0).integers(bins, size=20_000)
    level[:100] = bins - 1
    x = jnp.asarray(level / (bins - 1) * (1 - 2e-7), jnp.float32)
    y = np.float64(jax.jit(dequantize, static_argnums=2)(jax.random.key(0), x, bins))
    assert (y >= 0).all() and (y < 1).all()
    np.testing.assert_array_equal(np.floor(y * bins), level)
    if bins <= 256:
        assert stats.kstest(y * bins - level, stats.uniform.cdf).pvalue > 0.01


X = np.array([[0.0, 0.2, 0.5], [0.9, 1.0, 0.7]])


@pytest.mark.parametrize("alpha", [0.05, 1e-6])
def test_logit_transform_matches_scipy_and_its_dense_jacobian(alpha):
    forward = jax.jit(lambda x: logit_transform(x, alpha=alpha))
    y, log_det = forward(jnp.asarray(X, jnp.float32))
    np.testing.assert_allclose(y, logit(alpha + (1 - 2 * alpha) * X), rtol=1e-5, atol=1e-6)
    jacobian = jax.jacobian(lambda x: forward(x)[0])(jnp.asarray(X, jnp.float32))
    np.testing.assert_allclose(log_det, np.linalg.slogdet(np.float64(jacobian).reshape(6, 6))[1], rtol=1e-5)
    assert log_det.shape == ()


@pytest.mark.parametrize("alpha", [0.05, 1e-6])
def test_inverse_logit_transform_undoes_the_forward_one(alpha):
    y, log_det = logit_transform(jnp.asarray(X, jnp.float32), alpha)
    x, inverse_log_det = inverse_logit_transform(y, alpha)
    np.testing.assert_allclose(x, X, atol=2e-7)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-5)


def test_logit_transforms_at_extremes():
    ends = jnp.array([0.0, 1.0])
    grad = jax.jit(jax.grad(lambda x: logit_transform(x, 1e-6)[1]))(ends)
    assert np.isfinite(grad).all()
    far = jnp.array([-1e4, 1e4])
    x, log_det = jax.jit(inverse_logit_transform)(far, 0.05)
    np.testing.assert_allclose(x, [-0.05 / 0.9, 0.95 / 0.9], rtol=1e-6)
    np.testing.assert_allclose(log_det, -2e4, rtol=1e-3)
    grad = jax.jit(jax.grad(lambda y: inverse_logit_transform(y, 0.05)[1]))(far)
    np.testing.assert_allclose(grad, [1, -1])
