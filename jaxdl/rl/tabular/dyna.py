"""Dyna-Q: learn from each transition, and then from many that a learned model makes up."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxdl.objectives.td import q_learning_error
from jaxdl.rl.tabular.exploration import Policy, greedy
from jaxdl.rl.tabular.mdp import (
    MDP,
    Position,
    Transition,
    draw,
    episode_metrics,
    first_position,
    mdp_step,
    restart,
)
from jaxdl.rl.tabular.views import control_views
from jaxdl.types import Array, Batch, Key, Learner, Metrics


class Model(NamedTuple):
    """What was seen: counts N(s, a, s′) [S, A, S], rewards r(s, a, s′) [S, A, S] and terminal states [S]."""

    counts: Array
    r: Array
    terminal: Array


class Dyna(NamedTuple):
    """The state: action values q [S, A], updates of each, the model, and the episode."""

    step: Array
    q: Array
    visits: Array
    model: Model
    position: Position
    key: Key


def dyna_q(
    mdp: MDP,
    policy: Policy,
    *,
    discount: float,
    learning_rate: optax.Schedule,
    planning_steps: int = 10,
    num_episodes: int = 100,
) -> Learner:
    """Learn the value of the best policy from real transitions, and from modelled ones after each.

    Q(s, a) ← Q(s, a) + α[r + γ maxₐ′ Q(s′, a′) − Q(s, a)], once with the world's (r, s′), n times with
    s′ ~ N(s, a, ·)/N(s, a) and r = r(s, a, s′) for a state and an action that were met before

    See Sutton, 1990. The model counts, so that it is right for stochastic processes too.

    Args:
        mdp: the process.
        policy: (q [A], step) -> action probabilities [A].
        discount: γ.
        learning_rate: n -> α, of the n-th update of a state and action.
        planning_steps: n, modelled transitions to each real one.
        num_episodes: of an evaluation, where the greedy policy is followed.

    Returns:
        A Learner without batches, a step is a real transition; its metrics are the td_error, |δ|, of it, and
        the return and length of the episode where one ends.
    """
    num_states = mdp.shape[0]

    def init(key: Key, batch: Batch) -> Dyna:
        key_start, key_run = jax.random.split(key)
        zeros, unseen = jnp.zeros(mdp.shape), jnp.zeros((*mdp.shape, num_states))
        model = Model(unseen, unseen, jnp.zeros(num_states, bool))
        return Dyna(jnp.zeros((), jnp.int32), zeros, zeros, model, first_position(mdp, key_start), key_run)

    def update(tables: tuple[Array, Array], move: Transition) -> tuple[tuple[Array, Array], Array]:
        (q, visits), s, a = tables, move.s_tm1, move.a_tm1
        delta = q_learning_error(q[s], a, move.r_t, move.discount_t(discount), q[move.s_t])
        visits = visits.at[s, a].add(1)
        return (q.at[s, a].add(learning_rate(visits[s, a]) * delta), visits), delta

    def step(state: Dyna, batch: Batch, *, axis_name: str | None = None) -> tuple[Dyna, Metrics]:
        keys = jax.random.split(jax.random.fold_in(state.key, state.step), 4)
        key_act, key_move, key_plan, key_restart = keys
        action = draw(key_act, policy(state.q[state.position.s], state.step))
        position, move = mdp_step(mdp, key_move, state.position, action)

        tables, delta = update((state.q, state.visits), move)
        model = remember(state.model, move)
        (q, visits), _ = jax.lax.scan(update, tables, imagine(model, key_plan, planning_steps))

        metrics = {"td_error": jnp.abs(delta), **episode_metrics(position, move)}
        position = restart(mdp, key_restart, position, move)
        return Dyna(state.step + 1, q, visits, model, position, state.key), metrics

    def plan(state: Dyna) -> tuple[Array, Array]:
        return state.q.max(axis=-1), greedy(state.q)

    return Learner(init, step, **control_views(mdp, plan, num_episodes))


def remember(model: Model, move: Transition) -> Model:
    """Take a transition into the model; being cut off by a time limit is no property of the state."""
    s, a, r_t, s_t, terminated, _ = move
    return Model(
        model.counts.at[s, a, s_t].add(1),
        model.r.at[s, a, s_t].set(r_t),
        model.terminal.at[s_t].max(terminated),
    )


def imagine(model: Model, key: Key, num: int) -> Transition:
    """Draw a state met before, an action taken there, and what may follow.

    Args:
        model: that remembers one transition at least.
        key: PRNG key.
        num: transitions [num] to draw.
    """
    num_states, num_actions, _ = model.counts.shape
    key_pair, key_next = jax.random.split(key)
    taken = model.counts.sum(axis=-1) > 0
    probs = (taken / jnp.maximum(taken.sum(axis=-1, keepdims=True), 1)).ravel()
    pair = jax.random.choice(key_pair, num_states * num_actions, (num,), p=probs / probs.sum())
    s, a = jnp.divmod(pair.astype(jnp.int32), num_actions)

    def follow(key: Key, counts: Array) -> Array:
        return jax.random.choice(key, num_states, p=counts / counts.sum()).astype(jnp.int32)

    s_t = jax.vmap(follow)(jax.random.split(key_next, num), model.counts[s, a])
    return Transition(s, a, model.r[s, a, s_t], s_t, model.terminal[s_t], jnp.zeros(num, bool))
