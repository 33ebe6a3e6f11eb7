"""Runs killed by SIGKILL at random moments, also while they save, end as if nothing had happened."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxdl.train import load_part

CONFIGS = Path(__file__).parents[2] / "configs"
NUM_KILLS = 5  # of each learner

# Imports everything once; then each life of a run is a fork, a process of its own that ends like any other.
DRIVER = """
import json, os, random, signal, sys, time
from pathlib import Path
import jaxdl.data, jaxdl.learners, jaxdl.train.fit, matplotlib.figure, orbax.checkpoint
from jaxdl import cli

def start(workdir):
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = cli.main([*ARGV, "--workdir", str(workdir)])
        finally:
            os._exit(code)
    return child

def code_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def wait(child, condition):
    while not condition():
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.001)

def saved(run):
    return {path.name for path in (run / "checkpoints").glob("*") if path.name.isdigit()}

def writing(run):
    return any((run / "checkpoints").glob("*orbax-checkpoint-tmp*"))

ARGV, whole, killed, num_kills, seed = json.loads(sys.argv[1])
whole, killed = Path(whole), Path(killed)
began = time.monotonic()
child = start(whole)
wait(child, lambda: saved(whole))
first = time.monotonic() - began  # from the start to the first checkpoint
assert code_of(child) == 0
life = time.monotonic() - began

rng = random.Random(seed)
kinds, attempts, ended = [], 0, 0
while len(kinds) < num_kills or len(set(kinds)) < 3:
    attempts += 1
    assert attempts < 6 * num_kills, kinds
    kind = ("starting", "training", "writing")[attempts % 3]
    before, child = saved(killed), start(killed)
    if kind == "starting":
        time.sleep(rng.uniform(0, first))
    elif kind == "training":
        wait(child, lambda: saved(killed) - before)
        time.sleep(rng.uniform(0, (life - first) / 10))
    else:
        wait(child, lambda: writing(killed))
        time.sleep(rng.choice([0, 0.002, 0.01]))
    os.kill(child, signal.SIGKILL)
    code = code_of(child)
    if code == -signal.SIGKILL:
        kinds.append(kind)
    else:  # it came to its end first: put it aside, and begin another one
        assert code == 0
        killed.rename(f"{killed}-{ended}")
        ended += 1
assert code_of(start(killed)) == 0
print(json.dumps(kinds))
"""

RUNS = {
    "vae": ["vae_digits.py", "--latent-dim", "2", "--hidden", "16", "--epochs", "40"],
    "two players": ["gan_ring.py", "--hidden", "16", "--batch-size", "32", "--steps", "600"],
    "batch statistics, average, two devices": [
        *("cnn_digits.py", "--widths", "4", "--hidden", "8", "--batch-size", "64", "--epochs", "10"),
        *("--ema", "0.9", "--strategy", "pmap", "--cpu-devices", "2"),
    ],
    "worlds and a replay buffer": [
        *(
            "dqn_cartpole.py",
            "--hidden",
            "16",
            "--env-steps",
            "8192",
            "--num-envs",
            "4",
            "--batch-size",
            "16",
        ),
        *("--capacity", "512", "--warmup", "64", "--prioritized"),
    ],
    "text": [
        *("transformer_text.py", "--steps", "120", "--width", "16", "--num-layers", "1", "--num-heads", "2"),
        *("--context", "16", "--batch-size", "8"),
    ],
}


def leaves(run):
    return {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(load_part(run, ""))
    }


def measured(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["split"] != "train"]  # averages over what one life saw


@pytest.mark.parametrize("name", RUNS)
def test_a_run_killed_again_and_again_ends_bit_for_bit_as_one_that_was_not(name, tmp_path):
    config, *options = RUNS[name]
    argv = ["train", str(CONFIGS / config), "--quiet", "--platform", "cpu", *options]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    given = json.dumps([argv, str(whole), str(killed), NUM_KILLS, list(RUNS).index(name)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore:os.fork", "-c", DRIVER, given],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    kinds = json.loads(done.stdout.splitlines()[-1])
    assert len(kinds) >= NUM_KILLS and set(kinds) == {"starting", "training", "writing"}
    expected = leaves(whole)
    for run in tmp_path.glob("killed*"):
        found = leaves(run)
        assert found.keys() == expected.keys()
        for path, leaf in expected.items():
            np.testing.assert_array_equal(found[path], leaf, err_msg=path)
        assert measured(run) == measured(whole)
