"""Policy-gradient estimators against the exact gradient of a small enumerable decision process."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxdl.rl import Box, Discrete, Environment, TimeStep, actor_critic, ppo, reinforce
from jaxdl.rl.reinforce import returns
from jaxdl.rl.rollout import Transition

KEY = jax.random.key(0)
R = np.asarray([[2.0, 0.5], [1.3, 3.0], [0.0, 1.8]], np.float32)  # R[s, a]
P = np.asarray(  # P[s, a, s']
    [
        [[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]],
        [[0.1, 0.1, 0.8], [0.4, 0.4, 0.2]],
        [[0.3, 0.3, 0.4], [0.0, 0.9, 0.1]],
    ],
    np.float32,
)
LENGTH = 3
THETA = np.asarray([[0.3, -0.2], [0.1, 0.5], [-0.4, 0.2]], np.float32)  # logits [s, a]


def one_hot(s):
    return jax.nn.one_hot(s, 3)


def reset(key):
    return {"s": jnp.int32(0), "time": jnp.int32(0)}, one_hot(0)


def step(key, state, action):
    s = jax.random.categorical(key, jnp.log(jnp.asarray(P))[state["s"], action]).astype(jnp.int32)
    time = state["time"] + 1
    truncated = time >= LENGTH
    after = {"s": jnp.where(truncated, 0, s), "time": jnp.where(truncated, 0, time)}
    return after, TimeStep(
        one_hot(after["s"]), jnp.asarray(R)[state["s"], action], jnp.zeros((), bool), truncated, one_hot(s)
    )


CHAIN = Environment(reset, step, Box(np.zeros(3), np.ones(3)), Discrete(2), LENGTH)


class Table(nn.Module):
    """Logits θ[s, ·], or values b[s]."""

    start: tuple

    @nn.compact
    def __call__(self, observation):
        return observation @ self.param("theta", lambda key: jnp.asarray(self.start, jnp.float32))


def table(array):
    return Table(jax.tree.map(float, tuple(map(tuple, array)) if np.ndim(array) == 2 else tuple(array)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def expected_return(theta, discount):
    """Enumerate all (A·S)ᵀ paths: Σ p(path) Σ γᵗ r."""
    pi, total = softmax(theta), 0.0
    for actions in itertools.product(range(2), repeat=LENGTH):
        for states in itertools.product(range(3), repeat=LENGTH - 1):
            path, probability, g = (0, *states), 1.0, 0.0
            for t in range(LENGTH):
                probability *= pi[path[t], actions[t]]
                if t + 1 < LENGTH:
                    probability *= P[path[t], actions[t], path[t + 1]]
                g += discount**t * R[path[t], actions[t]]
            total += probability * g
    return total


def exact_gradient(discount):
    theta, h = THETA.astype(np.float64), 1e-5
    gradient = np.zeros_like(theta)
    for index in np.ndindex(*theta.shape):
        bump = np.zeros_like(theta)
        bump[index] = h
        gradient[index] = (
            expected_return(theta + bump, discount) - expected_return(theta - bump, discount)
        ) / (2 * h)
    return gradient


def estimates(learner, num):
    """Draw `num` estimates of ∇J: minus what plain SGD with rate 1 takes from θ."""

    def one(key):
        state = learner.init(key)
        after, _ = learner.step(state)
        player = "policy" if "policy" in state.params else "agent"
        before, after = state.params[player], after.params[player]
        if player == "agent":
            before, after = before["policy"], after["policy"]
        return after["params"]["theta"] - before["params"]["theta"]

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY, num)), np.float64)


def close(draws, exact):
    error = draws.std(0) / np.sqrt(len(draws))
    return np.abs(draws.mean(0) - exact) < 5 * error + 1e-3


@pytest.mark.parametrize(
    ("discount", "reward_to_go", "baseline"),
    [(0.7, False, None), (1.0, True, None), (1.0, True, (1.5, 1.2, 0.4))],
)
def test_reinforce_is_unbiased(discount, reward_to_go, baseline):
    """The printed estimator without the return would be zero on average, and fails here."""
    exact = exact_gradient(discount)
    assert (np.abs(exact) > 0.02).all()
    keywords = {}
    if baseline is not None:
        keywords = {"baseline": table(baseline), "baseline_optimizer": optax.sgd(0.0)}
    learner = reinforce(
        CHAIN,
        table(THETA),
        optax.sgd(1.0),
        num_envs=4,
        discount=discount,
        reward_to_go=reward_to_go,
        **keywords,
    )
    assert close(estimates(learner, 4_000), exact).all()


def test_rewards_to_go_and_a_baseline_lower_the_variance():
    values = (3.9, 3.0, 2.1)  # near what each state is worth, met early or late
    kinds = {
        "all": {"reward_to_go": False},
        "to go": {},
        "baseline": {"baseline": table(values), "baseline_optimizer": optax.sgd(0.0)},
    }
    variance = {
        name: estimates(
            reinforce(CHAIN, table(THETA), optax.sgd(1.0), num_envs=1, discount=1.0, **kind), 4_000
        )
        .var(0)
        .sum()
        for name, kind in kinds.items()
    }
    assert variance["to go"] < 0.8 * variance["all"]
    assert variance["baseline"] < 0.6 * variance["to go"]


def test_the_baseline_learns_the_mean_return():
    learner = reinforce(
        CHAIN,
        table(THETA),
        optax.sgd(0.0),
        baseline=table(np.zeros(3)),
        baseline_optimizer=optax.sgd(0.3),
        num_envs=64,
        discount=0.5,
    )
    state, _ = jax.jit(partial(jax.lax.scan, lambda state, _: learner.step(state), length=200))(
        learner.init(KEY)
    )
    # Values by backward induction, weighted by how often each state is met at each time.
    pi, v, d = softmax(THETA.astype(np.float64)), np.zeros((LENGTH + 1, 3)), np.zeros((LENGTH, 3))
    for t in reversed(range(LENGTH)):
        v[t] = (pi * (R + 0.5 * P @ v[t + 1])).sum(-1)
    d[0, 0] = 1.0
    for t in range(1, LENGTH):
        d[t] = np.einsum("s,sa,sax->x", d[t - 1], pi, P)
    expected = (d * v[:LENGTH]).sum(0) / d.sum(0)
    np.testing.assert_allclose(state.params["baseline"]["params"]["theta"], expected, atol=0.15)


def continuing_values(discount):
    """V of the process that the time limit cuts but does not end, and the action values."""
    pi = softmax(THETA.astype(np.float64))
    v = np.linalg.solve(
        np.eye(3) - discount * np.einsum("sa,sax->sx", pi, P), (pi * R.astype(np.float64)).sum(-1)
    )
    return v, R + discount * P @ v, pi


@pytest.mark.parametrize(
    ("algorithm", "lambda_"), [("actor_critic", 0.0), ("actor_critic", 1.0), ("ppo", 0.6)]
)
def test_advantages_follow_the_exact_gradient(algorithm, lambda_):
    """With exact values, each action's advantage is Q − V on average, whatever λ, cuts and resets."""
    discount = 0.8
    v, q, pi = continuing_values(discount)
    d = np.zeros((LENGTH, 3))
    d[0, 0] = 1.0
    for t in range(1, LENGTH):
        d[t] = np.einsum("s,sa,sax->x", d[t - 1], pi, P)
    # E[∇log π(a|s) A] with ∂log π(a|s)/∂θ(s, b) = 1{a = b} − π(b|s)
    exact = d.mean(0)[:, None] * pi * (q - v[:, None])
    keywords = {
        "num_envs": 8,
        "num_steps": 2 * LENGTH,
        "discount": discount,
        "lambda_": lambda_,
        "value_weight": 0.0,
    }
    nets = (CHAIN, table(THETA), table(v), optax.sgd(1.0))
    if algorithm == "ppo":
        learner = ppo(*nets, **keywords, epochs=1, minibatches=1, normalize=False)
    else:
        learner = actor_critic(*nets, **keywords)
    assert close(estimates(learner, 4_000), exact).all()


def test_returns_by_hand():
    reward = jnp.asarray([1.0, 2.0, 4.0, 8.0])
    zeros = jnp.zeros(4)
    path = Transition(zeros, zeros, reward, zeros, zeros, zeros)
    mask = jnp.asarray([1.0, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(returns(path, mask, 0.5, True)[:3], [3.0, 4.0, 4.0])
    np.testing.assert_allclose(returns(path, mask, 0.5, False)[:3], [3.0, 3.0, 3.0])


def test_a_baseline_needs_its_optimizer():
    with pytest.raises(ValueError, match="give both or neither"):
        reinforce(CHAIN, table(THETA), optax.sgd(1.0), baseline=table(np.zeros(3)))
