import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import entr, log_softmax, softmax
from scipy.stats import norm

from jaxdl import objectives

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=4).astype(np.float32)


def assert_close(value, expected):
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def slope(f, x, step=1e-5):
    """Return the gradient of a numpy function by central differences in float64."""
    x = np.float64(x)
    shifts = step * np.eye(x.size).reshape(-1, *x.shape)
    return np.array([(f(x + dx) - f(x - dx)) / (2 * step) for dx in shifts]).reshape(x.shape)


def test_policy_gradient_loss():
    value, grads = jax.jit(jax.value_and_grad(objectives.policy_gradient_loss, (0, 2)))(LOGITS, 1, -2.5)
    assert_close(value, 2.5 * log_softmax(LOGITS)[1])
    assert_close(grads[0], -2.5 * (softmax(LOGITS) - np.eye(4)[1]))
    assert grads[1] == 0


def test_gaussian_policy_gradient_loss():
    mean, log_std, action = RNG.normal(size=(3, 2)).astype(np.float32)
    loss = lambda mean, log_std: -1.5 * norm.logpdf(action, mean, np.exp(log_std)).sum()
    value, grads = jax.jit(jax.value_and_grad(objectives.gaussian_policy_gradient_loss, (0, 1, 2, 3)))(
        mean, log_std, action, 1.5
    )
    assert_close(value, loss(mean, log_std))
    np.testing.assert_allclose(grads[0], slope(lambda m: loss(m, log_std), mean), rtol=1e-4)
    np.testing.assert_allclose(grads[1], slope(lambda s: loss(mean, s), log_std), rtol=1e-4)
    np.testing.assert_array_equal(grads[2], 0)
    assert grads[3] == 0


@pytest.mark.parametrize("baseline", [0.0, 3.0])
def test_expected_loss_has_the_gradient_of_the_return(baseline):
    # ‼ RL12: without the return, as printed, the expected gradient is zero. RL13: a baseline leaves it.
    returns = np.array([1.0, -2.0, 0.5, 4.0], np.float32)
    probs = softmax(LOGITS)
    grads = jax.vmap(jax.grad(objectives.policy_gradient_loss), (None, 0, 0))(
        LOGITS, np.arange(4), returns - baseline
    )
    np.testing.assert_allclose(probs @ grads, -slope(lambda x: softmax(x) @ returns, LOGITS), atol=1e-5)


def test_expected_gaussian_loss_has_the_gradient_of_the_return():
    # ‼ RL11. With return a², E[a²] = μ² + σ²: the gradient is 2μ in μ and 2σ² in log σ.
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    mean, log_std = np.float32([0.7]), np.float32([-0.3])
    actions = np.float32(mean + np.exp(log_std) * nodes[:, None])
    loss = objectives.gaussian_policy_gradient_loss
    grads = jax.vmap(jax.grad(loss, (0, 1)), (None, None, 0, 0))(mean, log_std, actions, actions[:, 0] ** 2)
    expected = [weights @ grad[:, 0] / weights.sum() for grad in grads]
    np.testing.assert_allclose(expected, [-2 * 0.7, -2 * np.exp(-0.6)], rtol=1e-4)


