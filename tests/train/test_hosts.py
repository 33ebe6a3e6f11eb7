"""Several real processes on this machine: the same numbers as one, and an end that is told and bounded."""

import json
import multiprocessing
import re
import signal
import socket
import time

import jax
import numpy as np
import pytest

from jaxdl.errors import InputError
from jaxdl.train import load_part
from jaxdl.train.hosts import agreement, connect, everywhere, gather, votes, watched

CONFIG = '''
import jax, optax
from flax import linen as nn
from jaxdl.data import Batches, digits, scaled
from jaxdl.learners import classifier
from jaxdl.train import Experiment, Options


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        x = nn.Dense(16)(x.reshape(len(x), -1))
        return nn.Dense(10)(nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)))


def several_hosts(steps: int = 120, batch_size: int = 32, ema: float = 0.9) -> Experiment:
    """Train with plain gradient descent, which does not blow rounding up."""
    train, validation, _ = (Batches(split, batch_size, 0, scaled) for split in digits())
    learner = classifier(Net(), optax.sgd(0.1), options=Options(ema=ema))
    return Experiment(learner, steps, train, validation, eval_every=steps // 10, steps_per_call=2)
'''


# Imports everything once; then each process of a run is a fork of this one, and ends like any other.
NURSERY = multiprocessing.get_context("forkserver")
NURSERY.set_forkserver_preload(["jaxdl.data", "jaxdl.learners", "jaxdl.train.fit", "matplotlib.figure"])
LIFE = r"""
import os, re, sys
from jaxdl import cli

os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 1)
os.dup2(1, 2)
flags = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = re.sub(r"--xla_force_host_platform_device_count=\d+", "", flags)
sys.exit(cli.main(argv))
"""


# What gloo writes, in pieces: its threads write at once, into each other's lines.
GLOO = r"\[Gloo\] Rank|is connected to|peer ranks\.|Expected number of connected peer ranks is :|\d|\s"


