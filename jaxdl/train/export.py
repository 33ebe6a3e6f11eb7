"""Export what a run has learned as programs that need no jaxdl: StableHLO, the params inside."""

import inspect
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from jax import export

from jaxdl.errors import InputError, RunError
from jaxdl.train.experiment import Experiment
from jaxdl.train.log import read_rows
from jaxdl.train.state import TrainState
from jaxdl.train.workdir import check_rows, read_config
from jaxdl.types import Learner

PLATFORMS = ("cpu", "cuda", "tpu")  # each program is lowered for all of them
ABOUT = "export.json"


def exported(function: Callable[..., Any], *inputs: Any) -> export.Exported:
    """Lower a function of one example for batches of any size.

    Args:
        function: arrays of one example -> arrays.
        inputs: [B, ...] each; only shape and dtype count.

    Returns:
        The program; its `call` maps batches [b, ...] to arrays [b, ...] each.
    """
    (b,) = export.symbolic_shape("b")
    shapes = [jax.ShapeDtypeStruct((b, *leaf.shape[1:]), leaf.dtype) for leaf in inputs]
    return export.export(jax.jit(jax.vmap(function)), platforms=PLATFORMS)(*shapes)


def export_programs(
    experiment: Experiment,
    state: Any,
    folder: str | Path,
    about: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write what a learner exports: a program each, and export.json, which says what they take and give.

    Args:
        experiment: whose learner and data say what there is to export.
        state: of the learner.
        folder: that is made, seen whole or not at all.
        about: what else export.json tells, as JSON holds it.
        overwrite: whether an earlier export in this place is replaced.

    Returns:
        The files.

    Raises:
        InputError: if the learner exports nothing, or the folder cannot be written.
        RunError: if a program cannot be lowered.
    """
    learner, folder = experiment.learner, Path(folder)
    check_folder(learner, folder, overwrite)
    assert learner.export is not None
    data = experiment.test or experiment.validation or experiment.train
    batch = None if data is None else data.batch_at(0)
    programs, files = {}, {}
    for name, (function, *inputs) in learner.export(state, batch).items():
        if not name.isidentifier():  # it names a file
            raise InputError(f"export names a program {name!r}; give a plain name")
        try:
            program = exported(function, *inputs)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise RunError(f"{name} cannot be exported: {type(error).__name__}: {reason}") from error
        try:
            files[f"{name}.stablehlo"] = bytes(program.serialize())
        except ImportError:
            raise InputError('jax writes programs with flatbuffers; pip install "jaxdl[export]"') from None
        programs[name] = describe(program, function)
    facts = {**(about or {}), "jax": jax.__version__, "platforms": PLATFORMS, "programs": programs}
    write_folder(folder, files | {ABOUT: f"{json.dumps(facts, indent=2)}\n".encode()})
    return [folder / name for name in (*files, ABOUT)]


def describe(program: export.Exported, function: Callable[..., Any]) -> dict[str, Any]:
    """Say what a program takes, by the function's names, and what it gives: "float32[b, 8, 8, 1]"."""

    def spelled(aval: Any) -> str:
        return f"{aval.dtype}[{', '.join(map(str, aval.shape))}]"

    names = inspect.signature(function).parameters  # a last one, context=None, may not be given
    inputs = dict(zip(names, map(spelled, program.in_avals), strict=False))
    return {
        "inputs": inputs,
        "outputs": jax.tree.unflatten(program.out_tree, map(spelled, program.out_avals)),
    }


def evaluated(state: Any) -> dict[str, Any]:
    """Return what evaluation sees of a state: its params, averaged ones where they are kept, and model_state.

    Raises:
        InputError: for the state of a learner without params.
    """
    if not isinstance(state, TrainState):
        raise InputError(f"the state of this learner is a {type(state).__name__}; it has no params to export")
    params = state.params if state.ema_params is None else state.ema_params
    return {"params": params, "model_state": state.model_state}


def provenance(workdir: Path, step: int) -> dict[str, Any]:
    """Say where a checkpoint comes from: config and arguments of its run, its step and what was measured."""
    made, path = read_config(workdir), workdir / "metrics.jsonl"
    check_rows(path)
    metrics = {
        row.pop("split"): row
        for row in (read_rows(path) if path.exists() else [])
        if row.pop("step") == step and row["split"] != "train"
    }
    return {**made, "config": Path(made["config"]).name, "step": step, "metrics": metrics}


def check_folder(learner: Learner, folder: Path, overwrite: bool) -> None:
    """Raise an InputError unless there is something to export, and a place for it."""
    if learner.export is None:
        raise InputError("this learner exports nothing; give it an `export`, or take --format safetensors")
    check_target(folder, overwrite, lambda: (folder / ABOUT).is_file())


def check_target(path: Path, overwrite: bool, is_export: Callable[[], bool]) -> None:
    """Raise an InputError if there is something in the way, or something to replace that is no export."""
    elsewhere = "give --to for another place"
    try:
        there = path.exists() or path.is_symlink()
    except OSError as error:  # a name that no file can have
        raise InputError(f"cannot write {path}: {error.strerror}; {elsewhere}") from None
    if there and not overwrite:
        raise InputError(f"{path} exists; give --overwrite to replace it, or --to for another place")
    if there and not is_export():
        raise InputError(f"{path} is no earlier export and is not replaced; {elsewhere}")


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files so that it is seen whole or not at all."""
    part, old = (folder.with_name(f".{folder.name}.jaxdl-{state}") for state in ("part", "old"))
    try:
        for left in (part, old):  # by a kill
            remove(left)
        part.mkdir(parents=True)
        for name, content in files.items():
            (part / name).write_bytes(content)
        if folder.exists() or folder.is_symlink():
            folder.replace(old)
        part.replace(folder)
        remove(old)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}; give --to for another place") from None


def remove(path: Path) -> None:
    """Remove a folder, file or link, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
