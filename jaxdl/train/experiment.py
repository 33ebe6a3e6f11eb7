"""What a config returns, and the checks that it can be trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.data.pipeline import Batches
from jaxdl.errors import InputError
from jaxdl.train.names import described
from jaxdl.types import Learner

SPLITS = ("train", "validation", "test")
ROW = ("step", "split")  # what a row of metrics.jsonl holds beside the metrics


@dataclass(frozen=True)
class Experiment:
    """Join a learner with its data and run lengths; how it is run is not its business.

    Attributes:
        learner: what is trained.
        steps: training steps in all.
        train: the training data; None for a learner that draws its own experience.
        validation: data evaluated during the run, for the curves, the best checkpoint and patience.
        test: data evaluated once, at the end.
        monitor: the validation metric that tells which state is best.
        maximize: whether more of it is better.
        eval_every: steps from one evaluation and checkpoint to the next; a tenth of the run by default.
        steps_per_call: steps that one dispatch runs; many make small models faster. By default 16, or as many
            fewer as take a second.
        seed: of the initial params and of the run's randomness.
    """

    learner: Learner
    steps: int
    train: Batches | None = None
    validation: Batches | None = None
    test: Batches | None = None
    monitor: str = "loss"
    maximize: bool = False
    eval_every: int | None = None
    steps_per_call: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "steps_per_call", "eval_every"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | np.integer) and value >= 1):
                raise ValueError(f"{name} is {value}; give 1 or more, a whole number")
        if not isinstance(self.seed, int | np.integer) or not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; give a whole number, 0 to {2**32 - 1}")
        if not isinstance(self.learner, Learner):
            raise ValueError(f"learner is a {type(self.learner).__name__}; give a jaxdl.types.Learner")
        for name in SPLITS:
            data = getattr(self, name)
            if not isinstance(data, Batches | None):
                raise ValueError(f"{name} is a {type(data).__name__}; give Batches(source, batch_size)")


def first_items(experiment: Experiment) -> Any:
    """Return what the first step is fed, [B, ...]."""
    return (
        None if experiment.train is None else jax.tree.map(lambda leaf: leaf[0], experiment.train.items(0, 1))
    )


def load(experiment: Experiment, resident: Any, items: Any) -> Any:
    """Turn what a step is fed into its batch; a learner that draws its own experience has none."""
    return None if experiment.train is None else experiment.train.load(resident, items)


def initial_state(experiment: Experiment, shardings: Any = None) -> Any:
    """Build the state of step 0, in one compiled call.

    Args:
        experiment: whose learner and data make it.
        shardings: of each array, where it is to live; the first device by default.
    """

    def init(key: Any, items: Any, resident: Any) -> Any:
        return experiment.learner.init(key, load(experiment, resident, items))

    resident = None if experiment.train is None else experiment.train.resident
    compiled = jax.jit(init, out_shardings=shardings)
    return compiled(jax.random.key(experiment.seed), first_items(experiment), resident)


def check_experiment(experiment: Experiment) -> Any:
    """Look at the data and trace the learner abstractly: what is wrong is said before anything is compiled.

    Returns:
        The shapes and dtypes of the state.

    Raises:
        InputError: naming what does not fit.
    """
    for name in SPLITS:
        check_finite(name, getattr(experiment, name))
    state = check_step(experiment)
    if experiment.train is None or experiment.validation is not None:
        check_evaluate(experiment, "validation", state)
    if experiment.test is not None:
        check_evaluate(experiment, "test", state)
    return state


def check_finite(name: str, data: Batches | None) -> None:
    """Raise an InputError that names the first example that is not finite, or is more than 32 bits hold."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(None if data is None else data.source):
        if not jnp.issubdtype(getattr(leaf, "dtype", np.bool_), np.number):
            continue
        values = np.asarray(leaf)
        with np.errstate(over="ignore"):
            kept = values.astype(jax.dtypes.canonicalize_dtype(values.dtype), copy=False)  # as jax holds it
        inexact = jnp.issubdtype(kept.dtype, np.inexact)
        good = np.isfinite(kept) if inexact else np.asarray(kept == values)
        bad = np.flatnonzero(~good.reshape(len(good), -1).all(1))
        if len(bad):
            array = f"{name} data{jax.tree_util.keystr(path)}"
            wrong = f"not finite {kept.dtype}" if inexact else f"not in the range of {kept.dtype}"
            raise InputError(f"{array} is {wrong} in {len(bad)} examples, first in {bad[0]}; drop them")


