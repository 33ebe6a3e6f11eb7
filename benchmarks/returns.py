"""The backward recursions of `gae` and `lambda_returns` beside rlax's, vmapped over N streams of T steps.

    pip install rlax && python benchmarks/returns.py

Both sides are compiled for the same arrays and called in turns, so that a busy machine slows both alike. As in
an agent, the values before and after each step are two slices of one array of T + 1 values per stream.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import jax
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


def streams(T: int, N: int) -> tuple[Array, Array, Array]:
    r_key, end_key, v_key = jax.random.split(jax.random.key(0), 3)
    discount_t = 0.99 * jax.random.bernoulli(end_key, 0.99, (N, T))
    return jax.random.normal(r_key, (N, T)), discount_t, jax.random.normal(v_key, (N, T + 1))


def milliseconds(f: Callable[..., Array], arguments: tuple[Array, ...], calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(f(*arguments))
    return 1e3 * (time.perf_counter() - begin) / calls


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=25)
    repeats = parser.parse_args().repeats

    print(
        f"{jax.devices()[0].device_kind}, jax {jax.__version__}; milliseconds per call: median (min .. max)"
    )
    print(f"{'':16}{'T':>5}{'N':>5}{'jaxdl':>27}{'rlax':>27}{'rlax / jaxdl':>15}")
    for name, pair in PAIRS.items():
        for T, N in SIZES:
            arguments = streams(T, N)
            functions = [jax.jit(jax.vmap(f)) for f in pair]
            ours, theirs = (f(*arguments) for f in functions)  # compiles
            assert abs(ours - theirs).max() < 1e-3 * abs(theirs).max(), "the two sides disagree"
            calls = max(1, 2**19 // (T * N))
            times: tuple[list[float], list[float]] = ([], [])
            for repeat in range(repeats):
                for side in (0, 1) if repeat % 2 else (1, 0):
                    times[side].append(milliseconds(functions[side], arguments, calls))
            cells = [f"{statistics.median(t):.3f} ({min(t):.3f} .. {max(t):.3f})" for t in times]
            ratio = statistics.median(times[1]) / statistics.median(times[0])
            print(f"{name:16}{T:5}{N:5}{cells[0]:>27}{cells[1]:>27}{ratio:>15.2f}")


if __name__ == "__main__":
    main()
