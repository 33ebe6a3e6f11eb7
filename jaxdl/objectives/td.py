"""Returns, advantages, temporal-difference errors and Bellman backups.

Names follow time: an action taken at step t−1 (`_tm1`) leads to the reward, the discount and the state of
step t (`_t`). `discount_t` is γ, and zero only where the episode terminates: a time limit that cuts an
episode off keeps γ, since the state after it still has a value. Sequences are one stream of T steps.

An error is target − prediction with the target held constant, so that ½ error² and Huber's loss of it have
the gradient of the update rule. Returns and advantages can be differentiated.
"""

import jax
import jax.numpy as jnp

from jaxdl.objectives._check import check_rank, check_same_shape, check_shape
from jaxdl.objectives.supervised import softmax_cross_entropy
from jaxdl.types import Array


def discounted_returns(r_t: Array, discount_t: Array, bootstrap: Array) -> Array:
    """Sum the discounted rewards that follow each step.

    Gₜ₋₁ = rₜ + γₜGₜ, G_T = bootstrap

    See Sutton & Barto, 2018, section 3.3.

    Args:
        r_t: [T], rewards.
        discount_t: [T], discounts.
        bootstrap: scalar, the value of the state after the last step.

    Returns:
        [T], the returns G₀ … G_T₋₁.
    """
    check_rank(1, r_t=r_t, discount_t=discount_t)
    check_rank(0, bootstrap=bootstrap)
    check_same_shape(r_t=r_t, discount_t=discount_t)
    return _backward(r_t, discount_t, bootstrap)


def n_step_returns(r_t: Array, discount_t: Array, v_t: Array, n: int) -> Array:
    """Sum n discounted rewards and bootstrap from the value after them.

    Gₜ₋₁ = rₜ + γₜ(rₜ₊₁ + … + γₜ₊ₙ₋₂(rₜ₊ₙ₋₁ + γₜ₊ₙ₋₁vₜ₊ₙ₋₁)), fewer rewards near the end of the stream

    See Sutton & Barto, 2018, section 7.1.

    Args:
        r_t: [T], rewards.
        discount_t: [T], discounts.
        v_t: [T], values of the states that the steps lead to.
        n: number of rewards, at least 1.

    Returns:
        [T], the returns of the states that the steps start from.

    Raises:
        ValueError: if n is less than 1.
    """
    check_rank(1, r_t=r_t, discount_t=discount_t, v_t=v_t)
    check_same_shape(r_t=r_t, discount_t=discount_t, v_t=v_t)
    if n < 1:
        raise ValueError(f"n is {n}, but at least one reward has to be counted: give n >= 1")
    g_t = v_t
    for _ in range(n - 1):
        g_t = jnp.append((r_t + discount_t * g_t)[1:], v_t[-1])
    return r_t + discount_t * g_t


def lambda_returns(r_t: Array, discount_t: Array, v_t: Array, lambda_: float | Array) -> Array:
    """Mix the n-step returns of all n with weights that decay by λ.

    Gₜ₋₁ = rₜ + γₜ[(1 − λ)vₜ + λGₜ], G_T = v_T

    See Sutton, 1988. λ = 0 gives the one-step target, λ = 1 the discounted return.

    Args:
        r_t: [T], rewards.
        discount_t: [T], discounts.
        v_t: [T], values of the states that the steps lead to.
        lambda_: scalar, λ in [0, 1].

    Returns:
        [T], the returns of the states that the steps start from.
    """
    check_rank(1, r_t=r_t, discount_t=discount_t, v_t=v_t)
    check_rank(0, lambda_=lambda_)
    check_same_shape(r_t=r_t, discount_t=discount_t, v_t=v_t)
    return _backward(r_t + discount_t * (1 - lambda_) * v_t, discount_t, v_t[-1], lambda_)


