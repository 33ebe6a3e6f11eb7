"""A convolution and its two gradients, by XLA for CPU and by jaxdl.ops.convolution: alone, and inside a loop.

    python benchmarks/convolution.py [--repeats 5]

Billions of multiplications and additions (2 of them a multiply-add) per CPU-second on one core, the best of
several runs. "in a scan" is one of two steps of a `lax.scan`, as `steps_per_call` and `accumulate` make them.
"""

import argparse
import os
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.ops.convolution import conv_general_dilated, conv_transpose

LAYOUT = ("NHWC", "HWIO", "NHWC")
# batch, height and width, channels in and out, kernel, stride
SHAPES = [
    *((64, 32, 64, 64, 3, 1), (64, 16, 128, 128, 3, 1), (64, 8, 256, 256, 3, 1), (64, 4, 512, 512, 3, 1)),
    *((64, 32, 3, 64, 3, 1), (64, 28, 32, 64, 3, 1)),
    *((128, 14, 32, 64, 3, 1), (64, 32, 64, 128, 3, 2), (64, 16, 128, 256, 1, 1), (64, 16, 64, 128, 4, 2)),
]


def fastest(function, *arrays, repeats):
    """Return the seconds of the fastest of several runs; of those that take long there are fewer."""
    compiled, seconds = function.lower(*arrays).compile(), []
    while len(seconds) < repeats and sum(seconds) < 2:
        began = time.process_time()
        jax.block_until_ready(compiled(*arrays))
        seconds.append(time.process_time() - began)
    return min(seconds)


def in_scan(function):
    """Two steps, the second of which needs the first."""

    def run(*arrays):
        *others, last = arrays
        step = lambda carry, _: (carry + function(*others, last + carry).mean(), None)
        return lax.scan(step, 0.0, None, length=2)[0]

    return run


def parts(conv):
    """The value, and both gradients of it."""
    return {
        "y": conv,
        "dx": lambda x, w, y: jax.vjp(lambda x: conv(x, w), x)[1](y)[0],
        "dw": lambda x, w, y: jax.vjp(lambda w: conv(x, w), w)[1](y)[0],
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rng = np.random.default_rng(0)
    print("| convolution | by | y | dx | dw | in a scan: y | dx | dw |\n|---|---|---|---|---|---|---|---|")
    for kind, (batch, size, before, after, kernel, stride) in [
        *(("", shape) for shape in SHAPES),
        ("transposed ", (64, 8, 128, 64, 4, 2)),
    ]:
        x = jnp.asarray(rng.normal(size=(batch, size, size, before)), jnp.float32)
        w = jnp.asarray(rng.normal(size=(kernel, kernel, before, after)), jnp.float32)
        strides = (stride, stride)
        work = 2e-9 * batch * size**2 * w.size / (1 if kind else stride**2)
        for by, conv in (
            (
                "XLA",
                lax.conv_transpose if kind else partial(lax.conv_general_dilated, dimension_numbers=LAYOUT),
            ),
            ("jaxdl", conv_transpose if kind else partial(conv_general_dilated, dimension_numbers=LAYOUT)),
        ):
            conv = partial(lambda conv, strides, x, w: conv(x, w, strides, "SAME"), conv, strides)
            y = conv(x, w)
            cells = []
            for wrap, steps in ((jax.jit, 1), (lambda function: jax.jit(in_scan(function)), 2)):
                for name, function in parts(conv).items():
                    arrays = (x, w) if name == "y" else (x, w, y)
                    cells.append(f"{steps * work / fastest(wrap(function), *arrays, repeats=repeats):.3g}")
            title = (
                f"{kind}{size}x{size}, {before} to {after}, {kernel}x{kernel}, stride {stride}, batch {batch}"
            )
            print(f"| {title} | {by} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
