"""What a run tells: metrics.jsonl, TensorBoard events, and progress on the terminal."""

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdl.errors import RunError
from jaxdl.train.step import FLAGS
from jaxdl.train.workdir import write_atomically


class RunLog:
    """Write one row per evaluation and split to the run's folder, if there is one.

    Rows later than `start` are dropped: a run that resumes from an older checkpoint measures them again.

    Attributes:
        rows: {"step", "split", metric: value, ...} each, those of earlier parts of the run included.
    """

    def __init__(self, workdir: Path | None, start: int) -> None:
        self.rows: list[dict[str, Any]] = []
        self._file = self._events = None
        if workdir is None:
            return
        path = workdir / "metrics.jsonl"
        if path.exists():
            self.rows = [
                row for row in map(_parse, path.read_text().splitlines()) if row and row["step"] <= start
            ]
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in self.rows))
        from tensorboardX import SummaryWriter

        self._file = path.open("a")
        self._events = SummaryWriter(str(workdir), purge_step=start + 1)

    def write(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Add the metrics of one split at one step."""
        row = {"step": step, "split": split, **metrics}
        self.rows.append(row)
        if self._file is not None and self._events is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
            for name, value in metrics.items():
                self._events.add_scalar(f"{split}/{name}", value, step)

    def close(self) -> None:
        """Close the files."""
        if self._file is not None and self._events is not None:
            self._file.close()
            self._events.close()


class Meter:
    """Read the metrics of each call while the next one runs, and average them between evaluations."""

    def __init__(self) -> None:
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
        _check_finite(values, step)
        self._window.append(values)
        self._latest = _mean([values])


def _check_finite(values: Mapping[str, np.ndarray], step: int) -> None:
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
            player = name.rpartition("/")[0]
            what = f"loss or gradient{' of ' + player if player else ''}" if own else f"metric {name}"
            raise RunError(f"{what} is not finite at step {first}")


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


def _parse(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:  # a kill may leave the last line half-written
        return None


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
        elif not self._quiet and time.monotonic() - self._said > 5:
            self._said = time.monotonic()
            rate = (step - self._start) / max(self._said - self._begin, 1e-9)
            left = (self._total - step) / max(rate, 1e-9)
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
    """Spell the losses among metrics in one line, or all metrics where none is a loss."""
    return summary({name: value for name, value in metrics.items() if name.endswith("loss")} or metrics)


def summary(metrics: Mapping[str, float]) -> str:
    """Spell metrics in one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items() if not math.isnan(value))
