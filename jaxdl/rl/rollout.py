"""Acting: many environments at once, step after step, inside one scan.

A policy is a function (observations [N, ...], noise) -> actions [N, ...]. Its noise is a key, or what a
function (key, N) -> noise makes of one, which a rollout calls for all its steps at once.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from jaxdl.rl.envs import Environment
from jaxdl.types import Array, Key

Policy: TypeAlias = Callable[[Array, Any], Array]
Noise: TypeAlias = Callable[[Key, int], Any]


class Worlds(NamedTuple):
    """Environments in progress: all that collecting experience has to remember.

    Attributes:
        state: of the environments, a pytree of [N, ...].
        observation: [N, ...], that the next actions answer to.
        score: [N], the undiscounted return of the episodes so far.
        time: steps taken in each environment, int32 scalar.
        key: typed PRNG key. It never changes: what happens next is drawn from fold_in(key, time).
    """

    state: Any
    observation: Array
    score: Array
    time: Array
    key: Array


class Transition(NamedTuple):
    """What was seen, done and brought about, with leading axes [T, N] or [B].

    Attributes:
        observation: that the action answered to.
        action: taken.
        reward: received.
        terminated: whether the episode came to its end.
        truncated: whether a time limit cut it off.
        next_observation: that the action led to, before any reset.
    """

    observation: Array
    action: Array
    reward: Array
    terminated: Array
    truncated: Array
    next_observation: Array

    @property
    def ended(self) -> Array:
        """Whether what comes next belongs to another episode."""
        return self.terminated | self.truncated


def enter(environment: Environment, key: Key, num: int) -> Worlds:
    """Start `num` environments."""
    key_reset, key_run = jax.random.split(key)
    state, observation = jax.vmap(environment.reset)(jax.random.split(key_reset, num))
    return Worlds(state, observation, jnp.zeros(num), jnp.zeros((), jnp.int32), key_run)


def only_key(key: Key, num: int) -> Key:
    """Leave it to the policy to draw from the key."""
    return key


def drawn(environment: Environment, keys: Key, noise: Noise = only_key) -> tuple[Any, Any]:
    """Draw what one step takes, from keys [1 + N]: the noise of the policy, and chance in N environments."""
    return noise(keys[0], len(keys) - 1), jax.vmap(environment.chance)(keys[1:])


def act(
    environment: Environment, policy: Policy, worlds: Worlds, draws: tuple[Any, Any]
) -> tuple[Worlds, tuple[Transition, Array]]:
    """Take one step in every environment, with what was drawn for it.

    Returns:
        The worlds after it, the transitions [N], and the returns [N] of the episodes that ended with it, NaN
        for those that go on.
    """
    noise, chance = draws
    action = policy(worlds.observation, noise)
    state, found = jax.vmap(environment.step)(chance, worlds.state, action)
    transition = Transition(
        worlds.observation, action, found.reward, found.terminated, found.truncated, found.final_observation
    )
    score = worlds.score + found.reward
    ended = transition.ended
    after = worlds._replace(
        state=state,
        observation=found.observation,
        score=jnp.where(ended, 0.0, score),
        time=worlds.time + 1,
    )
    return after, (transition, jnp.where(ended, score, jnp.nan))


def rollout(
    environment: Environment,
    policy: Policy,
    worlds: Worlds,
    key: Key,
    num_steps: int,
    noise: Noise = only_key,
) -> tuple[Worlds, Transition, Array]:
    """Take `num_steps` steps in every environment.

    Returns:
        The worlds after them, the transitions [T, N], and the mean return of the episodes that ended in
        them, a scalar, NaN where there is none.
    """
    keys = jax.random.split(key, (num_steps, 1 + len(worlds.score)))
    # of all steps at once, which is much faster on CPU than one after another
    draws = jax.vmap(partial(drawn, environment, noise=noise))(keys)
    worlds, (path, returns) = jax.lax.scan(partial(act, environment, policy), worlds, draws)
    return worlds, path, jnp.nanmean(returns)


def episodes(
    environment: Environment, policy: Policy, key: Key, num: int, noise: Noise = only_key
) -> tuple[Transition, Array]:
    """Play `num` episodes from their starts to their ends.

    Returns:
        The transitions [T, num], T the time limit, and their mask [T, num]: 1 up to the end of the episode.
    """
    key_enter, key_play = jax.random.split(key)
    worlds = enter(environment, key_enter, num)
    _, path, _ = rollout(environment, policy, worlds, key_play, environment.time_limit, noise)
    ends_before = jnp.cumsum(path.ended, axis=0) - path.ended
    return path, (ends_before == 0).astype(jnp.float32)


def episode_returns(environment: Environment, policy: Policy, key: Key, num: int) -> dict[str, Array]:
    """Measure a policy in fresh environments, one episode each, as long as any of them goes on.

    Returns:
        {"return": undiscounted [num], "length": in steps [num]}.
    """
    key_enter, key_play = jax.random.split(key)
    worlds = enter(environment, key_enter, num)
    zeros = jnp.zeros(num)

    def unfinished(carry: tuple[Worlds, Array, Array, Array]) -> Array:
        worlds, going, _, _ = carry
        return anywhere(going) & (worlds.time < environment.time_limit)

    def advance(carry: tuple[Worlds, Array, Array, Array]) -> tuple[Worlds, Array, Array, Array]:
        worlds, going, total, length = carry
        keys = jax.random.split(jax.random.fold_in(key_play, worlds.time), 1 + num)
        worlds, (transition, _) = act(environment, policy, worlds, drawn(environment, keys))
        total += going * transition.reward
        return worlds, going & ~transition.ended, total, length + going

    start = (worlds, jnp.ones(num, bool), zeros, zeros)
    _, _, total, length = jax.lax.while_loop(unfinished, advance, start)
    return {"return": total, "length": length}


@custom_vmap
def anywhere(flags: Array) -> Array:
    """Say whether any flag is set, of any run under `jax.vmap`: the condition of a loop stays one bit."""
    return flags.any()


@anywhere.def_vmap
def _anywhere_in_batch(num: int, is_batched: list[bool], flags: Array) -> tuple[Array, bool]:
    return anywhere(flags), False


def film(
    environment: Environment, policy: Policy, key: Key, num_frames: int, every: int = 1
) -> tuple[Array, Array]:
    """Draw one episode: each `every`-th state of a fresh environment, from its start.

    Returns:
        The frames [num_frames, H, W, 3], and how many of them show the episode, the first ones.

    Raises:
        ValueError: if the environment has no drawing.
    """
    draw = environment.draw
    if draw is None:
        raise ValueError("the environment has no drawing; give it draw, env_state -> picture [H, W, 3]")
    key_enter, key_play = jax.random.split(key)
    worlds = enter(environment, key_enter, 1)

    def advance(carry: tuple[Worlds, Array], key: Key) -> tuple[tuple[Worlds, Array], None]:
        worlds, going = carry
        worlds, (transition, _) = act(environment, policy, worlds, drawn(environment, jax.random.split(key)))
        return (worlds, going & ~transition.ended[0]), None

    def expose(carry: tuple[Worlds, Array], key: Key) -> tuple[tuple[Worlds, Array], tuple[Array, Array]]:
        worlds, going = carry
        frame = draw(jax.tree.map(lambda leaf: leaf[0], worlds.state))
        worlds, frame = jax.lax.optimization_barrier((worlds, frame))  # one on the host has moved on after it
        carry, _ = jax.lax.scan(advance, (worlds, going), jax.random.split(key, every))
        return carry, (frame, going)

    start = worlds, jnp.ones((), bool)
    _, (frames, going) = jax.lax.scan(expose, start, jax.random.split(key_play, num_frames))
    return frames, going.sum()
