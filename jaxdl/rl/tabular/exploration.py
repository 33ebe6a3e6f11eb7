"""From action values to action probabilities: how much to explore, by a schedule."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxdl.types import Array

Policy = Callable[[Array, Array], Array]  # (q [A], step) -> probabilities [A]


def greedy(q: Array) -> Array:
    """Take the best action; several that are equally good share the probability.

    π(a) = 1{q(a) = maxₐ′ q(a′)} / #{a : q(a) = maxₐ′ q(a′)}

    Args:
        q: [..., A], action values.

    Returns:
        [..., A], probabilities.
    """
    best = q == q.max(axis=-1, keepdims=True)
    return best / best.sum(axis=-1, keepdims=True)


def epsilon_greedy(q: Array, epsilon: float | Array) -> Array:
    """Take any action with probability ε, and else the best one.

    π(a) = ε/A + (1 − ε)·greedy(a)

    See Sutton & Barto, 2018, section 2.2.

    Args:
        q: [A], action values.
        epsilon: scalar, ε in [0, 1].

    Returns:
        [A], probabilities.
    """
    return epsilon / q.shape[0] + (1 - epsilon) * greedy(q)


def softmax(q: Array, temperature: float | Array) -> Array:
    """Take better actions more often (Boltzmann).

    π(a) = exp(q(a)/τ) / Σₐ′ exp(q(a′)/τ)

    See Sutton & Barto, 2018, section 2.8.

    Args:
        q: [A], action values.
        temperature: scalar, τ > 0; towards 0 it is greedy, towards ∞ uniform.

    Returns:
        [A], probabilities.
    """
    return jax.nn.softmax((q - q.max()) / temperature)


def scheduled(rule: Callable[[Array, Array], Array], schedule: optax.Schedule) -> Policy:
    """Explore by a rule, epsilon_greedy or softmax, whose ε or τ is a function of the step."""
    return lambda q, step: rule(q, jnp.asarray(schedule(step)))


def power_decay(exponent: float) -> optax.Schedule:
    """Return the learning rate of the n-th visit: α(n) = n^−ω.

    Tables converge for ω in (½, 1], where Σα = ∞ and Σα² < ∞; ω = 1 averages. See Robbins & Monro, 1951.
    """
    return lambda count: jnp.maximum(count, 1.0) ** -exponent
