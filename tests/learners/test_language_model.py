"""The language model against tables of next-token probabilities, and its way of sampling."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from scipy.special import log_softmax

from jaxdl.learners import language_model
from jaxdl.nets.transformer import Transformer
from jaxdl.train import Options

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator
VOCABULARY = "abcde"


def decode(tokens):
    return "".join(VOCABULARY[token] for token in tokens)


class Bigram(nn.Module):
    """A table: the logits of the next token are the row of the last one."""

    @nn.compact
    def __call__(self, tokens, *, train):
        return nn.Embed(5, 5, name="table")(tokens)


class Copy(nn.Module):
    """The next token is the one at the start of the window."""

    @nn.compact
    def __call__(self, tokens, *, train):
        scale = self.param("scale", nn.initializers.constant(1e4), ())
        logits = scale * jax.nn.one_hot(tokens[:, 0], 5)
        return jnp.broadcast_to(logits[:, None], (*tokens.shape, 5))


def bigram_state(learner, batch, table):
    state = jax.jit(learner.init)(KEY, batch)
    return state.replace(params={"net": {"table": {"embedding": np.asarray(table, np.float32)}}})


def test_loss_evaluation_and_a_step_by_hand():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(5, 5))
    tokens = rng.integers(5, size=(3, 7)).astype(np.uint8)  # as the data keep them
    learner = language_model(Bigram(), optax.sgd(0.5), decode=decode)
    state = bigram_state(learner, {"tokens": tokens}, table)

    nll = np.zeros((3, 6))
    slope = np.zeros((5, 5))
    for row in range(3):
        for t in range(6):
            last, following = tokens[row, t], tokens[row, t + 1]
            log_probs = log_softmax(table[last])
            nll[row, t] = -log_probs[following]
            slope[last] += (np.exp(log_probs) - np.eye(5)[following]) / 18
    values = jax.jit(learner.evaluate)(state, {"tokens": tokens}, KEY)
    assert set(values) == {"loss"}
    np.testing.assert_allclose(values["loss"], nll.mean(-1), rtol=1e-5)  # one value per sequence
    after, metrics = jax.jit(learner.step)(state, {"tokens": tokens})
    np.testing.assert_allclose(metrics["loss"], nll.mean(), rtol=1e-5)
    moved = after.params["net"]["table"]["embedding"]
    np.testing.assert_allclose(moved, table - 0.5 * slope, rtol=1e-4, atol=1e-6)


def test_sampling_follows_the_table_and_the_key():
    # From a: b or c, evenly; from the others always back to a.
    batch = {"tokens": np.array([[0, 1, 0]])}
    learner = language_model(Bigram(), optax.sgd(0.5), decode=decode, sample_length=400)
    table = np.full((5, 5), -1e4)
    table[0, 1:3] = 0
    table[1:, 0] = 0
    state = bigram_state(learner, batch, table)

    def sample(seed):
        return learner.render(state, batch, jax.random.key(seed, impl="rbg"))["sample"]

    prompt, text = sample(0).split(" | ")
    assert prompt == "ab" and len(text) == 400
    assert set(text[::2]) == {"a"} and set(text[1::2]) == {"b", "c"}
    assert abs(text.count("b") - 100) < 40  # 5 standard deviations are 35
    assert sample(0) == sample(0) != sample(1)


def test_sampling_slides_its_window():
    batch = {"tokens": np.array([[2, 0, 1, 4]])}
    learner = language_model(Copy(), optax.sgd(0.5), decode=decode, sample_length=7)
    state = jax.jit(learner.init)(KEY, batch)
    assert learner.render(state, batch, KEY)["sample"] == "cab | cabcabc"


class Dropped(nn.Module):
    """A table whose entries are dropped in training."""

    @nn.compact
    def __call__(self, tokens, *, train):
        return nn.Dropout(0.2, deterministic=not train)(nn.Embed(5, 5)(tokens))


@pytest.fixture(scope="module")
def counting():
    """A learner with dropout, and texts that count through the alphabet from each letter."""
    learner = language_model(Dropped(), optax.sgd(5.0), decode=decode, sample_length=20)
    learner = learner._replace(step=jax.jit(learner.step), evaluate=jax.jit(learner.evaluate))
    batch = {"tokens": (np.arange(5)[:, None] + np.arange(7)[None]) % 5}
    return learner, jax.jit(learner.init)(KEY, batch), batch


def test_dropout_is_for_training(counting):
    learner, state, batch = counting
    losses = {float(learner.step(state.replace(step=jnp.int32(t)), batch)[1]["loss"]) for t in (0, 0, 1)}
    assert len(losses) == 2
    values = [learner.evaluate(state, batch, jax.random.key(seed, impl="rbg"))["loss"] for seed in (0, 1)]
    np.testing.assert_array_equal(*values)


def test_loss_falls_and_samples_follow_the_text(counting):
    learner, state, batch = counting
    assert learner.evaluate(state, batch, KEY)["loss"].mean() > 1
    for _ in range(60):
        state, _ = learner.step(state, batch)
    assert learner.evaluate(state, batch, KEY)["loss"].mean() < 0.1
    prompt, text = learner.render(state, batch, KEY)["sample"].split(" | ")
    letters = [VOCABULARY.index(letter) for letter in prompt[-1:] + text]
    follows = [(after - before) % 5 == 1 for before, after in pairwise(letters)]
    assert np.mean(follows) > 0.8


def test_mixed_precision_keeps_the_loss_in_float32():
    learner = language_model(
        Transformer(5, 6, 1, 2, 16), optax.sgd(0.1), decode=decode, options=Options(bf16=True)
    )
    batch = {"tokens": np.zeros((2, 7), np.int32)}
    state = jax.eval_shape(learner.init, KEY, batch)
    after, metrics = jax.eval_shape(learner.step, state, batch)
    assert metrics["loss"].dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(after.params)} == {jnp.dtype(jnp.float32)}


def test_chunks_change_neither_loss_nor_step():
    net, batch = Transformer(5, 6, 1, 2, 16), {"tokens": np.random.default_rng(0).integers(5, size=(3, 7))}
    plain, chunked = (
        language_model(net, optax.sgd(0.5), decode=decode, chunk=chunk, sample_length=3)
        for chunk in (None, 4)
    )
    state = jax.jit(plain.init)(KEY, batch)
    assert jax.tree.structure(state) == jax.tree.structure(jax.eval_shape(chunked.init, KEY, batch))
    results = [
        (jax.jit(learner.step)(state, batch), jax.jit(learner.evaluate)(state, batch, KEY))
        for learner in (plain, chunked)
    ]
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        if jnp.issubdtype(a.dtype, jnp.floating):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_chunks_keep_the_logits_out_of_memory():
    net, batch = Transformer(4_000, 64, 1, 2, 16), {"tokens": jax.ShapeDtypeStruct((4, 65), jnp.int32)}
    temporary = []
    for chunk in (None, 4):
        learner = language_model(net, optax.sgd(0.1), decode=decode, chunk=chunk)
        state = jax.eval_shape(learner.init, KEY, batch)
        compiled = jax.jit(learner.step).lower(state, batch).compile()
        temporary.append(compiled.memory_analysis().temp_size_in_bytes)
    assert temporary[0] > 4 * 4 * 64 * 4_000
    assert temporary[1] < temporary[0] / 2
