"""Recurrent and attention layers beside the plain ones of flax and jax: a value with all its gradients.

    python benchmarks/layers.py [--repeats 7]

Milliseconds for the sum of the outputs' squares and its gradients in params and inputs, the best of several
windows that take turns, on all cores.
"""

import argparse
import time
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.layers import Dense, flat
from jaxdl.ops.attention import attention
from jaxdl.ops.recurrent import lstm


class Recurrent(nn.Module):
    """One layer of `jaxdl.nets.lstm.LSTM`."""

    width: int

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (self.width, 4 * self.width))
        return lstm(flat(Dense(4 * self.width), x.swapaxes(0, 1)), kernel).swapaxes(0, 1)


def recurrent(batch, length, width):
    """Return {"plain", "jaxdl": (function, arguments)} of an LSTM layer over [B, T, width]."""
    x = jax.random.normal(jax.random.key(0), (batch, length, width))
    nets = {"plain": nn.RNN(nn.OptimizedLSTMCell(width)), "jaxdl": Recurrent(width)}
    return {side: (net.apply, (net.init(jax.random.key(1), x), x)) for side, net in nets.items()}


def attended(batch, length, heads, width):
    """Return {"plain", "jaxdl": (function, arguments)} of causal attention over [B, T, H, D]."""
    q, k, v = jax.random.normal(jax.random.key(0), (3, batch, length, heads, width))
    plain = partial(jax.nn.dot_product_attention, is_causal=True)
    return {"plain": (plain, (q, k, v)), "jaxdl": (partial(attention, causal=True), (q, k, v))}


def program(function, arguments):
    """Compile the sum of the outputs' squares with its gradients in all arguments."""
    every = tuple(range(len(arguments)))
    value = jax.jit(jax.value_and_grad(lambda *args: jnp.sum(function(*args) ** 2), every))
    return lambda: jax.block_until_ready(value(*arguments))


def milliseconds(sides, repeats, seconds):
    """Take turns; return the best of each side."""
    best = dict.fromkeys(sides, float("inf"))
    for side in sides.values():
        side()  # compiles
    for _ in range(repeats):
        for name, side in sides.items():
            began, calls = time.perf_counter(), 0
            while not calls or time.perf_counter() - began < seconds:
                side()
                calls += 1
            best[name] = min(best[name], 1e3 * (time.perf_counter() - began) / calls)
    return best


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a window")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    of_lstm, of_attention = [(32, 64, 256), (64, 128, 128)], [(16, 128, 4, 32), (4, 512, 8, 64)]
    if options.small:
        of_lstm, of_attention = [(2, 3, 4)], [(2, 3, 1, 4)]
    rows = {f"LSTM of {w}, batch {b}, {t} steps": recurrent(b, t, w) for b, t, w in of_lstm}
    rows |= {
        f"causal attention, {h} heads of {d}, batch {b}, {t} positions": attended(b, t, h, d)
        for b, t, h, d in of_attention
    }
    print("| milliseconds | flax or jax | jaxdl | ratio |\n|---|---|---|---|")
    for name, sides in rows.items():
        best = milliseconds(
            {side: program(*how) for side, how in sides.items()}, options.repeats, options.seconds
        )
        plain, ours = best["plain"], best["jaxdl"]
        print(f"| {name} | {plain:.3g} | {ours:.3g} | {plain / ours:.2f} |", flush=True)


if __name__ == "__main__":
    main()
