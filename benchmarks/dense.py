"""The gradient of a dense layer's weights, by XLA for CPU and by jaxdl.ops.dense, inside of a loop.

    python benchmarks/dense.py [--repeats 7]

Billions of multiplications and additions (2 of them a multiply-add) per second on one core, the best of
several runs that take turns. Each gradient is added to the weights, as an optimizer would read it.
"""

import argparse
import os
import time

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.ops.dense import dot_general

SHAPES = [  # batch, width, features
    *((128, 512, 10), (128, 400, 40), (256, 64, 2), (2048, 512, 128), (2048, 256, 65), (32768, 256, 4)),
    *((256, 4, 64), (128, 512, 512), (256, 64, 64), (1024, 256, 256), (128, 784, 512), (2048, 128, 512)),
]


def program(dot, rounds):
    """Add the gradient of the weights to them, again and again."""

    def step(_, state):
        x, w, delta = state
        gradient = jax.vjp(lambda w: dot(x, w, (((1,), (0,)), ((), ()))), w)[1](delta)[0]
        return lax.optimization_barrier((x, w + gradient, delta))

    return jax.jit(lambda *state: lax.fori_loop(0, rounds, step, state)[1])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print("| batch, width to features | XLA | jaxdl |\n|---|---|---|")
    for batch, width, features in SHAPES:
        keys = jax.random.split(jax.random.key(0))
        x, delta = (
            jax.random.normal(key, (batch, n)) for key, n in zip(keys, (width, features), strict=True)
        )
        work = 2e-9 * batch * width * features
        rounds = max(1, min(100, int(2 / work)))
        sides = [program(dot, rounds) for dot in (lax.dot_general, dot_general)]
        seconds = [[], []]
        for _ in range(options.repeats + 1):  # the first one compiles
            for side, times in zip(sides, seconds, strict=True):
                began = time.perf_counter()
                side(x, jnp.zeros((width, features)), delta).block_until_ready()
                times.append(time.perf_counter() - began)
        cells = [f"{rounds * work / min(times):.3g}" for times in seconds]
        print(f"| {batch}, {width} to {features} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
