"""Several learners as one, on a learner that counts."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.rl import over_seeds, side_by_side
from jaxdl.types import Learner

KEY = jax.random.key(0)


def counter(by):
    """A learner that adds; every second step measures nothing."""

    def init(key, batch):
        return {"sum": jax.random.uniform(key), "steps": jnp.zeros((), jnp.int32)}

    def step(state, batch, *, axis_name=None):
        new = {"sum": state["sum"] + by * batch, "steps": state["steps"] + 1}
        return new, {"sum": jnp.where(state["steps"] % 2, jnp.nan, new["sum"])}

    def evaluate(state, batch, key):
        return {"value": state["sum"] + jnp.arange(3.0)}

    def render(state, batch, key):
        return {"square": jnp.full((4, 4, 3), state["sum"])}

    return Learner(init, step, evaluate, render)


def test_over_seeds():
    learner = over_seeds(counter(1.0), 5)
    starts = np.array([jax.random.uniform(key) for key in jax.random.split(KEY, 5)])
    state = learner.init(KEY, None)
    np.testing.assert_allclose(state["sum"], starts)
    state, metrics = learner.step(state, jnp.asarray(2.0))
    np.testing.assert_allclose(metrics["sum"], starts.mean() + 2, rtol=1e-6)
    _, metrics = learner.step(state, jnp.asarray(2.0))
    assert np.isnan(metrics["sum"])
    mixed = {**state, "steps": jnp.array([0, 1, 1, 1, 0])}
    _, metrics = learner.step(mixed, jnp.asarray(0.0))  # the mean of the seeds that measured
    np.testing.assert_allclose(metrics["sum"], starts[[0, 4]].mean() + 2, rtol=1e-6)
    values = learner.evaluate(state, None, KEY)
    assert values["value"].shape == (15,)
    np.testing.assert_allclose(values["median_value"], [np.median(starts) + 3], rtol=1e-6)
    np.testing.assert_allclose(learner.render(state, None, KEY)["square"], np.full((4, 4, 3), starts[0] + 2))


def test_side_by_side():
    learner = side_by_side({"slow": counter(1.0), "fast": counter(10.0)}, columns=1)
    state, metrics = learner.step(learner.init(KEY, None), jnp.asarray(1.0))
    start = float(jax.random.uniform(KEY))
    np.testing.assert_allclose([metrics["slow/sum"], metrics["fast/sum"]], [start + 1, start + 10], rtol=1e-6)
    assert set(learner.evaluate(state, None, KEY)) == {"slow/value", "fast/value"}
    picture = learner.render(state, None, KEY)["square"]
    assert picture.shape == (16, 4, 3)  # one above the other, and a gap of 8
    np.testing.assert_allclose([picture[0, 0, 0], picture[12, 0, 0]], [start + 1, start + 10], rtol=1e-6)
