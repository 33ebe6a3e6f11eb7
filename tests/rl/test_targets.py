"""Agents with a replay buffer, each part of their one step against numbers that numpy works out.

The environment leads from one state to one other, so that all of a batch is known. Where draws are left,
expectations over them are integrals, and a large batch comes near them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from scipy import stats

from jaxdl.rl import Box, Discrete, Priority, Schedule, c51, dqn, sac, td3
from jaxdl.rl.off_policy import explored, random_action
from jaxdl.rl.td3 import smoothed
from jaxdl.train import Options

KEY = jax.random.key(0)
GAMMA, RATE = 0.9, 0.1
# One moment fills the buffer, so that a batch is drawn from the newest.
FEW = Schedule(num_envs=8, collect=1, updates=1, batch_size=4, capacity=1, warmup=1, discount=GAMMA)
MANY = FEW._replace(num_envs=512, batch_size=2**14)
LOW, HIGH = -2.0, 4.0  # of an action in the environment's own unit
Z = np.linspace(-8, 8, 1001)  # of a standard normal variable


class Linear(nn.Module):
    """Map [B, 2] to [B, num] by fixed first weights of mixed signs."""

    num: int

    @nn.compact
    def __call__(self, observation):
        start = np.random.default_rng(15).uniform(-1, 1, (2, self.num))
        return observation @ self.param("w", lambda key: jnp.asarray(start, jnp.float32))


class Mu(nn.Module):
    """An action tanh wᵀs."""

    @nn.compact
    def __call__(self, observation):
        return jnp.tanh(observation @ self.param("w", lambda key: jnp.asarray([[-0.6], [1.5]])))


class Normal(nn.Module):
    """A mean wᵀs, and a log σ of its own."""

    @nn.compact
    def __call__(self, observation):
        mean = observation @ self.param("w", lambda key: jnp.asarray([[0.3], [0.8]]))
        log_std = self.param("log_std", lambda key: jnp.asarray([-0.4]))
        return mean, jnp.broadcast_to(log_std, mean.shape)


class Bowls(nn.Module):
    """Two values cᵀs − 2(a − bᵀs)²."""

    @nn.compact
    def __call__(self, observation, action):
        c = self.param("c", lambda key: jnp.asarray([[0.7, 0.2], [0.1, 0.4]]))
        b = self.param("b", lambda key: jnp.asarray([[-0.3, 0.9], [0.2, -0.4]]))
        return observation @ c - 2 * (action - observation @ b) ** 2


def bowls(params, observation, action):
    """The same in numpy, for actions [...]: [2, ...]."""
    c, b = (observation @ np.asarray(params["params"][name], np.float64) for name in "cb")
    return np.stack([c[k] - 2 * (action - b[k]) ** 2 for k in range(2)])


class Atoms(nn.Module):
    """Logits [B, 3, 3]: in both states the best action is not the one that is surest of its return."""

    @nn.compact
    def __call__(self, observation):
        p = np.asarray([[0.05, 0.9, 0.05], [0.36, 0.04, 0.6], [0.6, 0.2, 0.2]])
        start = np.stack([np.log(p), np.log(p[::-1])])
        w = self.param("w", lambda key: jnp.asarray(start, jnp.float32))
        return jnp.einsum("bo,oak->bak", observation, w)


def weights(params):
    return np.asarray(params["params"]["w"], np.float64)


class Step(NamedTuple):
    """γ, or 0 where nothing follows, the state before a step, its transitions [N], and what it leaves."""

    discount: float
    before: Any
    path: Any
    after: Any
    metrics: Any


def estranged(state):
    """The same state, with target networks that have values of their own."""
    rng = np.random.default_rng(1)
    move = lambda leaf: leaf + jnp.asarray(rng.uniform(-0.8, 0.8, leaf.shape), jnp.float32)
    target = jax.tree.map(move, state.model_state["target"])
    return state.replace(model_state={**state.model_state, "target": target})


def each_end(learner, start):
    """Take the first step three times: episodes go on, terminate, or are truncated."""
    step, state = jax.jit(learner.step), estranged(start)
    for terminated, truncated in ((False, False), (True, False), (False, True)):
        ends = {"terminated": terminated, "truncated": truncated}
        flags = jax.tree.map(jnp.full_like, state.worlds.state, ends)
        before = state.replace(worlds=state.worlds._replace(state=flags))
        after, metrics = step(before)
        path = jax.tree.map(lambda leaf: np.asarray(leaf[0]), after.replay.path)
        yield Step(0.0 if terminated else GAMMA, before, path, after, metrics)


def after_warmup(time):
    """ε: only the first moment is explored at random."""
    return jnp.where(time >= 1, 0.0, 1.0)


def paid(action):
    return 0.3 * action.astype(jnp.float32).sum() - 0.2


def paid_unit(action):
    """What an action in [−1, 1] brings, that the environment takes between LOW and HIGH."""
    return 0.3 * (LOW + (HIGH - LOW) * (action + 1) / 2) - 0.2


def near(found, mean, std):
    """Whether a batch of this mean and standard deviation may average to what was found."""
    np.testing.assert_allclose(found, mean, atol=5 * std / np.sqrt(MANY.batch_size) + 1e-4, rtol=1e-3)


def over_z(value):
    """Mean and standard deviation of value [..., Z] under a normal variable, leading axes alike."""
    p = np.broadcast_to(stats.norm.pdf(Z), value.shape)
    p = p / p.sum()
    mean = (p * value).sum()
    return mean, np.sqrt((p * (value - mean) ** 2).sum())


def slopes(f, x, h=1e-4):
    """∂f/∂xᵢ for each entry of x, by central differences."""
    bumps = h * np.eye(x.size).reshape(x.size, *x.shape)
    return [(f(x + bump) - f(x - bump)) / (2 * h) for bump in bumps]


def critics_loss(step, observation, y):
    """½ Σₖ (Qₖ(s, a) − y)² for the actions [N] that were taken and targets [N, Z]: its mean and spread."""
    q = bowls(step.before.params["critics"], observation, step.path.action[:, 0])
    return over_z(0.5 * ((q[..., None] - y) ** 2).sum(0))


@pytest.mark.parametrize("double", [False, True])
def test_dqn(bandit, double):
    """Its errors at each end of an episode, its exploration by the environment's clock, its evaluation."""
    make, s, s_t = bandit
    environment, net = make(Discrete(3), paid), Linear(3)
    learner = dqn(environment, net, optax.sgd(RATE), epsilon=after_warmup, double=double, schedule=FEW)
    start = jax.jit(learner.init)(KEY)
    for step in each_end(learner, start):
        w, w_target = weights(step.before.params["q"]), weights(step.before.model_state["target"])
        action = (s @ w).argmax()
        np.testing.assert_array_equal(step.path.action, np.full(8, action))
        best, other = (s_t @ w).argmax(), (s_t @ w_target).argmax()
        assert best != other
        following = (s_t @ w_target)[best if double else other]
        error = 0.3 * action - 0.2 + step.discount * following - (s @ w)[action]
        np.testing.assert_allclose(step.after.model_state["error"], np.full(4, error), rtol=1e-4)
        huber = error**2 / 2 if abs(error) < 1 else abs(error) - 0.5
        np.testing.assert_allclose(step.metrics["loss"], huber, rtol=1e-4)
    returns = learner.evaluate(start, None, KEY)["return"]
    np.testing.assert_allclose(returns, np.full(100, 0.3 * action - 0.2), rtol=1e-5)


