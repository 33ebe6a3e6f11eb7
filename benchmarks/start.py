"""Where the time goes from `jaxdl train configs/vae_digits.py` to its first step.

    python benchmarks/start.py [config] [--repeats 5]

Wall seconds of each stage in a process of its own, first with an empty folder of compiled programs, then with
a warm one: medians. Below, the real commands, from start to end.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]


def stages(path):
    """Print the seconds of each stage, as JSON."""
    spent, before = {}, float(os.environ["BEGAN"])

    def done(stage):
        nonlocal before
        now = time.time()
        spent[stage], before = now - before, now

    done("python")
    import jax

    jax.devices()
    done("jax and its backend")
    from jaxdl import config
    from jaxdl.train import compile_step
    from jaxdl.train.experiment import check_experiment, initial_state, load
    from jaxdl.train.fit import STEPS_PER_CALL

    function = config.load(Path(path))
    done("flax, optax and the config's nets")
    experiment = config.build(function, {})
    done("data")
    check_experiment(experiment)
    done("checks of data and shapes")
    state = jax.block_until_ready(initial_state(experiment))
    done("first state")
    k, resident = STEPS_PER_CALL, None
    run = compile_step(experiment.learner.step, steps_per_call=k, load=partial(load, experiment))
    items = None
    if experiment.train is not None:
        resident = jax.device_put(experiment.train.resident)
        items = next(iter(experiment.train.stream(0, experiment.steps, lambda: k)))
    jax.block_until_ready(run(state, items, resident))
    done(f"first call, {k} steps")
    print(json.dumps(spent))


def seconds(command, environment):
    """Run a command; return its wall seconds and what it printed."""
    began = time.time()
    done = subprocess.run(
        command, env={**environment, "BEGAN": str(began)}, check=True, capture_output=True, text=True
    )
    return time.time() - began, done.stdout


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", nargs="?", default=str(ROOT / "configs" / "vae_digits.py"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--stages", action="store_true", help="what the processes that are timed run")
    options = parser.parse_args()
    if options.stages:
        return stages(options.config)
    with tempfile.TemporaryDirectory() as programs:
        environment = {
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": programs,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        probe = [sys.executable, __file__, options.config, "--stages"]
        runs = [json.loads(seconds(probe, environment)[1]) for _ in range(options.repeats + 1)]
        columns = {"empty": runs[:1], "warm": runs[1:]}
        middle = {
            cache: {stage: statistics.median(run[stage] for run in some) for stage in runs[0]}
            for cache, some in columns.items()
        }
        print("| seconds | empty cache | warm cache |\n|---|---|---|")
        for stage in runs[0]:
            print(f"| {stage} | {middle['empty'][stage]:.2f} | {middle['warm'][stage]:.2f} |")
        print(f"| together | {' | '.join(f'{sum(column.values()):.2f}' for column in middle.values())} |")
        for words in ("train {config} --epochs 1 --quiet --workdir {folder}", "list", "--help"):
            times = []
            for index in range(options.repeats + 1):
                folder = f"{programs}/run{index}"
                shown = words.format(config=options.config, folder=folder).split()
                times.append(seconds([sys.executable, "-m", "jaxdl", *shown], environment)[0])
            name = words.split(" --quiet")[0].format(config=Path(options.config).name)
            print(f"| `jaxdl {name}` | {times[0]:.2f} | {statistics.median(times[1:]):.2f} |", flush=True)


if __name__ == "__main__":
    main()