def gae(
    r_t: Array,
    discount_t: Array,
    v_tm1: Array,
    v_t: Array,
    lambda_: float | Array,
    truncated_t: Array | None = None,
) -> Array:
    """Estimate advantages by an exponentially weighted sum of temporal-difference errors.

    Aₜ₋₁ = δₜ + γₜλ(1 − cutₜ)Aₜ, δₜ = rₜ + γₜvₜ − vₜ₋₁, A_T = 0

    See Schulman et al., 2016 (arXiv:1506.02438). Without cuts, and with values v_t[:-1] = v_tm1[1:], the
    advantages plus v_tm1 are the λ-returns.

    Args:
        r_t: [T], rewards.
        discount_t: [T], discounts.
        v_tm1: [T], values of the states that the steps start from.
        v_t: [T], values of the states that the actions led to, before any automatic reset.
        lambda_: scalar, λ in [0, 1].
        truncated_t: [T], 1 where a time limit cuts the episode after the step: the step bootstraps from its
            own v_t, and nothing flows back from the next episode. No cuts by default.

    Returns:
        [T], the advantages.
    """
    check_rank(1, r_t=r_t, discount_t=discount_t, v_tm1=v_tm1, v_t=v_t)
    check_rank(0, lambda_=lambda_)
    check_same_shape(r_t=r_t, discount_t=discount_t, v_tm1=v_tm1, v_t=v_t)
    delta_t = r_t + discount_t * v_t - v_tm1
    if truncated_t is not None:
        check_same_shape(r_t=r_t, truncated_t=truncated_t)
        discount_t = discount_t * (1 - truncated_t)
    return _backward(delta_t, discount_t, 0.0, lambda_)


def _backward(a: Array, b: Array, end: float | Array, decay: float | Array = 1.0) -> Array:
    """Solve xₜ = aₜ + bₜ·decay·xₜ₊₁ from the end.

    The decay stays inside the loop, where it costs nothing: before it, it would take a pass over memory.
    """
    dtype = jnp.result_type(a, b, end, decay)
    carry = jnp.asarray(end, dtype), jnp.asarray(decay, dtype)
    return jax.lax.scan(_step_back, carry, (a, b), reverse=True)[1]


