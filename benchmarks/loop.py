"""What `fit` costs beyond the compiled steps: feeding, logging, evaluating and checkpointing the MLP.

    python benchmarks/loop.py

The MLP 784-512-512-10 at batch 128 on 60,000 uint8 images of 28x28, ten epochs with the default settings
of `fit`. It feeds, logs and writes ten checkpoints; in the last row it evaluates ten times on 3,000 images
as well. Beside it the same compiled call alone, on items gathered beforehand. All are measured in turns,
and a run of one call is taken off each run, which leaves start-up out.
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxdl import optim
from jaxdl.data import Batches, scaled
from jaxdl.learners import classifier
from jaxdl.nets.mlp import MLP
from jaxdl.train import Experiment, compile_step, fit, initial_state
from jaxdl.train.experiment import load
from jaxdl.train.fit import STEPS_PER_CALL


def experiment_of(steps: int, evaluates: bool) -> Experiment:
    rng = np.random.default_rng(0)

    def split(num: int) -> Batches:
        image = rng.integers(0, 256, (num, 28, 28, 1), dtype=np.uint8)
        return Batches({"image": image, "label": rng.integers(0, 10, num, dtype=np.int32)}, 128, 0, scaled)

    learner = classifier(MLP(10, (512, 512)), optim.adam(1e-3))
    return Experiment(learner, steps, split(60_000), split(3_000) if evaluates else None)


def seconds_of_fit(experiment: Experiment) -> float:
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        fit(experiment, f"{folder}/run", quiet=True)
        return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=4690)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp())
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

    whole = experiment_of(options.steps, evaluates=False)
    k = STEPS_PER_CALL
    run = compile_step(whole.learner.step, steps_per_call=k, load=partial(load, whole))
    items = list(whole.train.stream(0, options.steps, lambda: k))

    def alone(items: list[Any]) -> float:
        state = jax.block_until_ready(initial_state(whole))
        begin = time.perf_counter()
        for item in items:
            state, _ = run(state, item)
        jax.block_until_ready(state)
        return time.perf_counter() - begin

    rows = {
        "compiled steps alone": lambda steps: alone(items[: steps // k]),
        "fit": lambda steps: seconds_of_fit(experiment_of(steps, evaluates=False)),
        "fit, evaluating": lambda steps: seconds_of_fit(experiment_of(steps, evaluates=True)),
    }
    for measure in rows.values():  # compile all there is
        measure(k + options.steps % k)
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(options.repeats):
        for name, measure in rows.items():
            seconds[name].append(measure(options.steps) - measure(k))
    steps = options.steps - k
    best = statistics.median(seconds["compiled steps alone"])
    for name, values in seconds.items():
        middle = statistics.median(values)
        spread = f"({steps / max(values):.1f} .. {steps / min(values):.1f})"
        print(f"{name:22} {steps / middle:7.1f} steps/s  {spread}  {100 * (middle / best - 1):+.1f} %")


if __name__ == "__main__":
    main()
