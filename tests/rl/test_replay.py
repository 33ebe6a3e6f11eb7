"""The replay buffer against a list, and n-step transitions worked out by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.rl import replay
from jaxdl.rl.rollout import Transition

KEY = jax.random.key(0)


def path(times, num_envs):
    """Transitions whose reward says when and where they were: time + environment/10."""
    value = jnp.asarray(times, jnp.float32)[:, None] + jnp.arange(num_envs)[None] / 10
    no = jnp.zeros(value.shape, bool)
    return Transition(value[..., None], value, value, no, no, value[..., None] + 1)


def filled(capacity, num_envs, lengths):
    memory = replay.empty(jax.tree.map(lambda leaf: leaf[0], path([0], num_envs)), capacity)
    start = 0
    for length in lengths:
        memory = jax.jit(replay.remember)(memory, path(range(start, start + length), num_envs))
        start += length
    return memory


@pytest.mark.parametrize("lengths", [(2,), (2, 2), (3, 3, 3), (5,), (4, 4, 4, 4, 1), (1,) * 13])
def test_it_holds_the_latest_moments(lengths):
    capacity, num_envs = 5, 2
    memory = filled(capacity, num_envs, lengths)
    total = sum(lengths)
    kept = list(range(total))[-capacity:]
    assert int(memory.size) == len(kept)
    assert int(memory.cursor) == total % capacity
    place = jax.jit(replay.draw, static_argnums=2)(memory, KEY, 400)
    drawn = replay.windows(memory, place, 1)
    expected = {round(time + env / 10, 1) for time in kept for env in range(num_envs)}
    assert {round(float(value), 1) for value in drawn.reward[:, 0]} == expected
    np.testing.assert_allclose(drawn.next_observation - drawn.observation, 1.0, rtol=1e-5)


@pytest.mark.parametrize("by_priority", [False, True])
def test_windows_never_cross_the_place_that_is_written_next(by_priority):
    n, memory = 3, filled(5, 2, (4, 4))  # holds 3 … 7, the cursor in the middle
    if by_priority:
        place, weight = replay.draw_by_priority(memory, KEY, 300, n, 0.5, 1.0)
        np.testing.assert_allclose(weight, 1.0, rtol=1e-5)
    else:
        place = replay.draw(memory, KEY, 300, n)
    drawn = np.asarray(replay.windows(memory, place, n).reward)
    np.testing.assert_allclose(np.diff(drawn, axis=1), 1.0, atol=1e-5)
    assert set(np.floor(drawn[:, 0]).astype(int).tolist()) == {3, 4, 5}


def test_a_draw_is_uniform():
    memory = filled(5, 2, (4, 4))
    drawn = replay.windows(memory, replay.draw(memory, KEY, 20_000), 1).reward[:, 0]
    _, counts = np.unique(np.asarray(drawn).round(1), return_counts=True)
    assert len(counts) == 10
    np.testing.assert_allclose(counts / 20_000, 0.1, atol=0.01)


def test_draws_by_priority_follow_the_formula():
    memory, alpha, beta = filled(4, 1, (3, 3)), 0.7, 0.4  # holds 2 … 5
    priority = np.asarray([0.1, 2.0, 0.0, 5.0])
    place = replay.Place(jnp.asarray([2, 3, 0, 1]), jnp.zeros(4, jnp.int32))  # rows of the times 2 … 5
    memory = replay.reprioritize(memory, place, jnp.asarray(priority))
    p = priority**alpha / (priority**alpha).sum()
    draw = jax.jit(partial(replay.draw_by_priority, batch_size=20_000, n=1, alpha=alpha, beta=beta))
    place, weight = draw(memory, KEY)
    time = np.asarray(replay.windows(memory, place, 1).reward[:, 0]).astype(int)
    counts = np.bincount(time - 2, minlength=4)
    np.testing.assert_allclose(counts / 20_000, p, atol=0.01)
    assert counts[2] == 0
    expected = (4 * p[time - 2]) ** -beta
    np.testing.assert_allclose(weight, expected / expected.max(), rtol=1e-4)


def test_new_moments_have_the_highest_priority():
    memory = filled(4, 1, (2,))
    memory = replay.reprioritize(
        memory, replay.Place(jnp.arange(2), jnp.zeros(2, jnp.int32)), jnp.asarray([3.0, 7.0])
    )
    memory = replay.remember(memory, path([9], 1))
    np.testing.assert_array_equal(memory.priority[:3, 0], [3.0, 7.0, 7.0])


def window(reward, terminated, truncated):
    n = len(reward)
    flags = (jnp.asarray(flag, bool) for flag in (terminated, truncated))
    time = jnp.arange(n, dtype=jnp.float32)
    return Transition(time, 10 * time, jnp.asarray(reward), *flags, time + 1)


@pytest.mark.parametrize(
    ("terminated", "truncated", "reward", "discount", "following"),
    [
        # rewards 1, 2, 4 and γ = ½
        ([0, 0, 0], [0, 0, 0], 1 + 1 + 1, 0.125, 3),
        ([0, 1, 0], [0, 0, 0], 1 + 1, 0.0, 2),  # nothing after the end counts, nor what is next
        ([0, 0, 0], [0, 1, 0], 1 + 1, 0.25, 2),  # a time limit cuts the rewards and keeps the bootstrap
        ([1, 0, 0], [0, 0, 0], 1, 0.0, 1),
        ([0, 0, 0], [1, 0, 0], 1, 0.5, 1),
        ([0, 0, 1], [0, 0, 0], 3, 0.0, 3),
        ([0, 0, 0], [0, 0, 1], 3, 0.125, 3),
        ([1, 0, 0], [1, 0, 0], 1, 0.0, 1),  # both at once is an end
        ([0, 1, 0], [1, 0, 0], 1, 0.5, 1),  # the end of a later episode does not count
    ],
)
def test_n_steps_by_hand(terminated, truncated, reward, discount, following):
    joined = jax.jit(replay.n_step, static_argnums=1)(window([1.0, 2.0, 4.0], terminated, truncated), 0.5)
    assert float(joined["reward"]) == pytest.approx(reward)
    assert float(joined["discount"]) == pytest.approx(discount)
    assert float(joined["next_observation"]) == following
    assert float(joined["observation"]) == 0 and float(joined["action"]) == 0


def test_a_path_too_long_is_refused():
    with pytest.raises(ValueError, match="6 steps does not fit in a buffer of 5"):
        filled(5, 1, (6,))
