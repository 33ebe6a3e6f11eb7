"""The environments on the device against gymnasium's, step by step from the same states."""

import builtins
from functools import partial

import chex
import gymnasium
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.rl.envs import Box, Discrete, from_gymnax

KEY = jax.random.key(0)
FIELDS = {  # the numbers that gymnasium keeps as its state
    "CartPole-v1": ("x", "x_dot", "theta", "theta_dot"),
    "Pendulum-v1": ("theta", "theta_dot"),
    "Acrobot-v1": ("joint_angle1", "joint_angle2", "velocity_1", "velocity_2"),
    "MountainCar-v0": ("position", "velocity"),
}
every_environment = pytest.mark.parametrize("name", FIELDS)


def random_action(actions, rng):
    if isinstance(actions, Discrete):
        return np.int32(rng.integers(actions.num))
    return rng.uniform(1.5 * actions.low, 1.5 * actions.high).astype(np.float32)  # some out of bounds


def step(environment, key, state, action):
    return environment.step(environment.chance(key), state, action)


@every_environment
def test_each_step_is_that_of_gymnasium(name):
    environment, oracle, rng = from_gymnax(name), gymnasium.make(name).unwrapped, np.random.default_rng(0)
    one = jax.jit(partial(step, environment))
    state, _ = jax.jit(environment.reset)(KEY)
    oracle.reset(seed=0)
    ended = 0
    for index in range(300):
        oracle.state = np.asarray([getattr(state, field) for field in FIELDS[name]], np.float64)
        if name == "CartPole-v1":
            oracle.steps_beyond_terminated = None
        action = random_action(environment.actions, rng)
        expected, reward, terminated, _, _ = oracle.step(action)
        state, found = one(jax.random.fold_in(KEY, index), state, action)
        np.testing.assert_allclose(found.final_observation, expected, rtol=2e-4, atol=2e-4)
        np.testing.assert_allclose(found.reward, reward, rtol=1e-4, atol=1e-4)
        assert bool(found.terminated) == terminated
        ends = bool(found.terminated | found.truncated)
        ended += ends
        assert np.array_equal(found.observation, found.final_observation) != ends
        assert int(state.time) == 0 if ends else int(state.time) > 0
    assert ended > 0 or name == "Acrobot-v1"


@every_environment
def test_the_time_limit_truncates_and_never_terminates(name):
    environment, limit = from_gymnax(name), gymnasium.spec(name).max_episode_steps
    assert environment.time_limit == limit
    state, _ = environment.reset(KEY)
    for time, truncated in ((limit - 2, False), (limit - 1, True)):
        _, found = step(
            environment, KEY, state.replace(time=jnp.int32(time)), jnp.zeros_like(action(environment))
        )
        assert (bool(found.terminated), bool(found.truncated)) == (False, truncated)
        assert found.reward.dtype == jnp.float32


def action(environment):
    return (
        jnp.int32(0)
        if isinstance(environment.actions, Discrete)
        else jnp.zeros(environment.actions.low.shape)
    )


@every_environment
def test_episodes_begin_where_gymnax_begins_them(name):
    """Some of 8 environments end; the episodes that may follow are drawn ahead, and nothing in the step."""
    environment, (library, params) = from_gymnax(name), gymnax.make(name)
    keys, limit = jax.random.split(KEY, 8), environment.time_limit
    states, _ = jax.vmap(environment.reset)(keys)
    states = states.replace(time=jnp.int32([0, limit - 1, 1, 2, limit - 1, 3, 4, 5]))
    actions = jnp.broadcast_to(action(environment), (8, *action(environment).shape))
    state, found = jax.jit(jax.vmap(partial(step, environment)))(keys, states, actions)
    theirs = jax.jit(jax.vmap(lambda key, state, action: library.step(key, state, action, params)))
    observation, after, reward, terminated, truncated, info = theirs(keys, states, actions)
    expected = observation, reward, terminated, truncated, info["final_observation"]
    assert truncated.sum() == 2
    chex.assert_trees_all_close((state, tuple(found)), (after, expected), rtol=1e-6, atol=1e-6)
    program = jax.make_jaxpr(jax.vmap(environment.step))(jax.vmap(environment.chance)(keys), states, actions)
    assert "random" not in str(program) or name == "Acrobot-v1"  # whose torque is noisy, by 0 as it is made


def test_both_may_happen_at_once():
    environment = from_gymnax("CartPole-v1")
    state, _ = environment.reset(KEY)
    _, found = step(environment, KEY, state.replace(x=jnp.float32(3.0), time=jnp.int32(499)), jnp.int32(0))
    assert bool(found.terminated) and bool(found.truncated)
    assert found.final_observation[0] > 2.9 and abs(found.observation[0]) < 0.05


@every_environment
def test_spaces_are_those_of_gymnasium(name):
    environment, oracle = from_gymnax(name), gymnasium.make(name)
    if isinstance(environment.actions, Box):
        np.testing.assert_array_equal(environment.actions.low, oracle.action_space.low)
        np.testing.assert_array_equal(environment.actions.high, oracle.action_space.high)
    else:
        assert environment.actions.num == oracle.action_space.n
    assert environment.observations.low.shape == oracle.observation_space.shape
    start = environment.reset(KEY)[1]
    assert start.shape == oracle.observation_space.shape and start.dtype == jnp.float32
    bounded = np.abs(oracle.observation_space.high) < 1e30
    for bound in ("low", "high"):
        ours, theirs = getattr(environment.observations, bound), getattr(oracle.observation_space, bound)
        np.testing.assert_allclose(ours[bounded], theirs[bounded], rtol=1e-6)


@every_environment
def test_a_step_keeps_the_types_of_the_state(name):
    environment = from_gymnax(name)
    state, _ = environment.reset(KEY)
    after, _ = step(environment, KEY, state, action(environment))
    signature = lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type)
    assert jax.tree.map(signature, state) == jax.tree.map(signature, after)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state))


def test_actions_out_of_bounds_are_clipped():
    environment = from_gymnax("Pendulum-v1")
    state, _ = environment.reset(KEY)
    for far, bound in ((9.0, 2.0), (-9.0, -2.0)):
        a, b = (step(environment, KEY, state, jnp.float32([u])) for u in (far, bound))
        np.testing.assert_array_equal(a[1].reward, b[1].reward)


@every_environment
def test_its_picture_shows_the_state(name):
    environment = from_gymnax(name)
    draw = jax.jit(environment.draw)
    state, _ = environment.reset(KEY)
    moved = state.replace(**{FIELDS[name][0]: getattr(state, FIELDS[name][0]) + 0.5})
    picture, other = draw(state), draw(moved)
    assert picture.shape == (64, 64, 3)
    assert (picture >= 0).all() and (picture <= 1).all()
    assert (picture < 0.5).any() and jnp.abs(picture - other).max() > 0.5


def test_what_is_wrong_is_named(monkeypatch):
    with pytest.raises(ValueError, match=r"no environment 'CartPole'.*CartPole-v1"):
        from_gymnax("CartPole")
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "gymnax":
            raise ModuleNotFoundError("No module named 'gymnax'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "jaxdl\[rl\]"'):
        from_gymnax("CartPole-v1")
