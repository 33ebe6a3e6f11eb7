"""Evaluate a learner so that each example counts exactly once, and draw what it has to show."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.data.pipeline import Batches
from jaxdl.train.compile import Layout
from jaxdl.types import Array, Key, Learner


def compile_evaluate(
    learner: Learner, data: Batches | None, layout: Layout = Layout()
) -> Callable[[Any, Key], dict[str, float]]:
    """Compile `learner.evaluate` over a whole data set, joined by `learner.report`.

    The last batch is padded; its padding weighs nothing in the mean, whatever the values there.

    Args:
        learner: whose `evaluate` gives one value per example.
        data: the examples, or None for a learner that draws its own experience.
        layout: where the state lives; batches that divide over its devices are split.

    Returns:
        evaluate(state, key) -> {name: mean over the examples}.
    """

    @jax.jit
    def sums(state: Any, item: Any, mask: Array, key: Key, resident: Any) -> dict[str, Array]:
        batch = None if data is None else data.load(resident, item)
        values = learner.evaluate(state, batch, key)
        return {name: jnp.where(mask > 0, value, 0.0).sum() for name, value in values.items()}

    @jax.jit
    def means(state: Any, key: Key) -> dict[str, Array]:
        return {name: value.mean() for name, value in learner.evaluate(state, None, key).items()}

    def evaluate(state: Any, key: Key) -> dict[str, float]:
        if data is None:
            metrics = {name: float(value) for name, value in means(state, key).items()}
        else:
            resident = layout.resident(data.resident)
            parts = jax.device_get(
                [
                    sums(state, *layout.whole(batch), jax.random.fold_in(key, index), resident)
                    for index, batch in enumerate(data.once())
                ]
            )
            totals = {name: np.sum([part[name] for part in parts], dtype=np.float64) for name in parts[0]}
            metrics = {name: float(total / len(data)) for name, total in totals.items()}
        if learner.report is not None:
            metrics |= {
                name: float(value) for name, value in learner.report(layout.local(state), data).items()
            }
        return metrics

    return evaluate


def render_pictures(learner: Learner, data: Batches | None, state: Any, key: Key) -> Mapping[str, Any]:
    """Return what the learner draws of its state and a batch of the data, some of each kind."""
    if learner.render is None:
        return {}
    return learner.render(state, None if data is None else data.batch_at(0), key)
