"""A replay buffer as a pytree on the device: circular, and sampled inside the compiled step.

Rows are moments, columns environments: a window of rows in one column is what one environment went through.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.rl.rollout import Transition
from jaxdl.types import Array, Key


class Replay(NamedTuple):
    """Hold the latest C moments of N environments.

    Attributes:
        path: transitions [C, N, ...].
        priority: [C, N], how readily each is drawn; all ones where draws are uniform.
        cursor: row that is written next, int32 scalar.
        size: rows that are filled, int32 scalar.
    """

    path: Transition
    priority: Array
    cursor: Array
    size: Array


class Place(NamedTuple):
    """Rows and columns of transitions that were drawn, [B] each."""

    row: Array
    column: Array


def empty(row: Transition, capacity: int) -> Replay:
    """Make a buffer of `capacity` moments for transitions like those of one moment [N, ...]."""
    path = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), row)
    priority = jnp.ones((capacity, *row.reward.shape))
    return Replay(path, priority, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def remember(replay: Replay, path: Transition) -> Replay:
    """Write a path [T, N, ...] over the oldest moments, with the highest priority that there is.

    Raises:
        ValueError: if the path is longer than the buffer.
    """
    capacity, length = len(replay.priority), len(path.reward)
    if length > capacity:
        raise ValueError(f"a path of {length} steps does not fit in a buffer of {capacity}; make it larger")
    rows = (replay.cursor + jnp.arange(length)) % capacity
    return Replay(
        jax.tree.map(lambda old, new: old.at[rows].set(new), replay.path, path),
        replay.priority.at[rows].set(replay.priority.max()),
        (replay.cursor + length) % capacity,
        jnp.minimum(replay.size + length, capacity),
    )


def draw(replay: Replay, key: Key, batch_size: int, n: int = 1) -> Place:
    """Draw transitions that n − 1 others follow in the buffer, each equally likely."""
    key_row, key_column = jax.random.split(key)
    capacity, num_envs = replay.priority.shape
    oldest = replay.cursor - replay.size
    age = jax.random.randint(key_row, (batch_size,), 0, replay.size - n + 1)
    return Place((oldest + age) % capacity, jax.random.randint(key_column, (batch_size,), 0, num_envs))


def draw_by_priority(
    replay: Replay, key: Key, batch_size: int, n: int, alpha: float, beta: float | Array
) -> tuple[Place, Array]:
    """Draw transitions in proportion to a power of their priority, and the weights that make up for it.

    P(i) = pᵢᵅ / Σₖ pₖᵅ,  wᵢ = (M·P(i))⁻ᵝ / maxⱼ wⱼ,  M transitions to draw from, j over the batch

    See Schaul et al. (2016), arXiv:1511.05952. One is drawn from each of B equal parts of the total.

    Returns:
        The places, and the weights [B] in (0, 1].
    """
    capacity, num_envs = replay.priority.shape
    age = (jnp.arange(capacity) - (replay.cursor - replay.size)) % capacity
    drawable = age[:, None] <= replay.size - n
    mass = jnp.cumsum(jnp.where(drawable, replay.priority**alpha, 0.0).ravel())
    part = (jnp.arange(batch_size) + jax.random.uniform(key, (batch_size,))) / batch_size
    index = jnp.searchsorted(mass, part * mass[-1], side="right")
    index = jnp.minimum(index, jnp.searchsorted(mass, mass[-1]))  # rounding may point behind the last of them
    place = Place(index // num_envs, index % num_envs)
    probability = replay.priority[place] ** alpha / mass[-1]
    weight = ((replay.size - n + 1) * num_envs * probability) ** -beta
    return place, weight / weight.max()


def reprioritize(replay: Replay, place: Place, priority: Array) -> Replay:
    """Set the priorities [B] of the transitions that were drawn."""
    return replay._replace(priority=replay.priority.at[place].set(priority))


def windows(replay: Replay, place: Place, n: int) -> Transition:
    """Read the transitions at B places and the n − 1 after each, [B, n, ...]."""
    rows = (place.row[:, None] + jnp.arange(n)[None]) % len(replay.priority)
    return jax.tree.map(lambda leaf: leaf[rows, place.column[:, None]], replay.path)


def n_step(window: Transition, discount: float) -> dict[str, Any]:
    """Join n transitions of one environment into one of n steps, or fewer where the episode ends before.

    r = Σₖ₌₀ᵐ γᵏ rₖ,  γ_t = γᵐ⁺¹ or 0 on termination,  s′ = what the m-th action led to

    where the m-th is the first that ends the episode, or the last. A truncated episode is cut there too, but
    keeps its bootstrap.

    Args:
        window: [n, ...].
        discount: γ.

    Returns:
        {"observation", "action", "reward" r, "discount" γ_t, "next_observation" s′} of one transition.
    """
    n = len(window.reward)
    before = jnp.cumsum(window.ended) - window.ended  # ends before each
    gamma = discount ** jnp.arange(n)
    last = jnp.argmax(window.ended.at[-1].set(True))
    return {
        "observation": window.observation[0],
        "action": window.action[0],
        "reward": (gamma * window.reward * (before == 0)).sum(),
        "discount": discount * gamma[last] * (1.0 - window.terminated[last]),
        "next_observation": window.next_observation[last],
    }
