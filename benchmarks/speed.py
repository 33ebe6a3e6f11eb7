"""Training steps a second of jaxdl beside PyTorch: the same nets, batches, float type and Adam, in one run.

    pip install -e ".[bench]" && python benchmarks/speed.py [names] [--repeats 7] [--out BENCHMARKS.md]
    python benchmarks/speed.py --bf16                    on a machine with a GPU, which both sides then use

Both sides take turns: a window of a second of each, again and again. The table gives medians, and the ratio
of the fastest form of jaxdl to the faster of PyTorch eager and torch.compile in the same turn, with the
lowest and the highest. A step of jaxdl is what `jaxdl train` runs, metrics and the guard against non-finite
numbers included; k steps are one call; with n devices, each core is one, as `--cpu-devices n --strategy pmap`
has it, and batch norm takes the statistics of the whole batch. PyTorch's images and kernels lie in
channels_last, and its players of a GAN compute no gradient that they do not need. Memory is the peak of
jaxdl's step. MFU is the share of the peak of matrix products, which is measured first, that the products and
convolutions of the model make up at the rate of the faster jaxdl: none that is computed twice counts twice.
`--small` shrinks all sizes, to try the script; the Transformer of 350 million parameters runs on a GPU, or
where it is named. The table is written anew after each row.
"""

import argparse
import importlib.util
import math
import os
import statistics
import time
from datetime import date
from functools import partial
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flops import model_flops
from results import machine

from jaxdl import optim
from jaxdl.learners import classifier, flow, gan, language_model, vae
from jaxdl.learners.autoregressive import BERNOULLI, autoregressive
from jaxdl.nets.cnn import CNN
from jaxdl.nets.dcgan import Discriminator, Generator
from jaxdl.nets.flows import real_nvp
from jaxdl.nets.lstm import LSTM
from jaxdl.nets.made import MADE
from jaxdl.nets.mlp import MLP
from jaxdl.nets.resnet import ResNet18
from jaxdl.nets.transformer import Transformer
from jaxdl.nets.vae import BernoulliDecoder, Encoder
from jaxdl.train import Options, Player, compile_step, gradient_learner
from jaxdl.train.compile import layout

# Each core a device; and a GPU's memory for both sides. Read when the backend starts.
os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={os.cpu_count()}")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
RNG = np.random.default_rng(0)
TARGETS = {
    **dict.fromkeys(("mlp", "vae", "made"), 1.5),
    **dict.fromkeys(("cnn", "resnet18", "dcgan", "lstm", "transformer"), 1.0),
    **{"realnvp": 4.0, "nerf": 1.1, "transformer350m": 1.0},
}
LANGUAGE = "lstm", "transformer", "transformer350m"


def nerf_learner(net, optimizer, options):
    """Fit colours and densities of points: the MLP of NeRF without its rays."""

    def init(key, batch):
        return {"net": net.init(key, batch["x"], train=False)["params"]}, {}

    def errors(params, batch):
        y = net.apply({"params": params["net"]}, batch["x"], train=True)
        return ((y - batch["y"]) ** 2).sum(-1)

    def loss(params, model_state, batch, key):
        return errors(params, batch).mean(), (model_state, {})

    def evaluate(params, model_state, batch, key):
        return {"loss": errors(params, batch)}

    return gradient_learner(init, {"net": Player(loss, optimizer)}, evaluate=evaluate, options=options)


