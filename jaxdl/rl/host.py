"""Environments of gymnasium, which live on the host and are called from the compiled program.

All environments that a program steps through by `jax.vmap`, nested or not, take their step in one call, numpy
arrays in and out. So every agent takes them as it takes those on the device.

The state of such an environment stays on the host, where no checkpoint reaches: in a run that goes on, the
episodes that it was in the middle of count as truncated, and others begin.
"""

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental import io_callback

from jaxdl.rl.envs import Box, Discrete, Environment, TimeStep, from_gymnax
from jaxdl.types import Array, Key

KEPT = 8  # an environment is closed when others were opened this many times since its last step
Copies: TypeAlias = dict[tuple[int, int], list[tuple[Any, int]]]  # (world, past) -> environments, last used


class Handle(NamedTuple):
    """Point to an environment on the host by all that has happened in it.

    Two of the same seed and past are in the same state, so either will do: learners that begin from one key
    cannot step through each other's.

    Attributes:
        world: the seed that it began from.
        past: what was done and seen in it since, as a number; 0 at its start.
        observation: its last one.
    """

    world: Array
    past: Array
    observation: Array


class Host:
    """Keep the environments that compiled programs call.

    Args:
        make: () -> gymnasium.Env.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._open: Copies = {}
        self._clock = 0  # how many times environments were opened
        self._lock = Lock()  # independent parts of a program may call at the same time

    def reset(self, seed: Any) -> np.ndarray:
        """Start N environments: seeds [N] -> observations [N, ...]."""
        seeds = np.asarray(seed).tolist()
        with self._lock:
            self._close_old()
            return np.stack([self._start(seed) for seed in seeds])

    def step(self, handle: Any, action: Any, seed: Any) -> tuple[np.ndarray, ...]:
        """Take a step in N environments: their worlds, their pasts, and the fields of a TimeStep, [N, ...].

        One that is lost at its start, where several took its handle, say, is opened again from its seed. Any
        other lost one is truncated where it was, and starts anew.
        """
        world, past, last, action, seed = map(np.asarray, (*handle, action, seed))
        keys = list(zip(world.tolist(), past.tolist(), strict=True))
        with self._lock:
            found = [self._take(key) for key in keys]
            if any(environment is None for environment in found):
                self._close_old()
            rows = zip(keys, found, last, action, seed.tolist(), strict=True)
            columns = zip(*(self._advance(*row) for row in rows), strict=True)
        types = (np.int32, np.uint32, np.float32, np.float32, bool, bool, np.float32)
        return tuple(np.asarray(column, dtype) for column, dtype in zip(columns, types, strict=True))

    def draw(self, handle: Any) -> np.ndarray:
        """Draw one environment, [H, W, 3] in [0, 1]."""
        key = int(np.asarray(handle[0])), int(np.asarray(handle[1]))
        with self._lock:
            return self._open[key][-1][0].render().astype(np.float32) / 255

    def _advance(self, key: tuple[int, int], environment: Any, last: Any, action: Any, seed: int) -> tuple:
        """Take a step in one environment, None if it is lost."""
        world, past = key
        if environment is None and past:
            return seed, 0, self._start(seed), 0.0, False, True, last
        if environment is None:
            self._start(world)
            environment = self._take(key)
        observation, reward, terminated, truncated, _ = environment.step(action)
        final = observation = np.array(observation, np.float32)
        if terminated or truncated:
            observation = np.array(environment.reset()[0], np.float32)
        past = crc32(observation.tobytes(), crc32(action.tobytes(), past))
        self._keep((world, past), environment)
        return world, past, observation, float(reward), terminated, truncated, final

    def _start(self, seed: int) -> np.ndarray:
        environment = self._make()
        observation, _ = environment.reset(seed=seed)
        self._keep((seed, 0), environment)
        return np.array(observation, np.float32)

    def _keep(self, key: tuple[int, int], environment: Any) -> None:
        self._open.setdefault(key, []).append((environment, self._clock))

    def _take(self, key: tuple[int, int]) -> Any:
        copies = self._open.pop(key, [])
        if len(copies) > 1:
            self._open[key] = copies[:-1]
        return copies[-1][0] if copies else None

    def _close_old(self) -> None:
        """Count an opening; close what was not used for `KEPT` of them: evaluations that are over, say."""
        self._clock += 1
        kept: Copies = {}
        for key, copies in self._open.items():
            for environment, used in copies:
                if self._clock - used >= KEPT:
                    environment.close()
                else:
                    kept.setdefault(key, []).append((environment, used))
        self._open = kept


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

    def make() -> Any:
        return gymnasium.make(name, max_episode_steps=time_limit, **options)

    try:
        probe = make()
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
        frame = probe.render().shape
    probe.close()
    host = Host(make)

    def arrays(num: int, dtype: Any, *rest: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((num, *rest), dtype)

    def reset_all(seed: Array) -> Array:
        return io_callback(host.reset, arrays(len(seed), jnp.float32, *shape), seed)

    def step_all(handle: Handle, action: Array, seed: Array) -> tuple[Array, ...]:
        real, flag = (partial(arrays, len(seed), dtype) for dtype in (jnp.float32, bool))
        world, past = (arrays(len(seed), dtype) for dtype in (jnp.int32, jnp.uint32))
        outcome = world, past, real(*shape), real(), flag(), flag(), real(*shape)
        given, unpack = _packed((handle, action, seed))
        return io_callback(lambda words: host.step(*unpack(np.asarray(words))), outcome, given)

    one_reset, one_step = _batched(reset_all), _batched(step_all)

    def reset(key: Key) -> tuple[Handle, Array]:
        seed = _seed(key)
        observation = one_reset(seed)
        return Handle(seed, jnp.zeros((), jnp.uint32), observation), observation

    def step(seed: Array, state: Handle, action: Array) -> tuple[Handle, TimeStep]:
        chosen = jnp.clip(action, *actions) if isinstance(actions, Box) else action + first
        world, past, *rest = one_step(state, chosen, seed)
        found = TimeStep(*rest)
        return Handle(world, past, found.observation), found

    def draw(state: Handle) -> Array:
        return io_callback(host.draw, jax.ShapeDtypeStruct(frame, jnp.float32), state)

    return Environment(reset, step, observations, actions, limit, draw if render else None, _seed)


def _batched(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of batches one of single values; under nested `jax.vmap` it is called once, for all."""

    @custom_vmap
    def many(*values: Any) -> Any:
        return function(*values)

    @many.def_vmap
    def rule(num: int, is_batched: Any, *values: Any) -> tuple[Any, Any]:
        def flat(leaf: Array, batched: bool) -> Array:
            return jax.lax.collapse(leaf if batched else jnp.broadcast_to(leaf, (num, *leaf.shape)), 0, 2)

        found = many(*jax.tree.map(flat, values, tuple(is_batched)))
        split = jax.tree.map(lambda leaf: leaf.reshape(num, len(leaf) // num, *leaf.shape[1:]), found)
        return split, jax.tree.map(lambda leaf: True, found)

    def one(*values: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[0], many(*jax.tree.map(lambda leaf: leaf[None], values)))

    return one


def _packed(values: Any) -> tuple[Array, Callable[[np.ndarray], Any]]:
    """Lay arrays [N, ...] side by side, [N, words]: a callback takes 20 µs for each that it is given.

    Returns:
        The words, and the function that has numpy find the arrays in them.
    """
    leaves, tree = jax.tree.flatten(values)
    parts = [jax.lax.bitcast_convert_type(leaf, jnp.uint32).reshape(len(leaf), -1) for leaf in leaves]
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    kinds = [(leaf.dtype, leaf.shape) for leaf in leaves]

    def unpack(words: np.ndarray) -> Any:
        found = zip(np.split(words, ends, axis=1), kinds, strict=True)
        arrays = (np.ascontiguousarray(part).view(dtype).reshape(shape) for part, (dtype, shape) in found)
        return jax.tree.unflatten(tree, arrays)

    return jnp.concatenate(parts, axis=1), unpack


def _seed(key: Key) -> Array:
    return jax.random.randint(key, (), 0, np.iinfo(np.int32).max)


def _spaces(name: str, environment: Any) -> tuple[Box, Discrete | Box, int]:
    """Check the spaces of an environment; return them, and the number of the first action."""
    from gymnasium import spaces

    seen, done = environment.observation_space, environment.action_space
    if not isinstance(seen, spaces.Box) or not seen.shape:
        raise ValueError(
            f"observations of {name} are {seen}, but agents take arrays; "
            "wrap it in gymnasium.wrappers.FlattenObservation, and register that"
        )
    observations = Box(seen.low.astype(np.float32), seen.high.astype(np.float32))
    if isinstance(done, spaces.Discrete):
        return observations, Discrete(int(done.n)), int(done.start)
    vector = isinstance(done, spaces.Box) and len(done.shape) == 1 and np.issubdtype(done.dtype, np.floating)
    if vector and done.is_bounded():
        return observations, Box(done.low.astype(np.float32), done.high.astype(np.float32)), 0
    raise ValueError(
        f"actions of {name} are {done}; agents give one integer, or arrays [D] of floats between finite "
        "bounds; wrap it in gymnasium.wrappers.TransformAction, and register that"
    )


def make(name: str) -> Environment:
    """Make an environment by its name: `gymnasium/NAME` on the host, any other on the device by gymnax.

    Raises:
        ImportError: if its library is not installed.
        ValueError: if there is none of this name, or its spaces fit no agent.
    """
    library, slash, rest = name.partition("/")
    return from_gymnasium(rest) if slash and library == "gymnasium" else from_gymnax(name)
