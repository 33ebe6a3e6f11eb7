"""Pooling against flax's, which goes another way: reduce_window."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.ops.pooling import max_pool


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((2, 4, 6, 3), 2),
        ((2, 5, 7, 1), 2),  # the last row and column are dropped
        ((1, 7, 8, 2), 3),
        ((1, 2, 3, 2), 1),
        ((1, 12, 24, 1), 12),  # more entries than a byte counts
    ],
)
def test_value_and_gradient_equal_those_of_flax(shape, window):
    rng = np.random.default_rng(0)
    x = rng.permutation(np.prod(shape)).reshape(shape).astype(np.float32)  # no ties
    height, width = shape[1] // window, shape[2] // window
    weights = rng.normal(size=(shape[0], height, width, shape[3])).astype(np.float32)

    def by_flax(x):
        return nn.max_pool(x, (window, window), strides=(window, window))

    def value_and_gradient(pool):
        value, pull_back = jax.vjp(pool, x)
        return value, pull_back(weights)[0]

    ours = jax.jit(partial(value_and_gradient, partial(max_pool, window=window)))()
    theirs = jax.jit(partial(value_and_gradient, by_flax))()
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_axes_before_the_image_are_free():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 2)).astype(np.float32)
    expected = np.stack([max_pool(part) for part in x])
    np.testing.assert_array_equal(max_pool(x), expected)
    np.testing.assert_array_equal(max_pool(x[0, 0]), expected[0, 0])
    np.testing.assert_array_equal(jax.vmap(max_pool)(x), expected)


def test_of_entries_that_tie_the_first_has_the_gradient():
    x = jnp.array([[1.0, 3.0], [3.0, 3.0]])[..., None]
    gradient = jax.grad(lambda x: max_pool(x).sum())(x)
    np.testing.assert_array_equal(gradient[..., 0], [[0, 1], [0, 0]])


def test_derivatives_forward_and_of_second_order():
    x = np.random.default_rng(0).normal(size=(4, 4, 2)).astype(np.float32)
    f = lambda x: (max_pool(x) ** 3).sum()
    largest = np.asarray(jax.grad(lambda x: max_pool(x).sum())(x))
    np.testing.assert_allclose(jax.jacfwd(f)(x), 3 * x**2 * largest, rtol=1e-5)
    np.testing.assert_allclose(
        jax.hessian(f)(x).reshape(32, 32), np.diag((6 * x * largest).ravel()), rtol=1e-5
    )


def test_what_is_not_a_number_has_no_gradient():
    gradient = jax.grad(lambda x: max_pool(x).sum())(np.full((1, 2, 2, 1), np.nan, np.float32))
    np.testing.assert_array_equal(gradient, np.zeros((1, 2, 2, 1)))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_elsewhere_it_is_a_reduction_over_windows(platform):
    x = jax.ShapeDtypeStruct((2, 4, 6, 3), np.float32)
    gradient = jax.jit(jax.grad(lambda x: max_pool(x).sum()))
    text = gradient.trace(x).lower(lowering_platforms=(platform,)).as_text()
    assert "select_and_scatter" in text
    assert "select_and_scatter" not in gradient.trace(x).lower(lowering_platforms=("cpu",)).as_text()


@pytest.mark.parametrize(("height", "width", "window"), [(2, 5, 3), (5, 2, 3), (2, 5, 0), (2, 5, -1)])
def test_a_window_that_is_empty_or_larger_than_the_image_is_an_error(height, width, window):
    with pytest.raises(ValueError, match=f"window {window} of images {height}x{width}; give 1 to 2"):
        max_pool(np.zeros((1, height, width, 1), np.float32), window)
