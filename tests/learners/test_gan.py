"""Both players of a GAN against linear nets moved by hand, and who may touch what on which step."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.data import Batches, pixels
from jaxdl.learners import gan
from jaxdl.learners.gan import pixel_distance
from jaxdl.nets.mlp import MLP
from jaxdl.objectives import gradient_penalty, wasserstein_discriminator_loss, wasserstein_generator_loss
from jaxdl.optim import sgd
from jaxdl.train import Options

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator
RATE = 0.5
BATCH = {"x": np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32) + np.float32([2, -1])}
B, V, C = np.array([0.5, 1.0]), np.array([0.3, -0.4]), 0.1
WASSERSTEIN = {
    "generator_loss": wasserstein_generator_loss,
    "discriminator_loss": wasserstein_discriminator_loss,
}


class Normed(nn.Module):
    """A linear map with batch norm before it, to a vector or to a number."""

    features: int | None

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = nn.Dense(self.features or 1)(x)
        return x[:, 0] if self.features is None else x


def compiled(nets=(MLP(2, ()), MLP(None, ())), rate=RATE, **options):
    learner = gan(*nets, sgd(rate), sgd(rate), latent_dim=3, **options)
    return learner._replace(step=jax.jit(learner.step), evaluate=jax.jit(learner.evaluate))


@pytest.fixture(scope="module")
def plain():
    """The non-saturating game of two linear nets."""
    return compiled()


@pytest.fixture(scope="module")
def start(plain):
    """A state whose generator makes one point b whatever z is, and whose logit is v·x + c."""
    generator = {"kernel": np.zeros((3, 2), np.float32), "bias": np.float32(B)}
    discriminator = {"kernel": np.float32(V)[:, None], "bias": np.float32([C])}
    params = {"generator": {"Dense_0": generator}, "discriminator": {"Dense_0": discriminator}}
    return jax.jit(plain.init)(KEY, BATCH).replace(params=params)


def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def linear(params, name):
    layer = params[name]["Dense_0"]
    return np.asarray(layer["kernel"], np.float64), np.asarray(layer["bias"], np.float64)


def test_the_non_saturating_game_by_hand(plain, start):
    real, fake = BATCH["x"] @ V + C, B @ V + C
    values = plain.evaluate(start, BATCH, KEY)
    # One value per example: −log D(x) − log(1 − D(G(z))), and −log D(G(z)).
    np.testing.assert_allclose(values["discriminator_loss"], softplus(-real) + softplus(fake), rtol=1e-5)
    np.testing.assert_allclose(values["generator_loss"], np.full(8, softplus(-fake)), rtol=1e-5)

    after, metrics = plain.step(start, BATCH)
    np.testing.assert_allclose(
        metrics["discriminator/loss"], (softplus(-real) + softplus(fake)).mean(), rtol=1e-5
    )
    np.testing.assert_allclose(metrics["real_logit"], real.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["fake_logit"], fake, rtol=1e-5)
    v = V - RATE * (-(sigmoid(-real)[:, None] * BATCH["x"]).mean(0) + sigmoid(fake) * B)
    c = C - RATE * (-sigmoid(-real).mean() + sigmoid(fake))
    kernel, bias = linear(after.params, "discriminator")
    np.testing.assert_allclose(kernel[:, 0], v, rtol=1e-5)
    np.testing.assert_allclose(bias, [c], rtol=1e-5)

    # The generator answers the discriminator that has just moved: logit v·b + c with the new v and c.
    fake = B @ v + c
    np.testing.assert_allclose(metrics["generator/loss"], softplus(-fake), rtol=1e-5)
    _, bias = linear(after.params, "generator")
    np.testing.assert_allclose(bias, B + RATE * sigmoid(-fake) * v, rtol=1e-5)


def test_the_penalty_enters_the_critics_loss_and_gradient(start):
    # A linear critic has the slope v everywhere: the penalty is λ (‖v‖ − 1)².
    def penalty(critic, real, fake, key):
        return 10 * gradient_penalty(critic, real, fake, key)

    learner = compiled(penalty=penalty, **WASSERSTEIN)
    after, metrics = learner.step(start, BATCH)
    norm = np.linalg.norm(V)
    distance = BATCH["x"].mean(0) @ V - B @ V
    np.testing.assert_allclose(metrics["discriminator/loss"], 10 * (norm - 1) ** 2 - distance, rtol=1e-5)
    kernel, bias = linear(after.params, "discriminator")
    slope = B - BATCH["x"].mean(0) + 10 * 2 * (norm - 1) * V / norm
    np.testing.assert_allclose(kernel[:, 0], V - RATE * slope, rtol=1e-4)
    np.testing.assert_allclose(bias, [C], rtol=1e-5)
    np.testing.assert_allclose(metrics["generator/loss"], -(B @ kernel[:, 0] + C), rtol=1e-4)
    np.testing.assert_allclose(linear(after.params, "generator")[1], B + RATE * kernel[:, 0], rtol=1e-4)


def test_the_penalty_draws_anew_for_each_example(start):
    learner = compiled(penalty=lambda critic, real, fake, key: jax.random.uniform(key), **WASSERSTEIN)
    state = start.replace(key=jax.random.key(0))
    losses = [
        learner.step(state.replace(step=jnp.int32(t)), BATCH)[1]["discriminator/loss"] for t in range(40)
    ]
    # The mean of eight draws of U[0, 1] has a standard deviation of 0.10, one draw for all of them 0.29.
    assert 0.05 < np.std(losses) < 0.2


def test_the_penalty_sees_pairs_of_single_examples_in_float32():
    def recorded(critic, real, fake, key):
        seen.append((real.shape, fake.shape, real.dtype, fake.dtype, key.shape))
        return critic(real) - critic(fake)

    for bf16 in (False, True):
        seen = []
        learner = gan(
            *(MLP(2, ()), MLP(None, ()), sgd(0.1), sgd(0.1)),
            latent_dim=3,
            penalty=recorded,
            options=Options(bf16=bf16),
        )
        jax.eval_shape(learner.step, jax.eval_shape(learner.init, KEY, BATCH), BATCH)
        assert seen == [((2,), (2,), jnp.float32, jnp.float32, ())]


@pytest.fixture(scope="module")
def normed():
    """A learner whose generator moves on each fifth step, its state after each step, and its metrics."""
    learner = compiled((Normed(2), Normed(None)), rate=0.01, generator_every=5)
    states, metrics = [jax.jit(learner.init)(KEY, BATCH)], []
    for _ in range(11):
        state, measured = learner.step(states[-1], BATCH)
        states.append(state)
        metrics.append(measured)
    return states, metrics


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


def test_the_generator_moves_on_each_fifth_step_only(normed):
    states, metrics = normed
    for step, (before, after) in enumerate(pairwise(states)):
        moves = step in (4, 9)  # after five steps of the discriminator, and after ten
        for tree in ("params", "model_state"):
            resting = same(getattr(before, tree)["generator"], getattr(after, tree)["generator"])
            assert resting is not moves
            assert not same(getattr(before, tree)["discriminator"], getattr(after, tree)["discriminator"])
        assert np.isnan(metrics[step]["generator/loss"]) == (not moves)
        assert np.isfinite(metrics[step]["discriminator/loss"])


def test_each_net_has_batch_statistics_of_its_own_moves(normed):
    # A step of the discriminator goes a tenth of the way to the mean of the data, then to that of generated
    # points, which is the bias of a generator that norms its z. The generator's move judges points as well,
    # and must leave no trace.
    states, _ = normed
    for before, after in pairwise(states):
        old, new = (
            np.asarray(each.model_state["discriminator"]["batch_stats"]["BatchNorm_0"]["mean"])
            for each in (before, after)
        )
        made = np.asarray(before.params["generator"]["Dense_0"]["bias"])
        expected = 0.9 * (0.9 * old + 0.1 * BATCH["x"].mean(0)) + 0.1 * made
        np.testing.assert_allclose(new, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("learning", "resting"), [("generator", "discriminator"), ("discriminator", "generator")]
)
def test_each_player_lowers_its_loss_and_leaves_the_other_alone(plain, start, learning, resting):
    still = start.opt_state[resting]._replace(hyperparams={"learning_rate": np.float32(0)})
    state = start.replace(opt_state={**start.opt_state, resting: still})
    for _ in range(10):
        state, _ = plain.step(state, BATCH)
    assert same(state.params[resting], start.params[resting])
    assert not same(state.params[learning], start.params[learning])
    before, after = (plain.evaluate(each, BATCH, KEY)[f"{learning}_loss"].mean() for each in (start, state))
    assert after < before - 0.1


def test_pictures_and_measures_are_of_samples_of_the_averaged_generator(plain, start):
    def measure(samples, data):
        seen.append((samples.shape, data))
        return {"mean": samples.mean()}

    seen = []
    learner = compiled(draw=lambda samples: samples, measure=measure, options=Options(ema=0.9))
    kernel, bias = np.random.default_rng(0).normal(size=(3, 2)), np.array([3.0, 5.0])
    averaged = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
    state = start.replace(ema_params={**start.params, "generator": {"Dense_0": averaged}})

    # z ~ N(0, I): a linear generator makes N(b, WᵀW).
    samples = np.asarray(learner.render(state, BATCH, KEY)["samples"])
    assert samples.shape == (1_024, 2)
    np.testing.assert_allclose(samples.mean(0), bias, atol=0.3)
    np.testing.assert_allclose(np.cov(samples.T), kernel.T @ kernel, atol=0.15 * (kernel**2).sum())
    again, other = (learner.render(state, BATCH, key)["samples"] for key in (KEY, jax.random.split(KEY)[0]))
    np.testing.assert_array_equal(samples, again)
    assert np.abs(samples - np.asarray(other)).max() > 0.1

    assert learner.report(state, "data") == {"mean": pytest.approx(4, abs=0.15)}
    assert seen == [((10_000, 2), "data")]
    assert plain.report(start, "data") == {}


def test_mixed_precision_reaches_both_nets():
    seen = []

    class Recorded(nn.Module):
        net: nn.Module

        @nn.compact
        def __call__(self, inputs, *, train):
            seen.append(inputs.dtype)
            return self.net(inputs, train=train)

    for bf16, dtype in (False, jnp.float32), (True, jnp.bfloat16):
        learner = gan(
            *(Recorded(MLP(2, ())), Recorded(MLP(None, ())), sgd(0.1), sgd(0.1)),
            latent_dim=3,
            options=Options(bf16=bf16),
        )
        state = jax.eval_shape(learner.init, KEY, BATCH)
        seen.clear()
        _, metrics = jax.eval_shape(learner.step, state, BATCH)
        assert len(seen) >= 5 and set(seen) == {jnp.dtype(dtype)}
        assert {leaf.dtype for leaf in metrics.values()} == {jnp.dtype(jnp.float32)}


def test_a_generator_of_another_shape_is_an_error():
    learner = gan(MLP(3), MLP(None), sgd(0.1), sgd(0.1), latent_dim=2)
    with pytest.raises(ValueError, match=r"the generator makes \(3,\), but the data are \(2,\)"):
        jax.eval_shape(learner.init, KEY, BATCH)


def test_pixel_distance_is_of_means_and_covariances():
    image = np.random.default_rng(0).integers(0, 200, (30, 2, 2, 1), np.uint8)
    data = Batches({"image": image}, 8, transform=pixels)  # the last batch is padded
    distance = partial(pixel_distance, data=data)
    samples = (image / 255).astype(np.float32)
    np.testing.assert_allclose(distance(samples)["frechet"], 0, atol=1e-5)
    np.testing.assert_allclose(distance(samples + np.float32(0.5))["frechet"], 4 * 0.25, rtol=1e-4)
