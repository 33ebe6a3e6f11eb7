"""Pictures of classic control, drawn by array operations: each pixel's distance to a few line segments."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax.numpy as jnp

from jaxdl.types import Array

SIZE = 64
INK, RED, GREY = (0.15, 0.15, 0.2), (0.8, 0.25, 0.2), (0.6, 0.6, 0.6)

Point = tuple[Array | float, Array | float]
Stroke = tuple[Point, Point, float, tuple[float, float, float]]  # from, to, width, color


def picture(strokes: Sequence[Stroke], bound: float, center: Point = (0.0, 0.0)) -> Array:
    """Draw thick line segments with round ends, the later over the earlier.

    Args:
        strokes: (from, to, width, color) each, in the units of the scene, y upwards.
        bound: b, the picture shows the square of side 2b around the center.
        center: (x, y).

    Returns:
        [SIZE, SIZE, 3] in [0, 1].
    """
    pixel = 2 * bound / SIZE
    line = (jnp.arange(SIZE) + 0.5) * pixel - bound
    x, y = jnp.meshgrid(center[0] + line, center[1] - line)
    canvas = jnp.ones((SIZE, SIZE, 3))
    for (x0, y0), (x1, y1), width, color in strokes:
        dx, dy = x1 - x0, y1 - y0
        along = jnp.clip(((x - x0) * dx + (y - y0) * dy) / (dx**2 + dy**2 + 1e-8), 0, 1)
        distance = jnp.hypot(x - x0 - along * dx, y - y0 - along * dy)
        cover = jnp.clip((width / 2 - distance) / pixel + 0.5, 0, 1)[..., None]
        canvas = canvas * (1 - cover) + cover * jnp.asarray(color)[None, None]
    return canvas


def cart_pole(state: Any) -> Array:
    """Draw the cart on its track and the pole on the cart."""
    x, theta = state.x, state.theta
    tip = (x + 1.0 * jnp.sin(theta), 1.0 * jnp.cos(theta))
    track, cart = ((-2.4, -0.15), (2.4, -0.15), 0.04, GREY), ((x - 0.25, 0.0), (x + 0.25, 0.0), 0.3, INK)
    return picture([track, cart, ((x, 0.0), tip, 0.12, RED)], 2.4)


def pendulum(state: Any) -> Array:
    """Draw the pendulum, its angle measured from upright against the clock."""
    tip = (-jnp.sin(state.theta), jnp.cos(state.theta))
    return picture([((0.0, 0.0), tip, 0.2, RED), ((0.0, 0.0), (0.0, 0.0), 0.12, INK)], 1.3)


def acrobot(state: Any) -> Array:
    """Draw the two links below the bar that the tip has to reach, angles measured from hanging."""
    first, both = state.joint_angle1, state.joint_angle1 + state.joint_angle2
    elbow = (jnp.sin(first), -jnp.cos(first))
    tip = (elbow[0] + jnp.sin(both), elbow[1] - jnp.cos(both))
    bar = ((-2.2, 1.0), (2.2, 1.0), 0.05, GREY)
    return picture([bar, ((0.0, 0.0), elbow, 0.2, INK), (elbow, tip, 0.2, RED)], 2.2)


def mountain_car(state: Any) -> Array:
    """Draw the car on its hill, y = 0.45 sin 3x + 0.55, and the flag at the goal."""

    def height(x: Array | float) -> Array:
        return 0.45 * jnp.sin(3 * x) + 0.55

    ends = [-1.2 + 1.8 * i / 24 for i in range(25)]
    hill: list[Stroke] = [((a, height(a)), (b, height(b)), 0.02, GREY) for a, b in pairwise(ends)]
    flag: Stroke = ((0.5, height(0.5)), (0.5, height(0.5) + 0.2), 0.03, RED)
    place = (state.position, height(state.position) + 0.05)
    return picture([*hill, flag, (place, place, 0.12, INK)], 1.0, (-0.3, 0.6))


PICTURES = {
    "CartPole-v1": cart_pole,
    "Pendulum-v1": pendulum,
    "Acrobot-v1": acrobot,
    "MountainCar-v0": mountain_car,
}