def test_c51(bandit):
    """Its loss at each end of an episode, its exploration by the environment's clock, its evaluation."""
    make, s, s_t = bandit
    environment = make(Discrete(3), lambda action: 1 - 0.1 * (action - 1.0))
    keywords = {"low": 0.0, "high": 2.0, "epsilon": after_warmup, "schedule": FEW}
    learner = c51(environment, Atoms(), optax.sgd(RATE), **keywords)

    def probabilities(params, observation):
        e = np.exp(np.einsum("o,oak->ak", observation, weights(params)))
        return e / e.sum(-1, keepdims=True)

    start = jax.jit(learner.init)(KEY)
    for step in each_end(learner, start):
        p = probabilities(step.before.params["q"], s)
        p_t = probabilities(step.before.model_state["target"], s_t)
        assert (p @ np.arange(3.0)).argmax() == 1 != p.max(-1).argmax()
        np.testing.assert_array_equal(step.path.action, np.ones(8))  # which brings 1
        p_t = p_t[(p_t @ np.arange(3.0)).argmax()]
        # returns 1, 1.9, 2.8, or 1 alone: on atoms 0, 1, 2 they are (0, 1, 0), (0, 0.1, 0.9), (0, 0, 1)
        target = p_t @ np.asarray([[0, 1, 0], [0, 0.1, 0.9], [0, 0, 1.0]]) if step.discount else np.eye(3)[1]
        np.testing.assert_allclose(step.metrics["loss"], -(target * np.log(p[1])).sum(), rtol=1e-4)
    np.testing.assert_allclose(learner.evaluate(start, None, KEY)["return"], np.ones(100))


