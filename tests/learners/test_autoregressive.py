"""The autoregressive learner: its numbers by hand, conditionals against scipy, what is given stays."""

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from scipy import stats
from scipy.special import logsumexp, softmax

from jaxdl.learners.autoregressive import (
    BERNOULLI,
    NORMAL,
    autoregressive,
    categorical,
    log_prob,
    logistic_mixture,
    normal_mixture,
    sample,
)
from jaxdl.nets.made import MADE, even_degrees, random_degrees

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator
RNG = np.random.default_rng(0)
X = RNG.integers(0, 2, (5, 2, 2, 1)).astype(np.float32)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def state_of(learner, batch):
    """Return a state whose params are far from symmetric."""
    state = jax.jit(learner.init)(KEY, batch)
    return state.replace(params=jax.tree.map(lambda leaf: normal(*leaf.shape), state.params))


def by_hand(x, logits):
    return (x * logits - np.logaddexp(0, logits)).reshape(len(x), -1).sum(1)


def test_its_numbers_by_hand():
    learner = autoregressive(MADE(1, (8,)), BERNOULLI, optax.sgd(0.1))
    state, net = state_of(learner, {"x": X}), MADE(1, (8,))
    expected = -by_hand(X, np.asarray(net.apply({"params": state.params["net"]}, X)[..., 0], np.float64))
    values = jax.jit(learner.evaluate)(state, {"x": X}, KEY)
    assert values.keys() == {"nll"}
    np.testing.assert_allclose(values["nll"], expected, rtol=1e-5)
    _, metrics = jax.jit(learner.step)(state, {"x": X})
    np.testing.assert_allclose(metrics["loss"], expected.mean(), rtol=1e-5)


def test_several_masks_are_trained_one_at_a_time_and_their_probabilities_averaged():
    net = MADE(1, (8,))
    degrees = [even_degrees(4, (8,)), *(random_degrees(jax.random.key(s), 4, (8,)) for s in range(2))]
    stacked = jax.tree.map(lambda *layers: jnp.stack(layers), *degrees)
    learner = autoregressive(net, BERNOULLI, optax.sgd(0.0), degrees=stacked)
    state = state_of(learner, {"x": X})
    each = [
        by_hand(X, np.asarray(net.apply({"params": state.params["net"]}, X, degrees=one)[..., 0], np.float64))
        for one in degrees
    ]
    nll = jax.jit(learner.evaluate)(state, {"x": X}, KEY)["nll"]
    np.testing.assert_allclose(nll, math.log(3) - logsumexp(each, axis=0), rtol=1e-5)
    step, losses = jax.jit(learner.step), []
    for _ in range(12):
        state, metrics = step(state, {"x": X})
        losses.append(float(metrics["loss"]))
    chosen = np.abs(np.subtract.outer(losses, -np.mean(each, 1)))
    np.testing.assert_allclose(chosen.min(1), 0, atol=1e-4)
    assert set(chosen.argmin(1)) == {0, 1, 2}


def test_exported_samples_follow_the_order_of_the_mask_that_draws_them():
    """By enumeration of three bits: each order draws from a law of its own, all of them from the mean."""
    keys = jax.random.split(jax.random.key(1), 3)
    drawn = [random_degrees(key, 3, (8,)) for key in keys]
    degrees = jax.tree.map(lambda *layers: jnp.stack(layers), *drawn)
    assert len({tuple(order.tolist()) for order in degrees[0]}) > 1
    learner = autoregressive(MADE(1, (8,)), BERNOULLI, optax.sgd(0.0), degrees=degrees)
    x = np.array(list(itertools.product([0.0, 1.0], repeat=3)), np.float32)
    state = state_of(learner, {"x": x})
    programs = learner.export(state, {"x": x})
    expected = np.exp(-np.float64(jax.jit(learner.evaluate)(state, {"x": x}, KEY)["nll"]))
    seeds = np.arange(4_000, dtype=np.uint32)
    samples = np.asarray(jax.jit(jax.vmap(programs["sample"][0]))(seeds))
    found = np.bincount((samples @ [4, 2, 1]).astype(int), minlength=8)
    assert stats.chisquare(found, expected / expected.sum() * len(seeds)).pvalue > 1e-3


def parameters(components):
    """Logits, means and log-scales of an example [2, 3], and its output, in which they lie side by side."""
    tables = (
        normal(2, 3, components),
        0.5 + 0.3 * normal(2, 3, components),
        0.3 * normal(2, 3, components) - 1,
    )
    return *map(np.float64, tables), np.concatenate(tables, -1)


def test_a_mixture_of_normals():
    logits, means, log_stds, output = parameters(4)
    x = normal(2, 3)
    density = (softmax(logits, -1) * stats.norm.pdf(x[..., None], means, np.exp(log_stds))).sum(-1)
    conditionals = normal_mixture(4)
    np.testing.assert_allclose(conditionals.log_prob(x, output), np.log(density).sum(), rtol=1e-5)
    draws = jax.jit(jax.vmap(conditionals.sample, (0, None)))(jax.random.split(KEY, 20_000), output)
    np.testing.assert_allclose(draws.mean(0), (softmax(logits, -1) * means).sum(-1), atol=0.02)
    assert conditionals.num_params == output.shape[-1] and conditionals.levels is None


def test_a_normal():
    output, x = normal(3, 2), normal(3)
    expected = stats.norm.logpdf(x, output[:, 0], np.exp(output[:, 1])).sum()
    np.testing.assert_allclose(NORMAL.log_prob(x, output), expected, rtol=1e-5)
    draws = jax.jit(jax.vmap(NORMAL.sample, (0, None)))(jax.random.split(KEY, 20_000), output)
    np.testing.assert_allclose(draws.std(0), np.exp(output[:, 1]), rtol=0.05)