def workloads(small, bf16, norm=nn.BatchNorm, chunk=128):
    """{name: (learner, batch, what the peer's sizes are)}; images are [B, H, W, C]."""
    adam, how = lambda: optim.adam(1e-3), {"options": Options(bf16=bf16)}
    pick = lambda full, tiny: tiny if small else full
    normal = lambda *shape: RNG.normal(size=shape).astype(np.float32)
    labels = lambda num: RNG.integers(0, 10, num).astype(np.int32)
    binary = lambda num: RNG.integers(0, 2, (num, 28, 28, 1)).astype(np.float32)
    images = {"image": normal(pick(128, 8), 28, 28, 1), "label": labels(pick(128, 8))}
    photographs = {"image": normal(pick(64, 4), 32, 32, 3), "label": labels(pick(64, 4))}
    hidden, deep = pick((512, 512), (16,)), pick((256,) * 8, (16, 16))
    tokens = lambda num, length, vocabulary=65: {
        "tokens": RNG.integers(0, vocabulary, (num, length + 1)).astype(np.int32)
    }
    width, widths, context = pick(256, 16), pick((256, 128, 64), (8, 8, 8)), pick(128, 16)
    speak = {"decode": lambda tokens: "", **how}
    transformer = {"vocabulary": 65, "layers": pick(4, 1), "heads": 4, "width": pick(128, 16)}
    large = {
        "vocabulary": pick(50_304, 64),
        "layers": pick(24, 1),
        "heads": pick(16, 2),
        "width": pick(1024, 16),
    }
    decoder = lambda sizes, length: Transformer(
        sizes["vocabulary"], length, sizes["layers"], sizes["heads"], sizes["width"]
    )
    long = pick(1024, 16)
    return {
        "mlp": (classifier(MLP(10, hidden), adam(), **how), images, {"hidden": hidden}),
        "cnn": (classifier(CNN(10, norm=norm), adam(), **how), images, {}),
        "resnet18": (classifier(ResNet18(10, norm=norm), adam(), **how), photographs, {}),
        "vae": (
            vae(
                *(Encoder(20, (pick(400, 16),)), BernoulliDecoder((28, 28, 1), (pick(400, 16),)), adam()),
                **how,
            ),
            {"x": binary(pick(128, 8))},
            {"width": pick(400, 16), "latent": 20},
        ),
        "made": (
            autoregressive(MADE(1, (pick(500, 16),), direct=True), BERNOULLI, adam(), **how),
            {"x": binary(pick(100, 8))},
            {"width": pick(500, 16)},
        ),
        "realnvp": (
            flow(real_nvp(8, (64, 64)), adam(), **how),
            {"x": normal(pick(256, 8), 2)},
            {"layers": 8, "width": 64},
        ),
        "lstm": (
            language_model(LSTM(65, 2, width), adam(), **speak),
            tokens(pick(32, 2), pick(64, 8)),
            {"vocabulary": 65, "width": width},
        ),
        "transformer": (
            language_model(decoder(transformer, context), adam(), **speak),
            tokens(pick(16, 2), context),
            transformer,
        ),
        "transformer350m": (
            language_model(decoder(large, long), adam(), chunk=chunk and pick(chunk, 8), **speak),
            tokens(pick(16, 2), long, large["vocabulary"]),
            large,
        ),
        "dcgan": (
            gan(
                *(Generator((32, 32, 3), widths, norm), Discriminator(widths[::-1], norm), adam(), adam()),
                **{"latent_dim": 64, **how},
            ),
            {"x": RNG.uniform(size=(pick(64, 4), 32, 32, 3)).astype(np.float32)},
            {"widths": widths, "latent": 64},
        ),
        "nerf": (
            nerf_learner(MLP(4, deep), adam(), **how),
            {"x": normal(pick(32_768, 64), 63), "y": normal(pick(32_768, 64), 4)},
            {"hidden": deep},
        ),
    }


def jaxdl_side(learner, batch, k, num_devices=1):
    """Return a call that takes k steps, and one that waits for them."""
    state = jax.jit(learner.init)(jax.random.key(0), batch)
    how = layout("pmap", devices=jax.devices()[:num_devices]) if num_devices > 1 else layout("jit")
    run = compile_step(learner.step, how, steps_per_call=k)
    items = jax.tree.map(lambda leaf: np.stack([leaf] * k) if k > 1 else leaf, batch)
    items = items if num_devices > 1 else jax.device_put(items)

    def call():
        nonlocal state
        state, _ = run(state, items)

    return call, lambda: jax.block_until_ready(state)


def peak_memory(learner, batch):
    """Return the bytes that a step of jaxdl holds at most: its arguments, results and temporaries."""
    state = jax.eval_shape(learner.init, jax.random.key(0), batch)
    step = jax.jit(lambda state, batch: learner.step(state, batch), donate_argnums=0)
    used = step.lower(state, batch).compile().memory_analysis()
    if used is None:  # not every backend tells
        return None
    kept = used.argument_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
    return kept + used.temp_size_in_bytes


def matrix_peak(small, bf16):
    """Measure the operations a second of products of large square matrices."""
    size, rounds = 128 if small else 8192 if jax.default_backend() != "cpu" else 2048, 8
    a = jnp.full((size, size), 1 / size, jnp.bfloat16 if bf16 else jnp.float32)
    chain = jax.jit(lambda a: jax.lax.fori_loop(0, rounds, lambda _, b: a @ b, a))
    chain(a).block_until_ready()
    times = []
    for _ in range(3 if small else 10):
        began = time.perf_counter()
        chain(a).block_until_ready()
        times.append(time.perf_counter() - began)
    return 2 * size**3 * rounds / min(times)


def torch_side(name, batch, sizes, compiled, bf16):
    """Return a call that takes one step, and one that waits for it."""
    import torch
    import torch_peers

    device = "cuda" if torch.cuda.is_available() and jax.default_backend() != "cpu" else "cpu"
    given = {"x": next(iter(batch.values())), "y": list(batch.values())[-1]}
    if name in LANGUAGE:
        given = {"x": given["x"][:, :-1], "y": given["x"][:, 1:]}
    elif name in ("vae", "made"):
        given = {"x": given["x"].reshape(len(given["x"]), -1)}
    elif given["x"].ndim == 4:
        given["x"] = given["x"].transpose(0, 3, 1, 2)
    tensors = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in given.items()}
    tensors = {key: (t.long() if not t.is_floating_point() else t).to(device) for key, t in tensors.items()}
    if name in ("cnn", "resnet18", "dcgan"):
        tensors["x"] = tensors["x"].contiguous(memory_format=torch.channels_last)
    torch.manual_seed(0)
    with torch.device(device):
        step = torch_peers.step_of(name, tensors, sizes, torch.compile if compiled else lambda module: module)

    def call():
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            step()

    return call, torch.cuda.synchronize if device == "cuda" else lambda: None


