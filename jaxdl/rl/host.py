"""Environments of gymnasium, which live on the host and are called from the compiled program.

All environments that a program steps through by `jax.vmap` are one vectorized environment of gymnasium: one
call a step, numpy arrays in and out. So every agent takes them as it takes those on the device.

The state of such an environment stays on the host, where no checkpoint reaches: in a run that goes on, the
episodes that it was in the middle of count as truncated, and others begin.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental import io_callback

from jaxdl.rl.envs import Box, Discrete, Environment, TimeStep, from_gymnax
from jaxdl.types import Array, Key

KEPT = 4  # vectorized environments that stay open, those used last


class Handle(NamedTuple):
    """Point to an environment on the host.

    Attributes:
        world: which vectorized environment it belongs to.
        time: the steps that this one has taken.
        observation: its last one.
    """

    world: Array
    time: Array
    observation: Array


class Host:
    """Keep the vectorized environments that compiled programs call.

    Args:
        make: their number -> gymnasium.vector.VectorEnv, which restarts in the step that ends an episode.
    """

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make
        self._open: OrderedDict[int, tuple[Any, int]] = OrderedDict()  # world -> (environments, their time)

    def reset(self, seed: Any) -> tuple[np.ndarray, np.ndarray]:
        """Start N environments: seeds [N] -> their world [N] and observations [N, ...]."""
        seeds = np.asarray(seed)
        return np.broadcast_to(seeds[:1], seeds.shape), self._enter(int(seeds[0]), 0, seeds)

    def step(self, handle: Any, action: Any, seed: Any) -> tuple[np.ndarray, ...]:
        """Take a step in N environments; lost ones are truncated where they were, and start anew."""
        world, time, last, action, seed = map(np.asarray, (*handle, action, seed))
        number, now = int(world[0]), int(time[0])
        if self._open.get(number, (None, -1))[1] != now:
            first, no = self._enter(number, now + 1, seed), np.zeros(len(world), bool)
            return first, np.zeros(len(world), np.float32), no, ~no, last
        environments, _ = self._open[number]
        observation, reward, terminated, truncated, info = environments.step(action)
        observation = observation.astype(np.float32)
        final = observation.copy()
        for index in np.flatnonzero(terminated | truncated):
            final[index] = info["final_obs"][index]
        self._keep(number, environments, now + 1)
        return observation, reward.astype(np.float32), terminated, truncated, final

    def draw(self, handle: Any) -> np.ndarray:
        """Draw one environment, [H, W, 3] in [0, 1]."""
        environments, _ = self._open[int(np.ravel(handle[0])[0])]
        return environments.render()[0].astype(np.float32) / 255

    def _enter(self, number: int, time: int, seeds: np.ndarray) -> np.ndarray:
        environments = self._make(len(seeds))
        observation, _ = environments.reset(seed=[int(seed) for seed in seeds])
        self._keep(number, environments, time)
        return observation.astype(np.float32)

    def _keep(self, number: int, environments: Any, time: int) -> None:
        before = self._open.pop(number, (environments, 0))[0]
        self._open[number] = environments, time
        if before is not environments:
            before.close()
        while len(self._open) > KEPT:
            self._open.popitem(last=False)[1][0].close()


def from_gymnasium(
    name: str, time_limit: int | None = None, render: bool = False, **options: Any
) -> Environment:
    """Make an environment of gymnasium that compiled programs can call.

    Args:
        name: such as LunarLander-v3; whatever is registered with gymnasium.
        time_limit: steps after which an episode is truncated; the environment's own by default.
        render: whether it draws itself; many environments need further packages for that.
        options: of the environment, such as `continuous=True`.

    Returns:
        The environment; observations are float32.

    Raises:
        ImportError: if gymnasium, or what the environment needs besides, is not installed.
        ValueError: if there is no environment of this name, it has no time limit, or its spaces fit no agent.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise ImportError(f'environment {name} needs gymnasium; pip install "jaxdl[rl]"') from error
    if render:
        options["render_mode"] = "rgb_array"

    def make(num: int) -> Any:
        mode = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}
        return gymnasium.make_vec(name, num, "sync", mode, max_episode_steps=time_limit, **options)

    try:
        probe = make(1)
    except gymnasium.error.DependencyNotInstalled as error:
        raise ImportError(f"environment {name}: {error}") from None
    except (gymnasium.error.Error, TypeError) as error:
        raise ValueError(f"gymnasium makes no environment {name!r}: {error}") from None
    limit = time_limit or probe.spec.max_episode_steps
    if limit is None:
        raise ValueError(f"environment {name} has no time limit; give time_limit")
    observations, actions, first = _spaces(name, probe)
    shape, frame = observations.low.shape, ()
    if render:
        probe.reset(seed=0)
        frame = probe.render()[0].shape
    probe.close()
    host = Host(make)

    def outcome(num: int) -> tuple[Any, ...]:
        """Say what a step of `num` environments returns."""
        seen, reward, flag = (
            jax.ShapeDtypeStruct((num, *rest), dtype)
            for rest, dtype in ((shape, jnp.float32), ((), jnp.float32), ((), bool))
        )
        return seen, reward, flag, flag, seen

    def reset_all(seed: Array) -> tuple[Array, Array]:
        world = jax.ShapeDtypeStruct(seed.shape, jnp.int32)
        return io_callback(host.reset, (world, outcome(len(seed))[0]), seed)

    def step_all(handle: Handle, action: Array, seed: Array) -> TimeStep:
        return TimeStep(*io_callback(host.step, outcome(len(seed)), handle, action, seed))

    one_reset, one_step = _batched(reset_all), _batched(step_all)

    def reset(key: Key) -> tuple[Handle, Array]:
        world, observation = one_reset(_seed(key))
        return Handle(world, jnp.zeros((), jnp.int32), observation), observation

    def step(key: Key, state: Handle, action: Array) -> tuple[Handle, TimeStep]:
        chosen = jnp.clip(action, *actions) if isinstance(actions, Box) else action + first
        found = one_step(state, chosen, _seed(key))
        return Handle(state.world, state.time + 1, found.observation), found

    def draw(state: Handle) -> Array:
        return io_callback(host.draw, jax.ShapeDtypeStruct(frame, jnp.float32), state)

    return Environment(reset, step, observations, actions, limit, draw if render else None)