def start(folder, count, flags=lambda index: (), log=""):
    """Start the processes of a run, 4 devices in all."""
    config = folder / "several_hosts.py"
    config.write_text(CONFIG)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    started = []
    for i in range(count):
        hosts = [] if count == 1 else ["--coordinator", f"127.0.0.1:{port}", "--num-processes", str(count)]
        argv = ["train", str(config), "--workdir", str(folder / f"run{count}"), "--strategy", "shard"]
        argv += ["--cpu-devices", str(4 // count), *hosts, *flags(i)]
        argv += ["--process-index", str(i)] if hosts else []
        given = {"argv": argv, "log": str(folder / f"{log}{count}-{i}.txt")}
        process = NURSERY.Process(target=exec, args=(LIFE, given))
        process.start()
        started.append(process)
    return started


def end(processes, seconds=240):
    """Wait for all of them; return their exit codes."""
    deadline = time.monotonic() + seconds
    try:
        for process in processes:
            process.join(max(1, deadline - time.monotonic()))
        return [process.exitcode for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.join()
            process.close()


def said(folder, count, index, log=""):
    return (folder / f"{log}{count}-{index}.txt").read_text()


def state_of(run):
    """The leaves of a run's last checkpoint, as arrays, by name."""
    parts = {name: load_part(run, name) for name in ("params", "ema_params", "model_state", "step", "key")}
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(parts)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One run by one process, by two and by four."""
    folder = tmp_path_factory.mktemp("hosts")
    for count in (1, 2, 4):
        codes = end(start(folder, count))
        assert codes == [0] * count, said(folder, count, 0) + said(folder, count, count - 1)
    return folder


@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_give_the_numbers_of_one(runs, count):
    one, several = state_of(runs / "run1"), state_of(runs / f"run{count}")
    assert several.keys() == one.keys()
    for name, leaf in one.items():
        np.testing.assert_allclose(several[name], leaf, rtol=2e-4, atol=2e-5, err_msg=name)
    rows = [
        [json.loads(line) for line in (runs / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("run1", f"run{count}")
    ]
    for mine, theirs in zip(*rows, strict=True):
        assert mine.keys() == theirs.keys()
        np.testing.assert_allclose(
            [theirs[name] for name in mine if name != "split"],
            [mine[name] for name in mine if name != "split"],
            rtol=5e-3,
            atol=1e-3,
        )


@pytest.mark.parametrize("count", [2, 4])
def test_the_first_process_writes_and_the_others_are_silent(runs, count):
    assert len(list((runs / f"run{count}").glob("events.*"))) == 1
    assert {path.name for path in (runs / f"run{count}" / "pictures").iterdir()} == {
        "curves.png",
        "hardest.png",
    }
    assert "validation: accuracy" in said(runs, count, 0)
    assert re.sub(GLOO, "", said(runs, count, count - 1)) == ""


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("count", "victim"), [(2, 0), (2, 1), (4, 2)])
def test_when_one_process_is_killed_the_others_say_so_and_all_resume_exactly(runs, tmp_path, count, victim):
    run = tmp_path / f"run{count}"
    processes = start(tmp_path, count, log="first")
    wait_for(lambda: (run / "checkpoints" / "36").is_dir(), processes[victim])
    processes[victim].kill()
    killed = time.monotonic()
    codes = end(processes, seconds=60)
    assert time.monotonic() - killed < 60
    assert codes == [-signal.SIGKILL if i == victim else 1 for i in range(count)]
    for i in set(range(count)) - {victim}:
        last = said(tmp_path, count, i, "first").strip().splitlines()[-1]
        assert re.fullmatch(
            rf"jaxdl: process {victim} has gone; the last good checkpoint is of step \d+; "
            "start every process again with the same command",
            last,
        )
    assert end(start(tmp_path, count)) == [0] * count
    assert "going on from step" in said(tmp_path, count, 0)
    again, whole = state_of(run), state_of(runs / f"run{count}")
    for name, leaf in whole.items():
        np.testing.assert_array_equal(again[name], leaf, err_msg=name)


def test_a_signal_to_one_process_stops_all_with_the_state_saved(runs, tmp_path):
    run = tmp_path / "run2"
    processes = start(tmp_path, 2, log="first")
    wait_for(lambda: (run / "checkpoints" / "12").is_dir(), processes[1])
    processes[1].terminate()
    assert end(processes) == [128 + signal.SIGTERM] * 2
    messages = [said(tmp_path, 2, i, "first").strip().splitlines()[-1] for i in range(2)]
    assert messages[0] == messages[1]
    step = re.fullmatch(
        r"jaxdl: interrupted at step (\d+); the last good checkpoint is of step \1", messages[0]
    )[1]
    assert (run / "checkpoints" / step).is_dir()
    assert end(start(tmp_path, 2)) == [0, 0]
    for name, leaf in state_of(runs / "run2").items():
        np.testing.assert_array_equal(state_of(run)[name], leaf, err_msg=name)


@pytest.mark.parametrize(
    ("flags", "messages"),
    [
        (
            lambda i: ("--batch-size", str(32 - 2 * i)),
            (
                "process 1 refused what it was given; its own message says why",
                "a batch of 30 does not divide over 4 devices; 28 or 32 would",
            ),
        ),
        (
            lambda i: ("--steps", str(120 + i)),
            ("process 1 was started with other arguments than process 0; give the same",) * 2,
        ),
    ],
    ids=["one refuses", "other arguments"],
)
def test_what_one_process_refuses_stops_all_before_anything_is_written(tmp_path, flags, messages):
    assert end(start(tmp_path, 2, flags)) == [2, 2]
    for i, message in enumerate(messages):
        assert said(tmp_path, 2, i).strip().splitlines()[-1] == f"jaxdl: {message}"
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written <= {"several_hosts.py", "2-0.txt", "2-1.txt"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("localhost", 2, 0), "coordinator is 'localhost'; give HOST:PORT of process 0, or auto"),
        (("localhost:x", 2, 0), "coordinator is 'localhost:x'"),
        (("localhost:99999", 2, 0), "coordinator is 'localhost:99999'"),
        (("localhost:1234", None, 0), "num_processes is None; give 1 or more"),
        (("localhost:1234", 0, 0), "num_processes is 0; give 1 or more"),
        (("localhost:1234", 2, None), "process_index is None; give 0 to 1"),
        (("localhost:1234", 2, 2), "process_index is 2; give 0 to 1"),
        (("localhost:1234", 2, -1), "process_index is -1; give 0 to 1"),
    ],
)
def test_wrong_addresses_and_numbers_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        connect(*arguments)


def test_alone_everything_is_the_obvious():
    assert gather(3).tolist() == [3]
    assert everywhere(True) and not everywhere(False)
    signals = []
    vote = votes(signals)
    assert vote() == 0
    signals.append(15)
    assert vote() == 15
    with watched(lambda: ""), agreement({}):
        pass
    with pytest.raises(InputError, match="mine"), agreement({}):
        raise InputError("mine")