def test_td3(bandit):
    """Its critics at each end of an episode, its policy's step, its exploration and its evaluation."""
    make, s, s_t = bandit
    environment = make(Box(np.full(1, LOW), np.full(1, HIGH)), paid)
    noise = {"exploration_std": 0.1, "smoothing_std": 0.6, "smoothing_bound": 0.3}
    learner = td3(environment, Mu(), Bowls(), optax.sgd(RATE), **noise, policy_every=1, schedule=MANY)
    start = jax.jit(learner.init)(KEY)
    for step in each_end(learner, start):
        target, w = step.before.model_state["target"], weights(step.before.params["policy"])
        a_t = np.tanh(s_t @ weights(target["policy"])) + np.clip(0.6 * Z, -0.3, 0.3)
        assert a_t.min() > -1 and a_t.max() > 1
        q_t = bowls(target["critics"], s_t, np.clip(a_t, -1, 1)).min(0)
        y = paid_unit(step.path.action) + step.discount * q_t
        near(step.metrics["critics/loss"], *critics_loss(step, s, y))

        q_1 = lambda w, critics=step.after.params["critics"]: bowls(critics, s, np.tanh(s @ w))[0, 0]
        moved = (weights(step.after.params["policy"]) - w) / RATE
        assert np.abs(moved).max() > 0.3
        np.testing.assert_allclose(moved.ravel(), slopes(q_1, w), rtol=1e-3, atol=1e-4)

        noisy = stats.norm(np.tanh(s @ w)[0], 0.1)
        assert stats.kstest(step.path.action[:, 0], noisy.cdf).pvalue > 0.01
    returns = learner.evaluate(start, None, KEY)["return"]
    np.testing.assert_allclose(returns, np.full(100, paid_unit(np.tanh(s @ w)[0])), rtol=1e-4)


def vector(policy):
    """The params of a Normal in one array."""
    return np.append(weights(policy), policy["params"]["log_std"])


def squashed_normal(x, observation):
    """Actions tanh u and their log-densities along Z, by the params of a Normal."""
    u = observation @ x[:2] + np.exp(x[2]) * Z
    return np.tanh(u), stats.norm.logpdf(Z) - x[2] + 2 * np.log(np.cosh(u))


def check_policy_of_sac(step, observation, alpha):
    """It has moved against the slope of E[α log π − min Q], as the critics were by then."""
    x = vector(step.before.params["policy"])

    def loss(x):
        action, log_prob = squashed_normal(x, observation)
        return alpha * log_prob - bowls(step.after.params["critics"], observation, action).min(0)

    gradient = [over_z(slope) for slope in slopes(loss, x)]
    assert max(abs(mean) for mean, _ in gradient) > 0.3
    for moved, (mean, std) in zip(vector(step.after.params["policy"]) - x, gradient, strict=True):
        near(moved / RATE, -mean, std)


@pytest.mark.parametrize("target_entropy", [None, 0.6])
def test_sac(bandit, target_entropy):
    """Its critics at each end of an episode, the steps of policy and temperature, exploration, evaluation."""
    make, s, s_t = bandit
    environment, alpha = make(Box(np.full(1, LOW), np.full(1, HIGH)), paid), 0.4
    keywords = {"target_entropy": target_entropy, "schedule": MANY}
    learner = sac(environment, Normal(), Bowls(), optax.sgd(RATE), **keywords)
    start = jax.jit(learner.init)(KEY)
    start = start.replace(params={**start.params, "temperature": jnp.log(alpha)})
    for step in each_end(learner, start):
        x = vector(step.before.params["policy"])
        a_t, log_prob_t = squashed_normal(x, s_t)
        v_t = bowls(step.before.model_state["target"], s_t, a_t).min(0) - alpha * log_prob_t
        y = paid_unit(step.path.action) + step.discount * v_t
        near(step.metrics["critics/loss"], *critics_loss(step, s, y))
        check_policy_of_sac(step, s, alpha)

        wanted = -1.0 if target_entropy is None else target_entropy
        _, log_prob = squashed_normal(vector(step.after.params["policy"]), s)
        mean, std = over_z(alpha * (log_prob + wanted))
        assert abs(mean) > 0.1
        moved = step.after.params["temperature"] - step.before.params["temperature"]
        near(moved / RATE, mean, std)

        drawn = np.arctanh(step.path.action[:, 0].astype(np.float64))
        assert stats.kstest(drawn, stats.norm(s @ x[:2], np.exp(x[2])).cdf).pvalue > 0.01
    returns = learner.evaluate(start, None, KEY)["return"]
    np.testing.assert_allclose(returns, np.full(100, paid_unit(np.tanh(s @ x[:2]))), rtol=1e-4)