def _batched(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of batches one of single values whose `jax.vmap` it is."""

    @custom_vmap
    def one(*values: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[0], function(*jax.tree.map(lambda leaf: leaf[None], values)))

    @one.def_vmap
    def rule(num: int, is_batched: Any, *values: Any) -> tuple[Any, Any]:
        full = jax.tree.map(
            lambda leaf, batched: leaf if batched else jnp.broadcast_to(leaf, (num, *leaf.shape)),
            values,
            tuple(is_batched),
        )
        found = function(*full)
        return found, jax.tree.map(lambda leaf: True, found)

    return one


def _seed(key: Key) -> Array:
    return jax.random.randint(key, (), 0, np.iinfo(np.int32).max)


def _spaces(name: str, environments: Any) -> tuple[Box, Discrete | Box, int]:
    """Check the spaces of an environment; return them, and the number of the first action."""
    from gymnasium import spaces

    seen, done = environments.single_observation_space, environments.single_action_space
    if not isinstance(seen, spaces.Box):
        raise ValueError(
            f"observations of {name} are {seen}, but agents take arrays; "
            "wrap it in gymnasium.wrappers.FlattenObservation, and register that"
        )
    observations = Box(seen.low.astype(np.float32), seen.high.astype(np.float32))
    if isinstance(done, spaces.Discrete):
        return observations, Discrete(int(done.n)), int(done.start)
    if isinstance(done, spaces.Box) and done.is_bounded():
        return observations, Box(done.low.astype(np.float32), done.high.astype(np.float32)), 0
    raise ValueError(
        f"actions of {name} are {done}; agents give one integer, or arrays between finite bounds"
    )


def make(name: str) -> Environment:
    """Make an environment by its name: `gymnasium/NAME` on the host, any other on the device by gymnax.

    Raises:
        ImportError: if its library is not installed.
        ValueError: if there is none of this name, or its spaces fit no agent.
    """
    library, slash, rest = name.partition("/")
    return from_gymnasium(rest) if slash and library == "gymnasium" else from_gymnax(name)
