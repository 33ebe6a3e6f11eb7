"""Batches as a function of (seed, step)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.data import Batches, pipeline
from jaxdl.data.pipeline import calls

SOURCE = {"x": np.arange(10, dtype=np.uint8), "y": np.arange(10, dtype=np.float32).reshape(10, 1) / 10}


class Records:
    """A random-access source that is no array."""

    def __init__(self, num=10):
        self.num = num

    def __len__(self):
        return self.num

    def __getitem__(self, index):
        return {"x": np.uint8(index), "y": np.array([index / 10], np.float32)}


def noisy(key, example):
    return {**example, "noise": jax.random.normal(key)}


def fetch(items):
    return jax.tree.map(np.asarray, items)


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, fetch(one), fetch(other))


@pytest.mark.parametrize("batch_size", [3, 5, 10, 16], ids="batch {}".format)
def test_every_epoch_sees_every_example_once(batch_size):
    data = Batches(SOURCE, batch_size, seed=1)
    num_steps = 10 * batch_size // np.gcd(10, batch_size)
    seen = np.concatenate([data.batch_at(step)["x"] for step in range(num_steps)])
    epochs = seen.reshape(-1, 10)
    np.testing.assert_array_equal(np.sort(epochs), np.broadcast_to(np.arange(10), epochs.shape))
    assert len({tuple(epoch) for epoch in epochs}) > 1  # and each in an order of its own


def test_a_batch_is_a_function_of_seed_and_step():
    one, other = (Batches(SOURCE, 4, seed=1, transform=noisy) for _ in range(2))
    list(map(other.batch_at, range(5)))  # what was asked before does not matter
    assert_equal(one.batch_at(7), other.batch_at(7))
    assert not np.array_equal(one.batch_at(7)["x"], Batches(SOURCE, 4, seed=2).batch_at(7)["x"])
    assert not np.array_equal(one.batch_at(0)["noise"], one.batch_at(10)["noise"])


def test_uint8_stays_uint8_until_the_transform():
    assert Batches(SOURCE, 4).items(0, 2)["example"]["x"].dtype == np.uint8


@pytest.mark.parametrize(
    ("backend", "limit", "expected"),
    [("cpu", 2**31, False), ("gpu", 2**31, True), ("tpu", 2**31, True), ("gpu", 8, False)],
    ids=["cpu", "gpu", "tpu", "too large"],
)
def test_by_default_rows_are_gathered_on_an_accelerator_that_holds_them(
    backend, limit, expected, monkeypatch
):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(pipeline, "DEVICE_BYTES", limit)
    data = Batches(SOURCE, 4)
    assert data.on_device == expected
    assert (data.resident is not None) == expected
    assert not Batches(SOURCE, 4, gather="host").on_device
    assert not Batches(Records(), 4, gather="device").on_device  # read one by one


@pytest.mark.parametrize("gather", ["host", "device"])
def test_items_loaded_in_the_step_are_the_batches(gather):
    data = Batches(SOURCE, 4, seed=1, transform=noisy, gather=gather)
    items = data.items(3, 4)
    load = jax.jit(data.load)
    for index in range(4):
        item = jax.tree.map(lambda leaf, index=index: leaf[index], items)
        batch = load(data.resident, item)
        np.testing.assert_array_equal(batch["x"], data.batch_at(3 + index)["x"])
        np.testing.assert_allclose(batch["noise"], data.batch_at(3 + index)["noise"], rtol=1e-6)


@pytest.mark.parametrize("source", [SOURCE, Records()], ids=["arrays", "records"])
@pytest.mark.parametrize(("start", "stop"), [(0, 7), (4, 6), (2, 2)], ids=str)
def test_the_stream_is_the_items_call_by_call(source, start, stop):
    data = Batches(source, 4, seed=1)
    at = start
    for call in data.stream(start, stop, lambda: 3):
        num_steps = len(call["visit"])
        assert at + num_steps == min(at // 3 * 3 + 3, stop)  # wherever it starts, it ends on multiples
        assert_equal(call, data.items(at, num_steps))
        at += num_steps
    assert at == stop


def test_calls_follow_the_pace_of_the_moment():
    pace = iter([16, 4, 4, 2])
    assert list(calls(3, 26, lambda: next(pace))) == [(3, 16), (16, 20), (20, 24), (24, 26)]


def test_records_give_the_batches_of_the_arrays():
    for step in range(4):
        assert_equal(Batches(Records(), 4, seed=1).batch_at(step), Batches(SOURCE, 4, seed=1).batch_at(step))


@pytest.mark.parametrize("source", [SOURCE, Records()], ids=["arrays", "records"])
@pytest.mark.parametrize("batch_size", [1, 4, 5, 16])
def test_once_visits_every_example_once_in_order(source, batch_size):
    data = Batches(source, batch_size)
    kept, sizes = [], []
    for item, mask in data.once():
        x = np.asarray(data.load(data.resident, item)["x"])
        kept.extend(x[mask > 0])
        sizes.append(len(x))
    assert kept == list(range(10))
    assert set(sizes) == {batch_size}  # padded: one shape, one program


def test_each_visit_draws_its_own_randomness():
    data = Batches(SOURCE, 10, transform=noisy)
    draws = np.concatenate([data.batch_at(step)["noise"] for step in range(3)])
    assert len(set(draws.tolist())) == 30


def test_augmentation_does_not_depend_on_the_batch_size():
    """Visit v is the same whether it comes in a batch of 2 or of 5: so one device or many see the same."""
    small, large = Batches(SOURCE, 2, seed=1, transform=noisy), Batches(SOURCE, 5, seed=1, transform=noisy)
    one = np.concatenate([small.batch_at(step)["noise"] for step in range(5)])
    other = np.concatenate([large.batch_at(step)["noise"] for step in range(2)])
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_windows_of_a_text_are_copied_by_the_batch_only():
    windows = np.lib.stride_tricks.sliding_window_view(np.arange(1000, dtype=np.uint8), 65)
    items = Batches({"tokens": windows}, 4).items(0, 2)
    assert items["example"]["tokens"].shape == (2, 4, 65)
    np.testing.assert_array_equal(np.diff(items["example"]["tokens"].astype(int) % 256, axis=-1) % 256, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Batches(SOURCE, 0), "batch_size is 0; give 1 or more"),
        (lambda: Batches({"x": np.zeros((0, 2))}, 2), "the source is empty"),
        (lambda: Batches(Records(0), 2), "the source is empty"),
        (lambda: Batches({"x": np.zeros(3), "y": np.zeros(4)}, 2), "must have one length"),
        (lambda: Batches(SOURCE, 2, gather="gpu"), "gather is 'gpu'; choose auto, host or device"),
    ],
    ids=["batch size", "no arrays", "no records", "lengths", "gather"],
)
def test_wrong_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_first_example():
    assert Batches(SOURCE, 2).example["x"] == Batches(Records(), 2).example["x"] == 0
    assert jnp.shape(Batches(SOURCE, 2).example["y"]) == (1,)
