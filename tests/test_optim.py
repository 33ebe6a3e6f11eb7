"""Optimizers against optax's own, weight decay by hand, schedules at points worked out on paper."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import optim
from jaxdl.nets.cnn import CNN
from jaxdl.nets.resnet import ResNet
from jaxdl.nets.transformer import Transformer

PARAMS = {
    "kernel": np.array([[1.0, -2.0], [0.5, 3.0]], np.float32),
    "bias": np.array([1.0, -1.0], np.float32),
}
SCHEDULE = optax.linear_schedule(0.5, 0.1, 4)


def gradient(params):
    return jax.tree.map(lambda leaf: jnp.sin(3 * leaf) + 0.1, params)


def trajectory(optimizer, steps=5):
    """Yield (params, optimizer state) after each step."""

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(gradient(params), state, params)
        return optax.apply_updates(params, updates), state

    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(steps):
        params, state = step(params, state)
        yield params, state


@pytest.mark.parametrize("rate", [0.3, SCHEDULE], ids=["number", "schedule"])
@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (optim.sgd, optax.sgd, {"momentum": 0.9, "nesterov": True}),
        (optim.adam, optax.adam, {"b1": 0.5}),
        (optim.adamw, optax.adamw, {"weight_decay": 0.1, "mask": optim.matrices}),
        (optim.rmsprop, optax.rmsprop, {"momentum": 0.9}),
    ],
    ids=["sgd", "adam", "adamw", "rmsprop"],
)
def test_moves_as_optax_and_reports_the_rate_of_each_step(ours, theirs, options, rate):
    steps = zip(trajectory(ours(rate, **options)), trajectory(theirs(rate, **options)), strict=True)
    for index, ((params, state), (expected, _)) in enumerate(steps):
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), params, expected)
        # That of the step just made, not of the next: 0.5, 0.4, 0.3, 0.2, 0.1.
        reported = rate if rate is not SCHEDULE else [0.5, 0.4, 0.3, 0.2, 0.1][index]
        np.testing.assert_allclose(state.hyperparams["learning_rate"], reported, rtol=1e-6)


def test_l2_adds_the_weights_to_the_gradient_of_matrices():
    # v ← μ v + (g + λ w), w ← w − η v for matrices; no λ w for biases.
    rate, decay, momentum = 0.1, 0.5, 0.9
    optimizer = optim.with_l2(decay, optim.sgd(rate, momentum=momentum))
    weights, velocity = dict(PARAMS), {"kernel": 0.0, "bias": 0.0}
    for params, _ in trajectory(optimizer, steps=3):
        for name, weight in weights.items():
            slope = np.sin(3 * weight) + 0.1 + (decay * weight if name == "kernel" else 0)
            velocity[name] = momentum * velocity[name] + slope
            weights[name] = weight - rate * velocity[name]
            np.testing.assert_allclose(params[name], weights[name], rtol=1e-5)


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (Transformer(7, 4, 1, 2, 8), np.zeros((1, 4), np.int32)),
        (CNN(3, (4,), 5), np.zeros((1, 4, 4, 1), np.float32)),
        (ResNet(3, (1, 1), (4, 8)), np.zeros((1, 4, 4, 1), np.float32)),
    ],
    ids=["Transformer", "CNN", "ResNet"],
)
def test_matrices_are_all_weights_and_no_bias_or_norm(net, x):
    params = jax.eval_shape(partial(net.init, train=False), jax.random.key(0), x)["params"]
    decayed = {
        (path[-1].key, marked) for path, marked in jax.tree_util.tree_leaves_with_path(optim.matrices(params))
    }
    assert decayed <= {
        ("kernel", True),
        ("embedding", True),
        ("positions", True),
        ("bias", False),
        ("scale", False),
    }
    assert {("kernel", True), ("bias", False)} <= decayed


HALF = np.sqrt(0.5)


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        # A rise over 4 steps, then half a cosine over 8; it stays at the end.
        ({"steps": 12, "warmup": 4}, {0: 0, 1: 0.5, 4: 2, 6: 1 + HALF, 8: 1, 10: 1 - HALF, 12: 0, 99: 0}),
        ({"steps": 12, "warmup": 4, "end": 1.0}, {0: 0, 2: 1, 4: 2, 8: 1.5, 12: 1, 99: 1}),
        ({"steps": 8}, {0: 2, 2: 1 + HALF, 4: 1, 6: 1 - HALF, 8: 0}),
        # No more than half of the run is spent on the rise.
        ({"steps": 8, "warmup": 100}, {0: 0, 2: 1, 4: 2, 6: 1, 8: 0}),
        ({"steps": 8, "warmup": 5}, {0: 0, 2: 1, 4: 2, 6: 1, 8: 0}),
        ({"steps": 1, "warmup": 3}, {0: 2, 1: 0}),
    ],
)
def test_warmup_cosine(arguments, values):
    schedule = optim.warmup_cosine(2.0, **arguments)
    found = {step: float(schedule(step)) for step in values}
    assert found == pytest.approx(values, abs=1e-6)
