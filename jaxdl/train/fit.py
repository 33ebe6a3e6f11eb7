"""The one loop: it runs every learner, and knows nothing of any."""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.data.pipeline import calls
from jaxdl.errors import InputError, Interrupted, RunError
from jaxdl.train.checkpoint import Checkpoints, fit_params, latest_good, merit
from jaxdl.train.compile import Layout, Strategy, check_divides, compile_step, layout
from jaxdl.train.evaluate import compile_evaluate, render_pictures
from jaxdl.train.experiment import Experiment, check_experiment, first_items, initial_state, load
from jaxdl.train.hosts import agreement, votes, watched
from jaxdl.train.log import Meter, Progress, RunLog, summary
from jaxdl.train.pictures import save_all, save_curves
from jaxdl.train.signals import caught_signals
from jaxdl.train.step import leaf_names
from jaxdl.train.workdir import open_workdir

STEPS_PER_CALL = 16  # unless a call of so many would take more than a second


class Result(NamedTuple):
    """What a run ends with."""

    state: Any
    step: int
    metrics: dict[str, float]  # of the test data, or of the last validation where there is no test
    rows: list[dict[str, Any]]  # all that was logged: {"step", "split", metric: value, ...}


def fit(
    experiment: Experiment,
    workdir: str | Path | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    strategy: Strategy = "jit",
    shard_params: bool = False,
    steps_per_call: int | None = None,
    patience: int | None = None,
    params: Any = None,
    quiet: bool = False,
) -> Result:
    """Train an experiment to its end, going on from the workdir's latest checkpoint if there is one.

    A call of the compiled step runs k steps. While the device runs it, the host gathers the next batches and
    reads the metrics of the call before, so that neither waits for the other.

    Args:
        experiment: what a config returns.
        workdir: folder of the run: checkpoints, metrics, pictures. Without one nothing is written.
        config: names and arguments that tie the workdir to the experiment.
        strategy: jit, pmap or shard.
        shard_params: under shard, split params over the devices instead of replicating them.
        steps_per_call: k, by default the experiment's. Where that leaves it open, it is 16, or 8, 4 or 2 if
            a call of 16 takes more than a second; what is computed, and when it is evaluated, stays the same.
        patience: stop after so many evaluations without a better monitored metric, and go back to the best.
        params: of another run, as `load_part` reads them, to start from instead of random ones.
        quiet: print nothing.

    Returns:
        The final state and metrics.

    Raises:
        InputError: for what can be known to be wrong before anything is compiled.
        RunError: if the loss or gradient is no longer finite.
        Interrupted: after SIGTERM or Ctrl-C, the state saved.
    """
    if not isinstance(experiment, Experiment):
        raise InputError(f"experiment is a {type(experiment).__name__}; give a jaxdl.train.Experiment")
    fixed = experiment.steps_per_call if steps_per_call is None else steps_per_call
    k = grid = STEPS_PER_CALL if fixed is None else fixed
    tie = config or {}
    folder = None if workdir is None else Path(workdir)
    kept = folder and folder / "checkpoints"
    with ExitStack() as stack:
        stack.enter_context(watched(lambda: latest_good(kept)))
        with agreement(tie):
            place, run, like = _prepare(experiment, strategy, shard_params, k, patience)
            if params is not None:
                params = fit_params(like, params)
        with agreement(tie):
            if folder is not None and jax.process_index() == 0:
                stack.enter_context(open_workdir(folder, tie))
        checkpoints = Checkpoints(kept, experiment.monitor, experiment.maximize)
        stack.callback(checkpoints.close)
        state, step = checkpoints.restore_latest(like) or (_start(experiment, place.state(like), params), 0)
        log, meter = RunLog(folder, step), Meter(leaf_names(like))
        stack.callback(log.close)
        progress = Progress(experiment.steps, step, quiet or jax.process_index() > 0)
        stack.callback(progress.close)
        signal = votes(stack.enter_context(caught_signals()))
        progress.say(_headline(experiment, state, step))

        evaluate = _validation(experiment, place)
        resident = None if experiment.train is None else place.resident(experiment.train.resident)
        every = experiment.eval_every or math.ceil(experiment.steps / 10)
        start, begin = step, time.monotonic()
        for num_steps, items in _calls(experiment, start, lambda: k):  # noqa: B023 (asked before each call)
            if _out_of_patience(log.rows, experiment, patience):
                break
            called = time.monotonic()
            state, metrics = run(state, items, resident)
            if step == start:
                compiled = time.monotonic()
                progress.compiled(step + num_steps, compiled - called)
                if fixed is None and jax.process_count() == 1:
                    jax.block_until_ready(metrics)
                    waited = time.monotonic() - compiled  # for fewer than k where a run goes on
                    k = steps_in_a_second(k, waited * k / num_steps)
            step += num_steps
            before, now = (step - num_steps) // grid * grid, step // grid * grid  # whatever k is
            due = now // every > before // every or step == experiment.steps
            caught = signal()
            try:
                progress.update(step, meter.push(step, metrics))
                if due or caught or now // (every / 10) > before // (every / 10):
                    log.write(step, "train", meter.mean())
            except RunError as error:
                checkpoints.wait()
                raise RunError(f"{error}; {latest_good(kept)}") from None
            if due:
                evaluated = evaluate(state)
                log.write(step, "validation", evaluated)
                progress.say(f"step {step}  {summary(evaluated, experiment.train is not None)}")
                caught = caught or signal()
            if due or caught:
                checkpoints.save(step, state, evaluated if due else None)
            if caught and step < experiment.steps:
                checkpoints.wait()
                raise Interrupted(f"interrupted at step {step}; {latest_good(kept)}", caught)

        if patience is not None:
            state, step = checkpoints.restore_best(like) or (state, step)
        result = Result(state, step, _finish(experiment, place, state, step, log, folder), log.rows)
        where = "" if folder is None else f", in {folder}"
        progress.say(f"{step - start} steps in {time.monotonic() - begin:.1f} s{where}")
        return result


