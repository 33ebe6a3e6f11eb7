"""What less memory costs in time: logits in chunks, and blocks that the backward pass computes anew.

    python benchmarks/memory.py [--repeats 5]

kept: what the forward pass keeps for the backward pass, params included, as jax traces it, on any backend.
peak: of a training step, arguments and results included, as this backend's compiler has laid it out.
Milliseconds of a step are medians of windows that take turns, on all cores.
"""

import argparse
import statistics

import jax
import numpy as np
from speed import jaxdl_side, peak_memory, rate

from jaxdl import optim
from jaxdl.learners import classifier, language_model
from jaxdl.nets.resnet import ResNet18
from jaxdl.nets.transformer import Transformer


def workloads(small):
    """{system: (batch, {how: learner})}; of the small ones, the first system."""
    rng, pick = np.random.default_rng(0), lambda full, tiny: tiny if small else full
    vocabulary, length, width = pick(50_304, 40), pick(256, 8), pick(256, 8)
    tokens = rng.integers(0, vocabulary, (4, length + 1)).astype(np.int32)

    def speaker(size, layers, chunk=None, remat=False):
        net = Transformer(size, length, layers, 4, width, remat=remat)
        return language_model(net, optim.adam(1e-3), decode=lambda tokens: "", chunk=chunk)

    made = {
        f"Transformer, vocabulary of {vocabulary:,}, {4 * length:,} tokens": (
            {"tokens": tokens},
            {
                "all logits at once": speaker(vocabulary, 2),
                f"those of {pick(64, 4)} tokens at a time": speaker(vocabulary, 2, pick(64, 4)),
            },
        )
    }
    if small:
        return made
    image = rng.normal(size=(64, 32, 32, 3)).astype(np.float32)
    photographs = {"image": image, "label": rng.integers(0, 10, 64).astype(np.int32)}
    blocks = {"blocks kept": False, "blocks computed anew": True}
    return made | {
        "Transformer, 12 layers of 256, 1,024 tokens": (
            {"tokens": tokens % 65},
            {how: speaker(65, 12, remat=remat) for how, remat in blocks.items()},
        ),
        "ResNet-18, batch 64": (
            photographs,
            {how: classifier(ResNet18(10, remat=remat), optim.adam(1e-3)) for how, remat in blocks.items()},
        ),
    }


def kept(learner, batch):
    """Return the bytes that the forward pass keeps for the backward pass."""

    def pullback(state):
        def loss(params):
            return learner.evaluate(state.replace(params=params), batch, jax.random.key(0))["loss"].mean()

        return jax.vjp(loss, state.params)[1]

    state = jax.eval_shape(learner.init, jax.random.key(0), batch)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(jax.eval_shape(pullback, state)))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a window")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    print("| system | how | kept | peak | ms a step |\n|---|---|---|---|---|")
    for system, (batch, learners) in workloads(options.small).items():
        sides = {how: jaxdl_side(learner, jax.device_put(batch), 1) for how, learner in learners.items()}
        rates = {how: [] for how in sides}
        for _ in range(options.repeats + 1):  # the first one compiles
            for how, (call, wait) in sides.items():
                rates[how].append(rate(call, wait, 1, options.seconds))
        for how, learner in learners.items():
            sizes = kept(learner, batch), peak_memory(learner, batch)
            shown = ("–" if size is None else f"{size / 2**20:.0f} MiB" for size in sizes)
            print(
                f"| {system} | {how} | {' | '.join(shown)} | {1e3 / statistics.median(rates[how][1:]):.3g} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
