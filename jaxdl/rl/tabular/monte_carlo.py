"""Monte Carlo: values are means of the returns of whole episodes, one episode a step."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.rl.tabular.exploration import Policy, greedy
from jaxdl.rl.tabular.mdp import MDP, Transition, episode, episode_returns
from jaxdl.rl.tabular.views import control_views, prediction_views
from jaxdl.types import Array, Batch, Key, Learner, Metrics


class Means(NamedTuple):
    """The state: mean returns v [S], or q [S, A], and how many returns each is the mean of."""

    step: Array
    v: Array
    visits: Array
    key: Key


def monte_carlo_evaluation(mdp: MDP, policy: Array, *, discount: float, first_visit: bool = True) -> Learner:
    """Learn the value of a policy as the mean of the returns that followed a state.

    v(s) = (1/N(s)) Σ Gₜ over the visits t of s, in each episode the first one or all

    See Sutton & Barto, 2018, section 5.1. The mean of first visits is unbiased. An episode that the time
    limit cuts off goes on with the value so far of the state it was cut off in.

    Args:
        mdp: the process.
        policy: [S, A], action probabilities.
        discount: γ.
        first_visit: count the first visit of a state in an episode only, instead of every one.

    Returns:
        A Learner without batches, a step is an episode; its metrics are the return and length of it.
    """

    def step(state: Means, batch: Batch, *, axis_name: str | None = None) -> tuple[Means, Metrics]:
        transitions, mask = episode(mdp, policy, jax.random.fold_in(state.key, state.step))
        returns = episode_returns(transitions, mask, discount, state.v)
        counted = first_visits(transitions.s_tm1, mask, mdp.shape[0]) if first_visit else mask
        v, visits = average_in(state.v, state.visits, transitions.s_tm1, returns, counted)
        return Means(state.step + 1, v, visits, state.key), _metrics(transitions, mask)

    return Learner(_init(mdp.shape[:1]), step, **prediction_views(mdp, policy, discount))


def monte_carlo_control(
    mdp: MDP, policy: Policy, *, discount: float, first_visit: bool = True, num_episodes: int = 100
) -> Learner:
    """Learn the value of what the policy does as the mean of the returns that followed (on-policy).

    q(s, a) = (1/N(s, a)) Σ Gₜ over the visits t of (s, a), in each episode the first one or all

    See Sutton & Barto, 2018, section 5.4.

    Args:
        mdp: the process.
        policy: (q [A], step) -> action probabilities [A]; it stays the same within an episode.
        discount: γ.
        first_visit: count the first visit of a state and action in an episode only, instead of every one.
        num_episodes: of an evaluation, where the greedy policy is followed.

    Returns:
        A Learner without batches, a step is an episode; its metrics are the return and length of it.
    """
    num_states, num_actions = mdp.shape

    def step(state: Means, batch: Batch, *, axis_name: str | None = None) -> tuple[Means, Metrics]:
        probs = jax.vmap(policy, (0, None))(state.v, state.step)
        transitions, mask = episode(mdp, probs, jax.random.fold_in(state.key, state.step))
        returns = episode_returns(transitions, mask, discount, (probs * state.v).sum(axis=-1))
        pair = transitions.s_tm1 * num_actions + transitions.a_tm1
        counted = first_visits(pair, mask, num_states * num_actions) if first_visit else mask
        q, visits = average_in(state.v.ravel(), state.visits.ravel(), pair, returns, counted)
        q, visits = q.reshape(mdp.shape), visits.reshape(mdp.shape)
        return Means(state.step + 1, q, visits, state.key), _metrics(transitions, mask)

    def plan(state: Means) -> tuple[Array, Array]:
        return state.v.max(axis=-1), greedy(state.v)

    return Learner(_init(mdp.shape), step, **control_views(mdp, plan, num_episodes))


def first_visits(visited: Array, mask: Array, num: int) -> Array:
    """Mark the first visit of each of `num` states in an episode.

    Args:
        visited: [T], the states, counted from 0.
        mask: [T], 0 after the end of the episode.
        num: of states.

    Returns:
        [T], 1 where a state is visited for the first time.
    """
    t = jnp.arange(len(visited))
    first = jnp.full(num, len(visited)).at[visited].min(jnp.where(mask > 0, t, len(visited)))
    return mask * (first[visited] == t)


def average_in(means: Array, counts: Array, index: Array, values: Array, mask: Array) -> tuple[Array, Array]:
    """Take more values into running means: N′ = N + n, m′ = m + Σᵢ(xᵢ − m)/N′.

    Args:
        means: [S].
        counts: [S], how many values each is the mean of.
        index: [T], the mean that each value belongs to.
        values: [T].
        mask: [T], 0 for a value that does not count.

    Returns:
        The means [S] and counts [S] afterwards.
    """
    counts = counts.at[index].add(mask)
    return means.at[index].add(mask * (values - means[index]) / jnp.maximum(counts[index], 1)), counts


def _init(shape: tuple[int, ...]) -> Callable[[Key, Batch], Means]:
    def init(key: Key, batch: Batch) -> Means:
        return Means(jnp.zeros((), jnp.int32), jnp.zeros(shape), jnp.zeros(shape), key)

    return init


def _metrics(transitions: Transition, mask: Array) -> Metrics:
    return {"episode_return": (transitions.r_t * mask).sum(), "episode_length": mask.sum()}
