"""Look at what was learned: its returns in fresh episodes, value maps with arrows, and where it walks."""

from collections.abc import Callable
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.rl.tabular.mdp import MDP, episode, evaluate_policy, policy_value
from jaxdl.types import Array, Batch, Key, Programs

# Viridis at four places: brighter is more, in grey too.
STOPS = np.array([[0.27, 0.00, 0.33], [0.19, 0.41, 0.56], [0.21, 0.72, 0.47], [0.99, 0.91, 0.14]])
WALL, TERMINAL, LINE = 0.25, 0.85, 1.0


class Views(TypedDict):
    """The functions of a Learner that look at its state."""

    evaluate: Callable[..., dict[str, Array]]
    render: Callable[..., dict[str, Array]]
    export: Callable[..., Programs]


def control_views(mdp: MDP, plan: Callable[[Any], tuple[Array, Array]], num_episodes: int) -> Views:
    """Follow and draw the policy of a learner's state.

    Args:
        mdp: the process.
        plan: state -> (v [S], policy [S, A]).
        num_episodes: of an evaluation.

    Returns:
        `evaluate`: undiscounted returns and lengths of fresh episodes, and the value of the start; `render`;
        `export` of act: s -> the likeliest action, and value: s -> v(s).
    """

    def evaluate(state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        v, policy = plan(state)
        return evaluate_policy(mdp, policy, key, num_episodes) | {"start_value": (mdp.start @ v)[None]}

    @jax.jit
    def render(state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        return policy_pictures(mdp, *plan(state), key)

    def export(state: Any, batch: Batch) -> Programs:
        v, policy = plan(state)
        s = jnp.zeros(1, jnp.int32)
        return {"act": (lambda s: policy[s].argmax(), s), "value": (lambda s: v[s], s)}

    return {"evaluate": evaluate, "render": render, "export": export}


def prediction_views(mdp: MDP, policy: Array, discount: float) -> Views:
    """Compare values learned of a policy [S, A] with its true ones; the state has them as `v` [S].

    Returns:
        `evaluate`: the absolute error of each state that is not terminal; `render`; `export`: s -> v(s).
    """
    truth = policy_value(mdp, discount, policy)
    alive = jnp.flatnonzero(~mdp.terminal)

    def evaluate(state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        return {"value_error": jnp.abs(state.v - truth)[alive]}

    @jax.jit
    def render(state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        return {"values": grid_picture(mdp, state.v), "true_values": grid_picture(mdp, truth)}

    def export(state: Any, batch: Batch) -> Programs:
        return {"value": (lambda s: state.v[s], jnp.zeros(1, jnp.int32))}

    return {"evaluate": evaluate, "render": render, "export": export}


def policy_pictures(mdp: MDP, v: Array, policy: Array, key: Key, num_episodes: int = 100) -> dict[str, Array]:
    """Draw the values and actions of a policy, and the share of episodes in which it meets each state.

    Args:
        mdp: the process.
        v: [S], state values.
        policy: [S, A], action probabilities.
        key: PRNG key.
        num_episodes: that the policy walks.

    Returns:
        {"values", "path"}, pictures of the layout.
    """

    @jax.vmap
    def met(key: Key) -> Array:
        transitions, mask = episode(mdp, policy, key)
        return jnp.zeros(v.shape).at[transitions.s_tm1].max(mask)

    path = met(jax.random.split(key, num_episodes)).mean(axis=0)
    return {"values": grid_picture(mdp, v, policy), "path": grid_picture(mdp, path)}


def grid_picture(mdp: MDP, v: Array, policy: Array | None = None, size: int = 24) -> Array:
    """Colour each state of the layout by a number, and draw the actions that a policy may take as arrows.

    Args:
        mdp: whose layout is drawn; terminal states are light grey, walls dark.
        v: [S], numbers; the lowest is dark, the highest bright.
        policy: [S, A], action probabilities, or None for no arrows.
        size: pixels along the side of a cell.

    Returns:
        [rows·size, columns·size, 3] in [0, 1].
    """
    state = jnp.maximum(mdp.layout, 0)
    alive = (mdp.layout >= 0) & ~mdp.terminal[state]
    low, high = (
        jnp.min(v[state], where=alive, initial=jnp.inf),
        jnp.max(v[state], where=alive, initial=-jnp.inf),
    )
    x = (v[state] - low) / jnp.maximum(high - low, 1e-12)  # [rows, columns]
    heat = jax.vmap(jnp.interp, (None, None, 1), -1)(x, jnp.linspace(0, 1, len(STOPS)), STOPS)
    cells = jnp.where(alive[..., None], heat, jnp.where(mdp.layout < 0, WALL, TERMINAL)[..., None])
    picture = cells.repeat(size, 0).repeat(size, 1)
    if policy is not None:
        taken = (policy[state] > 0) & alive[..., None]
        ink = jnp.einsum("rca,aij->ricj", taken, _glyphs(mdp.moves, size)).reshape(picture.shape[:2]) > 0
        contrast = jnp.where(x > 0.6, 0.0, 1.0).repeat(size, 0).repeat(size, 1)
        picture = jnp.where(ink[..., None], contrast[..., None], picture)
    return picture.at[size - 1 :: size].set(LINE).at[:, size - 1 :: size].set(LINE)


def _glyphs(moves: tuple[tuple[int, int], ...], size: int) -> Array:
    """Draw each move as an arrow from the centre of a cell, and staying as a dot: [A, size, size]."""
    y, x = np.mgrid[:size, :size] * 2 / (size - 2) - 1  # the last row and column are the line

    def glyph(down: int, right: int) -> np.ndarray:
        along, across = y * down + x * right, np.abs(x * down - y * right)
        shaft = (along >= 0) & (along < 0.6) & (across < 0.1)
        head = (along >= 0.4) & (across < 0.8 * (0.8 - along))
        return shaft | head if down or right else x**2 + y**2 < 0.06

    return jnp.asarray(np.stack([glyph(*move) for move in moves]), jnp.float32)
