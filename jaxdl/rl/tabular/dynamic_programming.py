"""Dynamic programming: the model is known, and a step is a sweep over all states."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.objectives.td import action_values, bellman_backup, bellman_optimality_backup
from jaxdl.rl.tabular.exploration import greedy
from jaxdl.rl.tabular.mdp import MDP, policy_value
from jaxdl.rl.tabular.views import control_views
from jaxdl.types import Array, Batch, Key, Learner, Metrics


class Plan(NamedTuple):
    """The state: values v [S] and a policy [S, A]."""

    v: Array
    policy: Array


def policy_evaluation(mdp: MDP, policy: Array, *, discount: float, num_episodes: int = 100) -> Learner:
    """Find the value of a policy sweep by sweep.

    vₖ₊₁(s) = Σₐ π(a∣s)[R(s, a) + γΣₛ′ P(s′∣s, a)vₖ(s′)]

    See Bellman, 1957.

    Args:
        mdp: the process.
        policy: [S, A], action probabilities.
        discount: γ.
        num_episodes: of an evaluation.

    Returns:
        A Learner without batches; its metric is the residual, maxₛ |vₖ₊₁(s) − vₖ(s)|.
    """

    def sweep(plan: Plan) -> Plan:
        return plan._replace(v=bellman_backup(mdp.P, mdp.R, discount, plan.v, policy))

    return _planner(mdp, policy, sweep, num_episodes)


def policy_iteration(mdp: MDP, *, discount: float, num_episodes: int = 100) -> Learner:
    """Find the best policy by evaluating one exactly and acting greedily on its value, in turn.

    vₖ = (I − γP_πₖ)⁻¹R_πₖ, πₖ₊₁(s) = argmaxₐ qₖ(s, a)

    See Howard, 1960. There are finitely many policies and each is better than the one before, so it ends
    after finitely many steps. It starts at the random policy.

    Args:
        mdp: the process.
        discount: γ.
        num_episodes: of an evaluation.

    Returns:
        A Learner without batches; its metric is the residual, maxₛ |vₖ₊₁(s) − vₖ(s)|.
    """

    def iteration(plan: Plan) -> Plan:
        v = policy_value(mdp, discount, plan.policy)
        return Plan(v, improve(action_values(mdp.P, mdp.R, discount, v), plan.policy))

    return _planner(mdp, mdp.random_policy, iteration, num_episodes)


def value_iteration(mdp: MDP, *, discount: float, num_episodes: int = 100) -> Learner:
    """Find the optimal values sweep by sweep.

    vₖ₊₁(s) = maxₐ [R(s, a) + γΣₛ′ P(s′∣s, a)vₖ(s′)]

    See Bellman, 1957. A sweep shrinks the distance to v* by γ, ‖vₖ₊₁ − v*‖ ≤ γ‖vₖ − v*‖, and in general none
    reaches it: only the greedy policy is right after finitely many. From v₀ = 0, and with γ = 1, vₖ is the
    best return within k steps.

    Args:
        mdp: the process.
        discount: γ.
        num_episodes: of an evaluation.

    Returns:
        A Learner without batches; its metric is the residual, maxₛ |vₖ₊₁(s) − vₖ(s)|.
    """

    def sweep(plan: Plan) -> Plan:
        v = bellman_optimality_backup(mdp.P, mdp.R, discount, plan.v)
        return Plan(v, greedy(action_values(mdp.P, mdp.R, discount, v)))

    return _planner(mdp, mdp.random_policy, sweep, num_episodes)


def improve(q: Array, policy: Array, tolerance: float = 1e-5) -> Array:
    """Act greedily in the states where that is better than what the policy does.

    Where it is only as good, the policy stays: else, with γ = 1, it could come to walk in circles.

    Args:
        q: [S, A], action values of the policy.
        policy: [S, A], action probabilities.
        tolerance: that an action has to be better by, since values are rounded.

    Returns:
        [S, A], action probabilities.
    """
    better = q.max(axis=-1) > (policy * q).sum(axis=-1) + tolerance
    return jnp.where(better[:, None], jax.nn.one_hot(q.argmax(axis=-1), q.shape[-1]), policy)


def _planner(mdp: MDP, policy: Array, sweep: Callable[[Plan], Plan], num_episodes: int) -> Learner:
    def init(key: Key, batch: Batch) -> Plan:
        return Plan(jnp.zeros(mdp.shape[0]), policy)

    def step(state: Plan, batch: Batch, *, axis_name: str | None = None) -> tuple[Plan, Metrics]:
        new = sweep(state)
        return new, {"residual": jnp.abs(new.v - state.v).max()}

    return Learner(init, step, **control_views(mdp, lambda state: (state.v, state.policy), num_episodes))