def _step_back(carry: tuple[Array, Array], ab: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
    (x, decay), (a, b) = carry, ab
    x = a + b * (decay * x)
    return (x, decay), x


def td_error(v_tm1: Array, r_t: Array, discount_t: Array, v_t: Array) -> Array:
    """Compare a state's value with the reward and the value that followed.

    δ = r + γV(s′) − V(s)

    See Sutton, 1988.

    Args:
        v_tm1: scalar, V(s).
        r_t: scalar, reward r.
        discount_t: scalar, discount γ.
        v_t: scalar, V(s′).

    Returns:
        A scalar; only v_tm1 is differentiated.
    """
    check_rank(0, v_tm1=v_tm1, r_t=r_t, discount_t=discount_t, v_t=v_t)
    return jax.lax.stop_gradient(r_t + discount_t * v_t) - v_tm1


def sarsa_error(q_tm1: Array, a_tm1: Array, r_t: Array, discount_t: Array, q_t: Array, a_t: Array) -> Array:
    """Compare an action's value with that of the action taken next.

    δ = r + γQ(s′, a′) − Q(s, a)

    See Rummery & Niranjan, 1994.

    Args:
        q_tm1: [A], Q(s, ·).
        a_tm1: integer scalar, action a.
        r_t: scalar, reward r.
        discount_t: scalar, discount γ.
        q_t: [A], Q(s′, ·).
        a_t: integer scalar, action a′.

    Returns:
        A scalar; only q_tm1 is differentiated.
    """
    _check_action_values(q_tm1, a_tm1, q_t)
    check_rank(0, a_t=a_t)
    return td_error(q_tm1[a_tm1], r_t, discount_t, q_t[a_t])


def expected_sarsa_error(
    q_tm1: Array, a_tm1: Array, r_t: Array, discount_t: Array, q_t: Array, probs_a_t: Array
) -> Array:
    """Compare an action's value with the mean of the values that the policy meets next.

    δ = r + γΣₐ′ π(a′∣s′)Q(s′, a′) − Q(s, a)

    See van Seijen et al., 2009.

    Args:
        q_tm1: [A], Q(s, ·).
        a_tm1: integer scalar, action a.
        r_t: scalar, reward r.
        discount_t: scalar, discount γ.
        q_t: [A], Q(s′, ·).
        probs_a_t: [A], π(·∣s′).

    Returns:
        A scalar; only q_tm1 is differentiated.
    """
    _check_action_values(q_tm1, a_tm1, q_t)
    check_same_shape(q_t=q_t, probs_a_t=probs_a_t)
    return td_error(q_tm1[a_tm1], r_t, discount_t, probs_a_t @ q_t)


def q_learning_error(q_tm1: Array, a_tm1: Array, r_t: Array, discount_t: Array, q_t: Array) -> Array:
    """Compare an action's value with the best value that can follow.

    δ = r + γ maxₐ′ Q(s′, a′) − Q(s, a)

    See Watkins & Dayan, 1992.

    Args:
        q_tm1: [A], Q(s, ·).
        a_tm1: integer scalar, action a.
        r_t: scalar, reward r.
        discount_t: scalar, discount γ.
        q_t: [A], Q(s′, ·).

    Returns:
        A scalar; only q_tm1 is differentiated.
    """
    _check_action_values(q_tm1, a_tm1, q_t)
    return td_error(q_tm1[a_tm1], r_t, discount_t, q_t.max())


def double_q_learning_error(
    q_tm1: Array, a_tm1: Array, r_t: Array, discount_t: Array, q_t_value: Array, q_t_selector: Array
) -> Array:
    """Choose the next action by one estimate and value it by another.

    δ = r + γQ_value(s′, argmaxₐ′ Q_selector(s′, a′)) − Q(s, a)

    See van Hasselt, Guez & Silver, 2016 (arXiv:1509.06461).

    Args:
        q_tm1: [A], Q(s, ·).
        a_tm1: integer scalar, action a.
        r_t: scalar, reward r.
        discount_t: scalar, discount γ.
        q_t_value: [A], Q_value(s′, ·), the target network's.
        q_t_selector: [A], Q_selector(s′, ·), the online network's.

    Returns:
        A scalar; only q_tm1 is differentiated.
    """
    _check_action_values(q_tm1, a_tm1, q_t_value)
    check_same_shape(q_t_value=q_t_value, q_t_selector=q_t_selector)
    return td_error(q_tm1[a_tm1], r_t, discount_t, q_t_value[q_t_selector.argmax()])


def categorical_q_learning_loss(
    q_atoms_tm1: Array,
    q_logits_tm1: Array,
    a_tm1: Array,
    r_t: Array,
    discount_t: Array,
    q_atoms_t: Array,
    q_logits_t: Array,
) -> Array:
    """Fit the distribution of an action's return to that of the reward and the best action's return (C51).

    −Σᵢ mᵢ log pᵢ(s, a), mᵢ = Σⱼ [1 − |[r + γzⱼ] − zᵢ|/Δz]₀¹ pⱼ(s′, a*), a* = argmaxₐ Σⱼ zⱼpⱼ(s′, a)

    where r + γzⱼ is clipped to the range of the atoms, and [·]₀¹ to [0, 1].

    See Bellemare, Dabney & Munos, 2017 (arXiv:1707.06887), equation 7.

    Args:
        q_atoms_tm1: [K], returns zᵢ that the prediction gives probabilities to, ascending by Δz, K ≥ 2.
        q_logits_tm1: [A, K], logits of p(s, ·).
        a_tm1: integer scalar, action a.
        r_t: scalar, reward r.
        discount_t: scalar, discount γ.
        q_atoms_t: [L], returns zⱼ that the target gives probabilities to.
        q_logits_t: [A, L], logits of p(s′, ·).

    Returns:
        A scalar in nats; only q_logits_tm1 is differentiated.
    """
    check_rank(1, q_atoms_tm1=q_atoms_tm1, q_atoms_t=q_atoms_t)
    check_rank(2, q_logits_tm1=q_logits_tm1, q_logits_t=q_logits_t)
    check_rank(0, a_tm1=a_tm1, r_t=r_t, discount_t=discount_t)
    actions = len(q_logits_tm1)
    check_shape((actions, *q_atoms_tm1.shape), q_logits_tm1=q_logits_tm1)
    check_shape((actions, *q_atoms_t.shape), q_logits_t=q_logits_t)
    probs_t = jax.nn.softmax(q_logits_t)
    probs_t = probs_t[(probs_t @ q_atoms_t).argmax()]
    target = _project(r_t + discount_t * q_atoms_t, probs_t, q_atoms_tm1)
    return softmax_cross_entropy(q_logits_tm1[a_tm1], jax.lax.stop_gradient(target))


def _project(returns: Array, probs: Array, atoms: Array) -> Array:
    """Share each return's probability between the two evenly spaced atoms around it."""
    distance = jnp.abs(jnp.clip(returns, atoms[0], atoms[-1])[None, :] - atoms[:, None])
    return jnp.clip(1 - distance / (atoms[1] - atoms[0]), 0, 1) @ probs


def action_values(P: Array, R: Array, discount: float | Array, v: Array) -> Array:
    """Look one step ahead from every state and action.

    q(s, a) = R(s, a) + γΣₛ′ P(s′∣s, a)v(s′)

    See Bellman, 1957. The argmax over actions is the greedy policy.

    Args:
        P: [S, A, S], transition probabilities; an absorbing state leads to itself.
        R: [S, A], expected rewards; zero in an absorbing state.
        discount: scalar, γ.
        v: [S], state values.

    Returns:
        [S, A], action values.
    """
    check_rank(3, P=P)
    check_rank(0, discount=discount)
    states, actions, _ = P.shape
    check_shape((states, actions, states), P=P)
    check_shape((states, actions), R=R)
    check_shape((states,), v=v)
    return R + discount * (P @ v)


def bellman_backup(P: Array, R: Array, discount: float | Array, v: Array, policy: Array) -> Array:
    """Look one step ahead from every state along a policy.

    v′(s) = Σₐ π(a∣s)[R(s, a) + γΣₛ′ P(s′∣s, a)v(s′)]

    See Bellman, 1957; Howard, 1960. Its fixed point is the value of the policy; γ < 1 contracts towards it.

    Args:
        P: [S, A, S], transition probabilities.
        R: [S, A], expected rewards.
        discount: scalar, γ.
        v: [S], state values.
        policy: [S, A], action probabilities π(a∣s).

    Returns:
        [S], state values.
    """
    check_same_shape(R=R, policy=policy)
    return (policy * action_values(P, R, discount, v)).sum(axis=-1)


def bellman_optimality_backup(P: Array, R: Array, discount: float | Array, v: Array) -> Array:
    """Look one step ahead from every state along the best action.

    v′(s) = maxₐ [R(s, a) + γΣₛ′ P(s′∣s, a)v(s′)]

    See Bellman, 1957. Each backup shrinks the distance to the optimal values by γ: value iteration
    approaches them without end, and it is the greedy policy that is optimal after finitely many.

    Args:
        P: [S, A, S], transition probabilities.
        R: [S, A], expected rewards.
        discount: scalar, γ.
        v: [S], state values.

    Returns:
        [S], state values.
    """
    return action_values(P, R, discount, v).max(axis=-1)


def _check_action_values(q_tm1: Array, a_tm1: Array, q_t: Array) -> None:
    check_rank(1, q_tm1=q_tm1, q_t=q_t)
    check_rank(0, a_tm1=a_tm1)
    check_same_shape(q_tm1=q_tm1, q_t=q_t)