def _prepare(
    experiment: Experiment, strategy: Strategy, shard_params: bool, k: int, patience: int | None
) -> tuple[Layout, Callable[..., Any], Any]:
    """Check what can be known before anything is compiled: (layout, compiled step, the state's shapes)."""
    if patience is not None and patience < 1:
        raise InputError(f"patience is {patience}; give 1 or more")
    if patience is not None and experiment.validation is None and experiment.train is not None:
        raise InputError(f"patience is {patience}, but there is no validation data to watch; give some")
    if strategy == "pmap" and experiment.train is None:
        raise InputError("strategy is pmap, but there is no batch to split over devices; choose jit or shard")
    try:
        place = layout(strategy, shard_params)
        run = compile_step(experiment.learner.step, place, steps_per_call=k, load=partial(load, experiment))
        if place.mesh is not None:
            check_divides(first_items(experiment), 0, place.mesh.size)
    except ValueError as error:
        raise InputError(str(error)) from None
    like = check_experiment(experiment)
    shardings = place.state(like)

    def placed(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return place, run, jax.tree.map(placed, like, shardings)


def _start(experiment: Experiment, shardings: Any, params: Any) -> Any:
    state = initial_state(experiment, shardings)
    if params is None:
        return state
    params = jax.device_put(params, shardings.params)
    averaged = None if state.ema_params is None else jax.tree.map(jnp.copy, params)
    return state.replace(params=params, ema_params=averaged)


def steps_in_a_second(k: int, seconds: float) -> int:
    """Return the power of two, of 2 to k, whose steps take a second, where k take so many.

    The loop over 2 steps is the program of that over k; a single step is another one, and rounds otherwise.
    """
    return k if seconds <= 1 else 2 ** max(1, int(math.log2(k / seconds)))


def _calls(experiment: Experiment, start: int, pace: Callable[[], int]) -> Iterator[tuple[int, Any]]:
    """Yield (number of steps, what they are fed) of each call; without data, the numbers of its steps."""
    if experiment.train is not None:
        stream = experiment.train.stream(
            start, experiment.steps, pace, (jax.process_index(), jax.process_count())
        )
    else:
        stream = (np.arange(*ends) for ends in calls(start, experiment.steps, pace))
    for items in stream:
        many = pace() > 1
        yield len(jax.tree.leaves(items)[0]), items if many else jax.tree.map(lambda leaf: leaf[0], items)


def _validation(experiment: Experiment, place: Layout) -> Any:
    if experiment.validation is None and experiment.train is not None:
        return lambda state: {}
    evaluate = compile_evaluate(experiment.learner, experiment.validation, place)
    return lambda state: evaluate(state, jax.random.key(experiment.seed))


def _finish(
    experiment: Experiment, place: Layout, state: Any, step: int, log: RunLog, folder: Path | None
) -> dict[str, float]:
    """Measure the test data, draw the pictures, and return the metrics that count."""
    key = jax.random.key(experiment.seed)
    if experiment.test is not None:
        metrics = compile_evaluate(experiment.learner, experiment.test, place)(state, key)
        log.write(step, "test", metrics)
    else:
        rows = [row for row in log.rows if row["split"] == "validation" and row["step"] == step]
        metrics = {
            name: value for row in rows for name, value in row.items() if name not in ("step", "split")
        }
    alone = place.local(state)
    if folder is not None and jax.process_index() == 0:
        try:
            save_pictures(experiment, alone, folder)
            save_curves(folder / "pictures" / "curves.png", log.rows)
        except OSError as error:  # the run is whole without them
            again = f"make room, then `jaxdl render {folder}`"
            warnings.warn(f"pictures were not saved: {error.strerror}; {again}", stacklevel=2)
    return metrics


def save_pictures(experiment: Experiment, state: Any, folder: Path) -> list[Path]:
    """Save what the learner draws, from the data that count most, under a run's folder; return the files."""
    data = experiment.test or experiment.validation or experiment.train
    pictures = render_pictures(experiment.learner, data, state, jax.random.key(experiment.seed))
    return save_all(folder / "pictures", pictures)


def _out_of_patience(rows: list[dict[str, Any]], experiment: Experiment, patience: int | None) -> bool:
    """Tell whether the last `patience` evaluations brought nothing better: a function of the log alone."""
    worth = partial(merit, experiment.monitor, experiment.maximize)
    values = [worth(row) for row in rows if row["split"] == "validation"]
    if patience is None or len(values) <= patience:
        return False
    return max(values[-patience:]) <= max(values[:-patience])


def _headline(experiment: Experiment, state: Any, step: int) -> str:
    splits = {name: getattr(experiment, name) for name in ("train", "validation", "test")}
    examples = ", ".join(f"{len(data):,} {name}" for name, data in splits.items() if data is not None)
    num_params = sum(leaf.size for leaf in jax.tree.leaves(getattr(state, "params", ())))
    parts = [
        f"{num_params:,} parameters" if num_params else "",
        f"{examples} examples" if examples else "",
        f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        f"{experiment.steps:,} steps" + (f", going on from step {step:,}" if step else ""),
    ]
    return ", ".join(part for part in parts if part)
