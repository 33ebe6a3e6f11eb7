"""Markov decision processes as tensors, and episodes drawn from them.

An episode ends in one of two ways, which are kept apart: it is `terminated` in a state that has no future, so
that nothing is bootstrapped from it, or `truncated` by the time limit in a state that still has its value.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.objectives.td import discounted_returns
from jaxdl.types import Array, Key


class MDP(NamedTuple):
    """Hold a finite Markov decision process, how long an episode may last, and how its states are drawn.

    Attributes:
        P: [S, A, S], probabilities P(s′∣s, a); a terminal state leads to itself.
        r: [S, A, S], rewards r(s, a, s′); zero from a terminal state.
        terminal: [S], whether an episode ends in the state.
        start: [S], probabilities of the first state.
        time_limit: steps after which an episode is cut off.
        layout: [rows, columns], the state drawn in each cell, -1 for a wall.
        moves: of each action, the rows down and the columns to the right that it leads in the layout.
    """

    P: Array
    r: Array
    terminal: Array
    start: Array
    time_limit: int
    layout: Array
    moves: tuple[tuple[int, int], ...]

    @property
    def shape(self) -> tuple[int, int]:
        """The number of states S and of actions A."""
        return self.P.shape[0], self.P.shape[1]

    @property
    def R(self) -> Array:
        """Expected rewards [S, A]: R(s, a) = Σₛ′ P(s′∣s, a)r(s, a, s′)."""
        return (self.P * self.r).sum(axis=-1)

    @property
    def random_policy(self) -> Array:
        """The policy [S, A] that takes each action with the same probability."""
        return jnp.full(self.shape, 1 / self.shape[1], jnp.float32)


class Position(NamedTuple):
    """Say where an episode stands: its state s, the steps t taken, and the rewards `total` they brought."""

    s: Array
    t: Array
    total: Array


class Transition(NamedTuple):
    """What one action led to; s_t is the state reached, also where the episode ended in it."""

    s_tm1: Array
    a_tm1: Array
    r_t: Array
    s_t: Array
    terminated_t: Array
    truncated_t: Array

    @property
    def ended(self) -> Array:
        """Whether the episode is over, for either reason."""
        return self.terminated_t | self.truncated_t

    def discount_t(self, discount: float) -> Array:
        """Return γ, or 0 where the episode terminated: a time limit does not cut the bootstrap."""
        return discount * (1.0 - self.terminated_t)


def first_position(mdp: MDP, key: Key) -> Position:
    """Begin an episode: s ~ start."""
    s = jax.random.choice(key, mdp.shape[0], p=mdp.start).astype(jnp.int32)
    return Position(s, jnp.zeros((), jnp.int32), jnp.zeros(()))


def mdp_step(mdp: MDP, key: Key, position: Position, action: Array) -> tuple[Position, Transition]:
    """Take an action: s′ ~ P(·∣s, a), r = r(s, a, s′)."""
    s, t, total = position
    s_t = jax.random.choice(key, mdp.shape[0], p=mdp.P[s, action]).astype(jnp.int32)
    r_t = mdp.r[s, action, s_t]
    terminated = mdp.terminal[s_t]
    truncated = (t + 1 >= mdp.time_limit) & ~terminated
    return Position(s_t, t + 1, total + r_t), Transition(s, action, r_t, s_t, terminated, truncated)


def restart(mdp: MDP, key: Key, position: Position, transition: Transition) -> Position:
    """Begin a new episode where the transition ended one."""
    fresh = first_position(mdp, key)
    return jax.tree.map(lambda new, old: jnp.where(transition.ended, new, old), fresh, position)


def episode_metrics(position: Position, transition: Transition) -> dict[str, Array]:
    """Return the undiscounted return and the length of the episode that ends here; NaN where none does."""
    metrics = {"episode_return": position.total, "episode_length": position.t}
    return {name: jnp.where(transition.ended, value, jnp.nan) for name, value in metrics.items()}


def draw(key: Key, probs: Array) -> Array:
    """Draw an action from its probabilities [A]."""
    return jax.random.choice(key, probs.shape[0], p=probs).astype(jnp.int32)


def episode(mdp: MDP, policy: Array, key: Key) -> tuple[Transition, Array]:
    """Follow a policy until the episode ends.

    Args:
        mdp: the process.
        policy: [S, A], action probabilities.
        key: PRNG key.

    Returns:
        (transitions [T], mask [T]) with T the time limit; the mask is 0 after the end.
    """

    def step(
        carry: tuple[Position, Array], key: Key
    ) -> tuple[tuple[Position, Array], tuple[Transition, Array]]:
        position, running = carry
        key_action, key_move = jax.random.split(key)
        position, transition = mdp_step(mdp, key_move, position, draw(key_action, policy[position.s]))
        return (position, running & ~transition.ended), (transition, running)

    key_start, key_steps = jax.random.split(key)
    begin = first_position(mdp, key_start), jnp.ones((), bool)
    _, (transitions, mask) = jax.lax.scan(step, begin, jax.random.split(key_steps, mdp.time_limit))
    return transitions, mask.astype(jnp.float32)


def episode_returns(transitions: Transition, mask: Array, discount: float, v: Array) -> Array:
    """Return what followed each step of an episode, [T]; one that was cut off goes on with the value v [S].

    Gₜ₋₁ = rₜ + γGₜ, with G = 0 where the episode terminated and V(s) where the time limit cut it off
    """
    discount_t = transitions.discount_t(discount) * mask
    return discounted_returns(transitions.r_t * mask, discount_t, v[transitions.s_t[-1]])


def evaluate_policy(mdp: MDP, policy: Array, key: Key, num_episodes: int) -> dict[str, Array]:
    """Follow a policy [S, A] in fresh episodes; undiscounted returns and lengths, [num_episodes] each."""

    def one(key: Key) -> tuple[Array, Array]:
        transitions, mask = episode(mdp, policy, key)
        return (transitions.r_t * mask).sum(), mask.sum()

    returns, lengths = jax.vmap(one)(jax.random.split(key, num_episodes))
    return {"return": returns, "length": lengths}


def policy_value(mdp: MDP, discount: float, policy: Array) -> Array:
    """Solve the Bellman equation of a policy: v = (I − γP_π)⁻¹R_π, and 0 in terminal states.

    See Howard, 1960. With γ = 1 the policy [S, A] has to reach a terminal state from everywhere.

    Returns:
        [S], state values.
    """
    num_states = mdp.shape[0]
    P = jnp.einsum("sa,sat->st", policy, mdp.P) * ~mdp.terminal[None, :]  # no future after the end
    R = (policy * mdp.R).sum(axis=-1)
    return jnp.linalg.solve(jnp.eye(num_states) - discount * P, R)
