"""Checkpoints of the whole state: asynchronous, atomic, strict when they are read back."""

import itertools
import json
import logging
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from jaxdl.errors import InputError, RunError
from jaxdl.train.hosts import everywhere
from jaxdl.train.state import TrainState, path_name


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
        self._folder = folder
        self._writing: int | None = None
        self._damaged: set[int] = set()
        if folder is None:
            return
        import orbax.checkpoint as ocp  # imported here: it takes longer than a small run's first step

        def value(metrics: Mapping[str, float] | None) -> float:
            return (metrics or {}).get(monitor, float("-inf") if maximize else float("inf"))

        for name in ("absl", "asyncio"):
            logging.getLogger(name).addFilter(_not_raised_anyway)
        policies = ocp.checkpoint_managers
        self._args = ocp.args
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            item_handlers={"default": ocp.StandardCheckpointHandler(), "leaves": ocp.JsonCheckpointHandler()},
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

    def save(self, step: int, state: Any, metrics: Mapping[str, float] | None = None) -> None:
        """Copy the state to the host and write it in the background; a checkpoint of this step stays.

        One that cannot be written, as on a full disk, is given up with a warning; the older ones stay.
        """
        self.wait()
        if self._manager is None or step in set(self.steps) - self._damaged:
            return
        self._writing = step
        try:
            if step in self._damaged:
                self._manager.delete(step)
            leaves = self._args.JsonSave(_leaves(jax.eval_shape(_as_arrays, state)))
            items = self._args.Composite(default=self._args.StandardSave(state), leaves=leaves)
            self._manager.save(step, args=items, metrics=dict(metrics or {}))
        except Exception as error:  # a full disk has as many faces as there are layers below
            self._give_up(error)

    def wait(self) -> None:
        """Wait for what is still being written; warn if that failed."""
        try:
            if self._manager is not None:
                self._manager.wait_until_finished()
        except Exception as error:
            self._give_up(error)
        self._writing = None

    def _give_up(self, error: Exception) -> None:
        assert self._folder is not None
        for part in self._folder.glob(f"{self._writing}.*"):
            shutil.rmtree(part, ignore_errors=True)
        reason = (
            _first_line(error).split(": ")[-1].split(" [")[0]
        )  # tensorstore names file after file before it
        message = f"checkpoint of step {self._writing} was not written: {reason}"
        warnings.warn(f"{message}; the run goes on, and {latest_good(self._folder)}", stacklevel=4)

    def restore(self, like: Any, step: int) -> Any:
        """Read the state of a step back, every leaf checked for its place, shape and dtype.

        Args:
            like: a state, or its shapes and dtypes as `jax.eval_shape` gives them.
            step: one of `steps`.

        Raises:
            InputError: naming the leaf that differs.
        """
        self._check(like, step)
        arrays = self._args.StandardRestore(jax.tree.map(_placed, like))
        return self._manager.restore(step, args=self._args.Composite(default=arrays)).default

    def restore_latest(self, like: Any) -> tuple[Any, int] | None:
        """Read back the latest checkpoint that is whole: (state, step), or None where there is none."""
        self.wait()
        steps = self.steps
        for step, previous in itertools.zip_longest(steps, steps[1:]):
            state, damage = None, "another process could not read it"
            try:
                state = self.restore(like, step)
            except InputError:
                raise
            except Exception as error:  # whatever a damaged file makes tensorstore say
                damage = _first_line(error)[:200]
            if everywhere(state is not None):
                return state, step
            self._damaged.add(step)
            fallback = "no older one is left" if previous is None else f"going back to step {previous}"
            warnings.warn(f"checkpoint of step {step} is damaged, {fallback}: {damage}", stacklevel=2)
        if steps:
            raise RunError("every checkpoint of this run is damaged; start again in another workdir")
        return None

    def restore_best(self, like: Any) -> tuple[Any, int] | None:
        """Read back the checkpoint whose monitored metric is best: (state, step), or None."""
        self.wait()
        step = None if self._manager is None else self._manager.best_step()
        if step is None:
            return None
        try:
            return self.restore(like, step), step
        except InputError:
            raise
        except Exception as error:
            raise RunError(
                f"the best checkpoint, of step {step}, is damaged: {_first_line(error)[:200]}"
            ) from None

    def close(self) -> None:
        """Wait for what is still being written, and end the threads that wrote."""
        self.wait()
        if self._manager is not None:
            self._manager.close()

    def _check(self, like: Any, step: int) -> None:
        # written beside the arrays: to ask tensorstore for them opens each once more, and leaks its answer
        items = self._args.Composite(leaves=self._args.JsonRestore())
        saved = self._manager.restore(step, args=items).leaves
        compare(saved, _leaves(jax.eval_shape(_as_arrays, like)), f"the checkpoint of step {step}")


