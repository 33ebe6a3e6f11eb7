"""How the time of a training step grows: with batch, width, depth, sequence length, devices and processes.

    python benchmarks/sweep.py [batch width depth length devices processes] [--repeats 3]

A step is what `jaxdl train` runs, four to a call, fed from the host; times are medians of windows that all
sizes take in turns. Least squares put a line log t = a + b log n through the larger sizes, more than half of
them: b is the exponent, and "counted" the b of the operations in the matrix products. The picture cost.png
has the points, these lines, and dotted ones as steep as counted.

devices: one batch over 1 to 8 devices that are all the same cores, as XLA_FLAGS makes them in a process of
    its own; the ratio is to jit on one of them, which does the same products on the same cores.
processes: the same batch over two processes of one device each, which meet on loopback as docs/hosts.md has
    it; the ratio is to one process with two devices.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import date
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flops import model_flops
from results import machine

from jaxdl import optim
from jaxdl.learners import classifier, language_model
from jaxdl.nets.lstm import LSTM
from jaxdl.nets.mlp import MLP
from jaxdl.nets.transformer import Transformer
from jaxdl.train import Layout, compile_step, layout
from jaxdl.train.hosts import connect, watched

ROOT = Path(__file__).parents[1]
STEPS = 4  # of a call
RNG = np.random.default_rng(0)


def mlp(batch=128, hidden=(512, 512)):
    """A learner and its batch."""
    image = RNG.normal(size=(batch, 28, 28, 1)).astype(np.float32)
    label = RNG.integers(0, 10, batch, dtype=np.int32)
    return classifier(MLP(10, hidden), optim.adam(1e-3)), {"image": image, "label": label}


def language(net, length):
    tokens = RNG.integers(0, 65, (4, length + 1), dtype=np.int32)
    return language_model(net, optim.adam(1e-3), decode=lambda tokens: ""), {"tokens": tokens}


class Sweep(NamedTuple):
    """Say what grows, the nets that it grows in, and what is to be expected."""

    sizes: tuple[int, ...]
    nets: dict[str, Callable[[int], tuple[Any, Any]]]  # size -> (learner, batch)
    why: str


def powers(first, last):
    return tuple(2**i for i in range(first, last + 1))


SWEEPS = {
    "batch": Sweep(
        powers(4, 11),
        {"MLP 784-512-512-10": lambda n: mlp(batch=n)},
        "All products grow with the batch: b = 1. Adam's update, the norms among the metrics and the start "
        "of each operation cost the same at every size: they bend the curve up where the batch is small.",
    ),
    "width": Sweep(
        powers(5, 11),
        {"MLP 784-n-n-10, batch 128": lambda n: mlp(hidden=(n, n))},
        "The first layer grows as n, the second as n²: b lies between, and nears 2 only where n is far above "
        "784. Adam's update grows as the params do, which is the same. Narrow layers do not fill the cores.",
    ),
    "depth": Sweep(
        powers(0, 5),
        {"MLP 784-256-…-256-10, batch 128": lambda n: mlp(hidden=(256,) * n)},
        "Each layer adds the same to what the first and the last one cost: b nears 1 from below.",
    ),
    "length": Sweep(
        powers(5, 10),
        {
            "Transformer, 2 layers of 128, batch 4": lambda n: language(Transformer(65, n, 2, 4, 128), n),
            "LSTM, 2 layers of 128, batch 4": lambda n: language(LSTM(65, 2, 128), n),
        },
        "The LSTM takes one step after the other: b = 1. The Transformer's dense layers grow as T and its "
        "attention as T²: b goes from 1 to 2. An operation of attention costs more than one of a dense "
        "layer, as each head's T² weights pass through memory for products over a few numbers and for the "
        "softmax: b is above what is counted.",
    ),
}
STRATEGIES, COUNTS = ("shard", "pmap"), (1, 2, 4, 8)
WHY_DEVICES = (
    "The products stay the same, so that b = 0 would be distribution for nothing. But each device updates "
    "params of its own, n times Adam's work for the same cores; products are smaller; and all wait for all."
)
WHY_PROCESSES = (
    "Two processes sum their gradients by gloo, through sockets; the devices of one process do so in memory."
)


class Curve(NamedTuple):
    """Hold the seconds of a step at each size, and the exponent that is counted."""

    label: str
    sizes: tuple[int, ...]
    seconds: list[float]
    counted: float


def fit(sizes, values):
    """Return a and b of log t = a + b log n, by least squares through the larger sizes, more than half."""
    larger = slice((len(sizes) - 1) // 2, None)
    b, a = np.polyfit(np.log(sizes[larger]), np.log(values[larger]), 1)
    return a, b


def shapes(learner, batch):
    return jax.eval_shape(learner.init, jax.random.key(0), batch)


def training(learner, batch, place=Layout(), part=slice(None)):
    """Return a function that takes a number of calls of STEPS steps, and returns the seconds of a step."""
    shardings = place.state(shapes(learner, batch))
    state = jax.jit(learner.init, out_shardings=shardings)(jax.random.key(0), batch)
    run = compile_step(learner.step, place, steps_per_call=STEPS)
    items = jax.tree.map(lambda leaf: np.stack([leaf[part]] * STEPS), batch)

    def take(calls):
        nonlocal state
        began = time.perf_counter()
        for _ in range(calls):
            state, _ = run(state, items)
            jax.block_until_ready(state)
        return (time.perf_counter() - began) / (calls * STEPS)

    return take


def in_turns(sides, given):
    """Return {side: [seconds of a step in each turn]}."""
    for take in sides.values():
        take(1)  # which compiles
    calls = {side: max(1, round(given.seconds / (STEPS * take(1)))) for side, take in sides.items()}
    turns = [{side: take(calls[side]) for side, take in sides.items()} for _ in range(given.repeats)]
    return {side: [turn[side] for turn in turns] for side in sides}


def grow(name, given):
    """Measure and print a curve of each net."""
    sweep, curves = SWEEPS[name], []
    sizes = sweep.sizes[:3] if given.small else sweep.sizes
    for label, make in sweep.nets.items():
        made = {size: make(size) for size in sizes}
        seconds = in_turns({size: training(*each) for size, each in made.items()}, given)
        flops = [model_flops(learner.step, shapes(learner, batch), batch) for learner, batch in made.values()]
        middle = [statistics.median(seconds[size]) for size in sizes]
        curves.append(Curve(label, sizes, middle, fit(sizes, flops)[1]))
    rows = [[curve.label, *map(in_ms, curve.seconds), *exponents(curve)] for curve in curves]
    table([f"{name}, ms a step", *sizes, "exponent", "counted"], rows, sweep.why)
    return curves


@contextmanager
def started(devices, given, hosts=1):
    """Start processes with some devices in all; give (strategy, number of devices) -> what takes calls."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices // hosts}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    command = [sys.executable, __file__, *["--small"] * given.small, "--serve", address, str(hosts)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    processes = [subprocess.Popen([*command, str(index)], **pipes) for index in range(hosts)]

    def take(strategy, count, calls):
        for process in processes:
            print(strategy, count, calls, file=process.stdin, flush=True)
        return max(map(answer, processes))

    def answer(process):
        for line in process.stdout:
            if line.startswith("seconds "):  # and not what gloo has to say
                return float(line.split()[1])
        sys.exit("a process ended before its time; its own message says why")

    try:
        yield lambda *side: partial(take, *side)
    finally:
        for process in processes:
            process.stdin.close()
        for process in processes:
            process.wait()
            process.stdout.close()


