"""One step under jit, pmap and shard on eight devices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxdl.data import Batches
from jaxdl.train import Layout, Options, Player, compile_step, gradient_learner, layout

RNG = np.random.default_rng(0)
DATA = Batches({"x": RNG.normal(size=(40, 6)).astype(np.float32)}, batch_size=16, seed=3)


class Net(nn.Module):
    norm: object = nn.BatchNorm

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.Dense(128)(x)
        if self.norm is not None:
            x = self.norm(use_running_average=not train, momentum=0.5)(x)
        return nn.Dense(6)(nn.tanh(x))


def learner_of(net, options=Options(), every=1):
    """Two players: the net, and a bias that opposes it."""

    def init(key, batch):
        variables = net.init(key, batch["x"], train=False)
        state = {name: value for name, value in variables.items() if name != "params"}
        return {"net": variables["params"], "bias": jnp.zeros(6)}, state

    def apply(params, model_state, batch):
        variables = {"params": params["net"], **model_state}
        y, state = net.apply(variables, batch["x"], train=True, mutable=list(model_state))
        return ((y + params["bias"][None] - batch["x"][:, ::-1]) ** 2).mean(), state

    def net_loss(params, model_state, batch, key):
        loss, model_state = apply(params, model_state, batch)
        return loss, (model_state, {"error": loss})

    def bias_loss(params, model_state, batch, key):
        return -0.1 * apply(params, model_state, batch)[0], (model_state, {})

    players = {
        "net": Player(net_loss, optax.sgd(0.1, momentum=0.9)),
        "bias": Player(bias_loss, optax.sgd(0.1), every=every),
    }
    return gradient_learner(init, players, evaluate=lambda *args: {}, options=options)


def train(learner, strategy, steps_per_call=1, num_steps=6, data=DATA, **keywords):
    run = compile_step(
        learner.step, layout(strategy, **keywords), steps_per_call=steps_per_call, load=data.load
    )
    state, losses = jax.jit(learner.init)(jax.random.key(0), data.batch_at(0)), []
    for start in range(0, num_steps, steps_per_call):
        items = data.items(start, steps_per_call)
        if steps_per_call == 1:
            items = jax.tree.map(lambda leaf: leaf[0], items)
        state, metrics = run(state, items, data.resident)
        losses.extend(np.atleast_1d(metrics["error"]))
    return jax.device_get((state.params, state.model_state, state.ema_params)), np.array(losses)


def assert_close(one, other):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-6), one, other)


@pytest.mark.parametrize(
    "options", [Options(), Options(accumulate=2, ema=0.9, clip_norm=0.5)], ids=["plain", "options"]
)
def test_jit_pmap_and_shard_give_the_same_numbers(options):
    """Without batch norm: its statistics are per device under pmap (see below)."""
    learner = learner_of(Net(norm=None), options, every=2)
    expected = train(learner, "jit")
    for strategy in ("pmap", "shard"):
        assert_close(train(learner, strategy), expected)
    assert_close(train(learner, "shard", shard_params=True), expected)


def test_shard_takes_batch_statistics_over_the_whole_batch():
    learner = learner_of(Net())
    expected = train(learner, "jit", num_steps=3)
    assert_close(train(learner, "shard", num_steps=3), expected)


def test_pmap_takes_batch_statistics_per_device_unless_synchronised():
    expected = train(learner_of(Net()), "jit", num_steps=3)
    synced = learner_of(Net(norm=partial(nn.BatchNorm, axis_name="batch")))
    assert_close(train(synced, "pmap", num_steps=3), expected)
    # Without the axis name, the first step normalises each device's two examples by themselves.
    state, _ = train(learner_of(Net()), "pmap", num_steps=1)
    x = np.asarray(DATA.batch_at(0)["x"])
    learner = learner_of(Net())
    kernel = jax.device_get(learner.init(jax.random.key(0), DATA.batch_at(0)).params["net"]["Dense_0"])
    h = x @ kernel["kernel"] + kernel["bias"]
    per_device = h.reshape(8, 2, -1).var(1).mean(0)
    running = state[1]["batch_stats"]["BatchNorm_0"]["var"]
    np.testing.assert_allclose(running, 0.5 * 1 + 0.5 * per_device, rtol=1e-4)
    assert not np.allclose(running, 0.5 * 1 + 0.5 * h.var(0), rtol=1e-2)


@pytest.mark.parametrize("strategy", ["jit", "pmap", "shard"])
def test_several_steps_in_a_call_are_the_steps_one_by_one(strategy):
    learner = learner_of(Net(norm=None))
    expected, losses = train(learner, "jit")
    state, scanned = train(learner, strategy, steps_per_call=3)
    assert_close(state, expected)
    np.testing.assert_allclose(scanned, losses, rtol=1e-5)


def test_gathering_on_the_device_changes_nothing():
    learner = learner_of(Net(norm=None))
    there = Batches(DATA.source, 16, seed=3, gather="device")
    expected = train(learner, "jit")
    for strategy in ("jit", "pmap", "shard"):
        assert_close(train(learner, strategy, steps_per_call=2, data=there), expected)


def test_the_second_call_does_not_retrace_and_the_state_is_donated():
    traces = []

    def step(state, batch, *, axis_name=None):
        traces.append(axis_name)
        return state + batch.mean(), {"mean": batch.mean()}

    for strategy in ("jit", "pmap", "shard"):
        traces.clear()
        run = compile_step(step, layout(strategy))
        state, _ = run(jnp.zeros(()), np.ones(8, np.float32))
        count = len(traces)
        assert count >= 1
        donated = state
        for _ in range(3):
            state, _ = run(state, np.ones(8, np.float32))
        assert len(traces) == count
        assert donated.is_deleted()


def test_counts_and_keys_in_the_model_state_stay_what_they_are_under_pmap():
    def init(key, batch):
        return {"net": jnp.ones(6)}, {"count": jnp.zeros((), jnp.int32), "key": jax.random.key(7)}

    def loss(params, model_state, batch, key):
        value = ((batch["x"] * params["net"][None]) ** 2).mean()
        return value, ({**model_state, "count": model_state["count"] + 1}, {"error": value})

    learner = gradient_learner(init, {"net": Player(loss, optax.sgd(0.1))}, evaluate=lambda *args: {})
    run = compile_step(learner.step, layout("pmap"))
    state, _ = run(learner.init(jax.random.key(0), None), {"x": np.ones((8, 6), np.float32)})
    assert state.model_state["count"].dtype == jnp.int32
    assert state.model_state["count"] == 1
    assert jnp.array_equal(state.model_state["key"], jax.random.key(7))


def test_params_are_split_along_their_largest_axis_that_divides():
    mesh = Mesh(np.asarray(jax.devices()), ("batch",))
    shapes = {"wide": (16, 4096), "tall": (4096, 9), "odd": (4099, 3), "small": (8, 8), "scalar": ()}
    tree = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    specs = jax.tree.map(lambda sharding: sharding.spec, Layout("shard", mesh, True).state(tree))
    split = {"wide": P(None, "batch"), "tall": P("batch"), "odd": P(), "small": P(), "scalar": P()}
    assert specs == split
    replicated = Layout("shard", mesh).state(tree)
    assert all(sharding.spec == P() for sharding in jax.tree.leaves(replicated))


@pytest.mark.parametrize("strategy", ["pmap", "shard"])
@pytest.mark.parametrize(("size", "fit"), [(12, "8 or 16 would"), (3, "8 would")])
def test_a_batch_that_does_not_divide_names_what_would_fit(strategy, size, fit):
    run = compile_step(lambda state, batch, axis_name=None: (state, {}), layout(strategy))
    with pytest.raises(ValueError, match=rf"batch of {size} does not divide over 8 devices; {fit}"):
        run(jnp.zeros(()), np.ones((size, 2), np.float32))


def test_unknown_arguments_are_refused():
    with pytest.raises(ValueError, match="strategy is 'tpu'; choose jit, pmap or shard"):
        layout("tpu")
    with pytest.raises(ValueError, match="steps_per_call is 0"):
        compile_step(lambda state, batch: (state, {}), steps_per_call=0)
