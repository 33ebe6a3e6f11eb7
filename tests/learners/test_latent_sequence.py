"""Latent sequences: bounds against exact likelihoods, what each part sees, and steps after the end."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats
from flax import linen as nn

from jaxdl.learners.latent_sequence import Emission, generate, latent_sequence, pen
from jaxdl.nets.stcn import STCN, weighted
from jaxdl.nets.vrnn import VRNN, LatentPath, Normal, StyleEncoder
from jaxdl.objectives import normal_log_prob, sample_normal

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator
RNG = np.random.default_rng(0)
DIM, LENGTH, CONTEXT = 2, 6, 3
NORMAL = Emission(
    2 * DIM,
    lambda x_t, output: normal_log_prob(x_t, *jnp.split(output, 2)),
    lambda key, output: sample_normal(key, *jnp.split(output, 2)),
)
NETS = {
    "vrnn": VRNN(NORMAL.num_params, latent_dim=2, width=7),
    "stcn": STCN(NORMAL.num_params, (2, 1), ((1, 2), (1,)), channels=5, width=7),
}
every_net = pytest.mark.parametrize("name", NETS)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def show(x, mask):
    return (x * mask[:, None])[..., None]


def learner_of(net, emission=NORMAL, **kwargs):
    return latent_sequence(net, emission, optax.sgd(0.0), show, **kwargs)


def variables_of(net, *args):
    shapes = jax.eval_shape(net.init, KEY, *args)
    return jax.tree.map(lambda leaf: normal(*leaf.shape) / np.sqrt(leaf.shape[0]), shapes)


# A linear-Gaussian state space, of which a Kalman filter knows the likelihood.


class StateSpace(nn.Module):
    """z_t = A z_{t−1} + σ ε, x_t = C z_t + 0.5 ε; the posterior leans on x_t by a gain."""

    latent_dim: int = 2

    @nn.compact
    def __call__(self, x, context, noise):
        a, c = (self.param(name, nn.initializers.zeros, (2, 2)) for name in "ac")
        gain = self.param("gain", nn.initializers.zeros, (2, 2))
        z, prior, posterior = jnp.zeros((len(x), 2)), [], []
        path = []
        for t in range(x.shape[1]):
            mean = z @ a.T
            prior.append(Normal(mean, jnp.full_like(mean, math.log(0.7))))
            mean = mean + (x[:, t] - mean @ c.T) @ gain.T
            posterior.append(Normal(mean, jnp.full_like(mean, math.log(0.5))))
            z = posterior[-1].draw(noise[:, t])
            path.append(z)
        stacked = jax.tree.map(
            lambda *leaves: jnp.stack(leaves, 1), *zip(path, posterior, prior, strict=True)
        )
        mean = stacked[0] @ c.T
        output = jnp.concatenate([mean, jnp.full_like(mean, math.log(0.5))], -1)
        return LatentPath(stacked[0], output, *stacked[1:])


def kalman_log_prob(x, a, c):
    mean, cov, total = np.zeros(2), np.zeros((2, 2)), 0.0
    for x_t in x:
        mean, cov = a @ mean, a @ cov @ a.T + 0.49 * np.eye(2)
        s = c @ cov @ c.T + 0.25 * np.eye(2)
        total += scipy.stats.multivariate_normal(c @ mean, s).logpdf(x_t)
        gain = cov @ c.T @ np.linalg.inv(s)
        mean, cov = mean + gain @ (x_t - c @ mean), cov - gain @ c @ cov
    return total


def bounds(net, params, batch, num=64, k=500):
    """Return the elbo, and −nll of num · k draws, of each example."""
    learner = learner_of(net, nll_samples=k)
    state = jax.jit(learner.init)(KEY, batch).replace(params=params)
    values = jax.jit(jax.vmap(learner.evaluate, (None, None, 0)))(state, batch, jax.random.split(KEY, num))
    elbo = values["log_likelihood"] - values["kl"]
    np.testing.assert_allclose(values["elbo"], elbo, rtol=1e-4, atol=1e-4)
    return elbo.mean(0), scipy.special.logsumexp(-values[f"nll_k{k}"], axis=0) - np.log(num)


def test_the_bound_and_the_estimate_against_a_kalman_filter():
    a, c = np.array([[0.8, 0.3], [-0.2, 0.7]], np.float32), np.array([[1.0, 0.5], [-0.5, 1.0]], np.float32)
    gain = np.linalg.inv(c) * 0.5
    x = normal(3, 4, 2)
    mask = np.ones((3, 4), np.float32)
    mask[1, 2:] = 0
    params = {"model": {"net": {"a": a, "c": c, "gain": gain.astype(np.float32)}}}
    exact = np.array([kalman_log_prob(x[b, : int(mask[b].sum())], a, c) for b in range(3)])
    mean, estimate = bounds(StateSpace(), params, {"x": x, "mask": mask})
    np.testing.assert_allclose(estimate, exact, atol=0.05)
    assert (exact - mean > 0.05).all() and (exact - mean < 4).all()


def test_the_divergence_by_hand():
    """A posterior that does not look at x has the prior's mean, and a spread of 0.5 where that has 0.7."""
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.float32)
    batch, learner = {"x": normal(2, 4, 2), "mask": mask}, learner_of(StateSpace())
    values = jax.jit(learner.evaluate)(learner.init(KEY, batch), batch, KEY)
    of_one_variable = np.log(0.7 / 0.5) + 0.5**2 / (2 * 0.7**2) - 0.5
    np.testing.assert_allclose(values["kl"], 2 * of_one_variable * mask.sum(1), rtol=1e-5)


