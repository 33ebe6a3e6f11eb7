"""The table: its size, its places by hand, and that counting is its maximum likelihood."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.learners.autoregressive import BERNOULLI, log_prob
from jaxdl.nets.tabular import Tabular

KEY = jax.random.key(0)
EVERY = np.array(list(itertools.product([0, 1], repeat=4)), np.float32)


@pytest.mark.parametrize("size", [1, 3, 9])
def test_the_full_table_has_a_parameter_for_each_beginning(size):
    # ‼ The printed count 2^{T−1} is that of the last variable alone; all of them take 2^T − 1.
    shapes = jax.eval_shape(Tabular().init, KEY, jnp.zeros((2, size)))
    assert [leaf.size for leaf in jax.tree.leaves(shapes)] == [2**size - 1]


def test_places_by_hand():
    variables = {"params": {"logits": jnp.arange(7) + 1.0}}  # each logit says its own number in the heap
    x = jnp.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]])
    output = Tabular().apply(variables, x[:, None].astype(jnp.float32))
    assert output.shape == (4, 1, 3, 1)
    np.testing.assert_array_equal(output[:, 0, :, 0], [[1, 2, 4], [1, 2, 5], [1, 3, 6], [1, 3, 7]])


def test_each_beginning_has_a_place_of_its_own_and_sees_nothing_later():
    numbers = np.asarray(Tabular().apply({"params": {"logits": jnp.arange(15)}}, EVERY)[..., 0])
    for d in range(4):
        beginnings = {tuple(x[:d]): int(number) for x, number in zip(EVERY, numbers[:, d], strict=True)}
        assert len(set(beginnings.values())) == len(beginnings) == 2**d
        for x, number in zip(EVERY, numbers[:, d], strict=True):
            assert beginnings[tuple(x[:d])] == number


def test_it_can_be_any_distribution_and_counts_are_its_maximum_likelihood():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 20, len(EVERY))
    logits = []
    for d in range(4):  # in the order of the heap: by length, then as binary numbers
        for beginning in itertools.product([0, 1], repeat=d):
            rows = (EVERY[:, :d] == beginning).all(1)
            ones = counts[rows & (EVERY[:, d] == 1)].sum()
            logits.append(np.log(ones / (counts[rows].sum() - ones)))

    def log_probs(logits):
        return log_prob(BERNOULLI, partial(Tabular().apply, {"params": {"logits": logits}}), {"x": EVERY})

    logits = jnp.array(logits, jnp.float32)
    np.testing.assert_allclose(np.exp(log_probs(logits)), counts / counts.sum(), rtol=1e-4)
    slope = jax.jit(jax.grad(lambda logits: (counts * log_probs(logits)).sum() / counts.sum()))(logits)
    np.testing.assert_allclose(slope, 0, atol=1e-5)
