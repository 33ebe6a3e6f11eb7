import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from jaxdl import objectives

T = 9
RNG = np.random.default_rng(0)
REWARDS, VALUES, NEXT_VALUES = RNG.normal(size=(3, T)).astype(np.float32)
DISCOUNTS = np.full(T, 0.9, np.float32)
DISCOUNTS[4] = 0  # one termination inside the stream
STREAM = (REWARDS, DISCOUNTS, NEXT_VALUES)


def assert_close(value, expected):
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


# --- sequences


def test_discounted_returns_by_hand():
    # ‼ RL01: G = Σₖ γᵏ r; here 1 + ½·2 + ¼·4 + ⅛·8, and so on backwards.
    r_t, discount_t = jnp.array([1.0, 2.0, 4.0]), jnp.full(3, 0.5)
    assert_close(objectives.discounted_returns(r_t, discount_t, 8.0), [4, 6, 8])
    assert_close(objectives.discounted_returns(r_t, jnp.array([0.5, 0, 0.5]), 8.0), [2, 2, 8])


def n_step_loop(n):
    """Walk forward from each step: n rewards, then the value, or the last value where the stream ends."""
    returns = []
    for start in range(T):
        total, weight = 0.0, 1.0
        for t in range(start, min(start + n, T)):
            total, weight = total + weight * REWARDS[t], weight * DISCOUNTS[t]
        returns.append(total + weight * NEXT_VALUES[t])
    return np.array(returns)


@pytest.mark.parametrize("n", [1, 2, 5, T, T + 3])
def test_n_step_returns_walk_forward(n):
    returns = jax.jit(objectives.n_step_returns, static_argnames="n")(*STREAM, n=n)
    assert_close(returns, n_step_loop(n))


def test_n_step_returns_count_at_least_one_reward():
    with pytest.raises(ValueError, match="n is 0"):
        objectives.n_step_returns(*STREAM, n=0)


@pytest.mark.parametrize("lambda_", [0.0, 0.3, 0.95, 1.0])
def test_lambda_returns_mix_n_step_returns(lambda_):
    # The forward view: (1 − λ) Σₙ λⁿ⁻¹ Gⁿ, and all the remaining weight on the longest return.
    mixed = sum((1 - lambda_) * lambda_ ** (n - 1) * n_step_loop(n) for n in range(1, 400))
    returns = jax.jit(objectives.lambda_returns)(*STREAM, lambda_=lambda_)
    assert_close(returns, mixed if lambda_ < 1 else n_step_loop(T))


def test_lambda_returns_at_the_ends_of_lambda():
    assert_close(objectives.lambda_returns(*STREAM, 0.0), REWARDS + DISCOUNTS * NEXT_VALUES)
    monte_carlo = objectives.discounted_returns(REWARDS, DISCOUNTS, NEXT_VALUES[-1])
    assert_close(objectives.lambda_returns(*STREAM, 1.0), monte_carlo)


def gae_loop(lambda_, truncated):
    """Sum discounted errors forward from each step until a truncation or the end."""
    delta = REWARDS + DISCOUNTS * NEXT_VALUES - VALUES
    advantages = []
    for start in range(T):
        total, weight = 0.0, 1.0
        for t in range(start, T):
            total, weight = total + weight * delta[t], weight * lambda_ * DISCOUNTS[t]
            if truncated[t]:
                break
        advantages.append(total)
    return advantages


@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("truncated", [(), (2,), (1, 7)])
def test_gae_sums_errors_forward(lambda_, truncated):
    truncated_t = np.isin(np.arange(T), truncated)
    gae = jax.jit(objectives.gae)
    advantages = gae(REWARDS, DISCOUNTS, VALUES, NEXT_VALUES, lambda_, truncated_t)
    assert_close(advantages, gae_loop(lambda_, truncated_t))
    assert_close(gae(REWARDS, DISCOUNTS, VALUES, NEXT_VALUES, lambda_, np.float32(truncated_t)), advantages)
    if not truncated:
        assert_close(gae(REWARDS, DISCOUNTS, VALUES, NEXT_VALUES, lambda_), advantages)


def test_gae_of_chained_values_completes_to_lambda_returns():
    values = np.append(VALUES, NEXT_VALUES[-1])
    advantages = objectives.gae(REWARDS, DISCOUNTS, values[:-1], values[1:], 0.8)
    assert_close(advantages + values[:-1], objectives.lambda_returns(REWARDS, DISCOUNTS, values[1:], 0.8))


