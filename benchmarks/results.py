"""Train the systems to their numbers, and write RESULTS.md and the table of systems in README.md.

Commands: python benchmarks/results.py             train what has no result yet
    python benchmarks/results.py cnn dqn           train the rows whose name holds one of these, anew
    python benchmarks/results.py --list            say what there is
    python benchmarks/results.py --write           only write the tables from results.json

A row is one command and one number. Each run is a process of its own, as anyone would start it; the number is
read from its folder, and kept with its time, machine and date in results.json. Sets of TFDS are looked for in
$TFDS_DATA_DIR. Rows of several seeds give the median, the lowest and the highest. What a config is, the table
of the README takes from its docstring.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import NamedTuple

from jaxdl.cli import describe

ROOT = Path(__file__).parents[1]
RECORD, PAGE, README = ROOT / "benchmarks" / "results.json", ROOT / "RESULTS.md", ROOT / "README.md"
BEGIN, END = "<!-- systems: python benchmarks/results.py --write -->\n", "<!-- end of systems -->\n"


class Row(NamedTuple):
    """Say what to run and which number to read.

    Attributes:
        name: of the row.
        arguments: of `jaxdl train`.
        metric: that is read, of the test data, or of the last validation where there is no test.
        target: that it is to reach, where one is asked for.
        reference: what the paper or another code reports, as text.
        maximize: whether more of it is better.
        seeds: runs, with seeds 0, 1, ...
        scale: factor of the number as it is shown; −1 turns an ELBO into a bound on the NLL.
    """

    name: str
    arguments: str
    metric: str
    target: float | None
    reference: str = ""
    maximize: bool = True
    seeds: int = 1
    scale: float = 1


MNIST = "--dataset mnist"
DDPG = "--num-critics 1 --smoothing-std 0 --policy-every 1"
PENDULUM = (
    "--environment Pendulum-v1 --num-envs 4 --num-steps 256 --epochs 10 --minibatches 16 --discount 0.9 "
    "--gae-lambda 0.95 --env-steps 300000"
)
ACROBOT = (
    "--environment Acrobot-v1 --num-steps 64 --epochs 10 --minibatches 4 --discount 0.99 --gae-lambda 0.94 "
    "--env-steps 200000"
)
MOUNTAIN_CAR = (
    "--environment MountainCar-v0 --unit --octaves 2 --collect 2 --updates 8 --explore-share 0.3 "
    "--explore-last 0.02 --target-rate 0.01 --discount 0.99 --env-steps 100000"
)
SPLITS = f"{MNIST} --train-split train[:99%] --validation-split train[99%:]"
FIXED = f"{SPLITS} --binarization fixed --weight-decay 0.01"
DYNAMIC = f"{SPLITS} --binarization dynamic"
EIGHT_BITS = f"{SPLITS} --bins 256"
VAE = f"{DYNAMIC} --latent-dim 50 --hidden 200 200 --nll-samples 5000"
DENSITY = "flow_density.py --density"
ROWS = [
    Row("multilayer perceptron, digits", "mlp_digits.py", "accuracy", 0.98),
    Row("convolutional network, digits", "cnn_digits.py", "accuracy", 0.985),
    Row("ResNet-20, CIFAR-10", "resnet_cifar10.py", "accuracy", 0.91, "0.9125 (paper)"),
    Row(
        "ResNet-20, a fifth of CIFAR-10 (train 10,000, test 2,000), two cores",
        "resnet_cifar10.py --epochs 12 --strategy pmap --cpu-devices 2",
        "accuracy",
        None,
        "0.9125 (paper; all of it, 200 epochs)",
    ),
    Row("convolutional network, MNIST", f"cnn_digits.py {MNIST} --epochs 10", "accuracy", 0.992),
    Row("VAE, digits, −ELBO in nats", "vae_digits.py", "elbo", 19, maximize=False, scale=-1),
    Row("VAE, photographs, ELBO in nats", "vae_photographs.py", "elbo", 820),
    Row(
        "autoencoder, digits, squared error",
        "autoencoder_digits.py",
        "loss",
        0.85,
        "1.55 (8 principal components)",
        False,
    ),
    Row(
        "conditional VAE, digits, −ELBO in nats", "conditional_vae_digits.py", "elbo", 20.5, "", False, 1, -1
    ),
    Row("M2, digits, 100 labels: error", "m2_digits.py", "error", 0.15, "", False),
    Row("CAVI, ring: log-density in nats", "cavi_ring.py", "log_prob", -4.77, "−4.757 (the true density)"),
    *(
        Row(f"{system}, −log p in nats", arguments, "nll", target, reference, maximize=False)
        for system, arguments, target, reference in (
            ("MADE, digits", "made_digits.py", 17.5, ""),
            ("FVSBN, digits", "made_digits.py --model fvsbn", 19.6, ""),
            ("NADE, digits", "nade_digits.py", 17.3, ""),
            ("DeepNADE, digits", "order_agnostic_digits.py", 16.7, ""),
            ("gated PixelCNN, digits", "pixelcnn_digits.py", 17.4, ""),
            ("table, 3x3 pixels of digits", "tabular_digits.py", 5.05, ""),
            ("AR(2), 64 steps", "ar_series.py", 91.3, "91.25 (the law of the series)"),
            (
                "MADE, one mask, MNIST, fixed binarization",
                f"made_digits.py {FIXED} --learning-rate 1e-2 --epochs 30",
                95,
                "88.40 (paper), 94.5 (pytorch-made)",
            ),
            (
                "MADE, 8 masks, MNIST, fixed binarization",
                f"made_digits.py {FIXED} --learning-rate 1e-2 --epochs 60 --num-masks 8",
                92,
                "88.04 (paper, 32 masks)",
            ),
            (
                "FVSBN, MNIST, fixed binarization",
                f"made_digits.py {FIXED} --learning-rate 2e-2 --epochs 20 --model fvsbn",
                98.5,
                "97.45 (Gan et al., 2015)",
            ),
            (
                "NADE, MNIST, fixed binarization",
                f"nade_digits.py {FIXED} --learning-rate 1e-2 --epochs 12",
                90,
                "88.33 (paper)",
            ),
            (
                "gated PixelCNN, MNIST, dynamic binarization",
                f"pixelcnn_digits.py {DYNAMIC} --epochs 6",
                85,
                "81.30 (PixelCNN, paper)",
            ),
        )
    ),
    Row(
        "VAE, MNIST, −log p in nats, k=5000, dynamic binarization",
        f"vae_digits.py {VAE} --epochs 300",
        "nll_k5000_dynamic",
        90.5,
        "86.76 (Burda et al., 2016)",
        False,
    ),
    Row(
        "IWAE k=50, MNIST, −log p in nats, k=5000, dynamic binarization",
        f"vae_digits.py {VAE} --k 50 --batch-size 20 --epochs 40",
        "nll_k5000_dynamic",
        88,
        "84.78 (Burda et al., 2016)",
        False,
    ),
    Row(
        "M2, convolutional classifier, MNIST, 100 labels: error",
        f"m2_digits.py {SPLITS} --classifier cnn --shift 2 --latent-dim 50 --epochs 5",
        "error",
        0.15,
        "0.1197 (paper, dense classifier)",
        False,
    ),
    *(
        Row(f"{system}, bits/dim", arguments, "bits_per_dim", target, reference, maximize=False)
        for system, arguments, target, reference in (
            ("Glow, digits", "flow_digits.py", 2.13, ""),
            ("Glow, MNIST", f"flow_digits.py {EIGHT_BITS} --epochs 10", None, "1.05 (FFJORD)"),
            (
                "RealNVP, MNIST",
                f"flow_digits.py {EIGHT_BITS} --flow real_nvp --width 16 --epochs 5",
                None,
                "1.06 (FFJORD)",
            ),
            (
                "MAF, MNIST",
                f"flow_digits.py {EIGHT_BITS} --flow maf --steps 5 --epochs 10",
                None,
                "1.89 (paper)",
            ),
            ("SRFlow, digits", "conditional_flow_digits.py", 1.55, ""),
            ("RNADE, photographs", "rnade_photographs.py", 4.6, ""),
            ("PixelCNN of 8 levels, photographs", "pixelcnn_photographs.py", 0.6, ""),
            ("WaveNet, notes", "wavenet_tones.py", 2.15, "1.61 (their noise alone)"),
        )
    ),
    Row(
        "Transformer, documentation of CPython, nats a character",
        "transformer_text.py",
        "loss",
        1.5,
        "",
        False,
    ),
    Row("LSTM, documentation of CPython, nats a character", "lstm_text.py", "loss", 1.3, "", False),
    Row("VRNN, strokes, ELBO in nats", "vrnn_strokes.py", "elbo", 65),
    Row("STCN, strokes, ELBO in nats", "vrnn_strokes.py --model stcn", "elbo", 70),
    *(
        Row(
            f"{system}: gap to the truth in nats",
            f"{DENSITY} {arguments}",
            "gap",
            0.05,
            "0 (exact)",
            maximize=False,
        )
        for system, arguments in (
            ("RealNVP, two moons", "two_moons"),
            ("MAF, two moons", "two_moons --flow maf"),
            ("spline flow, two moons", "two_moons --flow spline_flow --layers 4"),
            ("RealNVP, eight Gaussians", "eight_gaussians --octaves 4 --steps 12000"),
            (
                "MAF, eight Gaussians",
                "eight_gaussians --flow maf --layers 8 --hidden 128 128 --octaves 4 --steps 15000",
            ),
            ("spline flow, eight Gaussians", "eight_gaussians --flow spline_flow --layers 4"),
        )
    ),
    Row("GAN, ring: share within 3σ", "gan_ring.py", "high_quality", 0.9),
    Row("DCGAN, digits: Fréchet distance of pixels", "dcgan_digits.py", "frechet", 0.5, maximize=False),
    Row("WGAN-GP, digits: Fréchet distance of pixels", "wgan_digits.py", "frechet", 0.4, maximize=False),
    *(
        Row(f"{system}, return", f"{config} {options}".strip(), "return", target, reference, seeds=5)
        for system, config, options, target, reference in (
            ("PPO, CartPole, 100k steps", "ppo_cartpole.py", "", 500, "500 (rl-zoo)"),
            ("TRPO, CartPole, 100k steps", "trpo_cartpole.py", "", 475, ""),
            ("A2C, CartPole, 500k steps", "a2c_cartpole.py", "", 500, "500 (rl-zoo)"),
            ("actor-critic, CartPole, 500k steps", "a2c_cartpole.py", "--gae-lambda 0", 475, ""),
            ("REINFORCE with baseline, CartPole", "reinforce_cartpole.py", "", 475, ""),
            ("DQN, CartPole, 100k steps", "dqn_cartpole.py", "", 500, "500 (rl-zoo), 488.7 (CleanRL)"),
            ("C51, CartPole", "c51_cartpole.py", "", 475, "481.2 (CleanRL)"),
            ("SAC, Pendulum, 30k steps", "sac_pendulum.py", "", -160, "−157.0 (rl-zoo, 20k)"),
            ("TD3, Pendulum, 30k steps", "td3_pendulum.py", "", -160, "−151.9 (rl-zoo, 20k)"),
            ("DDPG, Pendulum, 30k steps", "td3_pendulum.py", DDPG, -170, "−152.1 (rl-zoo, 20k)"),
            ("PPO, Pendulum", "ppo_cartpole.py", PENDULUM, -200, "−172.2 (rl-zoo, 100k)"),
            ("PPO, Acrobot", "ppo_cartpole.py", ACROBOT, -85, "−73.5 (rl-zoo, 1M)"),
            ("DQN, MountainCar, 108k steps", "dqn_cartpole.py", MOUNTAIN_CAR, -110, "−100.8 (rl-zoo)"),
        )
    ),
    Row("SARSA, cliff: greedy return", "sarsa_cliff.py", "sarsa/return", -17, "−17 (the safe path)"),
    Row("Q-learning, cliff: greedy return", "sarsa_cliff.py", "q_learning/return", -13, "−13 (exact)"),
    Row("TD(0), random walk: error", "td_random_walk.py", "value_error", 0.04, "0 (exact)", False),
    Row("Dyna-Q, maze: steps, median of 5", "dyna_q_maze.py", "median_length", 14, "14 (exact)", False),
    Row(
        "Monte Carlo, FrozenLake: success",
        "monte_carlo_frozenlake.py",
        "median_return",
        0.7,
        "0.7442 (exact)",
    ),
    Row(
        "Q-learning, FrozenLake: success, median of 5",
        "q_learning_frozenlake.py",
        "median_return",
        0.73,
        "0.7442 (exact)",
    ),
    Row(
        "Q-learning, Taxi: return, median of 5",
        "q_learning_frozenlake.py --environment taxi --decay 0",
        "median_return",
        7.8,
        "7.93 (exact)",
    ),
    Row(
        "value iteration, FrozenLake: V*(start)",
        "value_iteration_frozenlake.py",
        "start_value",
        0.542,
        "0.542026 (exact)",
    ),
]


def machine() -> str:
    """Name the kind of machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {models[0] if models else platform.machine()}"


