"""What learners of latent variables share, on a linear Gaussian model whose marginal is known.

z ~ N(0, I), x|z ~ N(W z + b, s² I):  x ~ N(b, W Wᵀ + s² I),  z|x ~ N(Wᵀ(x − b)/(a² + s²), s²/(a² + s²) I)
where the columns of W are orthogonal and of length a.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jaxdl.learners import DISCRETIZED_LOGISTIC, GAUSSIAN, vae
from jaxdl.learners.latent import LatentModel, draw_posterior, importance_sampled_nll, init_latent_model
from jaxdl.learners.latent_pictures import beside, interpolation, latent_map
from jaxdl.nets.vae import Encoder, GaussianDecoder, inverse_autoregressive

KEY = jax.random.key(0)
A, S = 1.5, 0.6
RNG = np.random.default_rng(0)
W = A * np.linalg.qr(RNG.normal(size=(4, 2)))[0]
B = RNG.normal(size=4)
X = stats.multivariate_normal(B, W @ W.T + S**2 * np.eye(4)).rvs(6, random_state=1).astype(np.float32)
LOG_PROB = stats.multivariate_normal(B, W @ W.T + S**2 * np.eye(4)).logpdf(X)


def dense(kernel, bias):
    return {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}


def linear_model(off=0.0, bent=False):
    """Return the model and its variables; the posterior is the exact one if it is not `off` or bent."""
    shrink = W / (A**2 + S**2)
    log_std = np.full(2, 0.5 * np.log(S**2 / (A**2 + S**2)) + off)
    variables = {
        "encoder": {
            "params": {
                "mean": dense(shrink, off - B @ shrink),
                "log_std": dense(np.zeros((4, 2)), log_std),
            }
        },
        "decoder": {
            "params": {"BernoulliDecoder_0": {"Dense_0": dense(W.T, B)}, "log_std": jnp.float32(np.log(S))}
        },
    }
    if not bent:
        return LatentModel(Encoder(2, ()), GaussianDecoder((4,), ()), GAUSSIAN), variables
    model = LatentModel(
        Encoder(2, (), features=3), GaussianDecoder((4,), ()), GAUSSIAN, inverse_autoregressive(2, (8,))
    )
    drawn = jax.jit(lambda key: init_latent_model(model, key, X))(KEY)
    variables["encoder"]["params"]["Dense_0"] = drawn["encoder"]["params"]["Dense_0"]
    leaves, tree = jax.tree.flatten(drawn["flow"])
    flow = [0.05 * RNG.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    return model, variables | {"flow": jax.tree.unflatten(tree, flow)}


def nll(model, variables, num_samples, chunk=64, key=KEY):
    estimate = jax.jit(
        lambda key: importance_sampled_nll(
            model, variables, X, None, key, num_samples=num_samples, chunk=chunk
        )
    )
    return np.asarray(estimate(key))


def test_one_draw_from_the_exact_posterior_tells_the_likelihood():
    # Each weight is p(x, z)/p(z|x) = p(x): p(z)/q(z|x), as some notes print it, would depend on z.
    np.testing.assert_allclose(nll(*linear_model(), 1), -LOG_PROB, rtol=1e-5)


@pytest.mark.parametrize("bent", [False, True], ids=["gaussian", "flow"])
def test_many_draws_tell_the_likelihood_whatever_the_posterior(bent):
    model, variables = linear_model(0.4, bent)
    rough, fine = (np.abs(nll(model, variables, num) + LOG_PROB).max() for num in (1, 5_000))
    assert fine < 0.1 < 0.3 < rough


def test_chunks_change_nothing():
    model, variables = linear_model(0.4)
    whole, chunks = (nll(model, variables, 30, chunk) for chunk in (30, 7))
    np.testing.assert_allclose(chunks, whole, rtol=1e-6)


@pytest.mark.parametrize("bent", [False, True], ids=["gaussian", "flow"])
def test_bounds_stay_below_the_likelihood(bent):
    model, variables = linear_model(0.4, bent)
    draw = jax.jit(lambda keys: draw_posterior(model, variables, X, None, keys))(jax.random.split(KEY, 4_000))
    elbos = np.asarray(draw.log_likelihood - draw.kl, np.float64)
    weights = np.asarray(draw.log_likelihood - draw.log_ratio, np.float64)
    iwae = np.log(np.exp(weights.reshape(-1, 8, 6)).mean(1))  # of groups of eight draws
    error = 4 * elbos.std(0) / np.sqrt(len(elbos))
    assert (elbos.mean(0) < LOG_PROB - error).all()
    assert (iwae.mean(0) > elbos.mean(0) + error).all()
    assert (iwae.mean(0) < LOG_PROB + 4 * iwae.std(0) / np.sqrt(len(iwae))).all()
    np.testing.assert_allclose(weights.mean(0), elbos.mean(0), atol=0.1)  # the closed form, and draws


def test_the_learner_of_several_draws():
    model, variables = linear_model()
    learner = vae(*model[:2], optax.sgd(0.0), likelihood=GAUSSIAN, k=3, nll=("grey", 5), beta=2.0)
    batch = {"x": X}
    state = jax.jit(learner.init)(KEY, batch).replace(params={"model": variables})
    values = jax.jit(learner.evaluate)(state, batch, KEY)
    assert {name: value.shape for name, value in values.items()} == dict.fromkeys(
        ("elbo", "log_likelihood", "kl", "iwae_k3", "nll_k5_grey"), (6,)
    )
    np.testing.assert_allclose(values["nll_k5_grey"], -LOG_PROB, rtol=1e-5)
    np.testing.assert_allclose(values["iwae_k3"], LOG_PROB, rtol=1e-5)
    _, metrics = jax.jit(learner.step)(state, batch)
    np.testing.assert_allclose(metrics["iwae_k3"], LOG_PROB.mean(), rtol=1e-5)
    assert -metrics["loss"] < metrics["iwae_k3"] - 0.1  # β = 2 weighs the ratio twice


def test_a_flow_is_autoregressive_in_its_noise():
    _, variables = linear_model(0.4, bent=True)
    flow = inverse_autoregressive(1, (8,))
    params = {
        "params": {name: variables["flow"]["params"][name] for name in list(variables["flow"]["params"])[:1]}
    }

    @jax.jit
    def forward_and_log_det(z):
        z, log_det = flow.apply(params, z[None], jnp.ones((1, 3)))
        return z[0, ::-1], log_det[0]

    jacobian, log_det = jax.jit(jax.jacfwd(forward_and_log_det, has_aux=True))(jnp.array([0.3, -0.7]))
    assert jacobian[0, 1] == 0 and jacobian[1, 0] != 0
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=1e-4)


def test_the_levels_of_a_discretized_logistic_are_all_there_is():
    x, mean = jnp.arange(256.0) / 255, jnp.full(256, 0.9)
    output = mean, jnp.full(256, -2.0)
    log_probs = jax.vmap(DISCRETIZED_LOGISTIC.log_prob)(x, output)
    np.testing.assert_allclose(np.exp(log_probs).sum(), 1, rtol=1e-4)
    np.testing.assert_array_equal(DISCRETIZED_LOGISTIC.mean(output), mean)
    assert (DISCRETIZED_LOGISTIC.low, DISCRETIZED_LOGISTIC.high) == (0, 1)


def flat(z):
    """Decode a latent of the plane to an image of its two coordinates."""
    return z.reshape(-1, 1, 2, 1)


def test_pictures_of_a_latent_space():
    z = jnp.arange(8.0).reshape(4, 2)
    path = jax.jit(lambda z: interpolation(flat, z, columns=3))(z)
    np.testing.assert_allclose(path[0, [0, 1, 3, 4, 6, 7], 0], [0, 1, 2, 3, 4, 5])  # from (0, 1) to (4, 5)
    assert path.shape == (2 * 2 - 1, 3 * 3 - 1, 1)
    plane = stats.norm.cdf(jax.jit(lambda: latent_map(flat, columns=4))()[::2, :, 0])
    plane = np.stack([plane[:, ::3], plane[:, 1::3]], -1)  # each image is two pixels, with a gap after
    np.testing.assert_allclose(plane[0], [[x, 0.875] for x in (0.125, 0.375, 0.625, 0.875)], atol=1e-5)
    np.testing.assert_allclose(plane[3, 0], [0.125, 0.125], atol=1e-5)
    both = jax.jit(beside)(jnp.zeros((3, 2, 2, 1)), jnp.ones((3, 2, 2, 1)))
    assert both.shape == (3 * 3 - 1, 5, 1)
    assert (both[:, :2][:2] == 0).all() and (both[:2, 3:] == 1).all()