def latest_good(folder: Path | None) -> str:
    """Name the latest checkpoint that is whole on disk: orbax renames its folder to the bare step then."""
    steps = [] if folder is None else _steps(folder)
    return f"the last good checkpoint is of step {steps[-1]}" if steps else "no checkpoint was saved"


def _steps(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def compare(given: Mapping[str, str], wanted: Mapping[str, str], source: str) -> None:
    """Raise an InputError that names the first array that is missing, too many, or otherwise made."""
    fix = "use the arguments that it was made with"
    for path in [*wanted, *given]:
        if path not in given:
            raise InputError(f"{path} is missing in {source}; it is of another learner")
        if path not in wanted:
            raise InputError(f"{source} holds {path}, which this learner has not; it is of another one")
        if given[path] != wanted[path]:
            raise InputError(f"{path} is {given[path]} in {source}, but {wanted[path]} here; {fix}")


def check_params(state: Any, params: Any) -> None:
    """Raise an InputError unless params can take the place of those of a state."""
    if not isinstance(state, TrainState):
        raise InputError(
            f"the state of this learner is a {type(state).__name__}; it has no params to replace"
        )
    compare(_leaves(params), _leaves(state.params), "the given params")


def load_part(folder: str | Path, part: str = "params", step: int | None = None) -> Any:
    """Read a part of a checkpoint by name, such as "params.vae.encoder", without its learner.

    Args:
        folder: of a run.
        part: names from the state down, joined by dots; "" is the whole state.
        step: of the checkpoint; the latest by default.

    Returns:
        Nested dicts (lists, where the state has tuples) of numpy arrays; of a typed key, its integers.

    Raises:
        InputError: if the folder holds no such checkpoint, or it no such part (naming those it has).
    """
    import orbax.checkpoint as ocp
    from etils import epath

    checkpoints = Path(folder).absolute() / "checkpoints"
    steps = _steps(checkpoints)
    if not steps or (step is not None and step not in steps):
        missing = "no checkpoint" if step is None else f"no checkpoint of step {step}"
        raise InputError(f"{folder} holds {missing}; it has those of steps {steps}")
    path = epath.Path(checkpoints / str(steps[-1] if step is None else step) / "default")
    handler = ocp.PyTreeCheckpointHandler()  # and no manager, which may tidy up under a run that is alive
    tree = handler.metadata(path).tree
    names: list[Any] = []  # down to the part
    inner = tree
    for name in part.split(".") if part else ():
        inside = inner if isinstance(inner, dict) else range(len(inner) if isinstance(inner, list) else 0)
        keys = {str(key): key for key in inside}
        if name not in keys:
            where, known = ".".join(map(str, names)) or "the state", ", ".join(keys) or "nothing inside"
            raise InputError(f"the checkpoint has no {name!r} in {where}; it has {known}")
        names.append(keys[name])
        inner = inner[keys[name]]
    wanted = {name: tree[name] for name in names[:1]} or tree  # orbax cannot pick from inside a list
    arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    read = handler.restore(
        path, args=ocp.args.PyTreeRestore(wanted, restore_args=arrays, partial_restore=True)
    )
    handler.close()
    for name in names:
        read = read[name]
    return read


def _placed(leaf: Any) -> jax.ShapeDtypeStruct:
    """Say where an array is to live: where it does, or else on the first device, whatever wrote it."""
    sharding = getattr(leaf, "sharding", None) or SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _not_raised_anyway(record: logging.LogRecord) -> bool:
    """Drop what orbax logs, trace and all, of an error in its threads: it raises it as well."""
    about = record.pathname + record.getMessage()
    return not (record.levelno >= logging.ERROR and "orbax" in about)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def _as_arrays(state: Any) -> Any:
    """Write typed keys as the arrays of integers that they are stored as."""

    def convert(leaf: Any) -> Any:
        return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    return jax.tree.map(convert, state)


def _leaves(tree: Any) -> dict[str, str]:
    """Describe each array of a tree: {path: "dtype[shape]"}; paths spell attributes and keys alike."""
    return {
        path_name(path): f"{leaf.dtype}{json.dumps(list(leaf.shape))}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