def test_truncation_bootstraps_and_termination_does_not():
    r_t, v_tm1, v_t = jnp.array([1.0, 1.0]), jnp.array([10.0, 30.0]), jnp.array([20.0, 40.0])
    cut = jnp.array([1.0, 0.0])
    assert_close(objectives.gae(r_t, jnp.array([0.5, 0.5]), v_tm1, v_t, 1.0, cut), [1 + 10 - 10, 1 + 20 - 30])
    assert_close(objectives.gae(r_t, jnp.array([0.0, 0.5]), v_tm1, v_t, 1.0), [1 - 10, 1 + 20 - 30])


def test_sequences_are_differentiable_and_map():
    # dG₀/dr = Πγ up to each step, which is what a learner through λ-returns relies on.
    grad = jax.grad(lambda r: objectives.lambda_returns(r, DISCOUNTS, NEXT_VALUES, 0.5)[0])(
        jnp.array(REWARDS)
    )
    assert_close(grad, np.cumprod(np.append(1, 0.5 * DISCOUNTS[:-1])))
    batch = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), (REWARDS, VALUES, NEXT_VALUES))
    advantages = jax.vmap(lambda r, v, w: objectives.gae(r, DISCOUNTS, v, w, 0.7))(*batch)
    assert_close(advantages, np.outer([1, 2], gae_loop(0.7, np.zeros(T))))


@pytest.mark.parametrize("dtype", [np.int32, np.float16])
def test_sequences_take_rewards_of_other_types(dtype):
    assert_close(
        objectives.discounted_returns(np.arange(3).astype(dtype), DISCOUNTS[:3], 1.0), [3.249, 3.61, 2.9]
    )


def test_a_wrong_shape_names_vmap():
    for call in (
        lambda: objectives.discounted_returns(REWARDS, DISCOUNTS[:1], 0.0),
        lambda: objectives.n_step_returns(REWARDS, DISCOUNTS, NEXT_VALUES[:1], 2),
        lambda: objectives.lambda_returns(REWARDS, DISCOUNTS[:1], NEXT_VALUES, 0.5),
        lambda: objectives.lambda_returns(*STREAM, np.full(1, 0.5)),
        lambda: objectives.gae(REWARDS, DISCOUNTS, VALUES[:1], NEXT_VALUES, 0.5),
        lambda: objectives.gae(REWARDS, DISCOUNTS, VALUES, NEXT_VALUES, 0.5, np.zeros(1)),
    ):
        with pytest.raises(AssertionError, match="vmap"):
            call()


# --- one step

Q_TM1, Q_T, SELECTOR = jnp.array([1.0, 2.0, 3.0]), jnp.array([4.0, 0.0, 8.0]), jnp.array([9.0, 1.0, 0.0])
PROBS = jnp.array([0.5, 0.25, 0.25])

