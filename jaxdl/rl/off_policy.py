"""The loop of all agents with a replay buffer: act, remember, and learn from what was remembered."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxdl.rl.agent import AgentState, GradientStep
from jaxdl.rl.envs import Box, Environment
from jaxdl.rl.replay import draw, draw_by_priority, empty, n_step, remember, reprioritize, windows
from jaxdl.rl.rollout import act, drawn, rollout
from jaxdl.rl.tabular.exploration import epsilon_greedy
from jaxdl.train import mean_over_steps
from jaxdl.types import Array, Batch, Key, Metrics


class Schedule(NamedTuple):
    """Say how acting and learning take turns.

    Attributes:
        num_envs: N, environments acted in at once.
        collect: steps in each of them between learning.
        updates: gradient steps after each collection.
        batch_size: transitions in a gradient step.
        capacity: moments that the replay buffer holds, of N transitions each.
        warmup: moments of random actions that fill it before the first step.
        n: steps that a return is made of before the value takes over.
        discount: γ.
    """

    num_envs: int = 1
    collect: int = 1
    updates: int = 1
    batch_size: int = 128
    capacity: int = 50_000
    warmup: int = 1_000
    n: int = 1
    discount: float = 0.99


class Priority(NamedTuple):
    """Say how errors become priorities.

    Attributes:
        alpha: α, from 0 (uniform) to 1 (in proportion to the error).
        beta: β at first, how far weights make up for it, from 0 to 1 (fully).
        steps: gradient steps in which β rises to 1; 0 leaves it as it is.
    """

    alpha: float = 0.6
    beta: float = 0.4
    steps: int = 0


def random_action(environment: Environment, observation: Array, key: Key) -> Array:
    """Draw any action [N, ...], each equally likely."""
    actions, num = environment.actions, len(observation)
    if isinstance(actions, Box):
        low, high = jnp.asarray(actions.low)[None], jnp.asarray(actions.high)[None]
        return low + (high - low) * jax.random.uniform(key, (num, *actions.low.shape))
    return jax.random.randint(key, (num,), 0, actions.num)


def warm_up(environment: Environment, schedule: Schedule, state: AgentState, key: Key) -> AgentState:
    """Fill the replay buffer with what random actions bring.

    Raises:
        ValueError: if that is less than one return needs, or more than the buffer holds.
    """
    if not schedule.n <= schedule.warmup <= schedule.capacity:
        numbers = f"warmup is {schedule.warmup}, n {schedule.n} and capacity {schedule.capacity}"
        raise ValueError(f"{numbers}; give n <= warmup <= capacity")
    policy = partial(random_action, environment)
    keys = jax.random.split(key, 1 + len(state.worlds.score))
    draws = jax.eval_shape(partial(drawn, environment), keys)
    _, (row, _) = jax.eval_shape(partial(act, environment, policy), state.worlds, draws)
    replay = empty(row, schedule.capacity)
    worlds, path, _ = rollout(environment, policy, state.worlds, key, schedule.warmup)
    return state.replace(worlds=worlds, replay=remember(replay, path))


def explored(q: Array, epsilon: float | Array, key: Key) -> Array:
    """Draw ε-greedy actions [N] from action values [N, A]."""
    return jax.random.categorical(key, jnp.log(jax.vmap(partial(epsilon_greedy, epsilon=epsilon))(q)))


def followed(state: AgentState, params: Any, rate: float, every: int) -> Any:
    """Move the target networks by a share of what they are behind, on each `every`-th gradient step."""
    target = state.model_state["target"]
    return optax.periodic_update(optax.incremental_update(params, target, rate), target, state.step, every)


def act_and_learn(
    environment: Environment,
    schedule: Schedule,
    explore: Callable[[AgentState, Array, Key], Array],
    follow: Callable[[AgentState], Any],
    priority: Priority | None,
    step: GradientStep,
    state: AgentState,
    key: Key,
) -> tuple[AgentState, Metrics]:
    """Collect experience, then take gradient steps on batches of the replay buffer.

    Args:
        environment: to act in.
        schedule: how much of each.
        explore: (state, observations [N, ...], key) -> actions [N, ...].
        follow: state -> model_state, how the target networks follow the params after a gradient step.
        priority: of transitions; None draws all alike. The gradient step leaves the errors [B] of its batch
            in model_state["error"]; where it is skipped, priorities stay as they are.
        step: the gradient step, on batches as `n_step` makes them, with "weight" [B] and the "index" [B] of
            each transition in the batch, by which micro-batches know their place.
        state: of the agent.
        key: of this step.

    Returns:
        The state after it and the metrics.
    """
    key_act, key_learn = jax.random.split(key)
    policy = partial(explore, state)
    worlds, path, episode_return = rollout(environment, policy, state.worlds, key_act, schedule.collect)
    state = state.replace(worlds=worlds, replay=remember(state.replay, path))
    update = partial(learn_from_batch, schedule, follow, priority, step)
    state, metrics = jax.lax.scan(update, state, jax.random.split(key_learn, schedule.updates))
    return state, mean_over_steps(metrics) | {"episode_return": episode_return}


def learn_from_batch(
    schedule: Schedule,
    follow: Callable[[AgentState], Any],
    priority: Priority | None,
    step: GradientStep,
    state: AgentState,
    key: Key,
) -> tuple[AgentState, Metrics]:
    """Take one gradient step on a batch of the replay buffer, and let the target networks follow."""
    if priority is None:
        place = draw(state.replay, key, schedule.batch_size, schedule.n)
        weight = jnp.ones(schedule.batch_size)
    else:
        beta = optax.linear_schedule(priority.beta, 1.0, priority.steps)(state.step)
        place, weight = draw_by_priority(
            state.replay, key, schedule.batch_size, schedule.n, priority.alpha, beta
        )
    path = windows(state.replay, place, schedule.n)
    batch: Batch = jax.vmap(partial(n_step, discount=schedule.discount))(path)
    state, metrics = step(state, batch | {"weight": weight, "index": jnp.arange(schedule.batch_size)})
    if priority is not None:
        error = jnp.abs(state.model_state["error"]) + 1e-6
        skipped = metrics.get("skipped", jnp.zeros(())) > 0  # the errors are those of an earlier batch then
        error = jnp.where(skipped, state.replay.priority[place], error)
        state = state.replace(replay=reprioritize(state.replay, place, error))
    return state.replace(model_state=follow(state)), metrics
