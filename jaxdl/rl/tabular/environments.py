"""Small environments whose transition tables are known.

All are written as gymnasium writes its own: {s: {a: [(probability, s′, reward, terminated), ...]}}.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from jaxdl.rl.tabular.mdp import MDP

Outcomes = Sequence[tuple[float, int, float, bool]]  # (probability, s′, reward, terminated) of an action
Table = Mapping[int, Mapping[int, Outcomes]]
Cell = tuple[int, int]

UP, RIGHT, DOWN, LEFT = (-1, 0), (0, 1), (1, 0), (0, -1)
COMPASS = (UP, RIGHT, DOWN, LEFT)
STAY = (0, 0)


def from_table(
    table: Table, start: Any, time_limit: int, layout: Any, moves: Sequence[tuple[int, int]] = COMPASS
) -> MDP:
    """Turn a transition table, as those of gymnasium's toy_text environments, into tensors.

    Args:
        table: {s: {a: [(probability, s′, reward, terminated), ...]}}, states and actions counted from 0.
        start: [S], probabilities of the first state.
        time_limit: steps after which an episode is cut off.
        layout: [rows, columns], the state drawn in each cell, -1 for a wall.
        moves: of each action, the rows down and the columns to the right that it leads in the layout.

    Raises:
        ValueError: if probabilities do not sum to 1, or a state ends the episode by one way in but not by
            another.
    """
    shape = len(table), len(table[0])
    P, r, ends, goes_on = (np.zeros((*shape, shape[0])) for _ in range(4))
    for s, actions in table.items():
        for a, outcomes in actions.items():
            for probability, s_t, reward, terminated in outcomes:
                P[s, a, s_t] += probability
                r[s, a, s_t] += probability * reward
                (ends if terminated else goes_on)[s, a, s_t] += probability
    if not np.allclose(P.sum(-1), 1):
        s, a = np.argwhere(~np.isclose(P.sum(-1), 1))[0]
        raise ValueError(f"the probabilities of state {s}, action {a} sum to {P[s, a].sum()}; they must to 1")
    r /= np.where(P > 0, P, 1)  # the mean of outcomes that share a successor
    terminal = ends.max((0, 1)) > 0
    both = terminal & (goes_on[_reachable(P, terminal, start)].max((0, 1), initial=0) > 0)
    if both.any():
        raise ValueError(f"state {both.argmax()} ends the episode by one way in, but not by another")
    P[terminal], r[terminal] = np.eye(shape[0])[terminal][:, None], 0
    return MDP(
        jnp.asarray(P, jnp.float32),
        jnp.asarray(r, jnp.float32),
        jnp.asarray(terminal),
        jnp.asarray(start, jnp.float32),
        time_limit,
        jnp.asarray(layout, jnp.int32),
        tuple(moves),
    )


def _reachable(P: np.ndarray, terminal: np.ndarray, start: Any) -> np.ndarray:
    """Mark the states [S] that an episode can stand in and go on from."""
    leads_to, reached = P.max(1) > 0, np.array(start) > 0
    for _ in P:
        reached |= leads_to[reached & ~terminal].any(0)
    return reached & ~terminal


def _grid(rows: Sequence[str], time_limit: int, reward: float, goal_reward: float) -> MDP:
    """Build a grid from a drawing: S start, G goal, # wall, C cliff (−100 and back to the start), . free."""
    cells = np.array([list(row) for row in rows])
    states = np.where(cells == "#", -1, np.cumsum(cells != "#").reshape(cells.shape) - 1)
    start = np.array([cell == "S" for cell in cells.ravel() if cell != "#"])

    def outcome(cell: Cell, move: Cell) -> Outcomes:
        to = _moved(cell, move, cells.shape)
        to = cell if cells[to] == "#" else to
        if cells[to] == "C":
            return [(1.0, int(start.argmax()), -100.0, False)]
        at_goal = bool(cells[to] == "G")
        return [(1.0, int(states[to]), goal_reward if at_goal else reward, at_goal)]

    free = [cell for cell in np.ndindex(cells.shape) if cells[cell] != "#"]
    table = {int(states[cell]): {a: outcome(cell, move) for a, move in enumerate(COMPASS)} for cell in free}
    layout = np.where(cells == "C", -1, states)
    return from_table(table, start / start.sum(), time_limit, layout)


def _moved(cell: Cell, move: Cell, shape: tuple[int, ...]) -> Cell:
    """Move, but not across the border."""
    row, column = cell[0] + move[0], cell[1] + move[1]
    return (row, column) if 0 <= row < shape[0] and 0 <= column < shape[1] else cell


