"""Checkpoints of the whole state: asynchronous, atomic, strict when they are read back."""

import itertools
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from jaxdl.errors import InputError, RunError


class Checkpoints:
    """Keep the last checkpoints of a run and the best one, through orbax.

    Args:
        folder: where they lie, one folder per step; None keeps nothing.
        monitor: the metric that says which one is best.
        maximize: whether more of it is better.
        last: how many of the latest are kept beside the best.
    """

    def __init__(
        self,
        folder: Path | None,
        monitor: str = "loss",
        maximize: bool = False,
        last: int = 2,
    ) -> None:
        self._manager: Any = None
        if folder is None:
            return
        import orbax.checkpoint as ocp  # imported here: it takes longer than a small run's first step

        def value(metrics: Mapping[str, float] | None) -> float:
            return (metrics or {}).get(monitor, float("-inf") if maximize else float("inf"))

        policies = ocp.checkpoint_managers
        self._args = ocp.args
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            item_handlers=ocp.StandardCheckpointHandler(),
            options=ocp.CheckpointManagerOptions(
                best_fn=value,
                best_mode="max" if maximize else "min",
                preservation_policy=policies.AnyPreservationPolicy(
                    [policies.LatestN(last), policies.BestN(get_metric_fn=value, reverse=not maximize, n=1)]
                ),
            ),
        )

    @property
    def steps(self) -> list[int]:
        """The steps that can be restored, latest first."""
        return [] if self._manager is None else sorted(self._manager.all_steps(), reverse=True)

    @property
    def latest_good(self) -> str:
        """A clause that names the latest checkpoint."""
        return (
            f"the last good checkpoint is of step {self.steps[0]}"
            if self.steps
            else "no checkpoint was saved"
        )

    def save(self, step: int, state: Any, metrics: Mapping[str, float] | None = None) -> None:
        """Copy the state to the host and write it in the background; a checkpoint of this step stays."""
        if self._manager is None or step in self.steps:
            return
        self._manager.save(step, args=self._args.StandardSave(state), metrics=dict(metrics or {}))

    def restore(self, like: Any, step: int) -> Any:
        """Read the state of a step back, every leaf checked for its place, shape and dtype.

        Args:
            like: a state, or its shapes and dtypes as `jax.eval_shape` gives them.
            step: one of `steps`.

        Raises:
            InputError: naming the leaf that differs.
        """
        self._check(like, step)
        return self._manager.restore(step, args=self._args.StandardRestore(like))

    def restore_latest(self, like: Any) -> tuple[Any, int] | None:
        """Read back the latest checkpoint that is whole: (state, step), or None where there is none."""
        self._wait()
        steps = self.steps
        for step, previous in itertools.zip_longest(steps, steps[1:]):
            try:
                return self.restore(like, step), step
            except InputError:
                raise
            except Exception as error:  # whatever a damaged file makes tensorstore say
                fallback = "no older one is left" if previous is None else f"going back to step {previous}"
                first_line = str(error).strip().split("\n")[0][:200]
                warnings.warn(f"checkpoint of step {step} is damaged, {fallback}: {first_line}", stacklevel=2)
        if steps:
            raise RunError("every checkpoint of this run is damaged; start again in another workdir")
        return None

    def restore_best(self, like: Any) -> tuple[Any, int] | None:
        """Read back the checkpoint whose monitored metric is best: (state, step), or None."""
        self._wait()
        step = None if self._manager is None else self._manager.best_step()
        return None if step is None else (self.restore(like, step), step)

    def close(self) -> None:
        """Wait for what is still being written."""
        self._wait()
        if self._manager is not None:
            self._manager.close()

    def _wait(self) -> None:
        if self._manager is not None:
            self._manager.wait_until_finished()

    def _check(self, like: Any, step: int) -> None:
        saved = _leaves(self._manager.item_metadata(step).tree)
        wanted = _leaves(jax.eval_shape(_as_arrays, like))
        for path in [*wanted, *saved]:
            if path not in saved:
                raise InputError(f"checkpoint of step {step} has no {path}; it is of another learner")
            if path not in wanted:
                raise InputError(f"checkpoint of step {step} holds {path}, which this learner has not")
            if saved[path] != wanted[path]:
                message = f"{path} is {saved[path]} in the checkpoint of step {step}, but {wanted[path]} here"
                raise InputError(f"{message}; use the arguments that the run was made with")


def _as_arrays(state: Any) -> Any:
    """Write typed keys as the arrays of integers that they are stored as."""

    def convert(leaf: Any) -> Any:
        return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    return jax.tree.map(convert, state)


def _leaves(tree: Any) -> dict[str, str]:
    """Describe each array of a tree: {path: "dtype[shape]"}; paths spell attributes and keys alike."""
    described = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        names = [
            str(getattr(entry, "key", getattr(entry, "name", getattr(entry, "idx", entry)))) for entry in path
        ]
        described[".".join(names)] = f"{leaf.dtype}{json.dumps(list(leaf.shape))}"
    return described