def run(row: Row, seed: int) -> tuple[float, float, float]:
    """Train once; return (the number, seconds of CPU, seconds on the wall) of the command."""
    config, *options = row.arguments.split()
    before, began = os.times(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "jaxdl", "train", str(ROOT / "configs" / config), *options]
        subprocess.run([*command, "--seed", str(seed), "--workdir", f"{folder}/run", "--quiet"], check=True)
        after, wall = os.times(), time.monotonic() - began
        rows = [json.loads(line) for line in Path(folder, "run", "metrics.jsonl").read_text().splitlines()]
    last = next(logged for logged in reversed(rows) if logged["split"] != "train")
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return row.scale * last[row.metric], seconds, wall


def measure(row: Row) -> dict:
    """Train with each seed; return what results.json keeps."""
    values, seconds, wall = zip(*(run(row, seed) for seed in range(row.seeds)), strict=True)
    kept = {"values": values, "seconds": seconds, "wall": wall}
    kept |= {"machine": machine(), "date": str(date.today())}
    return kept | {"arguments": row.arguments}


def recorded() -> dict:
    """Read what is kept."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def page(record: dict) -> str:
    """Write RESULTS.md from what is kept."""
    lines = [
        "# Results",
        "",
        "Written by `python benchmarks/results.py`, which anyone can rerun. Every number is of",
        "test data (of the validation, if a system has no test), by the command in its row with seed 0; a",
        "row of several seeds gives the median (lowest to highest) of seeds 0, 1, ... Seconds are those of",
        "one run: of CPU, and on the wall, where other work may have run beside.",
        "",
        "| system | reached | asked | reference | `jaxdl train configs/` | CPU s | wall s | machine | date |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        kept = record.get(row.name)
        if kept is None or kept["arguments"] != row.arguments:
            continue
        cells = (
            *(
                row.name,
                reached(kept),
                asked(row),
                row.reference or "–",
            ),
            *(
                f"`{row.arguments}`",
                f"{statistics.median(kept['seconds']):.0f}",
                f"{statistics.median(kept['wall']):.0f}" if "wall" in kept else "–",
                kept["machine"],
                kept["date"],
            ),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def asked(row: Row) -> str:
    """Write the number that a row is to reach."""
    return "–" if row.target is None else f"{'≥' if row.maximize else '≤'} {row.target:g}".replace("-", "−")


def reached(kept: dict) -> str:
    """Write the number of a row."""
    values = kept["values"]
    spread = f" ({min(values):.4g} to {max(values):.4g})" if len(values) > 1 else ""
    return f"{statistics.median(values):.4g}".replace("-", "−") + spread.replace("-", "−")


def systems(record: dict) -> str:
    """Write the README's table: what each config says of itself, and the numbers of its first row."""
    lines = [
        "| config | system | paper | data | expected | measured |",
        "|---|---|---|---|---|---|",
    ]
    for path in sorted((ROOT / "configs").glob("[!_]*.py")):
        facts = describe(path)
        rows = [row for row in ROWS if row.arguments.split()[0] == path.name and row.name in record]
        current = [row for row in rows if record[row.name]["arguments"] == row.arguments][:1]
        measured = "".join(f"[{reached(record[row.name])}](RESULTS.md)" for row in current) or "–"
        texts = (
            facts[name].rstrip(".").replace("|", "\\|") for name in ("System", "Paper", "Data", "Expected")
        )
        cells = (f"[{path.stem}](configs/{path.name})", *texts, measured)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def with_table(readme: str, record: dict) -> str:
    """Put the table in its place in the README."""
    before, _, rest = readme.partition(BEGIN)
    return f"{before}{BEGIN}\n{systems(record)}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Run what is asked for, saving after each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    record = recorded()
    if given.list:
        for row in ROWS:
            print(f"{'done   ' if row.name in record else 'missing'}  {row.name}: {row.arguments}")
        return
    for row in [] if given.write else ROWS:
        if any(name in row.name for name in given.names) or not (given.names or row.name in record):
            measured = measure(row)
            record = recorded() | {row.name: measured}  # another process may have written meanwhile
            print(row.name, measured["values"], flush=True)
            RECORD.write_text(json.dumps(record, indent=1) + "\n")
    PAGE.write_text(page(recorded()))
    README.write_text(with_table(README.read_text(), recorded()))


if __name__ == "__main__":
    main()
