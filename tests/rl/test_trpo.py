"""The pieces of a trust-region step against closed forms, and the step against another parametrization."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxdl.nets.policy import CategoricalPolicy, StateValue
from jaxdl.objectives import kl_categorical
from jaxdl.rl import from_gymnax, trpo
from jaxdl.rl.trpo import fisher_product, largest_step, line_search, natural_direction

THETA = np.asarray([[0.3, -0.2, 0.9], [0.1, 0.5, -0.4]])  # logits [s, a] of a policy without a net
F = np.zeros(
    (2, 3, 2, 3)
)  # its Fisher information, ½ (diag π − π πᵀ) for each of two equally frequent states
for s, pi in enumerate(np.exp(THETA) / np.exp(THETA).sum(-1, keepdims=True)):
    F[s, :, s, :] = 0.5 * (np.diag(pi) - np.outer(pi, pi))
F = F.reshape(6, 6)


def kl(theta):
    return jax.vmap(kl_categorical)(jnp.asarray(THETA, jnp.float32), theta).mean()


def test_the_fisher_product_of_a_softmax():
    v = np.asarray([[1.0, -2.0, 0.5], [0.3, 0.0, 4.0]])
    product = fisher_product(kl, jnp.asarray(THETA, jnp.float32), jnp.asarray(v, jnp.float32))
    np.testing.assert_allclose(product.ravel(), F @ v.ravel(), rtol=1e-4, atol=1e-6)


def test_conjugate_gradients_solve_for_the_natural_direction():
    g, damped = np.arange(6.0), F + 0.1 * np.eye(6)
    product = lambda v: jnp.asarray(damped, jnp.float32) @ v
    x = natural_direction(jnp.asarray(g, jnp.float32), product, 6)
    np.testing.assert_allclose(x, np.linalg.solve(damped, g), rtol=1e-3, atol=1e-3)
    rough = natural_direction(jnp.asarray(g, jnp.float32), product, 1)
    np.testing.assert_allclose(rough, g * (g @ g) / (g @ damped @ g), rtol=1e-4)  # steepest descent


def test_the_step_ends_where_the_quadratic_bound_is_met():
    product = lambda v: {"a": 3.0 * v["a"]}
    step = largest_step({"a": jnp.asarray([1.0, 2.0])}, product, 0.06)
    assert 0.5 * 3.0 * float((step["a"] ** 2).sum()) == pytest.approx(0.06)
    nothing = largest_step({"a": jnp.zeros(2)}, product, 0.06)
    np.testing.assert_array_equal(nothing["a"], np.zeros(2))


@pytest.mark.parametrize(
    ("delta", "tries", "expected", "shrunk"),
    [
        (1.0, 10, 1.0, 3),  # 8, 4 and 2 gain nothing
        (0.05, 10, 0.5, 4),  # 1 leaves the region
        (0.05, 4, 0.0, 4),  # none was found: back to the start
        (0.0, 10, 0.0, 10),
    ],
)
def test_the_line_search_by_hand(delta, tries, expected, shrunk):
    found, tried = jax.jit(line_search, static_argnums=(0, 1, 5))(
        lambda x: x * (2 - x), lambda x: x**2 / 10, jnp.zeros(()), jnp.float32(8.0), delta, tries
    )
    assert (float(found), int(tried)) == (expected, shrunk)


class Linear(nn.Module):
    """Logits 1/c · x (c W): the same policy for every scale c, but other params."""

    scale: float

    @nn.compact
    def __call__(self, observation):
        start = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
        w = self.param("w", lambda key: self.scale * jnp.asarray(start))
        return observation @ w / self.scale


def moved(scale, damping):
    """One step on CartPole: the weights of the logits after it, and its metrics."""
    learner = trpo(
        from_gymnax("CartPole-v1"),
        Linear(scale),
        StateValue((8,)),
        optax.sgd(1e-2),
        num_envs=4,
        num_steps=32,
        delta=lambda step: 0.01,
        damping=damping,
    )
    state, metrics = jax.jit(learner.step)(jax.jit(learner.init)(jax.random.key(0)))
    return np.asarray(state.params["policy"]["params"]["w"]) / scale, metrics


def test_a_step_does_not_depend_on_how_the_policy_is_written():
    """A plain gradient would move the logits 100 times as far where the params are ten times smaller."""
    one, metrics = moved(1.0, 1e-2)
    other, _ = moved(0.1, 1.0)  # F is 100 times larger there
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
    assert 0.002 < float(metrics["kl"]) <= 0.01
    assert float(metrics["gain"]) > 0
    start = np.random.default_rng(0).normal(size=(4, 2))
    assert np.abs(one - start).max() > 0.1


def test_seeds_at_once_move_as_each_alone():
    """Batches of conjugate gradients may not lose themselves, as those of jax.scipy do."""
    value, optimizer = StateValue((8,)), optax.sgd(1e-3)
    policy = CategoricalPolicy(2, (64, 64))
    learner = trpo(from_gymnax("CartPole-v1"), policy, value, optimizer)
    keys = jax.random.split(jax.random.key(1), 6)
    init, step = learner.init, lambda state: learner.step(state)[0].params
    together = jax.jit(jax.vmap(lambda key: step(init(key))))(keys)
    alone = jax.jit(lambda key: step(init(key)))
    for index in (0, 5):
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone(keys[index])), strict=True):
            np.testing.assert_allclose(a[index], b, rtol=1e-2, atol=1e-3)