@pytest.mark.parametrize(("std", "bound"), [(0.2, 0.3), (0.2, np.inf), (1.0, 0.5)])
def test_smoothed_actions(std, bound):
    """Clipped twice: the noise, and the action with it."""
    found = np.asarray(smoothed(KEY, jnp.full(20_000, 0.6), std, bound), np.float64)
    low, high = max(0.6 - bound, -1.0), min(0.6 + bound, 1.0)
    assert low - 1e-6 <= found.min() and found.max() <= high + 1e-6
    free, on_edge = stats.norm(0.6, std), [np.abs(found - edge) < 1e-6 for edge in (low, high)]
    np.testing.assert_allclose(np.mean(on_edge, 1), [free.cdf(low), free.sf(high)], atol=0.015)
    between = stats.truncnorm((low - 0.6) / std, (high - 0.6) / std, 0.6, std)
    assert stats.kstest(found[~np.any(on_edge, 0)], between.cdf).pvalue > 0.01


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_explored_actions(epsilon):
    q = jnp.broadcast_to(jnp.asarray([0.1, 2.0, -1.0, 1.9]), (20_000, 4))
    share = np.bincount(explored(q, epsilon, KEY), minlength=4) / 20_000
    expected = np.asarray([0, 1 - epsilon, 0, 0]) + epsilon / 4
    np.testing.assert_allclose(share, expected, atol=0.015)
    np.testing.assert_array_equal(share > 0, expected > 0)


def test_random_actions(bandit):
    """Each equally likely, between the bounds of each dimension."""
    make, *_ = bandit
    observation = jnp.zeros((20_000, 2))
    share = np.bincount(random_action(make(Discrete(5), paid), observation, KEY)) / 20_000
    np.testing.assert_allclose(share, np.full(5, 0.2), atol=0.015)
    low, high = np.asarray([LOW, 0.0], np.float32), np.asarray([HIGH, 0.5], np.float32)
    found = np.asarray(random_action(make(Box(low, high), paid), observation, KEY), np.float64)
    assert found.shape == (20_000, 2)
    for dimension, a, b in zip(found.T, low, high, strict=True):
        assert stats.kstest(dimension, stats.uniform(a, b - a).cdf).pvalue > 0.01
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.05


def prioritized(make, accumulate):
    schedule = FEW._replace(capacity=3, warmup=2)
    options = Options(accumulate=accumulate, on_nonfinite="skip")
    keywords = {"priority": Priority(), "schedule": schedule, "options": options}
    return dqn(make(Discrete(3), paid), Linear(3), optax.sgd(RATE), epsilon=lambda time: 1.0, **keywords)


def test_micro_batches_leave_the_priorities_of_the_whole_batch(bandit):
    make, s, _ = bandit
    start = estranged(jax.jit(prioritized(make, 1).init)(KEY))
    whole, halves = (jax.jit(prioritized(make, num).step)(start)[0] for num in (1, 2))
    pairs = zip(
        *(jax.tree.leaves((state.params, state.model_state)) for state in (whole, halves)), strict=True
    )
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

    w, action = weights(start.params["q"]), np.asarray(whole.replay.path.action)
    error = np.abs(0.3 * action - 0.2 - (s @ w)[action])  # of episodes of one step
    for state in (whole, halves):
        found = np.asarray(state.replay.priority)
        drawn = found != 1.0  # the priority of what is new
        assert 1 < drawn.sum() <= 4
        np.testing.assert_allclose(found[drawn], error[drawn], rtol=1e-4)


def test_a_skipped_step_leaves_priorities_as_they_were(bandit):
    """One whose params are NaN is skipped, another is not."""
    make, *_ = bandit
    learner = prioritized(make, 1)
    start, step = jax.jit(learner.init)(KEY), jax.jit(learner.step)
    priority = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (3, 8)), jnp.float32)
    start = start.replace(
        replay=start.replay._replace(priority=priority),
        model_state={**start.model_state, "error": jnp.full(4, 9.0)},
    )
    spoiled = start.replace(params=jax.tree.map(lambda leaf: leaf * jnp.nan, start.params))
    for state, skipped in ((spoiled, True), (start, False)):
        after, metrics = step(state)
        assert bool(metrics["skipped"]) is skipped
        old = np.asarray(after.replay.priority)[:2]  # the third moment is new
        assert np.array_equal(old, priority[:2]) is skipped
        assert bool((after.replay.priority[2] == priority.max()).all()) is skipped