def rate(call, wait, each, seconds):
    """Call for some seconds; return steps a second."""
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds or not steps:
        call()
        steps += each
        if steps % (8 * each) == 0:  # a queue without end is no work done
            wait()
    wait()
    return steps / (time.perf_counter() - began)


def measure(name, workload, options):
    """Take turns; return rates of each side, the ratios, and k."""
    learner, batch, sizes = workload
    one, wait = jaxdl_side(learner, batch, 1)
    rate(one, wait, 1, 0)
    k = options.steps_per_call or max(2, min(16, int(rate(one, wait, 1, 0))))
    sides = {"jaxdl": (one, wait, 1), "jaxdl, k steps a call": (*jaxdl_side(learner, batch, k), k)}
    num_devices = math.gcd(len(next(iter(batch.values()))), len(jax.devices()))
    if num_devices > 1:
        joint = workloads(options.small, options.bf16, partial(nn.BatchNorm, axis_name="batch"))[name][0]
        sides["jaxdl, n devices"] = *jaxdl_side(joint, batch, k, num_devices), k
    if not options.alone:
        sides["torch"] = *torch_side(name, batch, sizes, False, options.bf16), 1
        if not options.eager:
            sides["torch.compile"] = *torch_side(name, batch, sizes, True, options.bf16), 1
    for side in sides.values():
        rate(*side, 0)
        rate(*side, 0)
    turns = []
    for _ in range(options.repeats):
        turns.append({})
        for side, how in sides.items():
            turns[-1][side] = rate(*how, options.seconds)
            time.sleep(options.pause)  # threads of the one side spin for a while when it is done
    best = lambda turn, who: max(value for side, value in turn.items() if side.startswith(who))
    ratios = [] if options.alone else [best(turn, "jaxdl") / best(turn, "torch") for turn in turns]
    return {side: statistics.median(turn[side] for turn in turns) for side in sides}, ratios, k


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a window")
    parser.add_argument("--steps-per-call", type=int, help="k; as many as take a second, at most 16")
    parser.add_argument(
        "--eager", action="store_true", help="leave torch.compile out: it needs a C++ compiler"
    )
    parser.add_argument("--alone", action="store_true", help="jaxdl only")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16; params are float32")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between windows")
    parser.add_argument("--out", help="a file to write the table to")
    options = parser.parse_args()
    for name in options.names:
        if name not in TARGETS:
            parser.error(f"there is no workload {name!r}; there are {', '.join(TARGETS)}")
    if not options.alone and importlib.util.find_spec("torch") is None:
        parser.error('PyTorch is not installed: pip install "jaxdl[bench]", or --alone')
    versions = " ".join(
        f"{name} {metadata.version(name)}" for name in ("jax", "flax", "torch")[: 2 + (not options.alone)]
    )
    lines = [f"{machine()}, {versions}, {date.today()}", ""]
    made, counted = (workloads(options.small, options.bf16, **how) for how in ({}, {"chunk": None}))
    peak = matrix_peak(options.small, options.bf16)
    dtype = "bfloat16" if options.bf16 else "float32"
    lines[0] += f"; {jax.devices()[0].device_kind}, {dtype}, matrix products at {peak / 1e12:.3g} TFLOP/s"
    heads = None
    usual = [name for name in TARGETS if name != "transformer350m" or jax.default_backend() != "cpu"]
    for name in options.names or usual:
        rates, ratios, k = measure(name, made[name], options)
        if heads is None:
            heads = list(rates)
            lines.append(f"| workload, steps/s | {' | '.join(heads)} | k | ratio | target | MFU | memory |")
            lines.append(f"|---|{'---|' * (len(heads) + 5)}")
            print("\n".join(lines))
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "–"
        learner, batch, _ = made[name]
        state = jax.eval_shape(learner.init, jax.random.key(0), batch)
        fastest = max(rate for side, rate in rates.items() if side.startswith("jaxdl"))
        share = model_flops(counted[name][0].step, state, batch) * fastest / peak
        memory = peak_memory(learner, batch)
        written = {side: f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}" for side, rate in rates.items()}
        shown = (written.get(head, "–") for head in heads)
        cells = [name, *shown, str(k), ratio, f"{TARGETS[name]:g}"]
        cells += [f"{share:.0%}", "–" if memory is None else f"{memory / 2**20:.3g} MiB"]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
        if options.out:
            Path(options.out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
