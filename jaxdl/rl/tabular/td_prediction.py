"""Temporal-difference prediction: the value of a policy from the transitions it makes."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxdl.objectives.td import td_error
from jaxdl.rl.tabular.mdp import MDP, Position, draw, episode_metrics, first_position, mdp_step, restart
from jaxdl.rl.tabular.views import prediction_views
from jaxdl.types import Array, Batch, Key, Learner, Metrics


class Prediction(NamedTuple):
    """The state: values v, visit counts and eligibility traces, [S] each, and the episode."""

    step: Array
    v: Array
    visits: Array
    trace: Array
    position: Position
    key: Key


def td_lambda(
    mdp: MDP,
    policy: Array,
    *,
    discount: float,
    learning_rate: optax.Schedule,
    lambda_: float = 0.0,
    traces: Literal["accumulating", "replacing"] = "accumulating",
) -> Learner:
    """Learn the value of a policy; λ = 0 is TD(0), λ = 1 resembles Monte Carlo.

    δ = r + γv(s′) − v(s),  e ← γλe + 1ₛ,  v ← v + αδe

    See Sutton, 1988; Singh & Sutton, 1996, for replacing traces, which set e(s) to 1 instead.

    Args:
        mdp: the process.
        policy: [S, A], action probabilities.
        discount: γ.
        learning_rate: n -> α, of the n-th visit of a state.
        lambda_: λ in [0, 1], how fast the traces of earlier states fade.
        traces: what a visit does to the trace of its state.

    Returns:
        A Learner without batches, a step is a transition; its metrics are the td_error, |δ|, and the return
        and length of the episode where one ends.
    """

    def init(key: Key, batch: Batch) -> Prediction:
        key_start, key_run = jax.random.split(key)
        zeros, step = jnp.zeros(mdp.shape[0]), jnp.zeros((), jnp.int32)
        return Prediction(step, zeros, zeros, zeros, first_position(mdp, key_start), key_run)

    def step(state: Prediction, batch: Batch, *, axis_name: str | None = None) -> tuple[Prediction, Metrics]:
        key_act, key_move, key_restart = jax.random.split(jax.random.fold_in(state.key, state.step), 3)
        action = draw(key_act, policy[state.position.s])
        position, move = mdp_step(mdp, key_move, state.position, action)

        s = move.s_tm1
        delta = td_error(state.v[s], move.r_t, move.discount_t(discount), state.v[move.s_t])
        trace = discount * lambda_ * state.trace
        trace = trace.at[s].add(1) if traces == "accumulating" else trace.at[s].set(1)
        visits = state.visits.at[s].add(1)
        v = state.v + learning_rate(jnp.maximum(visits, 1)) * delta * trace

        metrics = {"td_error": jnp.abs(delta), **episode_metrics(position, move)}
        trace = jnp.where(move.ended, 0.0, trace)
        position = restart(mdp, key_restart, position, move)
        return Prediction(state.step + 1, v, visits, trace, position, state.key), metrics

    return Learner(init, step, **prediction_views(mdp, policy, discount))
