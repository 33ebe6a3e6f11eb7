"""Batches a second of `Batches` beside tf.data and grain: 60,000 images of 28x28 uint8, in batches of 128.

    pip install -e ".[bench]" && python benchmarks/feeding.py [--repeats 5] [--out INPUT.md]

All serve one array in memory, shuffled anew each epoch and repeated for ever. Two ends are measured in turns:

numpy: a batch as the library hands it over: uint8, to be cast inside of the compiled step; or float32 in
    [0, 1], where the pipeline itself casts.
device: a float32 batch in [0, 1], ready on the device. uint8 goes through one jitted cast, float32 is put
    there. Of k batches a call, as `fit` is fed, k are cast by one call.

tf.data has AUTOTUNE for its cast and prefetching. grain reads by its default of 16 threads, or by none, which
it recommends for data in memory; it casts each example before it is batched, or whole batches. Each window
starts its pipeline afresh, lest the buffers of one side fill while another is measured, and leaves out the
first batches.
"""

import argparse
import statistics
import time
from datetime import date
from functools import partial
from importlib import metadata
from pathlib import Path

import jax
import numpy as np
from results import machine

from jaxdl.data import Batches, scaled

TARGET = 10_000  # batches a second
FOREVER = 2**31  # steps
to_unit = lambda image: image.astype(np.float32) / 255


def jaxdl_sides(images, size, k):
    """Return {name: (start, deliver, batches an item)}: a new iterator, and an item's way to the device."""

    def side(gather, k):
        batches = Batches({"image": images}, size, transform=scaled, gather=gather)
        one = jax.jit(batches.load)
        many = jax.jit(lambda resident, items: jax.lax.map(partial(batches.load, resident), items))
        first = lambda items: jax.tree.map(lambda leaf: leaf[0], items)
        stream = lambda: batches.stream(0, FOREVER, lambda: k)
        start = stream if k > 1 else lambda: map(first, stream())
        return start, partial(many if k > 1 else one, jax.device_put(batches.resident)), k

    return {
        "jaxdl, host gather": side("host", 1),
        "jaxdl, host gather, k batches a call": side("host", k),
        "jaxdl, device gather": side("device", 1),
        "jaxdl, device gather, k batches a call": side("device", k),
    }


def tf_sides(images, size):
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # which is JAX's
    rows = tf.data.Dataset.from_tensor_slices(images).shuffle(len(images), seed=0).repeat()
    rows = rows.batch(size, drop_remainder=True)
    unit = rows.map(lambda image: tf.cast(image, tf.float32) / 255, tf.data.AUTOTUNE)
    start = lambda dataset: lambda: dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
    cast, put = jax.jit(to_unit), jax.device_put
    return {"tf.data, uint8": (start(rows), cast, 1), "tf.data, cast in the pipeline": (start(unit), put, 1)}


def grain_sides(images, size):
    import grain

    rows = grain.MapDataset.source(images).shuffle(seed=0).repeat()
    whole = rows.batch(size, drop_remainder=True)
    start = lambda dataset, **how: lambda: iter(dataset.to_iter_dataset(grain.ReadOptions(**how)))
    none, cast, put = {"num_threads": 0}, jax.jit(to_unit), jax.device_put
    return {
        "grain, uint8": (start(whole, **none), cast, 1),
        "grain, uint8, 16 threads": (start(whole), cast, 1),
        "grain, cast of batches": (start(whole.map(to_unit), **none), put, 1),
        "grain, cast of examples": (start(rows.map(to_unit).batch(size), **none), put, 1),
        "grain, cast of examples, 16 threads": (start(rows.map(to_unit).batch(size)), put, 1),
    }


def rate(start, deliver, each, seconds):
    """Draw batches for some seconds; return how many a second."""
    items, num = start(), 0
    for _ in range(3):
        jax.block_until_ready(deliver(next(items)))
    began = time.perf_counter()
    while not num or time.perf_counter() - began < seconds:
        jax.block_until_ready(deliver(next(items)))
        num += each
    taken = time.perf_counter() - began
    if hasattr(items, "close"):
        items.close()  # and its threads
    return num / taken


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a window")
    parser.add_argument("--steps-per-call", type=int, default=16, help="k")
    parser.add_argument("--alone", action="store_true", help="jaxdl only")
    parser.add_argument("--small", action="store_true", help="shrink all sizes, to try the script")
    parser.add_argument("--out", help="a file to write the table to")
    options = parser.parse_args()
    num, size = (64, 8) if options.small else (60_000, 128)
    images = np.random.default_rng(0).integers(0, 256, (num, 28, 28), dtype=np.uint8)
    sides = jaxdl_sides(images, size, options.steps_per_call)
    if not options.alone:
        try:
            sides |= tf_sides(images, size) | grain_sides(images, size)
        except ImportError as error:
            parser.error(f'there is no {error.name}: pip install -e ".[bench]", or give --alone')

    ends = {"numpy": lambda deliver: lambda item: item, "device": lambda deliver: deliver}
    measured = [(side, end) for side in sides for end in ends if "device" in end or "device" not in side]
    turns = []
    for _ in range(options.repeats):
        turns.append({})
        for side, end in measured:
            start, deliver, each = sides[side]
            turns[-1][side, end] = rate(start, ends[end](deliver), each, options.seconds)

    names = ("jax",) if options.alone else ("jax", "tensorflow", "grain")
    versions = " ".join(f"{name} {metadata.version(name)}" for name in names)
    lines = [f"{machine()}, {versions}, {date.today()}; k = {options.steps_per_call}", ""]
    lines += ["| batches/s | numpy (min to max) | device (min to max) |", "|---|---|---|"]
    show = lambda v, form: f"{statistics.median(v):{form}} ({min(v):{form}} to {max(v):{form}})" if v else "–"
    for side in sides:
        values = [[turn[side, end] for turn in turns if (side, end) in turn] for end in ends]
        lines.append(f"| {side} | {' | '.join(show(v, ',.0f') for v in values)} |")
    for peer in ("tf.data", "grain")[: 2 * (not options.alone)]:
        best = lambda turn, who, end: max(
            turn[key] for key in turn if key[0].startswith(who) and key[1] == end
        )
        ratios = [[best(turn, "jaxdl", end) / best(turn, peer, end) for turn in turns] for end in ends]
        lines.append(f"| best of jaxdl over best of {peer} | {' | '.join(show(r, '.1f') for r in ratios)} |")
    lines.append(f"| target | {TARGET:,} | |")
    print("\n".join(lines))
    if options.out:
        Path(options.out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
