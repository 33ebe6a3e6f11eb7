"""Geometric losses by hand, on known distance fields, and against a k-d tree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from jaxdl.objectives.geometry import (
    chamfer_distance,
    eikonal_loss,
    occupancy_loss,
    photometric_loss,
    reprojection_loss,
)

rng = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        # ‼ (‖∇f‖ − 1)², not (‖f‖ − 1)²: a distance field has unit slope wherever its value lies.
        (lambda x: jnp.sqrt((x**2).sum()) - 0.5, 0),
        (lambda x: jnp.array([0.6, 0.0, -0.8]) @ x + 7, 0),
        (lambda x: 3 * x[1], 4),
    ],
    ids=["sphere", "plane", "too_steep"],
)
def test_eikonal_loss_asks_for_unit_slope(distance, expected):
    points = jnp.asarray(rng.normal(size=(5, 3)))
    losses = jax.jit(jax.vmap(lambda x: eikonal_loss(jax.grad(distance)(x))))(points)
    np.testing.assert_allclose(losses, np.full(5, expected), atol=1e-5)


def test_eikonal_loss_by_hand_and_at_zero():
    value, grad = jax.value_and_grad(eikonal_loss)(jnp.array([3.0, 4.0]))
    np.testing.assert_allclose(value, 16)
    np.testing.assert_allclose(grad, [8 * 0.6, 8 * 0.8], rtol=1e-6)
    value, grad = jax.value_and_grad(eikonal_loss)(jnp.zeros(2))
    np.testing.assert_allclose(value, 1)
    np.testing.assert_array_equal(grad, [0, 0])


def test_photometric_loss_by_hand():
    value, grad = jax.value_and_grad(photometric_loss)(
        jnp.array([0.5, 1.0, 0.0]), jnp.array([0.0, 1.0, 0.25])
    )
    np.testing.assert_allclose(value, 0.3125)
    np.testing.assert_allclose(grad, [1, 0, -0.5])


@pytest.mark.parametrize(
    ("logit", "occupied", "expected", "slope"),
    [
        (np.log(3), 1, np.log(4 / 3), -0.25),
        (np.log(3), 0, np.log(4), 0.75),
        (-1e4, 1, 1e4, -1),
        (1e4, 1, 0, 0),
    ],
)
def test_occupancy_loss_by_hand(logit, occupied, expected, slope):
    value, grad = jax.value_and_grad(occupancy_loss)(jnp.float32(logit), jnp.float32(occupied))
    np.testing.assert_allclose((value, grad), (expected, slope), rtol=1e-6)


def test_chamfer_distance_matches_a_tree_of_nearest_neighbours():
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(4, 3))
    (to_y, nearest_y), (to_x, nearest_x) = cKDTree(y).query(x), cKDTree(x).query(y)
    value, grad = jax.jit(jax.value_and_grad(chamfer_distance))(jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_allclose(value, (to_y**2).mean() + (to_x**2).mean(), rtol=1e-5)
    expected = 2 / 7 * (x - y[nearest_y])
    np.add.at(expected, nearest_x, 2 / 4 * (x[nearest_x] - y))
    np.testing.assert_allclose(grad, expected, rtol=1e-4, atol=1e-6)


def test_chamfer_distance_of_a_cloud_to_itself_is_zero_with_zero_gradient():
    x = jnp.asarray(rng.normal(size=(3, 2)))
    value, grad = jax.jit(jax.value_and_grad(chamfer_distance))(x, x[::-1])
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(grad, np.zeros((3, 2)))


CAMERA = np.array([[100.0, 0.0, 50.0, 10.0], [0.0, 120.0, 40.0, 0.0], [0.0, 0.0, 1.0, 2.0]])


def test_reprojection_loss_projects_through_the_camera():
    points, confidence = np.array([[0.5, -0.5, 1.0], [1.0, 2.0, 2.0]]), np.array([1.0, 0.5])
    # by hand: (100·0.5 + 50 + 10)/3 = 110/3, (−60 + 40)/3 = −20/3; 210/4, 320/4
    keypoints = np.array([[110 / 3 + 3, -20 / 3 - 4], [52.5, 80 + 2]])
    args = (jnp.asarray(a, jnp.float32) for a in (points, keypoints, confidence, CAMERA))
    value, grad = jax.jit(jax.value_and_grad(reprojection_loss))(*args)
    np.testing.assert_allclose(value, 25 + 0.5 * 4, rtol=1e-4)
    # ∂/∂X of the first point: −2·3·100/3 in x
    np.testing.assert_allclose(grad[0, 0], -200, rtol=1e-4)
    np.testing.assert_allclose(grad[1, 1], -2 * 0.5 * 2 * 120 / 4, rtol=1e-4)


def test_reprojection_loss_without_confidence_or_depth_is_finite():
    points = jnp.array([[0.0, 0.0, -2.0], [1.0, 1.0, -5.0]])  # in the plane of the camera, and behind it
    args = (jnp.zeros((2, 2)), jnp.zeros(2), jnp.asarray(CAMERA))
    loss = jax.jit(jax.value_and_grad(reprojection_loss))
    value, grad = loss(points, *args)
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(grad, np.zeros((2, 3)))
    seen = loss(points, args[0], jnp.ones(2), args[2])
    assert all(np.isfinite(leaf).all() for leaf in seen)


ONE, TWO = jnp.ones(3), jnp.ones((2, 3))
REPROJECTION = (jnp.ones((5, 3)), jnp.ones((5, 2)), jnp.ones(5), jnp.ones((3, 4)))


@pytest.mark.parametrize(
    ("f", "args", "message"),
    [
        (eikonal_loss, (TWO,), r"gradient .*jax\.vmap"),
        (photometric_loss, (TWO, TWO), r"color .*jax\.vmap"),
        (photometric_loss, (ONE, jnp.ones(1)), r"color .* target .*jax\.vmap"),
        (occupancy_loss, (ONE, ONE), r"logit .*jax\.vmap"),
        (chamfer_distance, (TWO[None], TWO[None]), r"x .*jax\.vmap"),
        (chamfer_distance, (TWO, jnp.ones((2, 1))), r"point_of_x .* point_of_y .*jax\.vmap"),
        (reprojection_loss, tuple(a[None] for a in REPROJECTION), r"points .*jax\.vmap"),
        (reprojection_loss, (jnp.ones((5, 2)), *REPROJECTION[1:]), r"points .*, but \(5, 3\) is expected$"),
        (
            reprojection_loss,
            (REPROJECTION[0], jnp.ones((5, 1)), *REPROJECTION[2:]),
            r"keypoints has shape \(5, 1\), but \(5, 2\) is expected$",
        ),
        (
            reprojection_loss,
            (*REPROJECTION[:2], jnp.ones(1), REPROJECTION[3]),
            r"confidence has shape \(1,\), but \(5,\) is expected$",
        ),
        (
            reprojection_loss,
            (*REPROJECTION[:3], jnp.eye(4)),
            r"camera has shape \(4, 4\), but \(3, 4\) is expected$",
        ),
    ],
)
def test_shapes_are_checked(f, args, message):
    with pytest.raises(AssertionError, match=message):
        f(*args)
