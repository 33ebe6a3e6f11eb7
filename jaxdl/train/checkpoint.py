"""Checkpoints of the whole state: asynchronous, atomic, strict when they are read back."""

import itertools
import logging
import math
import shutil
import warnings
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from jaxdl.errors import InputError, RunError
from jaxdl.train.hosts import everywhere
from jaxdl.train.names import described, is_key, named, nested, put_in
from jaxdl.train.state import TrainState


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

        value = partial(merit, monitor, maximize)
        for name in ("absl", "asyncio"):
            logging.getLogger(name).addFilter(_worth_saying)
        policies = ocp.checkpoint_managers
        self._args = ocp.args
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            # A file for each array: in one file of all, tensorstore asks itself for JSON that it never frees.
            item_handlers={
                "default": ocp.PyTreeCheckpointHandler(use_ocdbt=False),
                "leaves": ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(
                best_fn=value,
                best_mode="max",
                preservation_policy=policies.AnyPreservationPolicy(
                    [policies.LatestN(last), policies.BestN(get_metric_fn=value, n=1)]
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
            arrays = named(jax.tree.map(_as_array, state))
            if jax.process_count() == 1:
                arrays = jax.device_get(arrays)  # which orbax copies before it goes on in the background
            leaves = {"arrays": described(arrays), "crc32": _checksums(arrays)}
            items = self._args.Composite(
                default=self._args.PyTreeSave(_files(arrays)), leaves=self._args.JsonSave(leaves)
            )
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
        # tensorstore names file after file before its reason
        reason = getattr(error, "strerror", None) or _first_line(error).split(": ")[-1].split(" [")[0]
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
        import orbax.checkpoint as ocp

        # written beside the arrays: to ask tensorstore for them opens each once more
        items = self._args.Composite(leaves=self._args.JsonRestore())
        leaves = self._manager.restore(step, args=items).leaves
        wanted = named(jax.tree.map(_as_array, like))
        compare(leaves["arrays"], described(wanted), f"the checkpoint of step {step}")

        alone = jax.process_count() == 1
        placed = jax.tree.map(_sharding, named(like))
        how = {
            name: ocp.RestoreArgs(restore_type=np.ndarray)
            if alone
            else ocp.ArrayRestoreArgs(sharding=placed[name], global_shape=leaf.shape, dtype=leaf.dtype)
            for name, leaf in wanted.items()
        }
        restore = self._args.PyTreeRestore(_files(wanted), restore_args=_files(how))
        files = self._manager.restore(step, args=self._args.Composite(default=restore)).default
        arrays = {name: files[_file(name)] for name in wanted}
        for name, checksum in (_checksums(arrays) if leaves["crc32"] else {}).items():
            if checksum != leaves["crc32"][name]:
                raise RunError(f"{name} is not what was saved")
        return jax.tree.map(_of_kind, put_in(jax.device_put(arrays, placed) if alone else arrays, like), like)

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


def merit(monitor: str, maximize: bool, metrics: Mapping[str, float] | None) -> float:
    """Return the monitored metric so that more is better: -inf where it was not measured, or is NaN."""
    value = (metrics or {}).get(monitor, math.nan) * (1 if maximize else -1)
    return -math.inf if math.isnan(value) else value


def latest_good(folder: Path | None) -> str:
    """Name the latest checkpoint that is whole on disk: orbax renames its folder to the bare step then."""
    steps = [] if folder is None else saved_steps(folder)
    return f"the last good checkpoint is of step {steps[-1]}" if steps else "no checkpoint was saved"


def saved_steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints that are whole on disk; none where there is no such folder."""
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


def fit_params(state: Any, params: Any) -> Any:
    """Return params, whatever their containers, as a tree like the params of a state.

    Raises:
        InputError: unless they can take their place.
    """
    if not isinstance(state, TrainState):
        raise InputError(
            f"the state of this learner is a {type(state).__name__}; it has no params to replace"
        )
    compare(described(params), described(state.params), "the given params")
    return put_in(named(params), state.params)


def load_part(folder: str | Path, part: str = "params", step: int | None = None) -> Any:
    """Read a part of a checkpoint by name, such as "params.vae.encoder", without its learner.

    Args:
        folder: of a run.
        part: names from the state down, joined by dots; "" is the whole state.
        step: of the checkpoint; the latest by default.

    Returns:
        Nested dicts of numpy arrays (what is a tuple in the state has numbers as keys); of a typed key, its
        integers.

    Raises:
        InputError: if the folder holds no such checkpoint, or it no such part (naming those it has).
    """
    import orbax.checkpoint as ocp
    from etils import epath

    checkpoints = Path(folder).absolute() / "checkpoints"
    steps = saved_steps(checkpoints)
    if not Path(folder).is_dir():
        raise InputError(f"there is no folder {folder}; give that of a run")
    if not steps:
        raise InputError(f"{folder} holds no checkpoint; train it first, or give the folder of another run")
    if step is not None and step not in steps:
        raise InputError(f"{folder} holds no checkpoint of step {step}; it has those of steps {steps}")
    path = epath.Path(checkpoints / str(steps[-1] if step is None else step))
    names = ocp.JsonCheckpointHandler().restore(path / "leaves", args=ocp.args.JsonRestore())["arrays"]
    inner: Any = nested({name: name for name in names})
    down: list[str] = []
    for level in part.split(".") if part else ():
        known = inner if isinstance(inner, dict) else {}
        if level not in known:
            where, inside = ".".join(down) or "the state", ", ".join(known) or "nothing inside"
            raise InputError(f"the checkpoint has no {level!r} in {where}; it has {inside}")
        down.append(level)
        inner = inner[level]
    files = jax.tree.map(_file, inner)
    wanted = {file: 0 for file in jax.tree.leaves(files)}
    how = {file: ocp.RestoreArgs(restore_type=np.ndarray) for file in wanted}
    handler = ocp.PyTreeCheckpointHandler()  # and no manager, which may tidy up under a run that is alive
    read = handler.restore(
        path / "default", args=ocp.args.PyTreeRestore(wanted, restore_args=how, partial_restore=True)
    )
    handler.close()
    return jax.tree.map(read.__getitem__, files)


def _file(name: str) -> str:
    """Name the file of an array: no key of a tree leads out of its folder."""
    return quote(name, safe="").replace("..", ".%2E")


def _files(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {_file(name): array for name, array in arrays.items()}


def _sharding(leaf: Any) -> Any:
    """Say where an array is to live: where it does, or else on the first device, whatever wrote it."""
    return getattr(leaf, "sharding", None) or SingleDeviceSharding(jax.local_devices()[0])


def _as_array(leaf: Any) -> Any:
    """Write typed keys as the integers that they are stored as; a leaf may be but a shape and a dtype."""
    if not is_key(leaf):
        return leaf
    if isinstance(leaf, jax.Array):
        return jax.random.key_data(leaf)
    # a function of its own each time: jax keeps what it finds out about one for as long as that lives
    return jax.eval_shape(lambda key: jax.random.key_data(key), leaf)


def _of_kind(array: Any, leaf: Any) -> Any:
    """Make typed keys of their integers again, if that is what the leaf is."""
    if not is_key(leaf):
        return array
    kinds: list[Any] = []  # only an array tells how it draws, and a leaf may be but a shape and a dtype
    jax.eval_shape(lambda key: kinds.append(jax.random.key_impl(key)), leaf)
    return jax.random.wrap_key_data(array, impl=kinds[0])


def _checksums(arrays: Mapping[str, Any]) -> dict[str, int]:
    """Sum up the bytes of each array; of those that no process holds whole, none."""
    return {
        name: zlib.crc32(array.tobytes())
        for name, array in arrays.items()
        if isinstance(array, np.ndarray | np.generic)
    }


def _worth_saying(record: logging.LogRecord) -> bool:
    """Drop what orbax logs of an error in its threads, which it raises as well, and of files it lacks not."""
    message = record.getMessage()
    raised = record.levelno >= logging.ERROR and "orbax" in record.pathname + message
    return not (raised or "Skipping merge of OCDBT" in message)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
