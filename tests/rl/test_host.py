"""Environments on the host, called from compiled programs: what they bring is what gymnasium brings."""

import builtins
from functools import partial

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl.nets.policy import CategoricalPolicy, StateValue
from jaxdl.rl import Discrete, from_gymnasium, make, ppo, side_by_side
from jaxdl.rl.host import KEPT, Host
from jaxdl.rl.rollout import enter, episode_returns, film, rollout
from jaxdl.types import Learner

KEY = jax.random.key(0)
BOX = gymnasium.spaces.Box(-1, 1, (1,))


def alternate(observation, key):
    """Push with the pole; a policy without chance."""
    return (observation[:, 2] > 0).astype(jnp.int32)


def test_a_rollout_is_that_of_gymnasium():
    """Two environments, through the ends of episodes of both kinds."""
    environment = from_gymnasium("CartPole-v1", time_limit=20)
    worlds = jax.jit(partial(enter, environment, num=2))(KEY)
    chance = lambda observation, key: jax.random.randint(key, (len(observation),), 0, 2)
    _, path, _ = jax.jit(partial(rollout, environment, chance, num_steps=100))(worlds, KEY)
    assert path.terminated.sum() > 1 and path.truncated.sum() > 1
    oracle = gymnasium.make("CartPole-v1").unwrapped
    for column in range(2):
        time = 0
        for row in range(100):
            observation, action, reward, terminated, truncated, after = (
                np.asarray(leaf[row, column]) for leaf in path
            )
            if time == 0:
                assert (np.abs(observation) <= 0.05).all()
            oracle.reset()
            oracle.state = observation.astype(np.float64)
            expected, _, ended, _, _ = oracle.step(int(action))
            time += 1
            np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-5)
            assert (reward, terminated, truncated) == (1.0, ended, time == 20)
            if row < 99 and not (ended or truncated):
                np.testing.assert_array_equal(path.observation[row + 1, column], after)
            time = 0 if ended or truncated else time


def test_keys_decide_and_an_evaluation_leaves_training_alone():
    environment = from_gymnasium("CartPole-v1")
    start = jax.jit(partial(enter, environment, num=3))
    run = jax.jit(partial(rollout, environment, alternate, num_steps=8))
    worlds, first, _ = run(start(KEY), KEY)
    _, again, _ = run(start(KEY), KEY)
    np.testing.assert_array_equal(first.next_observation, again.next_observation)
    assert len(set(first.observation[0, :, 0].tolist())) == 3
    worlds, _, _ = run(start(KEY), KEY)
    evaluate = jax.jit(partial(episode_returns, environment, alternate, num=5))
    returns = evaluate(jax.random.key(1))["return"]
    assert (returns > 5).all() and (returns == evaluate(jax.random.key(1))["length"]).all()
    _, path, _ = run(worlds, KEY)
    np.testing.assert_array_equal(path.observation[0], first.next_observation[-1])
    assert not path.truncated.any()


def test_an_episode_whose_environment_is_gone_counts_as_truncated():
    """So it is in a process that goes on from a checkpoint, and for worlds that too many others followed."""
    environment = from_gymnasium("CartPole-v1")
    start = jax.jit(partial(enter, environment, num=2))
    run = jax.jit(partial(rollout, environment, alternate, num_steps=3))
    worlds, before, _ = run(start(KEY), KEY)
    for index in range(KEPT):
        start(jax.random.key(2 + index))
    _, path, _ = run(worlds, KEY)
    np.testing.assert_array_equal(path.truncated, [[True] * 2, [False] * 2, [False] * 2])
    assert not path.terminated.any()
    np.testing.assert_array_equal(path.next_observation[0], before.next_observation[-1])
    assert not np.array_equal(path.observation[1], path.next_observation[0])
    np.testing.assert_array_equal(path.reward, [[0.0] * 2, [1.0] * 2, [1.0] * 2])