# The arguments that stand after (q_tm1, a_tm1, r_t, discount_t), and the bootstrap value by hand.
ERRORS = {
    "sarsa_error": ((Q_T, 1), 0.0),  # ‼ RL07: the value of the action taken, neither the best nor the mean
    "expected_sarsa_error": ((Q_T, PROBS), 4.0),
    "q_learning_error": ((Q_T,), 8.0),  # RL08: the maximum over the next actions
    "double_q_learning_error": ((Q_T, SELECTOR), 4.0),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("discount", [0.5, 0.0])
def test_action_value_errors(name, discount):
    rest, bootstrap = ERRORS[name]
    error = lambda q_tm1, *rest: getattr(objectives, name)(q_tm1, 1, 10.0, discount, *rest)
    assert_close(jax.jit(error)(Q_TM1, *rest), 10 + discount * bootstrap - 2)
    assert_close(jax.grad(error)(Q_TM1, *rest), [0, -1, 0])
    assert_close(jax.grad(error, 1)(Q_TM1, *rest), 0)  # the target is held constant


@pytest.mark.parametrize("name", ERRORS)
def test_action_value_errors_name_the_argument(name):
    error, (q_t, *rest) = getattr(objectives, name), ERRORS[name][0]
    for call, message in [
        (lambda: error(Q_TM1, 1, 10.0, 0.5, q_t[:2], *rest), "q_tm1 .* q_t.*vmap"),
        (lambda: error(Q_TM1[None], 1, 10.0, 0.5, q_t, *rest), "q_tm1 has .*vmap"),
        (lambda: error(Q_TM1, jnp.ones(2, int), 10.0, 0.5, q_t, *rest), "a_tm1 has .*vmap"),
    ]:
        with pytest.raises(AssertionError, match=message):
            call()


def test_action_value_errors_name_what_only_one_of_them_takes():
    for name, rest, message in [
        ("sarsa_error", jnp.ones(2, int), r"a_t has .*vmap"),
        ("expected_sarsa_error", PROBS[:2], r"probs_a_t .*vmap"),
        ("double_q_learning_error", SELECTOR[:2], r"q_t_selector .*vmap"),
    ]:
        with pytest.raises(AssertionError, match=message):
            getattr(objectives, name)(Q_TM1, 1, 10.0, 0.5, Q_T, rest)


def test_td_error():
    assert_close(objectives.td_error(1.0, 10.0, 0.5, 4.0), 11)
    assert jax.grad(objectives.td_error, (0, 1, 2, 3))(1.0, 10.0, 0.5, 4.0) == (-1, 0, 0, 0)


def project_loop(returns, probs, atoms):
    """Share out each return's probability as algorithm 1 of the C51 paper does, one atom at a time."""
    shared, width = np.zeros(len(atoms)), atoms[1] - atoms[0]
    for z, p in zip(np.clip(returns, atoms[0], atoms[-1]), probs, strict=True):
        b = (z - atoms[0]) / width
        low, high = int(np.floor(b)), int(np.ceil(b))
        if low == high:
            shared[low] += p
        else:
            shared[low] += p * (high - b)
            shared[high] += p * (b - low)
    return shared


@pytest.mark.parametrize(
    ("reward", "discount"), [(0.3, 0.9), (0.5, 1.0), (-4.0, 0.9), (9.0, 0.5), (0.7, 0.0)]
)
def test_categorical_q_learning_loss(reward, discount):
    atoms = np.linspace(-2, 2, 9, dtype=np.float32)
    logits_tm1, logits_t = RNG.normal(size=(2, 3, 9)).astype(np.float32)
    probs = softmax(logits_t, axis=1)
    target = project_loop(reward + discount * atoms, probs[np.argmax(probs @ atoms)], atoms)
    loss = lambda logits_tm1, logits_t: objectives.categorical_q_learning_loss(
        atoms, logits_tm1, 1, reward, discount, atoms, logits_t
    )
    value, (grad, grad_target) = jax.jit(jax.value_and_grad(loss, (0, 1)))(logits_tm1, logits_t)
    np.testing.assert_allclose(value, -(target * log_softmax(logits_tm1[1])).sum(), rtol=1e-4)
    # p − m on the action taken: were mass lost in the projection, the entries would not sum to zero.
    np.testing.assert_allclose(grad[1], softmax(logits_tm1[1]) - target, atol=1e-5)
    np.testing.assert_allclose(grad.sum(), 0, atol=1e-5)
    np.testing.assert_array_equal(grad[np.array([0, 2])], 0)
    np.testing.assert_array_equal(grad_target, 0)


@pytest.mark.parametrize(
    ("index", "shape", "message"),
    [
        (1, (3,), r"q_logits_tm1 has .*vmap"),
        (6, (3,), r"q_logits_t has .*vmap"),
        (1, (2, 4), r"q_logits_tm1 has .* \(2, 3\) is expected$"),
        (6, (2, 4), r"q_logits_t has .* \(2, 3\) is expected$"),
        (6, (1, 3), r"q_logits_t has .* \(2, 3\) is expected$"),
    ],
)
def test_categorical_q_learning_wants_one_row_of_logits_per_action(index, shape, message):
    atoms, logits = jnp.arange(3.0), jnp.zeros((2, 3))
    args = [atoms, logits, 1, 0.5, 0.9, atoms, logits]
    args[index] = jnp.zeros(shape)
    with pytest.raises(AssertionError, match=message):
        objectives.categorical_q_learning_loss(*args)


def test_categorical_q_learning_projects_between_different_atoms():
    atoms_tm1, atoms_t = np.float32([0, 1, 2, 3]), np.float32([-1, 0.25, 8])
    logits_t = np.log(np.float32([[0.25, 0.5, 0.25]]))
    loss = lambda logits: objectives.categorical_q_learning_loss(
        atoms_tm1, logits, 0, 0.0, 1.0, atoms_t, logits_t
    )
    assert_close(0.25 - jax.grad(loss)(jnp.zeros((1, 4)))[0], [0.25 + 0.375, 0.125, 0, 0.25])


# --- dynamic programming


def gridworld():
    """Build the 4×4 gridworld of Sutton & Barto, example 4.1: two terminal corners, −1 a step."""
    P, R = np.zeros((16, 4, 16), np.float32), np.full((16, 4), -1, np.float32)
    for s in range(16):
        for a, (dy, dx) in enumerate([(-1, 0), (0, 1), (1, 0), (0, -1)]):
            y, x = s // 4 + dy, s % 4 + dx
            P[s, a, 4 * y + x if 0 <= y < 4 and 0 <= x < 4 else s] = 1
    P[[0, 15]], R[[0, 15]] = 0, 0
    P[0, :, 0] = P[15, :, 15] = 1
    return P, R


def iterate(backup, v, steps):
    return jax.jit(lambda v: jax.lax.fori_loop(0, steps, lambda _, v: backup(v), v))(v)


def test_policy_evaluation_on_the_gridworld():
    P, R = gridworld()
    random = np.full((16, 4), 0.25, np.float32)
    v = iterate(lambda v: objectives.bellman_backup(P, R, 1.0, v, random), jnp.zeros(16), 1000)
    expected = [[0, -14, -20, -22], [-14, -18, -20, -20], [-20, -20, -18, -14], [-22, -20, -14, 0]]
    np.testing.assert_allclose(v.reshape(4, 4), expected, atol=1e-3)


def test_value_iteration_on_the_gridworld():
    P, R = gridworld()
    v = iterate(lambda v: objectives.bellman_optimality_backup(P, R, 1.0, v), jnp.zeros(16), 3)
    np.testing.assert_array_equal(
        v.reshape(4, 4), [[0, -1, -2, -3], [-1, -2, -3, -2], [-2, -3, -2, -1], [-3, -2, -1, 0]]
    )


def random_mdp():
    P = softmax(2 * RNG.normal(size=(6, 3, 6)), axis=-1).astype(np.float32)
    return (
        P,
        RNG.normal(size=(6, 3)).astype(np.float32),
        softmax(RNG.normal(size=(6, 3)), axis=-1).astype(np.float32),
    )


def solve(P, R, discount, policy):
    """Return the value of a policy from the linear system v = R_π + γ P_π v."""
    P_pi, R_pi = np.einsum("sa,sat->st", policy, P), (policy * R).sum(1)
    return np.linalg.solve(np.eye(len(R)) - discount * P_pi, R_pi)


def test_policy_value_is_the_fixed_point_of_the_backup():
    P, R, policy = random_mdp()
    v = solve(P, R, 0.9, policy).astype(np.float32)
    assert_close(objectives.bellman_backup(P, R, 0.9, v, policy), v)
    q = objectives.action_values(P, R, 0.9, v)
    assert_close((policy * q).sum(1), v)


def test_policy_iteration_ends_where_value_iteration_only_approaches():
    # ‼ RL04: the notes say that value iteration ends after finitely many steps; it contracts by γ.
    P, R, _ = random_mdp()
    v, actions = np.zeros(6), None
    for sweep in range(20):
        greedy = np.array(objectives.action_values(P, R, 0.9, jnp.float32(v)).argmax(1))
        if sweep and (greedy == actions).all():
            break
        actions = greedy
        v = solve(P, R, 0.9, np.eye(3)[actions])
    assert sweep < 8
    assert_close(objectives.bellman_optimality_backup(P, R, 0.9, jnp.float32(v)), v)

    u, w = RNG.normal(size=(2, 6)).astype(np.float32)
    backed_up = [objectives.bellman_optimality_backup(P, R, 0.9, x) for x in (u, w)]
    assert np.abs(backed_up[0] - backed_up[1]).max() <= 0.9 * np.abs(u - w).max() + 1e-6

    # One state that returns to itself with reward 1: the error after k sweeps is γᵏ/(1 − γ), never zero.
    one = iterate(
        lambda v: objectives.bellman_optimality_backup(jnp.ones((1, 1, 1)), jnp.ones((1, 1)), 0.5, v),
        jnp.zeros(1),
        10,
    )
    assert_close(2 - one, [2 * 0.5**10])


def test_backups_check_their_tables():
    P, R, policy = random_mdp()
    v = np.zeros(6, np.float32)
    for call, message in [
        (lambda: objectives.bellman_backup(P, R, 0.9, v, policy[:, :1]), "R .* policy .*vmap"),
        (lambda: objectives.bellman_backup(P, R, 0.9, v[:1], policy), r"v .* \(6,\) is expected$"),
        (lambda: objectives.bellman_optimality_backup(P, R[:1], 0.9, v), r"R .* \(6, 3\) is expected$"),
        (lambda: objectives.bellman_optimality_backup(P, R, 0.9, v[None]), "v has .*vmap"),
        (lambda: objectives.action_values(P[:5], R[:5], 0.9, v), r"P .* \(5, 3, 5\) is expected$"),
    ]:
        with pytest.raises(AssertionError, match=message):
            call()