def widened(path, leaf):
    """Make the posterior wide: weights of one that is narrower than the true one scatter without bound."""
    if "posterior" in str(path) and leaf.shape == (2,):  # the bias of its mean and log_std
        return leaf + np.array([0, 1])
    return leaf / 2


@every_net
def test_the_estimate_against_quadrature(name):
    """log p(x_1, x_2) of a net with one latent a step, by quadrature over both."""
    net = {
        "vrnn": VRNN(NORMAL.num_params, latent_dim=1, width=16),
        "stcn": STCN(NORMAL.num_params, (1,), ((1,),), channels=4, width=16),
    }[name]
    x, mask, context = normal(1, 2, DIM), np.ones((1, 2), np.float32), normal(1, 2, CONTEXT)
    variables = jax.tree_util.tree_map_with_path(widened, variables_of(net, x, context, jnp.zeros((1, 2, 1))))
    nodes = np.linspace(-6, 6, 121)
    weights = scipy.stats.norm.pdf(nodes)
    noises = (grid.reshape(-1, 1).astype(np.float32) for grid in np.meshgrid(nodes, nodes))
    num, apply = len(nodes) ** 2, partial(net.apply, variables)
    state, log_prob = net.start(num), 0.0
    for t, noise in enumerate(noises):
        x_t, context_t = (jnp.repeat(each[:, t], num, 0) for each in (x, context))
        output, z_t = apply(state, context_t, noise, method="draw")
        log_prob += jax.vmap(NORMAL.log_prob)(x_t, output)
        state = apply(state, x_t, z_t, context_t, method="update")
    weight = np.outer(weights, weights).ravel() / weights.sum() ** 2
    exact = scipy.special.logsumexp(np.asarray(log_prob, np.float64), b=weight)
    params = {"model": {"net": variables["params"]}}
    elbo, estimate = bounds(net, params, {"x": x, "mask": mask, "context": context})
    np.testing.assert_allclose(estimate, exact, atol=0.05)
    assert elbo[0] < exact - 0.02


@every_net
def test_what_each_part_sees(name):
    net, x, context = NETS[name], normal(1, LENGTH, DIM), normal(1, LENGTH, CONTEXT)
    noise = normal(1, LENGTH, net.latent_dim)
    variables = variables_of(net, x, context, noise)

    def parts(x, noise):  # of a ladder of latents the prior of the top: those below see draws of those above
        path = net.apply(variables, x, context, noise)
        return {
            "prior": path.prior.mean[0, :, -1:],
            "posterior": path.posterior.mean[0],
            "output": path.output[0],
        }

    both = jax.jit(jax.jacrev(parts, (0, 1)))(x, noise)
    for_x, for_noise = ({part: each[which] for part, each in both.items()} for which in (0, 1))
    for part, jacobian in for_x.items():
        seen = np.abs(jacobian[:, :, 0]).max((1, 3)) > 0  # [T of the part, T of x]
        assert not np.triu(seen, 1).any()
        assert np.diag(seen).all() == (part != "prior")
        assert np.diag(seen, -1).all()
    for part, jacobian in for_noise.items():
        seen = np.abs(jacobian[:, :, 0]).max((1, 3)) > 0
        assert not np.triu(seen, 1).any()
        if part == "output":
            assert np.diag(seen).all()


