"""M2 by enumeration in numpy, on linear nets whose posterior has no spread."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax, logsumexp

from jaxdl.learners.m2 import m2
from jaxdl.nets.mlp import MLP
from jaxdl.nets.vae import BernoulliDecoder, Encoder

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SHAPE = (2, 2, 1)
LOG_STD = -20.0  # z is the mean: nothing is left to chance
X, X_LABELLED = (RNG.integers(0, 2, (3, *SHAPE)).astype(np.float32) for _ in range(2))
LABEL = np.array([2, 0, 1])
R, ALPHA = 0.3, 5.0


def layer(before, after, scale=1.0):
    kernel = (scale * RNG.normal(size=(before, after))).astype(np.float32)
    return {"kernel": kernel, "bias": RNG.normal(size=after).astype(np.float32)}


def constant(before, value):
    return {"kernel": np.zeros((before, 2), np.float32), "bias": np.full(2, value, np.float32)}


VARIABLES = {
    "encoder": {"params": {"mean": layer(4 + 3, 2), "log_std": constant(4 + 3, LOG_STD)}},
    "decoder": {"params": {"Dense_0": layer(2 + 3, 4)}},
    "classifier": {"params": {"Dense_0": layer(4, 3)}},
}


def apply(x, *path):
    params = VARIABLES[path[0]]["params"][path[1]]
    return x @ params["kernel"].astype(np.float64) + params["bias"]


def elbos_given(x, y):
    """ELBO(x|y) of examples [B, 4] and one-hot labels [B, C]."""
    mean = apply(np.concatenate([x, y], 1), "encoder", "mean")
    logits = apply(np.concatenate([mean, y], 1), "decoder", "Dense_0")
    kl = 0.5 * (mean**2 + np.exp(2 * LOG_STD) - 1 - 2 * LOG_STD).sum(1)
    return (x * logits - np.logaddexp(0, logits)).sum(1) - kl


def bounds(x):
    """Σ_y q(y|x) (ELBO(x|y) + log p(y) − log q(y|x))."""
    log_q = log_softmax(apply(x, "classifier", "Dense_0"), 1)
    elbos = np.stack([elbos_given(x, np.eye(3)[np.full(len(x), c)]) for c in range(3)], 1)
    return (np.exp(log_q) * (elbos - np.log(3) - log_q)).sum(1), elbos


def test_its_terms_by_enumeration():
    nets = Encoder(2, ()), BernoulliDecoder(SHAPE, ()), MLP(3, ())
    learner = m2(*nets, optax.sgd(0.0), num_classes=3, labelled_share=R, alpha=ALPHA)
    batch = {"x": X, "labelled": {"x": X_LABELLED, "label": LABEL}}
    state = jax.jit(learner.init)(KEY, batch)
    assert jax.tree.map(jnp.shape, state.params["model"]) == jax.tree.map(jnp.shape, VARIABLES)
    state = state.replace(params={"model": VARIABLES})

    x, x_labelled = X.reshape(3, 4), X_LABELLED.reshape(3, 4)
    unlabelled, elbos = bounds(x)
    assert (unlabelled < logsumexp(elbos - np.log(3), axis=1)).all()  # the best that a q(y|x) can do
    labelled = elbos_given(x_labelled, np.eye(3)[LABEL]) - np.log(3)
    nll = -log_softmax(apply(x_labelled, "classifier", "Dense_0"), 1)[np.arange(3), LABEL]
    _, metrics = jax.jit(learner.step)(state, batch)
    for name, value in {"bound": unlabelled, "labelled_bound": labelled, "classification": nll}.items():
        np.testing.assert_allclose(metrics[name], value.mean(), rtol=1e-4)
    loss = -unlabelled.mean() - R * labelled.mean() + ALPHA * nll.mean()
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-4)

    wrong = apply(x, "classifier", "Dense_0").argmax(1)
    values = jax.jit(learner.evaluate)(
        state, {"x": X, "label": np.array([wrong[0], *(wrong[1:] + 1) % 3])}, KEY
    )
    np.testing.assert_allclose(values["bound"], unlabelled, rtol=1e-4)
    np.testing.assert_array_equal(values["error"], [0, 1, 1])

    pictures = learner.render(state, {"x": X}, KEY)
    styles = np.asarray(pictures["styles"])
    predicted = np.eye(3)[wrong]
    z = apply(np.concatenate([x, predicted], 1), "encoder", "mean")
    for c in range(3):  # the first column holds the examples, the others their style in each class
        logits = apply(np.concatenate([z, np.eye(3)[np.full(3, c)]], 1), "decoder", "Dense_0")
        column = styles[:, 3 * (c + 1) : 3 * (c + 1) + 2, 0]
        np.testing.assert_allclose(column[:2].ravel(), 1 / (1 + np.exp(-logits[0])), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(styles[:2, :2], X[0])


def test_its_likelihood_is_a_sum_over_classes_of_integrals():
    """Importance samples of a wide posterior, beside sums over a grid of z."""
    encoder = {"mean": constant(7, 0.0), "log_std": constant(7, 0.2)}
    variables = VARIABLES | {"encoder": {"params": encoder}}
    nets = Encoder(2, ()), BernoulliDecoder(SHAPE, ()), MLP(3, ())
    learner = m2(*nets, optax.sgd(0.0), num_classes=3, labelled_share=R, alpha=ALPHA, nll=("drawn", 20_000))
    batch = {"x": X, "label": LABEL}
    state = jax.jit(learner.init)(KEY, batch).replace(params={"model": variables})
    values = jax.jit(learner.evaluate)(state, batch, KEY)

    grid = np.linspace(-6, 6, 121)
    z = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    prior = np.exp(-0.5 * (z**2).sum(1)) / (2 * np.pi) * (grid[1] - grid[0]) ** 2
    likelihood = 0.0
    for y in np.eye(3):
        logits = apply(np.concatenate([z, np.tile(y, (len(z), 1))], 1), "decoder", "Dense_0")
        log_p = X.reshape(3, 1, 4) * logits - np.logaddexp(0, logits)
        likelihood += (np.exp(log_p.sum(-1)) * prior).sum(1) / 3
    np.testing.assert_allclose(values["nll_k20000_drawn"], -np.log(likelihood), atol=0.02)
    assert (values["nll_k20000_drawn"] < -values["bound"]).all()


def test_relaxed_labels_have_the_enumerated_bound_on_average():
    """At a low temperature a relaxed label is one of the classes, drawn from q(y|x)."""
    nets = Encoder(2, ()), BernoulliDecoder(SHAPE, ()), MLP(3, ())
    learner = m2(*nets, optax.sgd(0.0), num_classes=3, labelled_share=R, alpha=ALPHA, temperature=1e-3)
    copies = 4_000
    batch = {"x": np.tile(X, (copies, 1, 1, 1)), "labelled": {"x": X_LABELLED, "label": LABEL}}
    state = jax.jit(learner.init)(KEY, batch).replace(params={"model": VARIABLES})
    _, metrics = jax.jit(learner.step)(state, batch)
    expected, elbos = bounds(X.reshape(3, 4))
    assert abs(metrics["bound"] - expected.mean()) < 4 * elbos.std(1).max() / np.sqrt(3 * copies)


@pytest.mark.parametrize(
    ("batch", "held", "message"),
    [
        ({"x": X, "label": LABEL}, {"label": np.array([0, 3])}, "label is 3 in example 1"),
        ({"x": X, "label": LABEL}, {"x": 2 * X}, "x is 2.0 in example"),
        ({"x": X, "labelled": {"x": X, "label": X}}, {}, "give integers"),
    ],
)
def test_wrong_data_are_refused(batch, held, message):
    nets = Encoder(2, ()), BernoulliDecoder(SHAPE, ()), MLP(3, ())
    learner = m2(*nets, optax.sgd(0.0), num_classes=3, labelled_share=R, alpha=ALPHA)
    state = jax.eval_shape(learner.init, KEY, batch)
    with pytest.raises(ValueError, match=message):
        learner.check(state, batch, held)


def test_a_temperature_of_zero_is_refused():
    nets = Encoder(2, ()), BernoulliDecoder(SHAPE, ()), MLP(3, ())
    with pytest.raises(ValueError, match=r"temperature is 0\.0; give a number above 0"):
        m2(*nets, optax.sgd(0.0), num_classes=3, labelled_share=R, alpha=ALPHA, temperature=0.0)