@pytest.mark.parametrize(
    ("conditionals", "size"),
    [(BERNOULLI, 1), (categorical(4), 4), (logistic_mixture(3, 4), 9)],
    ids=["bernoulli", "categorical", "logistic mixture"],
)
def test_levels_have_probabilities_that_samples_have_too(conditionals, size):
    output, levels = normal(1, size), conditionals.levels
    grid = jnp.arange(levels)[:, None] / (levels - 1)
    probabilities = np.exp(jax.jit(jax.vmap(conditionals.log_prob, (0, None)))(grid, output))
    np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-5)
    draws = jax.jit(jax.vmap(conditionals.sample, (0, None)))(jax.random.split(KEY, 4_000), output)
    counts = (np.asarray(draws) == np.asarray(grid)[:, 0]).sum(0)
    assert counts.sum() == len(draws)  # samples lie on the grid
    expected = np.float64(probabilities)
    assert stats.chisquare(counts, 4_000 * expected / expected.sum()).pvalue > 0.01
    assert conditionals.num_params == size


def test_samples_have_the_frequencies_of_their_probabilities():
    net = MADE(1, (8,))
    variables = jax.tree.map(
        lambda leaf: normal(*leaf.shape), jax.eval_shape(net.init, KEY, jnp.zeros((1, 3)))
    )
    apply = partial(net.apply, variables)
    drawn = jax.jit(partial(sample, BERNOULLI, apply))(KEY, jnp.zeros((8_000, 3)))
    every = np.array(list(itertools.product([0.0, 1.0], repeat=3)), np.float32)
    expected = np.exp(np.float64(log_prob(BERNOULLI, apply, {"x": every})))
    counts = np.bincount(np.asarray(drawn, int) @ [4, 2, 1], minlength=8)
    assert stats.chisquare(counts, 8_000 * expected / expected.sum()).pvalue > 0.01


def test_what_is_given_stays_and_what_is_drawn_depends_on_it():
    kernel = np.full((3, 3), 50.0, np.float32)  # each element is sure to copy those before it
    apply = partial(
        MADE(1, ()).apply, {"params": {"MaskedDense_0": {"kernel": kernel, "bias": np.full(3, -25.0)}}}
    )
    x = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    drawn = jax.jit(partial(sample, BERNOULLI, apply))(KEY, x, jnp.array([1, 2]))
    np.testing.assert_array_equal(drawn, [[1, 1, 1], [0, 0, 0]])
    only_last = jax.jit(partial(sample, BERNOULLI, apply))(KEY, x, jnp.array([2]))
    np.testing.assert_array_equal(only_last, [[1, 0, 1], [0, 1, 1]])


@pytest.mark.parametrize("context", [None, normal(5, 2)], ids=["alone", "context"])
def test_pictures_keep_the_upper_half(context):
    learner = autoregressive(MADE(1, (8,)), BERNOULLI, optax.sgd(0.1))
    batch = {"x": X} if context is None else {"x": X, "context": context}
    pictures = learner.render(state_of(learner, batch), batch, KEY)
    assert pictures["samples"].shape == ((23, 23, 1) if context is None else (14, 20, 1))
    rows = [pictures["completions"][3 * i : 3 * i + 2] for i in range(5)]
    for x, row in zip(X, rows, strict=True):
        np.testing.assert_array_equal(row[:, :2], x)  # the first column is the examples
        for column in range(7):
            np.testing.assert_array_equal(row[0, 3 * column : 3 * column + 2], x[0])
    assert set(np.unique(pictures["completions"])) == {0.0, 0.5, 1.0}


def test_bits_per_dim_of_more_than_two_levels():
    learner = autoregressive(MADE(4, (8,)), categorical(4), optax.sgd(0.1))
    x = jnp.asarray(RNG.integers(0, 4, (5, 6)) / 3, jnp.float32)
    values = jax.jit(learner.evaluate)(state_of(learner, {"x": x}), {"x": x}, KEY)
    np.testing.assert_allclose(values["bits_per_dim"], values["nll"] / (6 * np.log(2)), rtol=1e-5)


def test_a_change_of_variables_counts():
    learner = autoregressive(MADE(2, (8,)), NORMAL, optax.sgd(0.0))
    x, log_det = normal(5, 6), normal(5)
    state = state_of(learner, {"x": x})
    evaluate = jax.jit(learner.evaluate)
    alone = evaluate(state, {"x": x}, KEY)
    assert alone.keys() == {"nll"}
    values = evaluate(state, {"x": x, "log_det": log_det}, KEY)
    np.testing.assert_allclose(values["nll"], alone["nll"] - log_det, rtol=1e-5)
    np.testing.assert_allclose(values["bits_per_dim"], values["nll"] / (6 * np.log(2)), rtol=1e-5)


class Wrong(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(x)


def test_wrong_data_and_nets_are_refused():
    learner = autoregressive(MADE(1, (8,)), BERNOULLI, optax.sgd(0.1))
    state = state_of(learner, {"x": X})
    learner.check(state, {"x": X}, {"x": X})
    with pytest.raises(ValueError, match=r"x is 2.0 in example 0; rescale it"):
        learner.check(state, {"x": X}, {"x": np.full_like(X, 2)})
    learner = autoregressive(Wrong(), BERNOULLI, optax.sgd(0.1))
    with pytest.raises(ValueError, match=r"the net maps \[5, 4\] to \[5, 2\], not \[5, 4, 1\]"):
        learner.check(state_of(learner, {"x": X.reshape(5, 4)}), {"x": X.reshape(5, 4)}, {})
