"""The chunked cross-entropy: equal to the plain one, in less memory."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from jaxdl.objectives import chunked_cross_entropy, softmax_cross_entropy

RNG = np.random.default_rng(0)


def drawn(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def plain(hidden, table, labels):
    return jax.vmap(softmax_cross_entropy)(hidden @ table.T, labels)


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])  # 3 leaves a step over
def test_value_and_gradient(chunk):
    hidden, table, weights, labels = drawn(7, 4), drawn(5, 4), drawn(7), RNG.integers(5, size=7)
    log_probs = log_softmax(hidden @ table.T, -1)
    chunked = partial(chunked_cross_entropy, chunk=chunk)
    np.testing.assert_allclose(chunked(hidden, table, labels), -log_probs[np.arange(7), labels], rtol=1e-5)
    slopes = jax.grad(lambda *weighed: (weights * chunked(*weighed, labels)).sum(), (0, 1))(hidden, table)
    errors = weights[:, None] * (np.exp(log_probs) - np.eye(5)[labels])
    np.testing.assert_allclose(slopes[0], errors @ table, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(slopes[1], errors.T @ hidden, rtol=1e-4, atol=1e-5)


def test_a_batch_shares_the_table():
    hidden, table, labels = drawn(2, 6, 4), drawn(5, 4), RNG.integers(5, size=(2, 6))

    def loss(f, hidden, table):
        return jax.vmap(f, in_axes=(0, None, 0))(hidden, table, labels).mean()

    results = [
        jax.jit(jax.value_and_grad(partial(loss, f), (0, 1)))(hidden, table)
        for f in (partial(chunked_cross_entropy, chunk=4), plain)
    ]
    for ours, theirs in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_half_precision_is_multiplied_as_such_and_summed_in_float32():
    hidden, table, labels = jnp.asarray(drawn(64, 8), jnp.bfloat16), drawn(5, 8), RNG.integers(5, size=64)
    table = np.asarray(jnp.asarray(table, jnp.bfloat16), np.float32)  # as rounded as hidden is

    def loss(f, hidden, table):
        return f(hidden, table, labels).sum()

    derive = lambda f: jax.jit(jax.value_and_grad(partial(loss, f), (0, 1)))
    chunked = derive(partial(chunked_cross_entropy, chunk=4))
    value, slopes = chunked(hidden, table)
    exact, exact_slopes = derive(plain)(np.asarray(hidden, np.float32), table)
    assert [value.dtype, *(slope.dtype for slope in slopes)] == [jnp.float32, jnp.bfloat16, jnp.float32]
    np.testing.assert_allclose(value, exact, rtol=1e-6)
    for ours, theirs in zip(slopes, exact_slopes, strict=True):
        np.testing.assert_allclose(np.asarray(ours, np.float32), theirs, rtol=0.02, atol=0.02)
    operands = r"stablehlo\.dot_general.* : \(tensor<\S*x(\w+)>, tensor<\S*x(\w+)>\)"
    assert set(re.findall(operands, chunked.lower(hidden, table).as_text())) == {("bf16", "bf16")}


def temporary_bytes(f, T, D, V):
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in [(T, D), (V, D)]]
    labels = jax.ShapeDtypeStruct((T,), jnp.int32)
    return jax.jit(f).lower(*shapes, labels).compile().memory_analysis().temp_size_in_bytes


def test_memory_holds_the_logits_of_one_chunk():
    T, D, V, chunk = 256, 8, 4_096, 16
    chunked = partial(chunked_cross_entropy, chunk=chunk)
    for derive in (lambda f: f, partial(jax.grad, argnums=(0, 1))):
        most, least = (
            temporary_bytes(derive(lambda *arrays, f=f: f(*arrays).mean()), T, D, V) for f in (plain, chunked)
        )
        assert most > 4 * T * V
        assert least < 4 * 4 * chunk * V + 4 * 4 * (V + T) * D  # and a few arrays like the gradients
        assert least < most / 4


@pytest.mark.parametrize("chunk", [0, -1])
def test_a_chunk_holds_a_step_at_least(chunk):
    with pytest.raises(ValueError, match=f"chunk is {chunk}; give 1 or more"):
        chunked_cross_entropy(drawn(3, 2), drawn(5, 2), np.zeros(3, int), chunk=chunk)