def test_many_seeds_at_once_are_what_each_is_alone():
    """Through the ends of episodes; seeds that share a key begin from one handle, and go apart."""
    environment = from_gymnasium("CartPole-v1", time_limit=9)

    def run(key, bias):
        policy = lambda observation, _: (observation[:, 2] > bias).astype(jnp.int32)
        return rollout(environment, policy, enter(environment, key, 2), key, 12)[1]

    def check(keys, axis):
        together = jax.jit(jax.vmap(run, (axis, 0)))(keys, biases)
        alone = jax.lax.map(lambda pair: run(*pair), (jnp.broadcast_to(keys, (6,)), biases))
        jax.tree.map(np.testing.assert_array_equal, together, alone)
        assert (together.reward == 1).all() and together.truncated[:, 8].any()
        assert not np.array_equal(together.observation[0], together.observation[1])

    biases = jnp.asarray([0.0, 9.0, -9.0, 0.0, 0.1, 0.05])
    check(jax.random.split(KEY, 6), 0)
    check(KEY, None)


def test_policies_evaluated_at_once_play_what_each_plays_alone():
    """Their episodes end at different times: the loop goes on until the last of all is over."""
    environment = from_gymnasium("CartPole-v1", time_limit=60)

    def measured(key, bias):
        policy = lambda observation, _: (observation[:, 2] > bias).astype(jnp.int32)
        return episode_returns(environment, policy, key, 2)

    keys, biases = jax.random.split(KEY, 3), jnp.asarray([0.0, 9.0, -9.0])
    together = jax.jit(jax.vmap(measured))(keys, biases)
    alone = [jax.jit(measured)(*pair) for pair in zip(keys, biases, strict=True)]
    jax.tree.map(lambda all_, *one: np.testing.assert_array_equal(all_, np.stack(one)), together, *alone)
    np.testing.assert_array_equal(together["return"], together["length"])
    assert together["length"][0].min() > 12 > together["length"][1:].max() > 7


def test_learners_from_one_key_keep_to_their_own_episodes():
    def actor(environment, policy):
        def step(worlds, batch, *, axis_name=None):
            worlds, path, _ = rollout(environment, policy, worlds, worlds.key, 3)
            return worlds, path._asdict()

        return Learner(lambda key, batch: enter(environment, key, 2), step, None)

    def run(learner):
        step = jax.jit(lambda state: learner.step(state, None))
        state, before = step(jax.jit(lambda: learner.init(KEY, None))())
        return before, step(state)[1]

    left = lambda observation, key: jnp.zeros(len(observation), jnp.int32)
    policies = {"a": alternate, "b": left, "c": alternate}  # what a and c do is the same
    shared = from_gymnasium("CartPole-v1")
    together = run(side_by_side({name: actor(shared, policy) for name, policy in policies.items()}))
    for name, policy in policies.items():
        alone = run(side_by_side({name: actor(from_gymnasium("CartPole-v1"), policy)}))
        for one, all_of_them in zip(alone, together, strict=True):
            for column, value in one.items():
                np.testing.assert_array_equal(all_of_them[column], value, err_msg=column)
    assert not np.array_equal(together[1]["a/observation"], together[1]["b/observation"])


def test_environments_that_none_steps_through_any_more_are_closed():
    alive = []

    class Open:
        def __init__(self):
            alive.append(self)

        def reset(self, seed=None):
            return np.zeros(1), {}

        def step(self, action):
            return np.zeros(1), 1.0, False, False, {}

        def close(self):
            alive.remove(self)

    host = Host(Open)
    seeds = np.arange(2, dtype=np.int32)
    for _ in range(3 * KEPT):
        host.reset(seeds)
        start = seeds, np.zeros(2, np.uint32), np.zeros((2, 1))
        host.step(start, seeds, seeds)
        host.step(start, seeds, seeds)
    assert len(alive) <= 2 * (KEPT + 1)


def test_an_agent_learns_in_it_as_in_any_other():
    environment = make("gymnasium/CartPole-v1")
    keywords = {"num_envs": 4, "num_steps": 16, "epochs": 2, "minibatches": 2}
    learner = ppo(environment, CategoricalPolicy(2, (8,)), StateValue((8,)), optax.sgd(1e-2), **keywords)
    state = jax.jit(learner.init)(KEY)
    state, metrics = jax.jit(lambda state: jax.lax.scan(lambda s, _: learner.step(s), state, None, 3))(state)
    assert int(state.worlds.time) == 48
    assert np.isfinite(metrics["loss"]).all()
    together = jax.jit(jax.vmap(learner.init))(jax.random.split(KEY, 2))
    together, _ = jax.jit(jax.vmap(learner.step))(together)
    assert not np.array_equal(together.worlds.observation[0], together.worlds.observation[1])


