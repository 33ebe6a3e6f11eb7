"""Environments as pure functions on the device.

An episode ends in one of two ways that are never mixed: it `terminated`, and nothing follows; or it was
`truncated` by a time limit, and the state it was left in still has a value. Either way the environment starts
anew at once: `observation` is what the next action answers to, `final_observation` what the last one led to.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.rl import drawing
from jaxdl.types import Array, Key


class Discrete(NamedTuple):
    """The integers 0 … num − 1."""

    num: int


class Box(NamedTuple):
    """The arrays between two arrays."""

    low: np.ndarray
    high: np.ndarray


class TimeStep(NamedTuple):
    """What an action brings.

    Attributes:
        observation: that the next action answers to; the first of a new episode where one has ended.
        reward: scalar.
        terminated: scalar bool, whether the episode came to its end.
        truncated: scalar bool, whether a time limit was reached.
        final_observation: that the action led to, before any reset.
    """

    observation: Array
    reward: Array
    terminated: Array
    truncated: Array
    final_observation: Array


class Environment(NamedTuple):
    """One environment; `jax.vmap` makes many.

    Attributes:
        reset: key -> (env_state, observation).
        step: (chance, env_state, action) -> (env_state, TimeStep), with automatic reset.
        observations: where observations lie.
        actions: where actions lie; arrays outside a Box are clipped into it.
        time_limit: steps after which an episode is truncated.
        draw: env_state -> picture [H, W, 3] in [0, 1], if there is one.
        chance: key -> all that is random in a step, the start of a next episode included, which is drawn for
            many steps at once; the key itself by default.
    """

    reset: Callable[[Key], tuple[Any, Array]]
    step: Callable[[Any, Any, Array], tuple[Any, TimeStep]]
    observations: Box
    actions: Discrete | Box
    time_limit: int
    draw: Callable[[Any], Array] | None = None
    chance: Callable[[Key], Any] = lambda key: key


def from_gymnax(name: str) -> Environment:
    """Make an environment of gymnax, compiled with whatever calls it.

    See Lange (2022), github.com/RobertTLange/gymnax.

    Args:
        name: such as CartPole-v1, Pendulum-v1, Acrobot-v1, MountainCar-v0 or Breakout-MinAtar.

    Returns:
        The environment; observations are float32.

    Raises:
        ImportError: if gymnax is not installed.
        ValueError: if gymnax has no environment of this name.
    """
    try:
        import gymnax as library
    except ImportError as error:
        raise ImportError(f'environment {name} needs gymnax; pip install "jaxdl[rl]"') from error
    if name not in library.registered_envs:
        known = ", ".join(library.registered_envs)
        raise ValueError(f"gymnax has no environment {name!r}; choose one of {known}")
    environment, params = library.make(name)
    actions = _space(environment.action_space(params))

    def reset(key: Key) -> tuple[Any, Array]:
        observation, state = environment.reset(key, params)
        return _strong(state), observation.astype(jnp.float32)

    def chance(key: Key) -> tuple[Key, Any]:
        key_step, key_reset = jax.random.split(key)
        return key_step, reset(key_reset)

    def step(chance: tuple[Key, Any], state: Any, action: Array) -> tuple[Any, TimeStep]:
        key, start = chance
        if isinstance(actions, Box):
            action = jnp.clip(action, actions.low, actions.high)
        observation, state, reward, terminated, _ = environment.step_env(key, state, action, params)
        state, final = _strong(state), observation.astype(jnp.float32)
        truncated = environment.is_truncated(state, params)
        state, observation = jax.tree.map(partial(jnp.where, terminated | truncated), start, (state, final))
        return state, TimeStep(observation, jnp.float32(reward), terminated, truncated, final)

    observations: Any = _space(environment.observation_space(params))
    limit = int(params.max_steps_in_episode)
    return Environment(reset, step, observations, actions, limit, drawing.PICTURES.get(name), chance)


def _space(space: Any) -> Discrete | Box:
    if hasattr(space, "n"):
        return Discrete(int(space.n))
    low, high = (
        np.broadcast_to(np.asarray(bound, np.float32), space.shape) for bound in (space.low, space.high)
    )
    return Box(low, high)


def _strong(state: Any) -> Any:
    """Give every leaf a dtype of its own: gymnax counts time in Python's integers, which a scan refuses."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), state)


def num_actions(environment: Environment) -> int:
    """Return how many actions there are to choose from.

    Raises:
        ValueError: if actions are arrays.
    """
    if not isinstance(environment.actions, Discrete):
        raise ValueError("this agent values each action, but here they are arrays; take ppo, td3 or sac")
    return environment.actions.num


def num_dims(environment: Environment) -> int:
    """Return how many dimensions an action has.

    Raises:
        ValueError: if actions are not arrays.
    """
    if not isinstance(environment.actions, Box):
        raise ValueError("this agent gives arrays as actions, but here they are integers; take ppo or dqn")
    return environment.actions.low.size


def unit_actions(environment: Environment) -> Environment:
    """Let actions lie between −1 and 1 in every dimension."""
    ones = np.ones(num_dims(environment), np.float32)

    def step(chance: Any, state: Any, action: Array) -> tuple[Any, TimeStep]:
        low, high = map(jnp.asarray, environment.actions)
        return environment.step(chance, state, low + (high - low) * (jnp.clip(action, -1, 1) + 1) / 2)

    return environment._replace(step=step, actions=Box(-ones, ones))


def unit_observations(environment: Environment) -> Environment:
    """Let observations lie between −1 and 1 in each bounded dimension; the others stay as they are."""
    low, high = environment.observations
    bounded = (np.abs(low) < 1e6) & (np.abs(high) < 1e6)  # others are given as the largest float
    center, half = np.where(bounded, low / 2 + high / 2, 0), np.where(bounded, high / 2 - low / 2, 1)

    def scaled(observation: Array) -> Array:
        return (observation - center) / half

    def reset(key: Key) -> tuple[Any, Array]:
        state, observation = environment.reset(key)
        return state, scaled(observation)

    def step(chance: Any, state: Any, action: Array) -> tuple[Any, TimeStep]:
        state, found = environment.step(chance, state, action)
        return state, found._replace(
            observation=scaled(found.observation), final_observation=scaled(found.final_observation)
        )

    box = Box(np.where(bounded, -1, low), np.where(bounded, 1, high))
    return environment._replace(reset=reset, step=step, observations=box)