@every_net
@pytest.mark.parametrize("context", [None, normal(3, LENGTH, CONTEXT)], ids=["alone", "context"])
def test_steps_equal_the_whole_pass(name, context):
    """With the posterior's draws in place of the prior's, draw and update say what the whole pass says."""
    net, x = NETS[name], normal(3, LENGTH, DIM)
    noise = normal(3, LENGTH, net.latent_dim)
    variables = variables_of(net, x, context, noise)
    path = net.apply(variables, x, context, noise)
    # the noise that makes of the prior what the posterior's makes of it
    own_noise = (path.z - path.prior.mean) / jnp.exp(path.prior.log_std)
    state, apply = net.start(3), partial(net.apply, variables)
    for t in range(LENGTH):
        context_t = None if context is None else context[:, t]
        output, z_t = apply(state, context_t, own_noise[:, t], method="draw")
        np.testing.assert_allclose(z_t, path.z[:, t], rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(output, path.output[:, t], rtol=2e-3, atol=1e-3)
        state = apply(state, x[:, t], z_t, context_t, method="update")


@every_net
def test_samples_equal_those_drawn_by_hand(name):
    net, context = NETS[name], normal(5, LENGTH, CONTEXT)
    variables = variables_of(net, normal(5, LENGTH, DIM), context, normal(5, LENGTH, net.latent_dim))
    apply = partial(net.apply, variables)
    start = jax.random.key(0)  # of this generator a draw is the same alone and under vmap
    drawn = jax.jit(lambda key: generate(net, NORMAL, apply, key, (5, LENGTH), context))(start)
    state = net.start(5)
    for t, key in enumerate(jax.random.split(start, LENGTH)):
        key_z, key_x = jax.random.split(key)
        noise_t = jax.random.normal(key_z, (5, net.latent_dim))
        output, z_t = apply(state, context[:, t], noise_t, method="draw")
        noise = np.stack([jax.random.normal(each, (DIM,)) for each in jax.random.split(key_x, 5)])
        x_t = output[:, :DIM] + np.exp(output[:, DIM:]) * noise
        np.testing.assert_allclose(drawn[:, t], x_t, rtol=1e-3, atol=1e-4)
        state = apply(state, x_t, z_t, context[:, t], method="update")


@every_net
def test_steps_after_the_end_count_nothing(name):
    x, context = normal(2, LENGTH, DIM), normal(2, LENGTH, CONTEXT)
    mask = np.ones((2, LENGTH), np.float32)
    mask[:, 4:] = 0
    learner = learner_of(NETS[name], style=StyleEncoder(2, 5))
    state = jax.jit(learner.init)(KEY, {"x": x, "mask": mask, "context": context})
    evaluate = jax.jit(learner.evaluate)
    values = evaluate(state, {"x": x, "mask": mask, "context": context}, KEY)
    x[:, 4:], context[:, 4:] = np.inf, -3
    other = evaluate(state, {"x": x, "mask": mask, "context": context}, KEY)
    for metric in values:
        np.testing.assert_array_equal(values[metric], other[metric])
    x[:, 3] = 100
    assert (evaluate(state, {"x": x, "mask": mask, "context": context}, KEY)["elbo"] != values["elbo"]).all()


def test_what_is_paid_for_the_latents():
    """β of all that they tell while it rises; a style that tells less than the free nats pays for those."""
    batch = {"x": normal(3, LENGTH, DIM), "mask": np.ones((3, LENGTH), np.float32)}
    net = STCN(NORMAL.num_params, (1,), ((1,),), channels=4, width=6)
    learner = learner_of(net, style=StyleEncoder(2, 5), warmup=3, free_nats=5.0)
    state, step = jax.jit(learner.init)(KEY, batch), jax.jit(learner.step)
    small = state.params["model"]["style"]
    for beta, size in [(0.25, 1), (0.5, 1), (0.75, 1), (1, 1), (1, 3)]:
        style = jax.tree.map(lambda leaf, size=size: size * leaf, small)
        state = state.replace(params={"model": state.params["model"] | {"style": style}})
        state, metrics = step(state, batch)
        style_kl = float(metrics["style_kl"])
        assert (style_kl > 5) == (size > 1)
        paid = beta * (metrics["kl"] + max(style_kl, 5))
        np.testing.assert_allclose(metrics["loss"], paid - metrics["log_likelihood"], rtol=1e-5)
        total = metrics["log_likelihood"] - metrics["kl"] - style_kl
        np.testing.assert_allclose(metrics["elbo"], total, rtol=1e-5)
    q = StyleEncoder(2, 5).apply({"params": style}, batch["x"], None, batch["mask"])
    mean, std = np.asarray(q.mean), np.exp(np.asarray(q.log_std))
    exact = 0.5 * (mean**2 + std**2 - 1 - 2 * np.log(std)).sum(1).mean()
    np.testing.assert_allclose(style_kl, exact, rtol=1e-4)


def test_pictures_and_bad_masks():
    batch = {"x": normal(7, LENGTH, DIM), "mask": np.ones((7, LENGTH), np.float32)}
    learner = learner_of(NETS["stcn"], style=StyleEncoder(2, 5))
    state = jax.jit(learner.init)(KEY, batch)
    pictures = learner.render(state, batch, KEY)
    assert set(pictures) == {"samples", "styles"}
    height, width = LENGTH + 1, DIM + 1
    assert pictures["styles"].shape == (7 * height - 1, 7 * width - 1, 1)
    np.testing.assert_allclose(pictures["styles"][height : 2 * height - 1, :DIM, 0], batch["x"][0], rtol=1e-6)
    np.testing.assert_allclose(
        pictures["styles"][: height - 1, width : width + DIM, 0], batch["x"][0], rtol=1e-6
    )
    with pytest.raises(ValueError, match=r"mask \[7, 5\]"):
        learner.check(state, {**batch, "mask": batch["mask"][:, :5]}, {})
    with pytest.raises(ValueError, match="mask is 2"):
        learner.check(state, batch, {"mask": 2 * batch["mask"]})


def test_a_ladder_needs_a_layer_for_each_latent():
    net = STCN(4, (2, 1), ((1,),))
    with pytest.raises(ValueError, match="2 latent_dims and 1 groups"):
        jax.eval_shape(net.init, KEY, normal(1, 2, DIM), None, normal(1, 2, 3))


def test_precisions_add():
    a, b = (Normal(normal(5), normal(5)) for _ in range(2))
    precision = np.exp(-2 * a.log_std) + np.exp(-2 * b.log_std)
    mean = (a.mean * np.exp(-2 * a.log_std) + b.mean * np.exp(-2 * b.log_std)) / precision
    c = weighted(a, b)
    np.testing.assert_allclose(c.mean, mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.exp(-2 * c.log_std), precision, rtol=1e-4)


def test_moves_of_the_pen_against_scipy():
    emission = pen(2)
    assert emission.num_params == 13
    output = np.array([0.7, 0.4, -0.4, 1, 2, -1, 0.5, 0.1, -0.3, 0.2, 0.4, 0.8, -0.6], np.float32)
    share = np.exp([0.4, -0.4]) / np.exp([0.4, -0.4]).sum()
    factors = [
        np.array([[np.exp(0.1), 0], [0.8, np.exp(-0.3)]]),
        np.array([[np.exp(0.2), 0], [-0.6, np.exp(0.4)]]),
    ]
    parts = [
        scipy.stats.multivariate_normal(mean, factor @ factor.T)
        for mean, factor in zip([[1, 2], [-1, 0.5]], factors, strict=True)
    ]
    on = 1 / (1 + np.exp(-0.7))
    for move, lifted in (([0.3, 0.4], 1.0), ([-2.0, 3.0], 0.0)):
        density = sum(p * part.pdf(move) for p, part in zip(share, parts, strict=True))
        exact = np.log(density) + np.log(on if lifted else 1 - on)
        x_t = np.array([*move, lifted], np.float32)
        np.testing.assert_allclose(emission.log_prob(x_t, output), exact, rtol=1e-4)
    keys = jax.random.split(jax.random.key(1), 20_000)
    draws = np.asarray(jax.jit(jax.vmap(emission.sample, (0, None)))(keys, output))
    np.testing.assert_allclose(draws[:, 2].mean(), on, atol=0.02)
    mean = share @ np.array([[1, 2], [-1, 0.5]])
    np.testing.assert_allclose(draws[:, :2].mean(0), mean, atol=0.05)
    second = sum(
        p * (f @ f.T + np.outer(m, m)) for p, f, m in zip(share, factors, [[1, 2], [-1, 0.5]], strict=True)
    )
    np.testing.assert_allclose(np.cov(draws[:, :2].T), second - np.outer(mean, mean), atol=0.1)
