"""Several learners as one: of other seeds, or of other methods, trained by one compiled step."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from jaxdl.ops.pictures import image_grid
from jaxdl.train import mean_over_steps
from jaxdl.types import Array, Batch, Key, Learner, Metrics, Programs, PyTree


def over_seeds(learner: Learner, num_seeds: int) -> Learner:
    """Train a learner from several seeds at once; each run is what it would be alone.

    Args:
        learner: the learner.
        num_seeds: runs, whose keys are `jax.random.split(key, num_seeds)`.

    Returns:
        A Learner whose state has a leading axis [num_seeds]. A metric of a step is its mean over the seeds
        that measured it. An evaluation joins the values of all seeds, and its `median_*` are medians of the
        seeds' means. The first seed is drawn and exported.
    """

    def init(key: Key, batch: Batch) -> PyTree:
        return jax.vmap(learner.init, (0, None))(jax.random.split(key, num_seeds), batch)

    def step(state: PyTree, batch: Batch, *, axis_name: str | None = None) -> tuple[PyTree, Metrics]:
        def one(state: PyTree) -> tuple[PyTree, Metrics]:
            return learner.step(state, batch, axis_name=axis_name)

        state, metrics = jax.vmap(one)(state)
        return state, mean_over_steps(metrics)

    def evaluate(state: PyTree, batch: Batch, key: Key) -> dict[str, Array]:
        keys = jax.random.split(key, num_seeds)
        values = jax.vmap(learner.evaluate, (0, None, 0))(state, batch, keys)
        medians = {f"median_{name}": jnp.median(each.mean(axis=1))[None] for name, each in values.items()}
        return {name: each.ravel() for name, each in values.items()} | medians

    def render(state: PyTree, batch: Batch, key: Key) -> Mapping[str, Array]:
        assert learner.render is not None
        return learner.render(first(state), batch, key)

    def export(state: PyTree, batch: Batch) -> Programs:
        assert learner.export is not None
        return learner.export(first(state), batch)

    def first(state: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[0], state)

    return Learner(
        init, step, evaluate, render if learner.render else None, export=export if learner.export else None
    )


def side_by_side(learners: Mapping[str, Learner], columns: int | None = None) -> Learner:
    """Train several learners at once, from the same key and on the same batches.

    Args:
        learners: by name; all draw the same pictures, of one size.
        columns: pictures in a row; by default a square is filled.

    Returns:
        A Learner whose state is {name: state}. Its metrics are called `name/metric`, what it exports
        `name_program`, and the pictures of one kind are laid out in the order of the names.
    """

    def init(key: Key, batch: Batch) -> dict[str, PyTree]:
        return {name: learner.init(key, batch) for name, learner in learners.items()}

    def step(
        state: dict[str, PyTree], batch: Batch, *, axis_name: str | None = None
    ) -> tuple[dict[str, PyTree], Metrics]:
        moved = {
            name: learner.step(state[name], batch, axis_name=axis_name) for name, learner in learners.items()
        }
        metrics = _prefixed({name: metrics for name, (_, metrics) in moved.items()})
        return {name: state for name, (state, _) in moved.items()}, metrics

    def evaluate(state: dict[str, PyTree], batch: Batch, key: Key) -> dict[str, Array]:
        return _prefixed(
            {name: learner.evaluate(state[name], batch, key) for name, learner in learners.items()}
        )

    def render(state: dict[str, PyTree], batch: Batch, key: Key) -> dict[str, Array]:
        drawn = [
            learner.render(state[name], batch, key) for name, learner in learners.items() if learner.render
        ]
        return {
            kind: image_grid(jnp.stack([pictures[kind] for pictures in drawn]), columns, gap=8)
            for kind in (drawn[0] if drawn else ())
        }

    def export(state: dict[str, PyTree], batch: Batch) -> Programs:
        return {
            f"{name}_{program}": made
            for name, learner in learners.items()
            if learner.export
            for program, made in learner.export(state[name], batch).items()
        }

    exports = any(learner.export for learner in learners.values())
    return Learner(init, step, evaluate, render, export=export if exports else None)


def _prefixed(values: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    return {f"{outer}/{inner}": value for outer, each in values.items() for inner, value in each.items()}
