"""What a run tells: metrics.jsonl, TensorBoard events, and progress on the terminal."""

import json
import math
import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from jaxdl.errors import RunError
from jaxdl.train.step import FLAGS
from jaxdl.train.workdir import write_atomically


class RunLog:
    """Write one row per evaluation and split to the run's folder, if there is one.

    Rows later than `start` are dropped, and those of the test: a run that goes on measures them again. On a
    full disk the run goes on, and what is missing is written as soon as there is room. Of several processes,
    the first one writes.

    Attributes:
        rows: {"step", "split", metric: value, ...} each, those of earlier parts of the run included.
    """

    def __init__(self, workdir: Path | None, start: int) -> None:
        self.rows: list[dict[str, Any]] = []
        self._workdir, self._start = workdir, start
        self._events: Any = None
        if workdir is None:
            return
        path = workdir / "metrics.jsonl"
        if path.exists():
            self.rows = [row for row in read_rows(path) if row["step"] <= start and row["split"] != "test"]
        self._written = 0  # rows in the file; 0 rewrites it
        self._flush()

    def write(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Add the metrics of one split at one step."""
        self.rows.append({"step": step, "split": split, **metrics})
        self._flush()

    def close(self) -> None:
        """Close the files."""
        if self._events is not None:
            with suppress(OSError):
                self._events.close()

    def _flush(self) -> None:
        folder = self._workdir
        if folder is None or jax.process_index() > 0:
            return
        path, missing = folder / "metrics.jsonl", self.rows[self._written :]
        lines = "".join(json.dumps(row) + "\n" for row in missing)
        try:
            if self._written:
                with path.open("a") as file:
                    file.write(lines)
            else:
                write_atomically(path, lines)
            self._written = len(self.rows)
            self._write_events(folder, missing)
        except OSError as error:
            self._written = 0  # the last line may be there in part
            warnings.warn(f"cannot write {path}: {error.strerror}; the run goes on", stacklevel=3)

    def _write_events(self, folder: Path, rows: list[dict[str, Any]]) -> None:
        """Add rows to the TensorBoard events, in this thread: one in the background would die in silence."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import Summary

        if self._events is None:
            self._events = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
            restart = SessionLog(status=SessionLog.START)  # hides what an earlier part of the run wrote later
            self._events.write_event(Event(wall_time=time.time(), step=self._start + 1, session_log=restart))
            rows = [row for row in rows if row["step"] > self._start]
        for row in rows:
            values = [
                Summary.Value(tag=f"{row['split']}/{name}", simple_value=value)
                for name, value in row.items()
                if name not in ("step", "split")
            ]
            event = Event(wall_time=time.time(), step=row["step"], summary=Summary(value=values))
            self._events.write_event(event)
        self._events.flush()


class Meter:
    """Read the metrics of each call while the next one runs, and average them between evaluations.

    Args:
        leaves: what the numbers of a `nonfinite` metric stand for, by its prefix.
    """

    def __init__(self, leaves: Mapping[str, list[str]] = MappingProxyType({})) -> None:
        self._leaves = leaves
        self._pending: tuple[int, Any] | None = None
        self._window: list[dict[str, np.ndarray]] = []
        self._latest: dict[str, float] = {}

    def push(self, step: int, metrics: Any) -> dict[str, float]:
        """Take the metrics of the call that ends at `step`, and return those of the call before.

        Raises:
            RunError: if the call before met a loss or gradient that was not finite.
        """
        self._settle()
        self._pending = (step, metrics)
        return self._latest

    def mean(self) -> dict[str, float]:
        """Return the averages since the last time, the last call included; raises like `push`."""
        self._settle()
        window, self._window = self._window, []
        return _mean(window)

    def _settle(self) -> None:
        if self._pending is None:
            return
        (step, metrics), self._pending = self._pending, None
        values = {name: np.atleast_1d(value) for name, value in jax.device_get(metrics).items()}
        _check_finite(values, step, self._leaves)
        self._window.append(values)
        self._latest = _mean([values])


def _check_finite(values: Mapping[str, np.ndarray], step: int, leaves: Mapping[str, list[str]]) -> None:
    """Raise at the first step whose loss or gradient was not finite and not skipped."""
    own = [name for name in values if name.split("/")[-1] in FLAGS.values()]
    if own:  # a gradient learner says so itself
        bad = {name: values[name] > 0 for name in own if name.split("/")[-1] == FLAGS["stop"]}
    else:  # NaN may say "not measured", except of a loss
        bad = {
            name: ~np.isfinite(value) if name.endswith("loss") else np.isinf(value)
            for name, value in values.items()
        }
    for name, where in bad.items():
        if where.any():
            first = step - len(where) + 1 + int(where.argmax())
            player, slash, _ = name.rpartition("/")
            what = f"loss or gradient{' of ' + player if player else ''}" if own else f"metric {name}"
            known = leaves.get(player + slash)
            leaf = (
                f"; the first bad leaf is {known[int(values[name][where.argmax()]) - 1]}"
                if own and known
                else ""
            )
            raise RunError(f"{what} is not finite at step {first}{leaf}")


def _mean(window: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """Average over steps; NaN says that a step did not measure the metric."""
    means = {}
    for name in window[0] if window else ():
        if name.split("/")[-1] == FLAGS["stop"]:
            continue  # always zero: the run would have stopped
        values = np.concatenate([part[name] for part in window])
        values = values[~np.isnan(values)]
        means[name] = float(values.mean()) if len(values) else math.nan
    return means


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of metrics.jsonl; a kill may leave the last line half-written."""
    rows = []
    for line in path.read_text().splitlines():
        with suppress(ValueError):
            rows.append(json.loads(line))
    return rows


class Progress:
    """Show how far a run is: a bar on a terminal, else a plain line now and then."""

    def __init__(self, total: int, start: int, quiet: bool) -> None:
        self._bar = None
        self._quiet = quiet
        self._total, self._start = total, start
        self._begin = self._said = time.monotonic()
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            form = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{rate_fmt}, {remaining} left{postfix}]"
            self._bar = tqdm(total=total, initial=start, unit=" steps", bar_format=form, leave=False)

    def compiled(self, step: int, seconds: float) -> None:
        """Tell how long the first call took to compile, and measure the speed from here on."""
        self.say(f"compiled in {seconds:.1f} s")
        self._begin, self._start = time.monotonic(), step
        if self._bar is not None:
            self._bar.reset(self._total)
            self._bar.initial = step
            self._bar.update(step)

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the step and the training metrics."""
        if self._bar is not None:
            if metrics:
                self._bar.set_postfix_str(losses(metrics), refresh=False)
            self._bar.update(step - self._bar.n)
        elif not self._quiet and step > self._start and time.monotonic() - self._said > 5:
            self._said = time.monotonic()
            rate = (step - self._start) / max(self._said - self._begin, 1e-9)
            left = (self._total - step) / rate
            self.say(f"step {step}/{self._total}  {losses(metrics)}  {rate:.4g} steps/s  {left:.0f} s left")

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        elif not self._quiet:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


def losses(metrics: Mapping[str, float]) -> str:
    """Spell the losses of training in one line, or all metrics where none is a loss.

    A loss that is NaN belongs to a player that rests, unless its step was skipped.
    """

    def rests(name: str) -> bool:
        player, slash, _ = name.rpartition("/")
        return math.isnan(metrics[name]) and not metrics.get(f"{player}{slash}skipped")

    own = [name for name in metrics if name.endswith("loss")] or metrics
    return summary({name: metrics[name] for name in own if not rests(name)})


def summary(metrics: Mapping[str, float], measured: bool = False) -> str:
    """Spell metrics in one line; NaN says "not measured", except of a loss, and where all are `measured`."""
    return "  ".join(
        f"{name} {value:.4g}"
        for name, value in metrics.items()
        if measured or name.endswith("loss") or not math.isnan(value)
    )
