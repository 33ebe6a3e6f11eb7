"""What a VAE does with a context: p(x|u, z), q(z|x, u), and what is hidden of an image given the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl.learners import vae
from jaxdl.nets.vae import BernoulliDecoder, Encoder, Inpainter

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SHAPE = (3, 3, 1)
X = RNG.integers(0, 2, (4, *SHAPE)).astype(np.float32)
MASK = (RNG.uniform(size=(4, *SHAPE)) < 0.6).astype(np.float32)
SEEN = np.concatenate([X * MASK, MASK], -1)


@pytest.fixture(scope="module")
def inpainter():
    nets = Encoder(2, (8,)), Inpainter(BernoulliDecoder(SHAPE, (8,)))
    learner = vae(*nets, optax.sgd(0.1), show_context=lambda u: u[..., :1])
    learner = learner._replace(evaluate=jax.jit(learner.evaluate))
    return learner, jax.jit(learner.init)(KEY, {"x": X, "context": SEEN})


def test_what_is_seen_is_certain_and_what_is_hidden_is_not(inpainter):
    learner, state = inpainter
    everything = np.concatenate([X, np.ones_like(X)], -1)
    nothing = np.zeros_like(everything)
    by_context = [
        learner.evaluate(state, {"x": X, "context": context}, KEY)["log_likelihood"]
        for context in (everything, SEEN, nothing)
    ]
    np.testing.assert_allclose(by_context[0], 0, atol=1e-5)
    hidden = (1 - MASK).sum((1, 2, 3))
    assert (np.abs(by_context[1] + hidden * np.log(2)) < 0.5 * hidden).all()  # untrained: a bit for each
    assert (np.abs(by_context[2] + 9 * np.log(2)) < 4).all()
    contradicted = learner.evaluate(state, {"x": 1 - X, "context": everything}, KEY)["log_likelihood"]
    np.testing.assert_allclose(contradicted, -9 * 30, rtol=1e-5)


def test_samples_of_an_image_keep_what_is_seen(inpainter):
    learner, state = inpainter
    picture = np.asarray(learner.render(state, {"x": X, "context": SEEN}, KEY)["samples"])
    assert picture.shape == (4 * 4 - 1, 10 * 4 - 1, 1)  # what is seen, the truth, and eight samples
    for row in range(4):
        cells = [picture[4 * row : 4 * row + 3, 4 * column : 4 * column + 3] for column in range(10)]
        np.testing.assert_array_equal(cells[0], X[row] * MASK[row])
        np.testing.assert_array_equal(cells[1], X[row])
        for cell in cells[2:]:
            np.testing.assert_allclose(cell * MASK[row], X[row] * MASK[row], atol=1e-6)
        assert MASK[row].all() or np.std(cells[2:], axis=0).max() > 1e-3


@pytest.mark.parametrize(
    ("net", "inputs"), [(Encoder(2, (8,)), X), (BernoulliDecoder(SHAPE, (8,)), X[:, 0, :2, 0])]
)
def test_both_nets_see_the_context(net, inputs):
    u = jnp.ones((4, 2))
    variables = jax.jit(net.init)(KEY, inputs, u)
    slope = jax.jit(jax.grad(lambda u: jax.tree.leaves(net.apply(variables, inputs, u))[0].sum()))(u)
    assert (jnp.abs(slope).max(1) > 0).all()
