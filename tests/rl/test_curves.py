"""Learning curves: of a learner that counts, and bands worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.rl.curves import Curves, confidence_band, learning_curves, save_learning_curves
from jaxdl.types import Learner


def test_curves_are_those_of_each_seed():
    learner = Learner(
        init=lambda key, batch=None: {"start": jax.random.uniform(key), "steps": jnp.zeros(())},
        step=lambda state, batch=None, *, axis_name=None: (state | {"steps": state["steps"] + 1}, {}),
        evaluate=lambda state, batch, key: {
            "return": state["start"] + state["steps"] + jnp.asarray([-1.0, 1.0])
        },
    )
    key = jax.random.key(0)
    steps, values = learning_curves(learner, key, 3, steps=10, every=4)
    np.testing.assert_array_equal(steps, [4, 8])
    start = jax.vmap(jax.random.uniform)(jax.random.split(jax.random.split(key)[0], 3))
    np.testing.assert_allclose(values, np.stack([start + 4, start + 8]), rtol=1e-6)


def test_a_band_by_hand():
    mean, low, high = confidence_band(np.asarray([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
    np.testing.assert_allclose(mean, [2.0, 5.0])
    half = 4.30265 / np.sqrt(3)  # Student's t of 2 degrees of freedom, s = 1
    np.testing.assert_allclose([low, high], [[2 - half, 5.0], [2 + half, 5.0]], rtol=1e-5)
    with pytest.raises(ValueError, match="train 2 or more"):
        confidence_band(np.ones((3, 1)))


def test_the_picture_is_saved(tmp_path):
    curves = Curves(np.arange(1, 4), np.random.default_rng(0).normal(size=(3, 5)))
    save_learning_curves(tmp_path / "curves" / "a.png", {"ppo": curves})
    assert (tmp_path / "curves" / "a.png").stat().st_size > 1_000
