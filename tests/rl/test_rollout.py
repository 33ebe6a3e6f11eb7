"""Rollouts, whole episodes and greedy evaluation, in an environment that counts."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.rl import Box, Discrete, Environment, TimeStep, from_gymnax
from jaxdl.rl.advantage import advantages
from jaxdl.rl.rollout import act, drawn, enter, episode_returns, episodes, film, rollout

KEY = jax.random.key(0)
LIMIT = 5


def counter(draw=None):
    """Count up; the reward is the action, action 3 terminates, and the fifth step truncates."""

    def reset(key):
        return jnp.float32(0), jnp.zeros(1)

    def step(key, state, action):
        time = state + 1
        terminated, truncated = action == 3, time >= LIMIT
        after = jnp.where(terminated | truncated, 0.0, time)
        return after, TimeStep(after[None], action.astype(jnp.float32), terminated, truncated, time[None])

    return Environment(reset, step, Box(np.zeros(1), np.ones(1)), Discrete(4), LIMIT, draw)


def stop_at(time, observation, key):
    """Take action 1, and 3 once the count has come to `time`."""
    return jnp.where(observation[:, 0] >= time, 3, 1)


def test_a_rollout_goes_on_through_the_ends_of_episodes():
    worlds = enter(counter(), KEY, 2)
    for start in (0, 4):  # the second goes on where the first one stopped
        worlds, path, episode_return = rollout(counter(), partial(stop_at, 2), worlds, KEY, 4)
        time = (np.arange(4) + start) % 3
        np.testing.assert_array_equal(path.observation[..., 0], np.stack([time, time], 1))
        np.testing.assert_array_equal(path.next_observation, path.observation + 1)
        np.testing.assert_array_equal(path.terminated, path.action == 3)
        assert not path.truncated.any()
        assert float(episode_return) == 1 + 1 + 3
        assert int(worlds.time) == start + 4
    np.testing.assert_array_equal(worlds.score, [2.0, 2.0])


def test_no_episode_ended_is_not_measured():
    worlds = enter(counter(), KEY, 2)
    _, _, episode_return = rollout(counter(), partial(stop_at, 9), worlds, KEY, 3)
    assert np.isnan(episode_return)


@pytest.mark.parametrize(("stop", "total", "length"), [(2, 5.0, 3), (0, 3.0, 1), (9, 5.0, 5)])
def test_whole_episodes_and_their_returns(stop, total, length):
    path, mask = episodes(counter(), partial(stop_at, stop), KEY, 3)
    np.testing.assert_array_equal(mask, np.repeat((np.arange(LIMIT) < length)[:, None], 3, 1))
    np.testing.assert_array_equal((path.reward * mask).sum(0), [total] * 3)
    values = jax.jit(lambda key: episode_returns(counter(), partial(stop_at, stop), key, 3))(KEY)
    np.testing.assert_array_equal(values["return"], [total] * 3)
    np.testing.assert_array_equal(values["length"], [length] * 3)


def test_evaluation_against_a_loop_of_its_own():
    environment = from_gymnax("CartPole-v1")
    policy = lambda observation, key: (observation[:, 2] > 0).astype(jnp.int32)  # push below the pole
    values = jax.jit(lambda key: episode_returns(environment, policy, key, 5))(KEY)
    starts = enter(environment, jax.random.split(KEY)[0], 5)
    step, chance = jax.jit(environment.step), environment.chance(KEY)
    for index in range(5):
        state = jax.tree.map(lambda leaf, index=index: leaf[index], starts.state)
        observation, total = starts.observation[index], 0
        while True:
            state, found = step(chance, state, policy(observation[None], KEY)[0])
            observation, total = found.observation, total + float(found.reward)
            if found.terminated | found.truncated:
                break
        assert float(values["return"][index]) == float(values["length"][index]) == total


def test_advantages_where_truncation_differs_from_termination():
    # One stream: three steps to a termination, five to a truncation, two more; V(s) = 10·count; γ = ½, λ = ½.
    actions = jnp.asarray([1, 1, 3, 1, 1, 1, 1, 2, 1, 1])
    environment, worlds, rows = counter(), enter(counter(), KEY, 1), []
    for action in actions:
        draws = drawn(environment, jax.random.split(KEY))
        worlds, (transition, _) = act(environment, lambda *_, a=action: a[None], worlds, draws)
        rows.append(transition)
    path = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)
    advantage, v = advantages(lambda observation: 10 * observation[:, 0], path, 0.5, 0.5)
    np.testing.assert_array_equal(v[:, 0], [0, 10, 20, 0, 10, 20, 30, 40, 0, 10])
    ended = [1 + 5 - 0, 1 + 10 - 10, 3 + 0 - 20]
    cut = [1 + 5 - 0, 1 + 10 - 10, 1 + 15 - 20, 1 + 20 - 30, 2 + 25 - 40]
    delta = np.asarray([*ended, *cut, 1 + 5 - 0, 1 + 10 - 10])
    expected, following = np.zeros(10), 0.0
    for t in reversed(range(10)):
        following = delta[t] + (0 if t in (2, 7) else 0.25 * following)
        expected[t] = following
    np.testing.assert_allclose(advantage[:, 0], expected)


def test_a_film_shows_one_episode():
    environment = counter(lambda state: jnp.full((2, 2, 3), state / 10))
    frames, num = film(environment, partial(stop_at, 2), KEY, 4)
    assert int(num) == 3 and frames.shape == (4, 2, 2, 3)
    np.testing.assert_allclose(frames[:3, 0, 0, 0], [0.0, 0.1, 0.2])
    frames, num = film(environment, partial(stop_at, 9), KEY, 3, every=2)
    assert int(num) == 3
    np.testing.assert_allclose(frames[:, 0, 0, 0], [0.0, 0.2, 0.4])
    with pytest.raises(ValueError, match="no drawing"):
        film(counter(), partial(stop_at, 2), KEY, 4, 1)
