"""The classifier against a linear model worked out in numpy, and its handling of batch norm and dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax

from jaxdl.learners import classifier
from jaxdl.nets.cnn import CNN
from jaxdl.nets.mlp import MLP
from jaxdl.train import Options

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator
RATE = 0.5


def batch_of(num, seed=0):
    """Three classes, told apart by which column of a 4x4 image is bright."""
    rng = np.random.default_rng(seed)
    label = rng.integers(3, size=num).astype(np.int32)
    image = 0.2 * rng.uniform(size=(num, 4, 4, 1))
    image[np.arange(num), :, label] += 0.8
    return {"image": image.astype(np.float32), "label": label}


def linear(state, image):
    """Class log-probabilities of the net without hidden layers."""
    layer = state.params["net"]["Dense_0"]
    x = np.asarray(image, np.float64).reshape(len(image), -1)
    return log_softmax(x @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]), axis=-1)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_a_step_and_an_evaluation_of_a_linear_model_by_hand(alpha):
    learner = classifier(MLP(3, ()), optax.sgd(RATE), label_smoothing=alpha)
    batch = batch_of(8)
    state = jax.jit(learner.init)(KEY, batch)
    after, metrics = jax.jit(learner.step)(state, batch)

    log_probs = linear(state, batch["image"])
    one_hot = np.eye(3)[batch["label"]]
    targets = (1 - alpha) * one_hot + alpha / 3
    np.testing.assert_allclose(metrics["loss"], -(targets * log_probs).sum(-1).mean(), rtol=1e-5)
    correct = log_probs.argmax(-1) == batch["label"]
    assert 0 < correct.mean() < 1
    np.testing.assert_allclose(metrics["accuracy"], correct.mean(), rtol=1e-6)

    # ∂ loss / ∂ logits = (softmax − targets) / B
    slope = (np.exp(log_probs) - targets) / 8
    before, moved = jax.device_get([each.params["net"]["Dense_0"] for each in (state, after)])
    kernel = before["kernel"] - RATE * batch["image"].reshape(8, -1).T @ slope
    np.testing.assert_allclose(moved["kernel"], kernel, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(moved["bias"], before["bias"] - RATE * slope.sum(0), rtol=1e-4, atol=1e-6)

    values = jax.jit(learner.evaluate)(state, batch, KEY)  # against the plain labels, whatever the smoothing
    np.testing.assert_allclose(values["loss"], -(one_hot * log_probs).sum(-1), rtol=1e-5)
    np.testing.assert_array_equal(values["accuracy"], correct)


@pytest.fixture(scope="module")
def convolutional():
    learner = classifier(CNN(3, (4,), 8, dropout=0.5), optax.sgd(0.2))
    learner = learner._replace(step=jax.jit(learner.step), evaluate=jax.jit(learner.evaluate))
    return learner, jax.jit(learner.init)(KEY, batch_of(16))


def test_training_moves_the_batch_statistics_and_evaluation_uses_them(convolutional):
    learner, state = convolutional
    batch = batch_of(16)
    after, _ = learner.step(state, batch)
    before, moved = (jax.device_get(jax.tree.leaves(each.model_state)) for each in (state, after))
    assert len(before) == 2 and all(np.abs(a - b).max() > 1e-4 for a, b in zip(before, moved, strict=True))

    # An example's value does not depend on the rest of the batch, as it would by batch statistics.
    values = learner.evaluate(after, batch, KEY)
    among_others = {name: array.copy() for name, array in batch.items()}
    among_others["image"][1:] = 5.0
    np.testing.assert_array_equal(learner.evaluate(after, among_others, KEY)["loss"][0], values["loss"][0])
    assert values["loss"].shape == values["accuracy"].shape == (16,)
    # By statistics other than the learned ones it would come out differently.
    rested = after.replace(model_state=state.model_state)
    assert np.abs(learner.evaluate(rested, batch, KEY)["loss"] - values["loss"]).max() > 1e-3


def test_dropout_is_for_training(convolutional):
    learner, state = convolutional
    batch = batch_of(16)
    losses = {float(learner.step(state.replace(step=jnp.int32(t)), batch)[1]["loss"]) for t in (0, 0, 1)}
    assert len(losses) == 2  # the same step draws the same units, another step others
    values = [learner.evaluate(state, batch, jax.random.key(seed, impl="rbg"))["loss"] for seed in (0, 1)]
    np.testing.assert_array_equal(*values)


def test_loss_falls(convolutional):
    learner, state = convolutional
    before = learner.evaluate(state, batch_of(16, seed=1), KEY)
    for step in range(40):
        state, _ = learner.step(state, batch_of(16, seed=2 + step))
    after = learner.evaluate(state, batch_of(16, seed=1), KEY)
    assert after["loss"].mean() < 0.5 * before["loss"].mean()
    assert after["accuracy"].mean() > before["accuracy"].mean()


def test_render_shows_the_images_it_gets_most_wrong():
    # Images of one grey level x; logits are (0, x, 0): at label 1 the dark are the hardest.
    learner = classifier(MLP(3, ()), optax.sgd(RATE))
    grey = np.random.default_rng(0).permutation(20) / 20
    batch = {"image": grey.astype(np.float32).reshape(20, 1, 1, 1), "label": np.ones(20, np.int32)}
    layer = {"kernel": np.float32([[0, 1, 0]]), "bias": np.zeros(3, np.float32)}
    state = jax.jit(learner.init)(KEY, batch).replace(params={"net": {"Dense_0": layer}})
    picture = learner.render(state, batch, KEY)["hardest"]
    assert picture.shape == (7, 7, 1)  # a square of 16, with gaps
    np.testing.assert_allclose(picture[::2, ::2, 0].ravel(), np.arange(16) / 20, rtol=1e-6)


def test_mixed_precision_keeps_loss_and_statistics_in_float32():
    learner = classifier(CNN(3, (4,), 8), optax.sgd(RATE), options=Options(bf16=True))
    batch = batch_of(16)
    state = jax.eval_shape(learner.init, KEY, batch)
    after, metrics = jax.eval_shape(learner.step, state, batch)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )
    assert metrics["loss"].dtype == jnp.float32
