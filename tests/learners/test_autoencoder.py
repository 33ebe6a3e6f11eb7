"""Autoencoders: the subspace of a linear one, and penalties and noise by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from jaxdl.learners.autoencoder import (
    autoencoder,
    contractive,
    fitted_samples,
    masking_noise,
    sparse_kl,
    sparse_l1,
)
from jaxdl.nets.mlp import MLP
from jaxdl.nets.vae import BernoulliDecoder

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = (0.5 * RNG.normal(size=(40, 5)) * [2, 1.5, 0.6, 0.4, 0.2] @ RNG.normal(size=(5, 5)) + 1).astype(
    np.float32
)


def learner_of(width, **keywords):
    return autoencoder(MLP(width, ()), BernoulliDecoder((5,), ()), optax.adam(0.02), **keywords)


def test_a_linear_one_finds_the_subspace_of_the_principal_components():
    learner, batch = learner_of(2), {"x": X}

    @jax.jit
    def train(key):
        state = learner.init(key, batch)
        return jax.lax.scan(lambda state, _: learner.step(state, batch), state, None, 2_000)[0]

    state, pca = train(KEY), PCA(2).fit(X)
    kernel = state.params["model"]["decoder"]["params"]["Dense_0"]["kernel"]
    assert subspace_angles(np.asarray(kernel).T, pca.components_.T).max() < 5e-3
    left = ((pca.inverse_transform(pca.transform(X)) - X) ** 2).sum(1)
    np.testing.assert_allclose(learner.evaluate(state, batch, KEY)["loss"], left, atol=0.03)


def test_the_contractive_penalty_of_a_sigmoid_layer():
    # ‖∂h/∂x‖² = Σ_i (h_i (1 − h_i))² Σ_j W_ij²; see Rifai et al. (2011), section 3.
    kernel, bias = RNG.normal(size=(5, 3)).astype(np.float32), RNG.normal(size=3).astype(np.float32)
    h = 1 / (1 + np.exp(-(X.astype(np.float64) @ kernel + bias)))
    expected = ((h * (1 - h)) ** 2 @ (kernel.astype(np.float64) ** 2).sum(0)).mean()
    penalty = contractive(0.7)(lambda x: jax.nn.sigmoid(x @ kernel + bias[None]), X)
    np.testing.assert_allclose(penalty, 0.7 * expected, rtol=1e-5)


def test_sparsity_penalties_by_hand():
    codes = jnp.array([[0.1, 0.5], [0.3, 0.7]])
    encode = lambda x: codes
    np.testing.assert_allclose(sparse_l1(2.0)(encode, X), 2 * 0.8, rtol=1e-6)
    rho, mean = 0.05, np.array([0.2, 0.6])
    kl = rho * np.log(rho / mean) + (1 - rho) * np.log((1 - rho) / (1 - mean))
    np.testing.assert_allclose(sparse_kl(2.0, rho)(encode, X), 2 * kl.sum(), rtol=1e-4)


def test_masking_noise_hides_a_share_of_an_example():
    x = jnp.full((100, 100), 3.0)
    noisy = masking_noise(0.3)(KEY, x)
    assert set(np.unique(noisy)) == {0, 3}
    np.testing.assert_allclose((noisy == 0).mean(), 0.3, atol=0.02)


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"corrupt": lambda key, x: x + 100},
        {"penalty": lambda encode, x: 7 * encode(x).sum(), "act": lambda h: h * 0 + 2},
    ],
    ids=["plain", "corrupted", "penalized"],
)
def test_the_loss_is_of_the_clean_example(keywords):
    learner, batch = learner_of(2, **keywords), {"x": X}
    state = learner.init(KEY, batch)
    layers = jax.tree.map(np.float64, state.params["model"])
    encoder, decoder = (layers[name]["params"]["Dense_0"] for name in ("encoder", "decoder"))
    seen = X + 100 if "corrupt" in keywords else X
    h = seen @ encoder["kernel"] + encoder["bias"]
    h = h * 0 + 2 if "act" in keywords else h
    error = ((h @ decoder["kernel"] + decoder["bias"] - X) ** 2).sum(1)
    values = learner.evaluate(state, batch, KEY)
    np.testing.assert_allclose(values["loss"], error, rtol=1e-4)
    np.testing.assert_allclose(values["activation"], np.abs(h).mean(1), rtol=1e-4)
    _, metrics = learner.step(state, batch)
    omega = 7 * h.sum() if "penalty" in keywords else 0
    np.testing.assert_allclose(metrics["error"], error.mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"], error.mean() + omega, rtol=1e-4)


def test_samples_of_a_density_fitted_to_codes():
    codes = RNG.normal(size=(500, 2)) * [0.1, 1] + 10 * RNG.integers(0, 2, (500, 1))
    one, two = (np.asarray(fitted_samples(codes, components, 400)) for components in (1, 2))
    np.testing.assert_allclose(one.mean(0), codes.mean(0), atol=1)
    middle = lambda z: ((z > 3) & (z < 7)).all(1).mean()  # where a single normal puts weight and no code lies
    assert middle(one) > 0.1 and middle(two) == 0
