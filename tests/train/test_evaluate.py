"""Evaluation counts every example exactly once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.data import Batches
from jaxdl.train import compile_evaluate, render_pictures
from jaxdl.types import Learner

VALUES = np.random.default_rng(0).normal(size=11).astype(np.float32)


def learner_of(evaluate, **keywords):
    return Learner(init=None, step=None, evaluate=evaluate, **keywords)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 16])
@pytest.mark.parametrize("gather", ["host", "device"])
def test_the_mean_is_over_examples_whatever_the_batch(batch_size, gather):
    learner = learner_of(lambda state, batch, key: {"double": state * batch["x"]})
    evaluate = compile_evaluate(learner, Batches({"x": VALUES}, batch_size, gather=gather))
    metrics = evaluate(jnp.array(2.0), jax.random.key(0))
    np.testing.assert_allclose(metrics["double"], 2 * VALUES.astype(np.float64).mean(), rtol=1e-5)


def test_padding_weighs_nothing_even_where_it_is_not_finite():
    """The padding repeats example 0: make its value infinite in the last batch alone."""
    data = Batches({"x": np.arange(5.0, dtype=np.float32)}, 4)

    def evaluate(state, batch, key):
        last = batch["x"][0] == 4
        return {"x": jnp.where(last & (batch["x"] == 0), jnp.nan, batch["x"])}

    assert compile_evaluate(learner_of(evaluate), data)(None, jax.random.key(0)) == {"x": 2.0}


def test_a_nan_of_a_real_example_is_not_hidden():
    data = Batches({"x": np.array([1.0, np.nan, 3.0], np.float32)}, 2)
    metrics = compile_evaluate(learner_of(lambda state, batch, key: batch), data)(None, jax.random.key(0))
    assert np.isnan(metrics["x"])


def test_keys_differ_from_batch_to_batch():
    data = Batches({"x": VALUES[:8]}, 4)
    learner = learner_of(lambda state, batch, key: {"u": jnp.full(4, jax.random.uniform(key))})
    key = jax.random.key(3)
    got = compile_evaluate(learner, data)(None, key)["u"]
    expected = np.mean([jax.random.uniform(jax.random.fold_in(key, index)) for index in range(2)])
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_learner_without_data_is_averaged_over_its_episodes():
    learner = learner_of(lambda state, batch, key: {"return": jnp.array([1.0, 2.0, 6.0])})
    assert compile_evaluate(learner, None)(None, jax.random.key(0)) == {"return": 3.0}


def test_the_report_joins_the_means():
    data = Batches({"x": VALUES}, 4)
    learner = learner_of(
        lambda state, batch, key: batch, report=lambda state, data: {"size": len(data), "state": state}
    )
    metrics = compile_evaluate(learner, data)(jnp.array(7.0), jax.random.key(0))
    assert (metrics["size"], metrics["state"]) == (11.0, 7.0)
    assert set(metrics) == {"x", "size", "state"}


def test_pictures_are_drawn_from_a_shuffled_batch():
    learner = learner_of(None, render=lambda state, batch, key: {"picture": batch["x"] + state})
    data = Batches({"x": VALUES}, 4)
    pictures = render_pictures(learner, data, 1.0, jax.random.key(0))
    np.testing.assert_allclose(pictures["picture"], data.batch_at(0)["x"] + 1)
    assert not np.allclose(pictures["picture"], VALUES[:4] + 1)
    assert render_pictures(learner_of(None), None, 1.0, jax.random.key(0)) == {}