def test_actions_are_counted_from_the_first_and_clipped():
    class Odd(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-10, 10, (1,))
        action_space = gymnasium.spaces.Discrete(2, start=7)

        def reset(self, seed=None, options=None):
            return np.zeros(1, np.float32), {}

        def step(self, action):
            return np.full(1, action, np.float32), float(action), False, False, {}

    class Wide(Odd):
        action_space = gymnasium.spaces.Box(-2, 2, (1,))

        def step(self, action):
            return super().step(action[0])

    gymnasium.register("Odd-v0", Odd, max_episode_steps=5)
    gymnasium.register("Wide-v0", Wide)
    odd = from_gymnasium("Odd-v0")
    assert odd.actions == Discrete(2) and odd.time_limit == 5
    _, found = odd.step(odd.chance(KEY), odd.reset(KEY)[0], jnp.int32(1))
    assert float(found.reward) == 8.0
    wide = from_gymnasium("Wide-v0", time_limit=3)
    _, found = wide.step(wide.chance(KEY), wide.reset(KEY)[0], jnp.asarray([5.0]))
    assert float(found.reward) == 2.0
    with pytest.raises(ValueError, match="Wide-v0 has no time limit; give time_limit"):
        from_gymnasium("Wide-v0")


def test_it_films_itself_in_order():
    class Clock(gymnasium.Env):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012
        observation_space = gymnasium.spaces.Box(0, 99, (1,))
        action_space = gymnasium.spaces.Discrete(2)

        def __init__(self, render_mode=None):
            self.render_mode, self.time = render_mode, 0

        def reset(self, seed=None, options=None):
            self.time = 0
            return np.zeros(1, np.float32), {}

        def step(self, action):
            self.time += 1
            return np.full(1, self.time, np.float32), 1.0, self.time == 4, False, {}

        def render(self):
            return np.full((2, 3, 3), 10 * self.time, np.uint8)

    gymnasium.register("Clock-v0", Clock, max_episode_steps=9)
    policy = lambda observation, key: jnp.zeros(len(observation), jnp.int32)
    frames, num = jax.jit(lambda key: film(from_gymnasium("Clock-v0", render=True), policy, key, 6))(KEY)
    assert int(num) == 4 and frames.shape == (6, 2, 3, 3)
    np.testing.assert_allclose(frames[:4, 0, 0, 0] * 255, [0, 10, 20, 30], rtol=1e-5)
    assert from_gymnasium("Clock-v0").draw is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("NoSuch-v0", {}, "gymnasium makes no environment 'NoSuch-v0'"),
        ("CartPole-v1", {"gravity": 3}, "unexpected keyword argument 'gravity'"),
        ("FrozenLake-v1", {}, "FlattenObservation"),
    ],
)
def test_what_fits_no_agent_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        from_gymnasium(name, **options)


@pytest.mark.parametrize(
    ("seen", "done", "message"),
    [
        (
            BOX,
            gymnasium.spaces.MultiDiscrete([2, 2]),
            r"MultiDiscrete\(\[2 2\]\); agents give one integer, or",
        ),
        (BOX, gymnasium.spaces.Box(-1, 1, (2, 2)), r"\(2, 2\), float32\); agents .*arrays \[D\] of floats"),
        (BOX, gymnasium.spaces.Box(-1, 1, ()), r"\(\), float32\); agents give .*wrappers.TransformAction"),
        (
            BOX,
            gymnasium.spaces.Box(0, 3, (1,), np.int32),
            r"\(1,\), int32\); agents give one integer, or arrays",
        ),
        (BOX, gymnasium.spaces.Box(0, np.inf, (1,)), r"inf.*; agents give .* between finite bounds"),
        (
            gymnasium.spaces.Box(-1, 1, ()),
            BOX,
            r"observations of Several-v0 .*; wrap it in .*FlattenObservation",
        ),
    ],
)
def test_spaces_that_fit_no_agent_are_refused(seen, done, message):
    class Several(gymnasium.Env):
        observation_space, action_space = seen, done

    gymnasium.registry.pop("Several-v0", None)
    gymnasium.register("Several-v0", Several, max_episode_steps=5)
    with pytest.raises(ValueError, match=message):
        from_gymnasium("Several-v0")


def test_a_missing_library_is_named(monkeypatch):
    found = builtins.__import__

    def without(name, *rest):
        if name == "gymnasium":
            raise ImportError("no gymnasium")
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "jaxdl\[rl\]"'):
        make("gymnasium/CartPole-v1")
