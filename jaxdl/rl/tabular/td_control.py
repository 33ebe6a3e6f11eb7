"""Temporal-difference control: SARSA, expected SARSA, Q-learning and double Q-learning.

They differ in the value that they see in the next state, and in nothing else.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxdl.objectives.td import (
    double_q_learning_error,
    expected_sarsa_error,
    q_learning_error,
    sarsa_error,
)
from jaxdl.rl.tabular.exploration import Policy, greedy
from jaxdl.rl.tabular.mdp import MDP, Position, draw, episode_metrics, first_position, mdp_step, restart
from jaxdl.rl.tabular.views import control_views
from jaxdl.types import Array, Batch, Key, Learner, Metrics


class Control(NamedTuple):
    """The state: one or two tables q [K, S, A], their visit counts, the episode and its next action."""

    step: Array
    q: Array
    visits: Array
    position: Position
    action: Array
    key: Key


class Seen(NamedTuple):
    """What an error is a function of: probs_t is π(·∣s′), and q_other_t the other table's Q(s′, ·)."""

    q_tm1: Array
    a_tm1: Array
    r_t: Array
    discount_t: Array
    q_t: Array
    a_t: Array
    probs_t: Array
    q_other_t: Array


def sarsa(
    mdp: MDP, policy: Policy, *, discount: float, learning_rate: optax.Schedule, num_episodes: int = 100
) -> Learner:
    """Learn the value of what the policy does, exploration included (on-policy).

    Q(s, a) ← Q(s, a) + α[r + γQ(s′, a′) − Q(s, a)], a′ ~ π(·∣s′) is taken next

    See Rummery & Niranjan, 1994.

    Args:
        mdp: the process.
        policy: (q [A], step) -> action probabilities [A].
        discount: γ.
        learning_rate: n -> α, of the n-th visit of a state and action.
        num_episodes: of an evaluation, where the greedy policy is followed.

    Returns:
        A Learner without batches, a step is a transition; its metrics are the td_error, |δ|, and the return
        and length of the episode where one ends.
    """

    def error(seen: Seen) -> Array:
        return sarsa_error(seen.q_tm1, seen.a_tm1, seen.r_t, seen.discount_t, seen.q_t, seen.a_t)

    return _learner(mdp, policy, error, discount, learning_rate, num_episodes, takes_a_t=True)


def expected_sarsa(
    mdp: MDP, policy: Policy, *, discount: float, learning_rate: optax.Schedule, num_episodes: int = 100
) -> Learner:
    """Learn the value of what the policy does from the mean over its next action (on-policy).

    Q(s, a) ← Q(s, a) + α[r + γΣₐ′ π(a′∣s′)Q(s′, a′) − Q(s, a)]

    See van Seijen et al., 2009. Arguments and result are those of `sarsa`.
    """

    def error(seen: Seen) -> Array:
        return expected_sarsa_error(seen.q_tm1, seen.a_tm1, seen.r_t, seen.discount_t, seen.q_t, seen.probs_t)

    return _learner(mdp, policy, error, discount, learning_rate, num_episodes)


def q_learning(
    mdp: MDP, policy: Policy, *, discount: float, learning_rate: optax.Schedule, num_episodes: int = 100
) -> Learner:
    """Learn the value of the best policy, whatever the policy does (off-policy).

    Q(s, a) ← Q(s, a) + α[r + γ maxₐ′ Q(s′, a′) − Q(s, a)]

    See Watkins & Dayan, 1992. Arguments and result are those of `sarsa`.
    """

    def error(seen: Seen) -> Array:
        return q_learning_error(seen.q_tm1, seen.a_tm1, seen.r_t, seen.discount_t, seen.q_t)

    return _learner(mdp, policy, error, discount, learning_rate, num_episodes)


def double_q_learning(
    mdp: MDP, policy: Policy, *, discount: float, learning_rate: optax.Schedule, num_episodes: int = 100
) -> Learner:
    """Learn two tables, each of which chooses the action that the other one values (off-policy).

    Q₁(s, a) ← Q₁(s, a) + α[r + γQ₂(s′, argmaxₐ′ Q₁(s′, a′)) − Q₁(s, a)], or with 1 and 2 exchanged, by a coin

    The maximum over noisy values is too high on average; the value of the action that another table finds
    best is not. The policy acts on the mean of the tables. See van Hasselt, 2010. Arguments and result are
    those of `sarsa`.
    """

    def error(seen: Seen) -> Array:
        return double_q_learning_error(
            seen.q_tm1,
            seen.a_tm1,
            seen.r_t,
            seen.discount_t,
            q_t_value=seen.q_other_t,
            q_t_selector=seen.q_t,
        )

    return _learner(mdp, policy, error, discount, learning_rate, num_episodes, num_tables=2)


def _learner(
    mdp: MDP,
    policy: Policy,
    error: Callable[[Seen], Array],
    discount: float,
    learning_rate: optax.Schedule,
    num_episodes: int,
    num_tables: int = 1,
    takes_a_t: bool = False,
) -> Learner:
    """Move one value of one table by α times the error; takes_a_t: the a′ that was valued is taken next."""

    def init(key: Key, batch: Batch) -> Control:
        key_start, key_act, key_run = jax.random.split(key, 3)
        q = jnp.zeros((num_tables, *mdp.shape))
        position, step = first_position(mdp, key_start), jnp.zeros((), jnp.int32)
        action = draw(key_act, policy(q[0, position.s], step))
        return Control(step, q, jnp.zeros(q.shape, jnp.int32), position, action, key_run)

    def step(state: Control, batch: Batch, *, axis_name: str | None = None) -> tuple[Control, Metrics]:
        keys = jax.random.split(jax.random.fold_in(state.key, state.step), 5)
        key_move, key_table, key_next, key_restart, key_act = keys
        position, move = mdp_step(mdp, key_move, state.position, state.action)
        s, a, s_t = move.s_tm1, move.a_tm1, move.s_t

        table = jax.random.randint(key_table, (), 0, num_tables)
        probs_t = policy(state.q[:, s_t].mean(axis=0), state.step)
        a_t = draw(key_next, probs_t)
        q_t, q_other_t = state.q[table, s_t], state.q[num_tables - 1 - table, s_t]
        seen = Seen(state.q[table, s], a, move.r_t, move.discount_t(discount), q_t, a_t, probs_t, q_other_t)
        delta = error(seen)
        visits = state.visits.at[table, s, a].add(1)
        q = state.q.at[table, s, a].add(learning_rate(visits[table, s, a]) * delta)

        metrics = {"td_error": jnp.abs(delta), **episode_metrics(position, move)}
        position = restart(mdp, key_restart, position, move)
        action = draw(key_act, policy(q[:, position.s].mean(axis=0), state.step + 1))
        if takes_a_t:
            action = jnp.where(move.ended, action, a_t)
        return Control(state.step + 1, q, visits, position, action, state.key), metrics

    def plan(state: Control) -> tuple[Array, Array]:
        q = state.q.mean(axis=0)
        return q.max(axis=-1), greedy(q)

    return Learner(init, step, **control_views(mdp, plan, num_episodes))
