"""Losses on fields, rays, point clouds and keypoints."""

import jax.numpy as jnp
import optax

from jaxdl.objectives._check import check_rank, check_same_shape, check_shape
from jaxdl.objectives.supervised import sigmoid_cross_entropy, squared_loss
from jaxdl.types import Array


def eikonal_loss(gradient: Array) -> Array:
    """Ask a field for unit slope, as a signed distance has almost everywhere.

    L = (‖∇f‖ − 1)²

    See Gropp, Yariv, Haim, Atzmon & Lipman, 2020 (arXiv:2002.10099).

    Args:
        gradient: [D], ∇f at one point (the gradient of the field, not its value); zero is allowed.

    Returns:
        A scalar.
    """
    check_rank(1, gradient=gradient)
    return (optax.safe_norm(gradient, 0.0) - 1) ** 2


def photometric_loss(color: Array, target: Array) -> Array:
    """Compare the rendered colour of one ray with the photograph.

    L = ‖Ĉ − C‖²

    See Mildenhall et al., "NeRF", 2020 (arXiv:2003.08934).

    Args:
        color: [C], rendered, in [0, 1].
        target: [C], photographed, in [0, 1].

    Returns:
        A scalar.
    """
    check_rank(1, color=color, target=target)
    check_same_shape(color=color, target=target)
    return squared_loss(color, target)


def occupancy_loss(logit: Array, occupied: Array) -> Array:
    """Classify one point of space as inside or outside a shape.

    L = −o log σ(l) − (1 − o) log σ(−l)

    See Mescheder, Oechsle, Niemeyer, Nowozin & Geiger, 2019 (arXiv:1812.03828).

    Args:
        logit: scalar, l.
        occupied: scalar o in {0, 1}, 1 inside.

    Returns:
        A scalar, in nats.
    """
    check_rank(0, logit=logit, occupied=occupied)
    return sigmoid_cross_entropy(logit, occupied)


def chamfer_distance(x: Array, y: Array) -> Array:
    """Return the symmetric squared distance of two point clouds.

    d(x, y) = mean_i min_j ‖x_i − y_j‖² + mean_j min_i ‖x_i − y_j‖²

    See Fan, Su & Guibas, 2017 (arXiv:1612.00603).

    Args:
        x: [N, D].
        y: [M, D].

    Returns:
        A scalar, in squared units of x.
    """
    check_rank(2, x=x, y=y)
    check_same_shape(point_of_x=x[0], point_of_y=y[0])
    squared_distance = ((x[:, None] - y[None]) ** 2).sum(axis=-1)
    return squared_distance.min(axis=1).mean() + squared_distance.min(axis=0).mean()


def reprojection_loss(points: Array, keypoints: Array, confidence: Array, camera: Array) -> Array:
    """Compare joints in space, seen by a pinhole camera, with keypoints found in the picture.

    L = Σ_j w_j ‖π(P X_j) − x_j‖²,  π(a, b, c) = (a/c, b/c)

    See Bogo et al., "Keep it SMPL", 2016 (arXiv:1607.08128).

    Args:
        points: [J, 3], X.
        keypoints: [J, 2], x, in pixels.
        confidence: [J], w; 0 leaves a joint out.
        camera: [3, 4], P = K [R | t]; the depth c is held above 1e-6.

    Returns:
        A scalar, in squared pixels.
    """
    check_rank(2, points=points)
    joints = len(points)
    check_shape((joints, 3), points=points)
    check_shape((joints, 2), keypoints=keypoints)
    check_shape((joints,), confidence=confidence)
    check_shape((3, 4), camera=camera)
    image = points @ camera[:, :3].T + camera[None, :, 3]
    projected = image[:, :2] / jnp.maximum(image[:, 2:], 1e-6)
    return (confidence * ((projected - keypoints) ** 2).sum(axis=-1)).sum()
