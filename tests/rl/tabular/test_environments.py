"""Environments against gymnasium's tables, closed forms, and what a table must not be."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.rl import tabular
from jaxdl.rl.tabular.mdp import episode, episode_returns

ENVIRONMENTS = {
    "gridworld_4x4": tabular.gridworld_4x4,
    "gridworld_5x5": tabular.gridworld_5x5,
    "cliff": tabular.cliff_walking,
    "maze": tabular.maze,
    "random_walk": tabular.random_walk,
    "frozenlake": tabular.frozen_lake,
    "frozenlake_8x8": partial(tabular.frozen_lake, "8x8"),
    "taxi": tabular.taxi,
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_environment_is_a_process(name):
    mdp = ENVIRONMENTS[name]()
    num_states, num_actions = mdp.shape
    np.testing.assert_allclose(mdp.P.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(mdp.start.sum(), 1, rtol=1e-6)
    assert (np.asarray(mdp.P) >= 0).all()
    assert mdp.r.shape == mdp.P.shape
    assert len(mdp.moves) == num_actions
    assert not (mdp.start * mdp.terminal).any()
    ends = np.flatnonzero(mdp.terminal)
    np.testing.assert_array_equal(mdp.P[ends, :, ends], 1)
    np.testing.assert_array_equal(mdp.R[ends], 0)
    drawn = np.asarray(mdp.layout)[np.asarray(mdp.layout) >= 0]
    assert len(set(drawn.tolist())) == len(drawn)
    assert drawn.max() < num_states


@pytest.mark.parametrize("name", ["cliff", "frozenlake", "frozenlake_8x8"])
def test_moves_lead_where_the_layout_says(name):
    """Where an action changes the state, one of its successors lies where its arrow points."""
    mdp = jax.tree.map(np.asarray, ENVIRONMENTS[name]())
    place = {int(s): cell for cell, s in np.ndenumerate(mdp.layout)}
    for s in set(place) - {-1} - set(np.flatnonzero(mdp.terminal)):
        for a, (down, right) in enumerate(mdp.moves):
            row, column = place[s][0] + down, place[s][1] + right
            to = next((t for t, cell in place.items() if cell == (row, column)), None)
            if to is not None and to >= 0:
                assert mdp.P[s, a, to] > 0


def test_the_cliff_is_gymnasiums():
    toy_text = pytest.importorskip("gymnasium.envs.toy_text")
    mdp, table = jax.tree.map(np.asarray, tabular.cliff_walking()), toy_text.CliffWalkingEnv().P
    for s in range(37):  # the states in front of the cliff; no other is ever entered but the goal
        for a in range(4):
            ((_, s_t, reward, terminated),) = table[s][a]
            assert mdp.P[s, a, s_t] == 1
            assert mdp.r[s, a, s_t] == reward
            assert mdp.terminal[s_t] == terminated
    assert mdp.start[36] == 1


def test_frozen_lake_by_hand():
    mdp = tabular.frozen_lake()
    np.testing.assert_allclose(mdp.P[0, 0, [0, 4]], [2 / 3, 1 / 3], rtol=1e-6)
    assert np.flatnonzero(mdp.terminal).tolist() == [5, 7, 11, 12, 15]
    assert np.argwhere(np.asarray(mdp.r)).tolist() == [[14, a, 15] for a in (1, 2, 3)]
    np.testing.assert_allclose(mdp.R[14], [0, 1 / 3, 1 / 3, 1 / 3], rtol=1e-6)
    assert mdp.time_limit == 100
    assert set(np.unique(tabular.frozen_lake(slippery=False).P)) == {0, 1}


def test_taxi_by_hand():
    mdp = tabular.taxi()
    assert np.flatnonzero(mdp.terminal).tolist() == [0, 85, 410, 475]  # at R, G, Y and B, brought there
    assert mdp.r[16, 5, 0] == 20  # passenger 4 in the taxi at R, which is the destination
    assert mdp.R[100, 4] == -10  # no passenger to pick up
    assert mdp.layout.shape == (29, 23)
    assert mdp.layout[6, 4] == 84  # (0, 4) in the town where the passenger is at place 1: 4·20 + 1·4 + 0


@pytest.mark.parametrize("n", [5, 19])
def test_values_of_the_random_walk(n):
    mdp = tabular.random_walk(n)
    expected = 2 * np.arange(1, n + 1) / (n + 1) - 1
    np.testing.assert_allclose(tabular.policy_value(mdp, 1.0, mdp.random_policy)[1:-1], expected, atol=1e-5)


def test_a_walk_needs_a_middle():
    with pytest.raises(ValueError, match="num_states is 4"):
        tabular.random_walk(4)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({0: {0: [(0.5, 0, 0.0, False)]}}, "state 0, action 0 sum to 0.5"),
        (
            {0: {0: [(0.5, 1, 0.0, True), (0.5, 1, 0.0, False)]}, 1: {0: [(1.0, 1, 0.0, True)]}},
            "state 1 ends the episode by one way in",
        ),
    ],
)
def test_a_table_that_is_no_process_is_refused(table, message):
    start = np.eye(len(table))[0]
    with pytest.raises(ValueError, match=message):
        tabular.from_table(table, start, 1, [[0]], [(0, 0)])


def test_rewards_of_outcomes_that_share_a_successor_are_averaged():
    table = {0: {0: [(0.25, 0, 4.0, False), (0.25, 0, 8.0, False), (0.5, 1, 2.0, True)]}, 1: {0: []}}
    table[1][0] = [(1.0, 1, 9.0, True)]
    mdp = tabular.from_table(table, [1, 0], 1, [[0, 1]], [(0, 1)])
    np.testing.assert_array_equal(mdp.r[0, 0], [6, 2])
    np.testing.assert_array_equal(mdp.R, [[4], [0]])  # nothing more is earned after the end


def test_without_gymnasium_an_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium.envs", None)
    with pytest.raises(ImportError, match=r'pip install "jaxdl\[rl\]"'):
        tabular.frozen_lake()


def two_ways(time_limit):
    """From state 0 action 0 leads to state 1, which stays what it is, and action 1 to the end, state 2."""
    stay = {a: [(1.0, 1, 0.0, False)] for a in range(2)}
    end = {a: [(1.0, 2, 0.0, True)] for a in range(2)}
    table = {0: {0: [(1.0, 1, 1.0, False)], 1: [(1.0, 2, 1.0, True)]}, 1: stay, 2: end}
    return tabular.from_table(table, [1, 0, 0], time_limit, [[0, 1, 2]], [(0, 1), (0, -1)])


@pytest.mark.parametrize(
    ("action", "time_limit", "terminated", "truncated"),
    [(0, 1, False, True), (0, 2, False, False), (1, 1, True, False), (1, 2, True, False)],
)
def test_a_step_tells_termination_from_truncation(action, time_limit, terminated, truncated):
    mdp, key = two_ways(time_limit), jax.random.key(0)
    begin = tabular.first_position(mdp, key)
    position, move = jax.jit(tabular.mdp_step)(mdp, key, begin, jnp.asarray(action))
    assert (bool(move.terminated_t), bool(move.truncated_t)) == (terminated, truncated)
    assert int(move.s_t) == int(position.s) == 1 + action  # the state reached, not that of the next episode
    assert float(move.discount_t(0.9)) == pytest.approx(0 if terminated else 0.9)
    after = tabular.restart(mdp, key, position, move)
    over = terminated or truncated
    assert [float(leaf) for leaf in after] == ([0, 0, 0] if over else [1 + action, 1, 1])


def test_steps_are_drawn_from_the_transition_probabilities():
    mdp, num = tabular.frozen_lake(), 20_000
    begin = tabular.first_position(mdp, jax.random.key(0))._replace(s=jnp.asarray(6))
    keys = jax.random.split(jax.random.key(1), num)
    _, moves = jax.jit(jax.vmap(tabular.mdp_step, (None, 0, None, None)))(mdp, keys, begin, jnp.asarray(2))
    share = np.bincount(moves.s_t, minlength=16) / num
    np.testing.assert_allclose(share, mdp.P[6, 2], atol=5 * np.sqrt(0.25 / num))
    assert (share[np.asarray(mdp.P[6, 2]) == 0] == 0).all()


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (0, [1 + 0.9 * 0.9 * 0.9 * 7, 0.9 * 0.9 * 7, 0.9 * 7]),  # cut off in state 1 after three steps
        (1, [1, 0, 0]),  # over after one; the value of the end does not count
    ],
)
def test_returns_of_an_episode(action, expected):
    mdp = two_ways(3)
    transitions, mask = episode(mdp, jax.nn.one_hot(jnp.full(3, action), 2), jax.random.key(0))
    returns = episode_returns(transitions, mask, 0.9, jnp.array([5.0, 7.0, 11.0]))
    assert mask.tolist() == ([1, 1, 1] if action == 0 else [1, 0, 0])
    np.testing.assert_allclose(returns, expected, rtol=1e-6)
