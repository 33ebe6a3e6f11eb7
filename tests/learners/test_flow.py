"""The flow learner: densities against scipy, bits per dimension are probabilities, pictures, precision."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jaxdl.learners.flow import dequantized, flow, quantized
from jaxdl.learners.flow_pictures import draw_edits, draw_given, draw_plane, heat_map, sample
from jaxdl.nets.flows import ActNorm, Chain, Reverse, Scaling, glow, real_nvp
from jaxdl.train import Options

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def scalings(s):
    """A flow of two scalings by e^s in all: the density of N(0, e^(−2s))."""
    net, half = Chain((Scaling(), Reverse(), Scaling())), {"log_scale": jnp.asarray(s, jnp.float32) / 2}
    return net, {"layers_0": half, "layers_2": {"log_scale": half["log_scale"][::-1]}}


def state_of(learner, params, batch):
    return jax.jit(learner.init)(KEY, batch).replace(params={"flow": params})


def test_nll_is_that_of_the_density_that_the_layers_make():
    # ‼ The printed sum has log p_z inside it: two layers would count it twice.
    s, x = np.array([0.5, -1.0]), normal(0, 6, 2)
    net, params = scalings(s)

    def truth(x):
        return -jnp.sum(x**2)

    learner = flow(net, optax.sgd(0.1), true_log_prob=truth)
    batch = {"x": jnp.asarray(x)}
    state = state_of(learner, params, batch)
    expected = -stats.norm.logpdf(x, scale=np.exp(-s)).sum(1)
    values = jax.jit(learner.evaluate)(state, batch, KEY)
    assert set(values) == {"nll", "gap"}
    np.testing.assert_allclose(values["nll"], expected, rtol=1e-5)
    np.testing.assert_allclose(values["gap"], expected - (x**2).sum(1), rtol=1e-4, atol=1e-5)
    _, metrics = jax.jit(learner.step)(state, batch)
    np.testing.assert_allclose(metrics["loss"], expected.mean(), rtol=1e-5)


def test_samples_and_their_temperature():
    s = np.array([0.5, -1.0])
    net, params = scalings(s)
    bound = net.bind({"params": params})
    x, cool, cold = (sample(bound, KEY, (5_000, 2), temperature=t) for t in (1.0, 0.5, 0.0))
    np.testing.assert_allclose(np.std(x, axis=0), np.exp(-s), rtol=0.05)
    np.testing.assert_allclose(cool, 0.5 * x, rtol=1e-5)
    np.testing.assert_array_equal(cold, 0)


def test_dequantized_pixels_come_back():
    level = np.random.default_rng(0).integers(17, size=(5, 4, 4, 1))
    image = np.round(level * 255 / 16).astype(np.uint8).astype(np.float32) / 255
    x = jax.vmap(lambda image, key: dequantized(image, key, 17)["x"])(image, jax.random.split(KEY, 5))
    np.testing.assert_allclose(quantized(x, 17) * 16, level, atol=1e-5)
    far = quantized(jnp.array([-50.0, 50.0]), 17)  # a sample may lie where no pixel does
    np.testing.assert_array_equal(far, [0, 1])


def test_bits_per_dim_are_those_of_probabilities():
    """E_u p(x)·|det ∂x/∂(k + u)| is the mass of level k; over all levels it sums to that of [0, 1]."""
    bins, alpha, num = 4, 0.05, 4_000
    net, params = scalings(np.zeros(1))
    learner = flow(net, optax.sgd(0.1))
    images = np.repeat(np.arange(bins) / (bins - 1), num).astype(np.float32)[:, None]
    keys = jax.random.split(KEY, len(images))
    batch = jax.jit(jax.vmap(lambda image, key: dequantized(image, key, bins, alpha)))(images, keys)
    values = learner.evaluate(state_of(learner, params, batch), batch, KEY)
    np.testing.assert_allclose(values["bits_per_dim"], values["nll"] / np.log(2), rtol=1e-6)
    edges = np.log((s := alpha + (1 - 2 * alpha) * np.arange(bins + 1) / bins) / (1 - s))
    mass = np.exp2(-np.float64(values["bits_per_dim"])).reshape(bins, num).mean(1)
    np.testing.assert_allclose(mass, np.diff(stats.norm.cdf(edges)), rtol=0.01)


def test_init_sees_the_batch_under_jit():
    x = 3 + 5 * normal(0, 300, 2)
    learner = flow(Chain((ActNorm(),)), optax.sgd(0.1))
    state = jax.jit(learner.init)(KEY, {"x": x})
    params = state.params["flow"]["layers_0"]
    np.testing.assert_allclose(params["shift"], -x.mean(0), rtol=1e-4)
    np.testing.assert_allclose(np.exp(params["log_scale"]), 1 / x.std(0), rtol=1e-3)


@pytest.mark.parametrize("context", [False, True])
def test_loss_falls_and_each_example_counts_by_itself(context):
    x = np.concatenate([normal(0, 64, 2) * 0.3 + 2, normal(1, 64, 2) * 0.3 - 2])
    batch = {"x": x} | ({"context": np.repeat(np.eye(2, dtype=np.float32), 64, axis=0)} if context else {})
    learner = flow(real_nvp(2, (16,)), optax.adam(1e-2))
    state, step = jax.jit(learner.init)(KEY, batch), jax.jit(learner.step)
    before = jax.jit(learner.evaluate)(state, batch, KEY)["nll"]
    for _ in range(60):
        state, _ = step(state, batch)
    after = jax.jit(learner.evaluate)(state, batch, KEY)["nll"]
    assert after.shape == (128,)
    assert after.mean() < before.mean() - 1
    part = jax.tree.map(lambda leaf: leaf[:3], batch)
    np.testing.assert_allclose(jax.jit(learner.evaluate)(state, part, KEY)["nll"], after[:3], rtol=1e-4)
    if context:  # the class halves what is to be said: without it, a mixture's entropy is log 2 more
        batch["context"] = batch["context"][::-1]
        assert jax.jit(learner.evaluate)(state, batch, KEY)["nll"].mean() > after.mean() + 1


def test_fixed_parts_of_a_flow_are_not_trained():
    batch = {"x": normal(0, 4, 4, 4, 1)}
    learner = flow(glow(1, 1, 2), optax.sgd(0.1))
    state = jax.jit(learner.init)(KEY, batch)
    after, _ = jax.jit(learner.step)(state, batch)
    jax.tree.map(np.testing.assert_array_equal, after.model_state, state.model_state)
    assert set(after.model_state) == {"constants"}


def test_heat_map_shows_the_plane_upright():
    center = jnp.array([1.0, -2.0])
    picture = np.asarray(heat_map(lambda x: -50 * jnp.sum((x - center[None]) ** 2, -1), 4.0, size=64))
    row, column = np.unravel_index(picture.argmin(), picture.shape)
    np.testing.assert_allclose([(column + 0.5) / 8 - 4, 4 - (row + 0.5) / 8], center, atol=0.1)
    assert picture.shape == (64, 64) and picture.min() == 0 and picture[0, 0] == 1


def test_a_plane_is_drawn_beside_the_truth():
    learner = flow(
        Chain((ActNorm(),)), optax.sgd(0.1), draw=draw_plane(lambda x: -jnp.sum(x**2) / 2, bound=3.0)
    )
    batch = {"x": normal(0, 4_000, 2)}
    state = jax.jit(learner.init)(KEY, batch)
    pictures = learner.render(state, batch, KEY)
    of_flow, truth = np.split(np.asarray(pictures["density beside the truth"]), 2, axis=1)
    np.testing.assert_allclose(of_flow, truth, atol=0.05)
    assert pictures["samples"].shape == truth.shape == (256, 256)


class Shift:
    """z = x − shift(x, u): what a flow is to the pictures."""

    def __init__(self, shift):
        self.shift = shift

    def forward_and_log_det(self, x, context=None):
        return x - self.shift(x, context), None

    def inverse_and_log_det(self, z, context=None):
        return z + self.shift(z, context), None


def cells(picture, num_rows, num_columns, size=2):
    """Cut a grid of images of a side, a pixel apart, into [rows, columns, size, size]."""
    picture = np.asarray(picture).squeeze()
    at = [slice(i * (size + 1), i * (size + 1) + size) for i in range(max(num_rows, num_columns))]
    return np.array([[picture[at[i], at[j]] for j in range(num_columns)] for i in range(num_rows)])


def test_edits_keep_the_latents_and_change_the_attribute():
    """x' = x − s(u) + s(u'); a sample of each attribute has the same latents."""
    level = np.float32([0.1, 0.2, 0.4])
    flow = Shift(lambda x, u: (u @ level)[:, None, None, None])
    x, u = np.float32(RNG.uniform(0.3, 0.5, (2, 2, 2, 1))), np.eye(3, dtype=np.float32)[[2, 0]]
    draw = draw_edits(lambda x: x, examples=2, temperature=0.0)
    pictures = draw(flow, {"x": x, "context": u}, KEY)
    edits = cells(pictures["edits"], 2, 4)
    np.testing.assert_array_equal(edits[:, 0], x[..., 0])
    expected = (x - (u @ level)[:, None, None, None])[:, None, ..., 0] + level[None, :, None, None]
    np.testing.assert_allclose(edits[:, 1:], expected, rtol=1e-5)
    samples = cells(pictures["samples"], 2, 3)
    np.testing.assert_allclose(samples, np.broadcast_to(level[None, :, None, None], samples.shape))


def test_samples_are_drawn_given_the_condition():
    """At temperature 0 the sample is what the flow adds to zero: the condition, by these two flows."""
    x = np.float32(RNG.uniform(0.1, 0.9, (2, 2, 2, 1)))
    small = x[:, :1, :1]
    of_context = Shift(lambda z, u: jax.image.resize(u, z.shape, "nearest"))
    draw = draw_given(lambda x: x, examples=2, samples=2, temperature=0.0)
    (picture,) = draw(of_context, {"x": x, "context": small}, KEY).values()
    rows, wide = cells(picture, 2, 4), np.broadcast_to(small[..., 0], (2, 2, 2))
    np.testing.assert_allclose(rows, np.stack([wide, x[..., 0], wide, wide], 1), rtol=1e-6)

    def of_first_half(z, _):
        return jnp.concatenate([jnp.zeros_like(z[..., :1]), z[..., :1]], -1)

    pair = np.concatenate([x, x[::-1]], -1)
    (picture,) = draw(Shift(of_first_half), {"x": pair}, KEY).values()
    given, truth = pair[..., 0], pair[..., 1]
    np.testing.assert_allclose(cells(picture, 2, 4), np.stack([given, truth, given, given], 1), rtol=1e-6)


def test_densities_stay_in_float32_under_mixed_precision():
    batch = {"x": jnp.ones((3, 4, 4, 1)), "log_det": jnp.zeros(3)}
    learner = flow(glow(1, 1, 2), optax.sgd(0.1), options=Options(bf16=True))
    state = jax.eval_shape(learner.init, KEY, batch)
    after, metrics = jax.eval_shape(learner.step, state, batch)
    assert {leaf.dtype for leaf in jax.tree.leaves(metrics)} == {jnp.dtype(jnp.float32)}
    assert {leaf.dtype for leaf in jax.tree.leaves(after.params)} == {jnp.dtype(jnp.float32)}
