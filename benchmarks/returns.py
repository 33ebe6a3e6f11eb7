"""`gae` and `lambda_returns` beside rlax's, vmapped over N streams of T steps.

    pip install rlax && python benchmarks/returns.py

As in an agent, the values before and after each step are two slices of one array of T + 1 values, and the
call is part of a larger compiled program: each measurement is one program that goes through several sets of
streams.

--sets 1 measures single calls. At T = 128 and N = 64 these show how jax starts programs on a CPU: one that
it takes for cheap (the body of a loop counts once) runs in the caller's thread, as rlax's lambda_returns
does, and others are handed to another thread, which costs about as much as the whole call.

The two sides run in turns, so that a busy machine slows both alike, and the ratio is the median over the
turns. Streams lie along the first axis or, as a scanned rollout leaves them, along the last.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from importlib import metadata

import jax
import jax.numpy as jnp
import rlax

from jaxdl import objectives
from jaxdl.types import Array

LAMBDA = 0.95
SIZES = [(2048, 256), (128, 64)]  # T, N


def jaxdl_gae(r_t: Array, discount_t: Array, values: Array) -> Array:
    return objectives.gae(r_t, discount_t, values[:-1], values[1:], LAMBDA)


def rlax_gae(r_t: Array, discount_t: Array, values: Array) -> Array:
    return rlax.truncated_generalized_advantage_estimation(r_t, discount_t, LAMBDA, values)


def jaxdl_lambda_returns(r_t: Array, discount_t: Array, values: Array) -> Array:
    return objectives.lambda_returns(r_t, discount_t, values[1:], LAMBDA)


def rlax_lambda_returns(r_t: Array, discount_t: Array, values: Array) -> Array:
    return rlax.lambda_returns(r_t, discount_t, values[1:], LAMBDA)


PAIRS = {"gae": (jaxdl_gae, rlax_gae), "lambda_returns": (jaxdl_lambda_returns, rlax_lambda_returns)}


def streams(T: int, N: int, axis: int, sets: int) -> tuple[Array, Array, Array]:
    r_key, end_key, v_key = jax.random.split(jax.random.key(0), 3)
    shape = lambda steps: (sets, N, steps) if axis == 0 else (sets, steps, N)
    discount_t = 0.99 * jax.random.bernoulli(end_key, 0.99, shape(T))
    return jax.random.normal(r_key, shape(T)), discount_t, jax.random.normal(v_key, shape(T + 1))


def program(f: Callable[..., Array], axis: int) -> Callable[..., Array]:
    each = jax.vmap(f, in_axes=axis, out_axes=axis)
    return jax.jit(lambda *sets: jax.lax.map(lambda arrays: each(*arrays), sets))


def milliseconds(run: Callable[..., Array], arguments: tuple[Array, ...]) -> float:
    begin = time.perf_counter()
    jax.block_until_ready(run(*arguments))
    return 1e3 * (time.perf_counter() - begin) / len(arguments[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--sets", type=int, help="sets of streams per program (default: by size)")
    options = parser.parse_args()

    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, rlax {metadata.version('rlax')}")
    print(f"milliseconds per call: median (min .. max) of {options.repeats}")
    print(f"{'':15}{'arrays':13}{'jaxdl':>26}{'rlax':>26}{'rlax / jaxdl':>14}")
    for (name, pair), (T, N), axis in itertools.product(PAIRS.items(), SIZES, (0, 1)):
        arguments = streams(T, N, axis, options.sets or max(4, 2**19 // (T * N)))
        runs = [program(f, axis) for f in pair]
        ours, theirs = (run(*arguments) for run in runs)  # compiles
        assert jnp.allclose(ours, theirs, rtol=1e-4, atol=1e-4), "the two sides disagree"
        times: tuple[list[float], list[float]] = ([], [])
        for repeat in range(options.repeats):
            for side in (0, 1) if repeat % 2 else (1, 0):
                times[side].append(milliseconds(runs[side], arguments))
        cells = [f"{statistics.median(t):.3f} ({min(t):.3f} .. {max(t):.3f})" for t in times]
        ratio = statistics.median(theirs / ours for ours, theirs in zip(*times, strict=True))
        shape = (N, T) if axis == 0 else (T, N)
        print(f"{name:15}{shape!s:13}{cells[0]:>26}{cells[1]:>26}{ratio:>14.2f}")


if __name__ == "__main__":
    main()
