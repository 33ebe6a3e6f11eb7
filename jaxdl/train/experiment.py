"""What a config returns, and the checks that it can be trained."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxdl.data.pipeline import Batches
from jaxdl.errors import InputError
from jaxdl.types import Learner


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
        steps_per_call: steps that one dispatch runs; many make small models faster.
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
    steps_per_call: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "steps_per_call", "eval_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; give 1 or more")


def first_items(experiment: Experiment) -> Any:
    """Return what the first step is fed, [B, ...]."""
    return (
        None if experiment.train is None else jax.tree.map(lambda leaf: leaf[0], experiment.train.items(0, 1))
    )


def load(experiment: Experiment, resident: Any, items: Any) -> Any:
    """Turn what a step is fed into its batch; a learner that draws its own experience has none."""
    return None if experiment.train is None else experiment.train.load(resident, items)


def initial_state(experiment: Experiment) -> Any:
    """Build the state of step 0, in one compiled call."""

    @jax.jit
    def init(key: Any, items: Any, resident: Any) -> Any:
        return experiment.learner.init(key, load(experiment, resident, items))

    resident = None if experiment.train is None else experiment.train.resident
    return init(jax.random.key(experiment.seed), first_items(experiment), resident)


def check_experiment(experiment: Experiment) -> Any:
    """Trace the learner abstractly, so that what is wrong is said before anything is compiled.

    Returns:
        The shapes and dtypes of the state.

    Raises:
        InputError: naming what does not fit.
    """
    for name in ("train", "validation", "test"):
        check_finite(name, getattr(experiment, name))

    def trace(key: Any, items: Any, resident: Any) -> Any:
        batch = load(experiment, resident, items)
        state = experiment.learner.init(key, batch)
        return state, experiment.learner.step(state, batch)[0]

    resident = None if experiment.train is None else experiment.train.resident
    try:
        before, after = jax.eval_shape(trace, jax.random.key(0), first_items(experiment), resident)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        message = " ".join(str(error).split())[:500]
        raise InputError(f"the learner does not fit its data: {type(error).__name__}: {message}") from error
    if jax.tree.map(_signature, before) != jax.tree.map(_signature, after):
        raise InputError("step changes the structure, a shape or a dtype of the state; it must keep them")
    return before


def check_finite(name: str, data: Batches | None) -> None:
    """Raise an InputError that names the first example that holds NaN or infinity."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(None if data is None else data.source):
        if np.issubdtype(getattr(leaf, "dtype", np.bool_), np.floating):
            bad = np.flatnonzero(~np.isfinite(leaf).all(tuple(range(1, leaf.ndim))))
            if len(bad):
                where = f"{name} data{jax.tree_util.keystr(path)}"
                raise InputError(
                    f"{where} is not finite in {len(bad)} examples, first in {bad[0]}; drop them"
                )


def _signature(leaf: Any) -> tuple[Any, ...]:
    return leaf.shape, leaf.dtype