def check_step(experiment: Experiment) -> Any:
    """Trace the first step: the learner fits its data, and its state keeps its shapes; return these."""
    learner, train = experiment.learner, experiment.train

    def first_step(items: Any, resident: Any) -> Any:
        batch = load(experiment, resident, items)
        before = learner.init(jax.random.key(0), batch)
        if train is not None and learner.check is not None:
            learner.check(before, batch, train.held)
        after, metrics = learner.step(before, batch)
        return before, after, metrics

    with _named("train", train):
        resident = None if train is None else train.resident
        before, after, metrics = jax.eval_shape(first_step, first_items(experiment), resident)
    was, now = described(before), described(after)
    for path in [*was, *now]:
        if was.get(path) != now.get(path):
            change = f"{path} of the state from {was.get(path, 'nothing')} to {now.get(path, 'nothing')}"
            raise InputError(f"step changes {change}; it must keep structure, shapes and dtypes")
    if len({jax.tree.structure(before), jax.tree.structure(after)}) > 1:
        raise InputError("step changes the structure of the state; it must keep it")
    _check_metrics("step", metrics, ())
    return before


def check_evaluate(experiment: Experiment, name: str, state: Any) -> None:
    """Trace the evaluation of a split, given the shapes of the state: one value for each example."""
    learner, data = experiment.learner, getattr(experiment, name)

    def evaluate(state: Any, item: Any, resident: Any) -> Any:
        batch = None if data is None else data.load(resident, item)
        if data is not None and learner.check is not None:
            learner.check(state, batch, data.held)
        return learner.evaluate(state, batch, jax.random.key(0))

    with _named(name, data):
        item, resident = (None, None) if data is None else (next(data.once())[0], data.resident)
        metrics = jax.eval_shape(evaluate, state, item, resident)
    _check_metrics("evaluate", metrics, None if data is None else (data.batch_size,))
    watched = name == "validation" and learner.report is None  # a report may add metrics
    if watched and experiment.monitor not in metrics:
        raise InputError(
            f"monitor is {experiment.monitor!r}; choose one that evaluate gives: {', '.join(metrics)}"
        )


@contextmanager
def _named(name: str, data: Batches | None) -> Iterator[None]:
    """Turn any error into an InputError of one line that names the split."""
    try:
        yield
    except Exception as error:
        what = "the learner cannot run" if data is None else f"the learner does not fit its {name} data"
        message = " ".join(str(error).split())[:500]
        raise InputError(f"{what}: {type(error).__name__}: {message}") from error


def _check_metrics(function: str, metrics: Any, shape: tuple[int, ...] | None) -> None:
    """Raise an InputError unless these are {name: array of the shape}; of any shape for None."""
    if not isinstance(metrics, dict):
        raise InputError(
            f"{function} gives metrics as {type(metrics).__name__}; give a dict, {{name: array}}"
        )
    for name, value in metrics.items():
        if not isinstance(name, str) or name in ROW:
            raise InputError(f"{function} gives a metric named {name!r}; give it another name")
        if shape is not None and getattr(value, "shape", None) != shape:
            given = list(value.shape) if hasattr(value, "shape") else type(value).__name__
            wanted = f"one value per example, {list(shape)}" if shape else "a scalar"
            raise InputError(f"{function} gives the metric {name} as {given}; give {wanted}")