def gridworld_4x4(time_limit: int = 200) -> MDP:
    """Build the 4x4 grid: −1 a step until one of two opposite corners. Sutton & Barto, 2018, example 4.1."""
    return _grid(["GSSS", "SSSS", "SSSS", "SSSG"], time_limit, reward=-1.0, goal_reward=-1.0)


def gridworld_5x5(time_limit: int = 100) -> MDP:
    """Build the 5x5 grid that never terminates. Sutton & Barto, 2018, examples 3.5 and 3.8.

    Stepping off the grid costs 1 and leaves the state; from A every action leads to A′ and brings 10, from B
    to B′ and 5.
    """
    jumps = {(0, 1): ((4, 1), 10.0), (0, 3): ((2, 3), 5.0)}
    states = np.arange(25).reshape(5, 5)

    def outcome(cell: Cell, move: Cell) -> Outcomes:
        to = _moved(cell, move, states.shape)
        to, reward = jumps.get(cell, (to, -1.0 if to == cell else 0.0))
        return [(1.0, int(states[to]), reward, False)]

    table = {
        int(states[cell]): {a: outcome(cell, move) for a, move in enumerate(COMPASS)}
        for cell in np.ndindex(states.shape)
    }
    return from_table(table, np.full(25, 1 / 25), time_limit, states)


def cliff_walking(time_limit: int = 200) -> MDP:
    """Build the walk along a cliff: −1 a step, −100 and back to the start for a fall.

    See Sutton & Barto, 2018, example 6.6. The edge is the shortest way, 13 steps; the top row takes 17.
    """
    rows = ["............", "............", "............", "SCCCCCCCCCCG"]
    return _grid(rows, time_limit, reward=-1.0, goal_reward=-1.0)


def maze(time_limit: int = 500) -> MDP:
    """Build the Dyna maze: 1 at the goal, 14 steps away. Sutton & Barto, 2018, example 8.1."""
    rows = [".......#G", "..#....#.", "S.#....#.", "..#......", ".....#...", "........."]
    return _grid(rows, time_limit, reward=0.0, goal_reward=1.0)


def random_walk(num_states: int = 19, time_limit: int = 2_000) -> MDP:
    """Build a row of states between two ends, −1 at the left and 1 at the right, started in the middle.

    See Sutton & Barto, 2018, example 12.1. With γ = 1 the random policy's value of the i-th of n states is
    2i/(n + 1) − 1.
    """
    if num_states % 2 == 0:
        raise ValueError(f"num_states is {num_states}, which has no middle; give an odd number")
    last = num_states + 1

    def outcome(s: int, move: int) -> Outcomes:
        to = s + move
        return [(1.0, to, float(to == last) - float(to == 0), to in (0, last))]

    table = {s: {0: outcome(s, -1), 1: outcome(s, 1)} for s in range(1, last)}
    ends: Table = {s: {a: [(1.0, s, 0.0, True)] for a in range(2)} for s in (0, last)}
    start = np.arange(last + 1) == (last // 2)
    return from_table({**table, **ends}, start, time_limit, np.arange(last + 1)[None], (LEFT, RIGHT))


def frozen_lake(size: Literal["4x4", "8x8"] = "4x4", slippery: bool = True) -> MDP:
    """Read gymnasium's FrozenLake: 1 at the goal, holes that end the episode, ice that slips to the side.

    Raises:
        ImportError: if gymnasium is not installed.
    """
    env = _toy_text().FrozenLakeEnv(map_name=size, is_slippery=slippery)
    side = int(size[0])
    layout = np.arange(side * side).reshape(side, side)
    time_limit = {"4x4": 100, "8x8": 200}[size]
    return from_table(env.P, env.initial_state_distrib, time_limit, layout, (LEFT, DOWN, RIGHT, UP))


def taxi() -> MDP:
    """Read gymnasium's Taxi: fetch a passenger and bring him to his hotel. Dietterich, 2000.

    The layout shows the 5x5 town once for each place of the passenger (rows) and each destination (columns).

    Raises:
        ImportError: if gymnasium is not installed.
    """
    env = _toy_text().TaxiEnv()
    town = np.pad(np.arange(500).reshape(5, 5, 5, 4), ((0, 1), (0, 1), (0, 0), (0, 0)), constant_values=-1)
    layout = town.transpose(2, 0, 3, 1).reshape(30, 24)[:-1, :-1]
    return from_table(env.P, env.initial_state_distrib, 200, layout, (DOWN, UP, RIGHT, LEFT, STAY, STAY))


def _toy_text() -> Any:
    try:
        from gymnasium.envs import toy_text
    except ImportError:
        raise ImportError('this environment is gymnasium\'s; pip install "jaxdl[rl]"') from None
    return toy_text
