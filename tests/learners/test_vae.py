"""The VAE against scipy's densities and numerical integration, on linear encoders and decoders."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from scipy import integrate, stats

from jaxdl.learners import GAUSSIAN, vae
from jaxdl.nets.vae import BernoulliDecoder, Encoder, GaussianDecoder
from jaxdl.train import Options

KEY = jax.random.key(0)
SHAPE = (2, 2, 1)  # of an example; z has two dimensions
LOG_STD = -0.7  # of the Gaussian decoder


def layer(rng, before, after, scale=1.0):
    kernel, bias = scale * rng.normal(size=(before, after)), rng.normal(size=after)
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


def linear_params(gaussian, log_std=None):
    """Params of the linear nets; log_std of the posterior the same for all x where it is given."""
    rng = np.random.default_rng(0)
    encoder = {"mean": layer(rng, 4, 2), "log_std": layer(rng, 4, 2, scale=0.3)}
    if log_std is not None:
        encoder["log_std"] = {"kernel": np.zeros((4, 2), np.float32), "bias": np.full(2, log_std, np.float32)}
    decoder = {"Dense_0": layer(rng, 2, 4)}
    if gaussian:
        decoder = {"BernoulliDecoder_0": decoder, "log_std": np.float32(LOG_STD)}
    return {"model": {"encoder": {"params": encoder}, "decoder": {"params": decoder}}}


def apply(x, layer):
    return x @ layer["kernel"].astype(np.float64) + layer["bias"]


def posterior(params, x):
    encoder = params["model"]["encoder"]["params"]
    flat = x.reshape(len(x), -1)
    return apply(flat, encoder["mean"]), apply(flat, encoder["log_std"])


def decoded(params, z):
    decoder = params["model"]["decoder"]["params"]
    return apply(z, decoder.get("BernoulliDecoder_0", decoder)["Dense_0"])


@pytest.fixture(scope="module", params=["bernoulli", "gaussian"])
def linear(request):
    """A VAE of linear nets: (is Gaussian, learner with β = 3, its initial state, a batch)."""
    gaussian = request.param == "gaussian"
    decoder, options = (
        (GaussianDecoder(SHAPE, ()), {"likelihood": GAUSSIAN})
        if gaussian
        else (BernoulliDecoder(SHAPE, ()), {})
    )
    learner = vae(Encoder(2, ()), decoder, optax.sgd(0.01), beta=3.0, **options)
    learner = learner._replace(step=jax.jit(learner.step), evaluate=jax.jit(learner.evaluate))
    x = np.random.default_rng(1).uniform(size=(5, *SHAPE)).round(int(gaussian)).astype(np.float32)
    return gaussian, learner, jax.jit(learner.init)(KEY, {"x": x}), {"x": x}


def test_terms_of_a_posterior_without_spread(linear):
    # σ = e⁻²⁰: z is the mean, so that nothing is left to chance.
    gaussian, learner, state, batch = linear
    params = linear_params(gaussian, log_std=-20)
    mean, log_std = posterior(params, batch["x"])
    output, flat = decoded(params, mean), batch["x"].reshape(5, -1)
    if gaussian:
        log_likelihood = stats.norm.logpdf(flat, output, np.exp(LOG_STD)).sum(-1)
    else:
        log_likelihood = stats.bernoulli.logpmf(flat, 1 / (1 + np.exp(-output))).sum(-1)
    # KL = E_q[log q − log p] = −H(q) + ½ E[z²] + log 2π, per dimension ½ (μ² + σ² + log 2π)
    entropy = stats.norm(mean, np.exp(log_std)).entropy()
    kl = (-entropy + 0.5 * (mean**2 + np.exp(2 * log_std) + np.log(2 * np.pi))).sum(-1)

    values = learner.evaluate(state.replace(params=params), batch, KEY)
    np.testing.assert_allclose(values["log_likelihood"], log_likelihood, rtol=1e-4)
    np.testing.assert_allclose(values["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(values["elbo"], log_likelihood - kl, rtol=1e-4)  # of β = 1, though β is 3

    _, metrics = learner.step(state.replace(params=params), batch)
    np.testing.assert_allclose(metrics["loss"], (3 * kl - log_likelihood).mean(), rtol=1e-4)
    for name, value in {"elbo": log_likelihood - kl, "log_likelihood": log_likelihood, "kl": kl}.items():
        np.testing.assert_allclose(metrics[name], value.mean(), rtol=1e-4)


def test_the_divergence_is_an_integral(linear):
    gaussian, learner, state, batch = linear
    params = linear_params(gaussian)

    def kl(mean, std):
        q = stats.norm(mean, std)
        density = lambda z: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z))
        return integrate.quad(density, mean - 10 * std, mean + 10 * std)[0]

    mean, log_std = posterior(params, batch["x"])
    expected = np.vectorize(kl)(mean, np.exp(log_std)).sum(-1)
    assert expected.std() > 0.1
    values = learner.evaluate(state.replace(params=params), batch, KEY)
    np.testing.assert_allclose(values["kl"], expected, rtol=1e-4)


def test_the_likelihood_is_that_of_draws_from_the_posterior(linear):
    gaussian, learner, state, batch = linear
    params = linear_params(gaussian)
    mean, log_std = posterior(params, batch["x"])
    flat = batch["x"].reshape(5, -1)
    # E_q[log p(x|z)] by Gauss–Hermite quadrature over both dimensions of z = μ + σ √2 t.
    nodes, weights = np.polynomial.hermite.hermgauss(40)
    t = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 1, 2)
    output = decoded(params, mean + np.exp(log_std) * np.sqrt(2) * t)
    if gaussian:
        log_prob = stats.norm.logpdf(flat, output, np.exp(LOG_STD)).sum(-1)
    else:
        log_prob = (flat * output - np.logaddexp(0, output)).sum(-1)
    expected = np.outer(weights, weights).ravel() / np.pi @ log_prob

    num = 4_000
    keys = jax.random.split(KEY, num)
    values = jax.jit(jax.vmap(learner.evaluate, (None, None, 0)))(state.replace(params=params), batch, keys)
    draws = np.asarray(values["log_likelihood"], np.float64)
    assert draws.shape == (num, 5)
    assert (np.abs(draws.mean(0) - expected) < 5 * draws.std(0) / np.sqrt(num)).all()
    assert (draws.std(0) > 0.05).all()


def test_each_example_has_a_value_and_noise_of_its_own(linear):
    gaussian, learner, state, batch = linear
    state = state.replace(params=linear_params(gaussian, log_std=0))
    same = {"x": np.repeat(batch["x"][:1], 5, axis=0)}
    values = learner.evaluate(state, same, KEY)
    assert {name: value.shape for name, value in values.items()} == dict.fromkeys(
        ("elbo", "log_likelihood", "kl"), (5,)
    )
    assert len(set(values["log_likelihood"].tolist())) == 5
    assert len(set(values["kl"].tolist())) == 1


def test_loss_falls_and_both_nets_learn(linear):
    _, learner, state, batch = linear
    losses = []
    before = state.params
    for _ in range(100):
        state, metrics = learner.step(state, batch)
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.1
    before, after = jax.device_get((before, state.params))
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max() > 1e-3, before, after)
    assert all(jax.tree.leaves(moved))


def test_render_puts_each_example_beside_its_reconstruction(linear):
    gaussian, learner, state, batch = linear
    params = linear_params(gaussian, log_std=-20)
    pictures = learner.render(state.replace(params=params), batch, KEY)
    assert pictures["samples"].shape == (8 * 3 - 1, 8 * 3 - 1, 1)
    assert pictures["reconstructions"].shape == (2 * 3 - 1, 8 * 3 - 1, 1)  # ten images in rows of eight
    output = decoded(params, posterior(params, batch["x"])[0]).reshape(5, *SHAPE)
    mean = output if gaussian else 1 / (1 + np.exp(-output))
    for index in range(5):
        row, column = 3 * (index // 4), 6 * (index % 4)
        cell = pictures["reconstructions"][row : row + 2, column : column + 5]
        np.testing.assert_allclose(cell[:, :2], batch["x"][index], rtol=1e-6)
        np.testing.assert_allclose(cell[:, 3:], mean[index], rtol=1e-4, atol=1e-5)


def test_mixed_precision_reaches_the_decoder_and_spares_the_densities():
    seen = {}

    class Recorded(nn.Module):
        net: nn.Module
        name_of: str

        @nn.compact
        def __call__(self, inputs):
            seen[self.name_of] = inputs.dtype
            return self.net(inputs)

    nets = Recorded(Encoder(2, ()), "encoder"), Recorded(BernoulliDecoder(SHAPE, ()), "decoder")
    batch = {"x": jnp.ones((3, *SHAPE))}
    for bf16, dtype in (False, jnp.float32), (True, jnp.bfloat16):
        learner = vae(*nets, optax.sgd(0.1), options=Options(bf16=bf16))
        state = jax.eval_shape(learner.init, KEY, batch)
        after, metrics = jax.eval_shape(learner.step, state, batch)
        assert seen == {"encoder": dtype, "decoder": dtype}
        assert {leaf.dtype for leaf in metrics.values()} == {jnp.dtype(jnp.float32)}
        assert {leaf.dtype for leaf in jax.tree.leaves(after.params)} == {jnp.dtype(jnp.float32)}