def serve(address, hosts, index, small):
    """Take as many calls, on as many devices, as each line of the input says; print the seconds of a step."""
    hosts, index = int(hosts), int(index)
    if hosts > 1:
        connect(address, hosts, index)
    learner, batch = mlp(64, (16,)) if small else mlp(512)
    own = len(batch["label"]) // hosts
    part = slice(index * own, (index + 1) * own)

    @cache
    def side(strategy, count):
        return training(learner, batch, layout(strategy, devices=jax.devices()[:count]), part)

    with watched(lambda: "nothing was measured"):
        for line in sys.stdin:
            strategy, count, calls = line.split()
            print("seconds", side(strategy, int(count))(int(calls)), flush=True)


def over_devices(given):
    """Measure and print one batch on more and more devices, beside jit on one."""
    counts, jit = COUNTS[: 2 if given.small else None], ("jit", 1)
    with started(counts[-1], given) as side:
        which = [jit, *((strategy, count) for strategy in STRATEGIES for count in counts)]
        seconds = in_turns({each: side(*each) for each in which}, given)
    middle = {each: statistics.median(values) for each, values in seconds.items()}
    curves = [Curve(who, counts, [middle[who, count] for count in counts], 0.0) for who in STRATEGIES]
    rows = [["jit", cell(seconds, jit, jit), *["–"] * (len(counts) + 1)]]
    for curve in curves:
        cells = [cell(seconds, (curve.label, count), jit) for count in counts]
        rows.append([curve.label, *cells, *exponents(curve)])
    table(["devices, ms a step (over jit)", *counts, "exponent", "counted"], rows, WHY_DEVICES)
    return curves


