"""Pooling against flax's, which goes another way: reduce_window."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.ops.pooling import max_pool

halved = partial(max_pool, window_shape=(2, 2), strides=(2, 2))


@pytest.mark.parametrize(
    ("shape", "window", "strides", "padding"),
    [
        ((2, 4, 6, 3), (2, 2), (2, 2), "VALID"),
        ((2, 5, 7, 1), (2, 2), (2, 2), "VALID"),  # the last row and column are dropped
        ((1, 7, 8, 2), (3, 3), (3, 3), "VALID"),
        ((1, 2, 3, 2), (1, 1), (1, 1), "VALID"),
        ((1, 7, 8, 2), (3, 2), (3, 2), "VALID"),
        ((1, 12, 24, 1), (12, 12), (12, 12), "VALID"),  # more entries than a byte counts
        ((1, 7, 8, 2), (3, 3), (2, 2), "SAME"),
        ((1, 7, 8, 2), (3, 2), (1, 2), ((1, 0), (0, 1))),
        ((1, 4, 4, 1), (2, 2), None, "VALID"),
        ((2, 6, 3), (2,), (2,), "VALID"),
        ((1, 4, 4, 4, 2), (2, 2, 2), (2, 2, 2), "VALID"),
    ],
)
def test_value_and_gradient_equal_those_of_flax(shape, window, strides, padding):
    rng = np.random.default_rng(0)
    x = rng.permutation(np.prod(shape)).reshape(shape).astype(np.float32)  # no ties

    def value_and_gradient(pool):
        value, pull_back = jax.vjp(lambda x: pool(x, window, strides, padding), x)
        weights = jnp.sin(1 + jnp.arange(value.size, dtype=jnp.float32)).reshape(value.shape)
        return value, pull_back(weights)[0]

    ours, theirs = (jax.jit(partial(value_and_gradient, pool))() for pool in (max_pool, nn.max_pool))
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6)


def test_axes_before_the_image_are_free():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 2)).astype(np.float32)
    expected = np.stack([halved(part) for part in x])
    np.testing.assert_array_equal(halved(x), expected)
    np.testing.assert_array_equal(halved(x[0, 0]), expected[0, 0])
    np.testing.assert_array_equal(jax.vmap(halved)(x), expected)


def test_of_entries_that_tie_the_first_has_the_gradient():
    x = jnp.array([[1.0, 3.0], [3.0, 3.0]])[..., None]
    gradient = jax.grad(lambda x: halved(x).sum())(x)
    np.testing.assert_array_equal(gradient[..., 0], [[0, 1], [0, 0]])


def test_derivatives_forward_and_of_second_order():
    x = np.random.default_rng(0).normal(size=(4, 4, 2)).astype(np.float32)
    f = lambda x: (halved(x) ** 3).sum()
    largest = np.asarray(jax.grad(lambda x: halved(x).sum())(x))
    np.testing.assert_allclose(jax.jacfwd(f)(x), 3 * x**2 * largest, rtol=1e-5)
    np.testing.assert_allclose(
        jax.hessian(f)(x).reshape(32, 32), np.diag((6 * x * largest).ravel()), rtol=1e-5
    )


def test_what_is_not_a_number_has_no_gradient():
    gradient = jax.grad(lambda x: halved(x).sum())(np.full((1, 2, 2, 1), np.nan, np.float32))
    np.testing.assert_array_equal(gradient, np.zeros((1, 2, 2, 1)))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_elsewhere_it_is_a_reduction_over_windows(platform):
    x = jax.ShapeDtypeStruct((2, 4, 6, 3), np.float32)
    gradient = jax.jit(jax.grad(lambda x: halved(x).sum()))
    text = gradient.trace(x).lower(lowering_platforms=(platform,)).as_text()
    assert "select_and_scatter" in text
    assert "select_and_scatter" not in gradient.trace(x).lower(lowering_platforms=("cpu",)).as_text()


@pytest.mark.parametrize(
    ("spatial", "window", "message"),
    [
        ((2, 5), (3, 3), r"window \(3, 3\) of images \(2, 5\); give \(1, ...\) to \(2, 5\)"),
        ((5, 2), (3, 3), r"window \(3, 3\) of images \(5, 2\)"),
        ((2, 5), (0, 2), r"window \(0, 2\) of images"),
        ((), (2, 2), r"window \(2, 2\) and strides \(2, 2\) does not fit x \(1, 1\)"),
    ],
)
def test_a_window_that_does_not_fit_is_an_error(spatial, window, message):
    with pytest.raises(ValueError, match=message):
        max_pool(np.zeros((1, *spatial, 1), np.float32), window, window)