def test_reinforce_over_all_trajectories():
    # ‼ RL11: a trajectory has density p(s₁) ∏ π(a∣s) p(s′∣s, a). Every one of three steps is enumerated.
    steps, discount = 3, 0.8
    start = np.array([0.3, 0.7])
    P = softmax(RNG.normal(size=(2, 2, 2)), axis=-1)
    R, logits = RNG.normal(size=(2, 2, 2))

    def expected_return(logits):
        v = np.zeros(2)
        for _ in range(steps):
            v = (softmax(logits, axis=1) * (R + discount * P @ v)).sum(1)
        return start @ v

    trajectories = list(itertools.product(range(2), repeat=2 * steps))
    states, actions = np.array(trajectories)[:, ::2], np.array(trajectories)[:, 1::2]
    density = start[states[:, 0]] * softmax(logits, axis=1)[states, actions].prod(1)
    density *= P[states[:, :-1], actions[:, :-1], states[:, 1:]].prod(1)
    returns = R[states, actions] @ discount ** np.arange(steps)

    def loss(logits):
        step = lambda state, action, total: objectives.policy_gradient_loss(logits[state], action, total)
        totals = np.repeat(returns[:, None], steps, 1).astype(np.float32)
        return density @ jax.vmap(jax.vmap(step))(states, actions, totals).sum(1)

    np.testing.assert_allclose(density.sum(), 1, rtol=1e-6)
    grad = jax.jit(jax.grad(loss))(np.float32(logits))
    np.testing.assert_allclose(grad, -slope(expected_return, logits), atol=1e-5)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "slope_in_log_ratio"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.1, 2.0, -2.2, -2.2),
        (1.5, 2.0, -2.4, 0.0),  # far enough already
        (0.5, 2.0, -1.0, -1.0),  # pulled back
        (1.5, -2.0, 3.0, 3.0),  # pulled back
        (0.5, -2.0, 1.6, 0.0),  # far enough already
    ],
)
def test_ppo_clip_loss_by_hand(ratio, advantage, expected, slope_in_log_ratio):
    loss = lambda *args: objectives.ppo_clip_loss(*args, epsilon=0.2)
    value, grads = jax.value_and_grad(loss, (0, 1))(jnp.log(ratio), advantage)
    assert_close(value, expected)
    assert_close(grads[0], slope_in_log_ratio)
    assert grads[1] == 0


def test_ppo_clip_loss_survives_an_overflowing_ratio():
    for advantage, expected in [(1.0, -1.2), (0.0, 0.0), (-1.0, np.exp(20))]:
        value, grad = jax.value_and_grad(objectives.ppo_clip_loss)(1e4, advantage)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        assert grad == 0


def test_entropy_bonuses():
    assert_close(objectives.entropy_bonus(LOGITS), entr(softmax(LOGITS)).sum())
    log_std = np.float32([-0.5, 0.2, 1.0])
    assert_close(objectives.gaussian_entropy_bonus(log_std), norm(0, np.exp(log_std)).entropy().sum())


def test_deterministic_policy_gradient_is_the_chain_rule():
    # Q(a) = −‖a − c‖² under the policy a = w s: the gradient of the loss is −dQ/dw.
    c, s = jnp.array([1.0, -1.0]), jnp.array([0.5, 2.0, -1.0])
    q = lambda a: -((a - c) ** 2).sum()
    w = jnp.float32(RNG.normal(size=(2, 3)))
    loss = lambda w: objectives.deterministic_policy_gradient_loss(w @ s, jax.grad(q)(w @ s))
    assert_close(jax.grad(loss)(w), -slope(lambda w: -((w @ np.array(s) - np.array(c)) ** 2).sum(), w))
    assert_close(loss(w), 2 * ((w @ s - c) ** 2).sum())
    with pytest.raises(AssertionError, match="vmap"):
        objectives.deterministic_policy_gradient_loss(w @ s, jnp.ones(1))


def test_sac_terms_by_hand():
    q = jnp.array([3.0, 2.0])
    value, grads = jax.value_and_grad(objectives.sac_actor_loss, (0, 1, 2))(-1.5, q, 0.2)
    assert_close(value, 0.2 * -1.5 - 2)
    assert_close(np.append(grads[0], grads[1]), [0.2, 0, -1])
    assert grads[2] == 0

    value, grads = jax.value_and_grad(objectives.sac_target, (2, 3, 4))(1.0, 0.9, q, -1.5, 0.2)
    assert_close(value, 1 + 0.9 * (2 + 0.3))
    np.testing.assert_array_equal(np.hstack([*grads]), 0)
    assert_close(objectives.sac_target(1.0, 0.0, q, -1.5, 0.2), 1)

    value, grads = jax.value_and_grad(objectives.sac_temperature_loss, (0, 1))(0.5, -1.5, -2.0)
    assert_close(value, 1.75)
    assert_close(grads, (3.5, 0))  # the entropy 1.5 is above its target −2: descent lowers the temperature


def test_sac_actor_reaches_the_boltzmann_policy():
    # α log π − Q is least in expectation at π ∝ exp(Q/α), where it is the same for every action.
    q, temperature = np.float32([1.0, 2.0, -0.5]), 0.7
    log_probs = np.float32(log_softmax(q / temperature))
    losses = jax.vmap(objectives.sac_actor_loss, (0, 0, None))(log_probs, q[:, None], temperature)
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)
