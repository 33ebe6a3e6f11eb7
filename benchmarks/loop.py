"""What `fit` costs beyond the compiled steps: feeding, logging, evaluating and checkpointing the MLP.

    python benchmarks/loop.py

The MLP 784-512-512-10 at batch 128 on 60,000 uint8 images of 28x28, with the default settings of `fit`: it
feeds, logs, evaluates ten times on 10,000 images and writes ten checkpoints. Beside it the same compiled call
alone, on items gathered beforehand. Both are measured in turns; a long run less a short one leaves start-up
out.
"""

import argparse
import statistics
import tempfile
import time
from functools import partial

import jax
import numpy as np

from jaxdl import optim
from jaxdl.data import Batches, scaled
from jaxdl.learners import classifier
from jaxdl.nets.mlp import MLP
from jaxdl.train import Experiment, compile_step, fit, initial_state
from jaxdl.train.experiment import load


def experiment_of(steps: int) -> Experiment:
    rng = np.random.default_rng(0)

    def split(num: int) -> Batches:
        image = rng.integers(0, 256, (num, 28, 28, 1), dtype=np.uint8)
        return Batches({"image": image, "label": rng.integers(0, 10, num, dtype=np.int32)}, 128, 0, scaled)

    learner = classifier(MLP(10, (512, 512)), optim.adam(1e-3))
    return Experiment(learner, steps, split(60_000), split(10_000))


def seconds_of_fit(experiment: Experiment) -> float:
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        fit(experiment, f"{folder}/run", quiet=True)
        return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp())
    jax.config.update("jax_persistent_compilation_cache_min_compile_time_secs", 0)

    whole, short = experiment_of(options.steps), experiment_of(16)
    k = whole.steps_per_call
    run = compile_step(whole.learner.step, steps_per_call=k, load=partial(load, whole))
    items = list(whole.train.stream(0, options.steps, k))
    seconds_of_fit(whole), run(initial_state(whole), items[0])  # compile all there is

    rates = {"compiled steps alone": [], "fit": []}
    for _ in range(options.repeats):
        state = jax.block_until_ready(initial_state(whole))
        begin = time.perf_counter()
        for item in items:
            state, _ = run(state, item)
        jax.block_until_ready(state)
        rates["compiled steps alone"].append(options.steps / (time.perf_counter() - begin))
        rates["fit"].append((options.steps - 16) / (seconds_of_fit(whole) - seconds_of_fit(short)))
    for name, values in rates.items():
        print(f"{name:22} {statistics.median(values):7.1f} steps/s  ({min(values):.1f} .. {max(values):.1f})")
    alone, fitted = (statistics.median(values) for values in rates.values())
    print(f"fit costs {100 * (alone / fitted - 1):.1f} % beyond the compiled steps")


if __name__ == "__main__":
    main()
