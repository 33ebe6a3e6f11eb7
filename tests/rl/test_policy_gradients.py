"""What a policy's output means, and the one step of each policy-gradient method, against closed forms.

The reward of each action of a bandit is known, and so is the gradient of its expectation; a large batch comes
near it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from scipy import integrate, stats

from jaxdl.rl import Box, Discrete, actor_critic, ppo, reinforce, trpo
from jaxdl.rl.policy import categorical, gaussian

KEY = jax.random.key(0)
SIZE, ENTROPY, VALUE = 2**18, 0.5, 0.8  # episodes in a batch; weights of the losses
LOGITS, REWARDS = np.asarray([1.2, -0.5, 0.1]), np.asarray([0.5, 2.0, -0.5])
MEAN, LOG_STD = np.asarray([0.3, -0.2]), np.asarray([-0.5, 0.2])
LINEAR, BOW = np.asarray([1.0, -0.5]), np.asarray([0.4, 1.0])  # the reward Σ l a − ½ h a² of an action [2]
BASE = 0.2  # the value that is expected at first


class Fixed(nn.Module):
    """Give the logits, the mean and log σ, or the value, each a param, whatever is observed."""

    kind: str

    @nn.compact
    def __call__(self, observation):
        def row(name, start):
            start = jnp.asarray(start, jnp.float32)
            return jnp.broadcast_to(self.param(name, lambda key: start), (len(observation), *start.shape))

        if self.kind == "normal":
            return row("mean", MEAN), row("log_std", LOG_STD)
        return row(self.kind, LOGITS if self.kind == "logits" else BASE)


def discrete(make):
    return make(Discrete(3), lambda action: jnp.asarray(REWARDS, jnp.float32)[action]), Fixed("logits")


def continuous(make):
    box = Box(np.full(2, -9.0, np.float32), np.full(2, 9.0, np.float32))
    return make(box, lambda action: (LINEAR * action - BOW * action**2 / 2).sum()), Fixed("normal")


PI = np.exp(LOGITS) / np.exp(LOGITS).sum()
H = -(PI * np.log(PI)).sum()
VAR = np.exp(2 * LOG_STD)
# Of each policy: the expected reward, its gradient, that of the entropy, the reward of the likeliest action.
KINDS = {
    discrete: (
        PI @ REWARDS,
        {"logits": PI * (REWARDS - PI @ REWARDS)},
        {"logits": -PI * (np.log(PI) + H)},
        REWARDS[0],
    ),
    continuous: (
        (LINEAR * MEAN - BOW * (MEAN**2 + VAR) / 2).sum(),
        {"mean": LINEAR - BOW * MEAN, "log_std": -BOW * VAR},
        {"mean": np.zeros(2), "log_std": np.ones(2)},
        (LINEAR * MEAN - BOW * MEAN**2 / 2).sum(),
    ),
}
LEARNERS = {
    "actor_critic": lambda *nets, **keywords: actor_critic(
        *nets, num_envs=SIZE, num_steps=1, value_weight=VALUE, **keywords
    ),
    "ppo": lambda *nets, **keywords: ppo(
        *nets,
        num_envs=SIZE,
        num_steps=1,
        epochs=1,
        minibatches=1,
        value_weight=VALUE,
        normalize=False,
        **keywords,
    ),
    "reinforce": lambda environment, policy, _, optimizer, **keywords: reinforce(
        environment, policy, optimizer, num_envs=SIZE, **keywords
    ),
}


def step_of(learner):
    """How far a step moves each param, by name, the state before it, and its metrics."""
    start = jax.jit(learner.init)(KEY)
    after, metrics = jax.jit(learner.step)(start)
    params = [state.params.get("agent", state.params) for state in (start, after)]
    moved = jax.tree.map(lambda new, old: np.asarray(new - old, np.float64), *reversed(params))
    return {name: leaf for net in moved.values() for name, leaf in net["params"].items()}, start, metrics


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", LEARNERS)
def test_a_step_follows_reward_and_entropy(name, kind, bandit):
    """By plain gradient descent of rate 1; and the evaluation takes the likeliest action."""
    environment, policy = kind(bandit[0])
    reward, of_reward, of_entropy, likeliest = KINDS[kind]
    learner = LEARNERS[name](environment, policy, Fixed("value"), optax.sgd(1.0), entropy_weight=ENTROPY)
    moved, start, metrics = step_of(learner)
    assert max(np.abs(slope).max() for slope in of_entropy.values()) > 0.2
    for param, slope in of_reward.items():
        bonus = ENTROPY * of_entropy[param]
        assert np.abs(slope).max() > 0.2
        np.testing.assert_allclose(moved[param], slope + bonus, atol=0.03)
    if name != "reinforce":
        np.testing.assert_allclose(moved["value"], VALUE * (reward - BASE), atol=0.03)
    np.testing.assert_allclose(metrics["episode_return"], reward, atol=0.03)
    returns = learner.evaluate(start, None, KEY)["return"]
    np.testing.assert_allclose(returns, np.full(100, likeliest), rtol=1e-5)


def test_a_trust_region_step_of_a_gaussian_policy(bandit):
    """Along (F + ηI)⁻¹ ∇E[r], with F = 1/σ² for μ and 2 for log σ, to the edge of the region."""
    (environment, policy), delta, damping = continuous(bandit[0]), 1e-3, 0.1
    keywords = {"num_envs": SIZE, "num_steps": 1, "delta": lambda time: delta, "damping": damping}
    learner = trpo(environment, policy, Fixed("value"), optax.sgd(0.0), **keywords)
    moved, start, metrics = step_of(learner)
    _, gradient, _, likeliest = KINDS[continuous]
    gradient = np.concatenate([gradient["mean"], gradient["log_std"]])
    fisher = np.concatenate([1 / VAR, [2, 2]])
    direction = gradient / (fisher + damping)
    expected = np.sqrt(2 * delta / (direction @ gradient)) * direction
    assert float(metrics["shrunk"]) == 0
    found = np.concatenate([moved["mean"], moved["log_std"]])
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
    kl = kl_by_integration(MEAN, LOG_STD, MEAN + moved["mean"], LOG_STD + moved["log_std"])
    np.testing.assert_allclose(metrics["kl"], kl, rtol=1e-2)
    assert float(metrics["gain"]) > 0
    returns = learner.evaluate(start, None, KEY)["return"]
    np.testing.assert_allclose(returns, np.full(100, likeliest), rtol=1e-5)


def kl_by_integration(mean, log_std, other_mean, other_log_std):
    """∫ p log p/q of independent normal variables."""
    total = 0.0
    for m, s, n, t in zip(mean, np.exp(log_std), other_mean, np.exp(other_log_std), strict=True):
        p, q = stats.norm(m, s), stats.norm(n, t)
        ratio = lambda x, p=p, q=q: p.pdf(x) * (p.logpdf(x) - q.logpdf(x))
        total += integrate.quad(ratio, m - 9 * s, m + 9 * s, epsabs=1e-10)[0]
    return total


def test_a_gaussian_head():
    normal = gaussian(2)
    output = jnp.asarray(MEAN, jnp.float32), jnp.asarray(LOG_STD, jnp.float32)
    p = stats.norm(MEAN, np.exp(LOG_STD))
    drawn = normal.sample(normal.noise(KEY, 20_000), jax.tree.map(lambda leaf: leaf[None], output))
    drawn = np.asarray(drawn, np.float64)
    for dimension, m, s in zip(drawn.T, MEAN, np.exp(LOG_STD), strict=True):
        assert stats.kstest(dimension, stats.norm(m, s).cdf).pvalue > 0.01
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.05

    action = np.asarray([0.7, 0.4])
    np.testing.assert_allclose(normal.mode(output), MEAN, rtol=1e-6)
    np.testing.assert_allclose(
        normal.log_prob(jnp.asarray(action), output), p.logpdf(action).sum(), rtol=1e-5
    )
    np.testing.assert_allclose(normal.entropy(output), p.entropy().sum(), rtol=1e-5)
    other = jnp.asarray([0.0, 0.5]), jnp.asarray([0.1, -0.3])
    np.testing.assert_allclose(
        normal.kl(output, other), kl_by_integration(*map(np.asarray, (*output, *other))), rtol=1e-4
    )
    loss = normal.policy_gradient_loss(output, jnp.asarray(action), jnp.float32(-1.5))
    np.testing.assert_allclose(loss, 1.5 * p.logpdf(action).sum(), rtol=1e-5)


def test_a_categorical_head():
    softmax = categorical(3)
    logits, other = (jnp.asarray(leaf, jnp.float32) for leaf in (LOGITS, LOGITS[::-1]))
    drawn = softmax.sample(softmax.noise(KEY, 20_000), logits[None])
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 20_000, PI, atol=0.015)
    assert int(softmax.mode(logits)) == 0
    np.testing.assert_allclose(softmax.log_prob(jnp.int32(1), logits), np.log(PI[1]), rtol=1e-5)
    np.testing.assert_allclose(softmax.entropy(logits), H, rtol=1e-5)
    np.testing.assert_allclose(softmax.kl(logits, other), stats.entropy(PI, PI[::-1]), rtol=1e-4)
    loss = softmax.policy_gradient_loss(logits, jnp.int32(1), jnp.float32(-1.5))
    np.testing.assert_allclose(loss, 1.5 * np.log(PI[1]), rtol=1e-5)


def test_a_trust_region_has_no_form_under_an_axis_name(bandit):
    learner = trpo(*discrete(bandit[0]), Fixed("value"), optax.sgd(0.0), num_envs=1, num_steps=1)
    state = jax.eval_shape(learner.init, KEY)
    with pytest.raises(ValueError, match="no form under an axis name, here 'batch'; choose strategy jit"):
        jax.eval_shape(lambda state: learner.step(state, None, axis_name="batch"), state)
