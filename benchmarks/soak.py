"""Train, checkpoint, restore, over and over in one process: memory, descriptors, threads and disk stay flat.

Command: python benchmarks/soak.py [--cycles 2000]
Time: 20 min on 2 cores

Each cycle goes on with a run by a few steps: it restores the latest checkpoint, compiles (or finds the
program in the cache), trains, saves and closes everything; after fifty cycles a new run begins, as the log
of one grows with its length. The first cycles fill caches; from a tenth on, descriptors, threads and what
the checkpoints take on disk may not grow at all, memory by no more than what an allocator breaks up. The
script prints a table, and exits with 1 if something grows more.
"""

import argparse
import gc
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import jax
import numpy as np
import optax

from jaxdl.data import Batches
from jaxdl.train import Experiment, Options, Player, fit, gradient_learner

X = np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)
ALLOWED = {"memory MB": 0.01, "descriptors": 0, "threads": 0, "checkpoints MB": 1e-4}  # growth in a cycle


def learner_of():
    def init(key, batch):
        return {"model": {"w": jax.random.normal(key, (64, 64))}}, {}

    def loss(params, model_state, batch, key):
        value = ((batch["x"] @ params["model"]["w"] - batch["x"]) ** 2).mean()
        return value, (model_state, {})

    def evaluate(params, model_state, batch, key):
        return {"loss": ((batch["x"] @ params["model"]["w"] - batch["x"]) ** 2).mean(-1)}

    players = {"model": Player(loss, optax.adam(1e-3))}
    return gradient_learner(init, players, evaluate=evaluate, options=Options(ema=0.9))


def measured(workdir):
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    sizes = [path.stat().st_size for path in (workdir / "checkpoints").rglob("*") if path.is_file()]
    return {
        "memory MB": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "checkpoints MB": sum(sizes) / 2**20,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=2000)
    parser.add_argument("--no-checkpoints", action="store_true", help="start anew in each cycle")
    given = parser.parse_args()
    cycles = given.cycles
    learner, train, validation = learner_of(), Batches({"x": X}, 32), Batches({"x": X}, 64)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_compilation_cache_dir", f"{folder}/programs")
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        began = time.monotonic()
        for cycle in range(1, cycles + 1):
            life, part = divmod(cycle - 1, 50)
            workdir, steps = Path(folder) / f"run{life}", 4 if given.no_checkpoints else 4 * (part + 1)
            experiment = Experiment(learner, steps, train, validation, eval_every=4, steps_per_call=4)
            result = fit(experiment, None if given.no_checkpoints else workdir, quiet=True)
            assert result.step == steps
            if cycle % max(1, cycles // 20) == 0:
                rows.append({"cycle": cycle, "seconds": time.monotonic() - began} | measured(workdir))
                if len(rows) == 1:
                    print("  ".join(f"{name:>14}" for name in rows[0]))
                print("  ".join(f"{value:>14.6g}" for value in rows[-1].values()), flush=True)
    early, late = rows[len(rows) // 10], rows[-1]
    grown = [
        f"{name} grew from {early[name]:.6g} to {late[name]:.6g}"
        for name, limit in ALLOWED.items()
        if late[name] > early[name] + limit * (late["cycle"] - early["cycle"])
    ]
    rate = (late["memory MB"] - early["memory MB"]) / max(1, late["cycle"] - early["cycle"])
    print("; ".join(grown) or f"nothing grew, but memory by {1000 * rate:.0f} kB a cycle")
    sys.exit(bool(grown))


if __name__ == "__main__":
    main()