def over_processes(given):
    """Measure and print one batch on two devices, of one process and of two."""
    with started(2, given) as one, started(2, given, hosts=2) as two:
        seconds = in_turns({1: one("shard", 2), 2: two("shard", 2)}, given)
    head = ["2 devices, ms a step (over one process)", "1 process", "2 processes"]
    table(head, [["shard", *(cell(seconds, hosts, 1) for hosts in (1, 2))]], WHY_PROCESSES)
    return []


def in_ms(seconds):
    return f"{float(f'{1e3 * seconds:.3g}'):,g}"  # 1,040 and not 1.04e+03


def cell(seconds, side, base):
    """Write the milliseconds of a step, and their ratio to those of another side in the same turn."""
    ratios = [a / b for a, b in zip(seconds[side], seconds[base], strict=True)]
    return f"{in_ms(statistics.median(seconds[side]))} ({statistics.median(ratios):.2f})"


def exponents(curve):
    return f"{fit(curve.sizes, curve.seconds)[1]:.2f}", f"{curve.counted:.2f}"


def table(head, rows, why):
    lines = [head, ["---"] * len(head), *rows]
    print("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines))
    print(f"\n{textwrap.fill(why, 118)}\n", flush=True)


def draw(path, curves):
    """Draw {name: curves}, a panel each: the points, the fitted lines, and lines as steep as counted."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(3.4 * columns, 3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels[len(curves) :]:
        panel.set_axis_off()
    for panel, (name, group) in zip(panels, curves.items(), strict=False):
        for color, (label, sizes, seconds, counted) in zip(("C0", "C1"), group, strict=False):
            a, b = fit(sizes, seconds)
            n, ms = np.asarray(sizes), 1e3 * np.asarray(seconds)
            panel.loglog(n, ms, "o", color=color, markersize=4)
            line = f"{label.split()[0].rstrip(',')}: $b$ = {b:.2f}, counted {counted:.2f}"
            panel.loglog(n, 1e3 * np.exp(a) * n**b, color=color, linewidth=1, label=line)
            panel.loglog(n, ms[-1] * (n / n[-1]) ** counted, ":", color=color, linewidth=1)
        panel.set_xscale("log", base=2)
        panel.set_xticks(n[::2], map(str, n[::2]))
        panel.set_xlabel(name)
        panel.set_ylabel("ms a step")
        panel.set_ylim(top=4 * panel.get_ylim()[1])  # room for the legend
        panel.legend(frameon=False, fontsize=7, loc="upper left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = {name: partial(grow, name) for name in SWEEPS}
    parts |= {"devices": over_devices, "processes": over_processes}
    parser.add_argument("parts", nargs="*", choices=[[], *parts])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3, help="of a window")
    parser.add_argument("--small", action="store_true", help="small sizes, to try the script")
    parser.add_argument("--picture-folder", type=Path, default=ROOT / "docs")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(*given.serve, given.small)
        return
    print(f"{machine()}, jax {jax.__version__}, {jax.devices()[0].device_kind}, {date.today()}\n")
    curves = {name: parts[name](given) for name in parts if name in (given.parts or parts)}
    if drawn := {name: group for name, group in curves.items() if group}:
        draw(given.picture_folder / "cost.png", drawn)


if __name__ == "__main__":
    main()
