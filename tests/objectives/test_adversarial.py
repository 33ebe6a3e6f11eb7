import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.distance import jensenshannon
from scipy.special import expit as sigmoid
from scipy.special import log_softmax, softmax

from jaxdl import objectives

LOGITS = np.array([-3.0, -0.4, 0.0, 1.7], np.float32)

# The losses of both players as the papers print them, in terms of D = σ(logit) or of the critic's value.
GAMES = {
    "minimax": (lambda a, b: -np.log(sigmoid(a)) - np.log(1 - sigmoid(b)), lambda b: np.log(1 - sigmoid(b))),
    "non_saturating": (
        lambda a, b: -np.log(sigmoid(a)) - np.log(1 - sigmoid(b)),
        lambda b: -np.log(sigmoid(b)),
    ),
    "wasserstein": (lambda a, b: b - a, lambda b: -b),
    "hinge": (lambda a, b: np.maximum(0, 1 - a) + np.maximum(0, 1 + b), lambda b: -b),
    "least_squares": (lambda a, b: ((a - 1) ** 2 + b**2) / 2, lambda b: (b - 1) ** 2 / 2),
}


def players(kind):
    return (getattr(objectives, f"{kind}_{player}_loss") for player in ("discriminator", "generator"))


@pytest.mark.parametrize("kind", GAMES)
def test_both_players_have_the_loss_of_the_paper(kind):
    real, fake = (logits.ravel() for logits in np.meshgrid(LOGITS, LOGITS))
    for loss, printed, logits in zip(players(kind), GAMES[kind], [(real, fake), (fake,)], strict=True):
        value = jax.jit(jax.vmap(loss))(*logits)
        np.testing.assert_allclose(value, printed(*map(np.float64, logits)), rtol=1e-5, atol=1e-6)
        check_grads(loss, (0.3, -0.6)[: len(logits)], order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("kind", GAMES)
def test_the_discriminator_separates_and_the_generator_climbs(kind):
    # ‼ G01: the notes print the discriminator's update with the wrong sign, and max for min in G*.
    discriminator_loss, generator_loss = players(kind)
    slope_real, slope_fake = jax.grad(discriminator_loss, (0, 1))(0.2, 0.3)
    assert slope_real < 0 < slope_fake
    assert jax.grad(generator_loss)(0.2) < 0


def test_minimax_at_chance_level_is_log_four():
    # ‼ G01, G12: printed without the logarithm, 1 − D, the generator's loss would be ½ here.
    np.testing.assert_allclose(objectives.minimax_discriminator_loss(0.0, 0.0), np.log(4), rtol=1e-6)
    np.testing.assert_allclose(objectives.minimax_generator_loss(0.0), -np.log(2), rtol=1e-6)


def test_only_the_saturating_loss_dies_against_a_confident_discriminator():
    np.testing.assert_allclose(jax.grad(objectives.minimax_generator_loss)(-20.0), 0, atol=1e-8)
    np.testing.assert_allclose(jax.grad(objectives.non_saturating_generator_loss)(-20.0), -1, rtol=1e-6)


def test_value_of_the_game_at_the_optimal_discriminator():
    # ‼ G01: with log D* in both expectations, as printed, the identity fails.
    p_data, p_g = np.array([0.1, 0.2, 0.7, 0.0]), np.array([0.4, 0.4, 0.0, 0.2])
    d = np.float64(objectives.optimal_discriminator(jnp.array(p_data), jnp.array(p_g)))
    value = np.sum(p_data[:3] * np.log(d[:3])) + np.sum(p_g[[0, 1, 3]] * np.log(1 - d[[0, 1, 3]]))
    np.testing.assert_allclose(value, -np.log(4) + 2 * jensenshannon(p_data, p_g) ** 2, rtol=1e-6)


def test_optimal_discriminator_maximises_the_value_pointwise():
    grid = np.linspace(0.001, 0.999, 999)
    best = grid[np.argmax(0.3 * np.log(grid) + 0.9 * np.log(1 - grid))]
    np.testing.assert_allclose(
        objectives.optimal_discriminator(jnp.array(0.3), jnp.array(0.9)), best, atol=1e-3
    )


def test_optimal_discriminator_where_there_is_no_mass():
    value, grads = jax.value_and_grad(objectives.optimal_discriminator, (0, 1))(jnp.zeros(()), jnp.zeros(()))
    assert value == 0.5
    assert grads == (0, 0)


@pytest.mark.parametrize("shape", [(4,), (2, 3)])
def test_gradient_penalty_of_a_linear_critic(shape):
    w = jax.random.normal(jax.random.key(0), shape)
    real, fake = jnp.ones(shape), jnp.zeros(shape)

    def penalty(w):
        return objectives.gradient_penalty(lambda x: (w * x).sum(), real, fake, jax.random.key(1))

    norm = np.linalg.norm(np.float64(w))
    np.testing.assert_allclose(penalty(w), (norm - 1) ** 2, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(penalty)(w), 2 * (norm - 1) * w / norm, rtol=1e-5)


def test_gradient_penalty_looks_uniformly_between_real_and_fake():
    # The slope of ½‖x‖² is x: the penalty tells the norm of the point it was taken at, here 1 + 2ε.
    real, fake = jnp.array([3.0, 0.0]), jnp.array([1.0, 0.0])
    keys = jax.random.split(jax.random.key(0), 2000)
    penalty = jax.vmap(lambda key: objectives.gradient_penalty(lambda x: x @ x / 2, real, fake, key))(keys)
    epsilon = np.sqrt(penalty) / 2
    np.testing.assert_allclose(np.quantile(epsilon, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.04)


def test_gradient_penalty_is_differentiable_at_a_flat_critic():
    def penalty(w):
        return objectives.gradient_penalty(lambda x: w @ x, jnp.ones(3), jnp.zeros(3), jax.random.key(0))

    value, grad = jax.value_and_grad(penalty)(jnp.zeros(3))
    assert value == 1
    np.testing.assert_array_equal(grad, 0)


def test_r1_penalty_is_the_squared_slope_at_the_data():
    x = jnp.array([[1.0, -2.0], [0.5, 3.0]])
    np.testing.assert_allclose(objectives.r1_penalty(lambda x: (x**2).sum() / 2, x), 14.25, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda w: objectives.r1_penalty(lambda x: w * x.sum(), x))(3.0), 24)


def test_penalties_ask_for_vmap_when_the_critic_sees_a_batch():
    batch, key = jnp.ones((5, 3)), jax.random.key(0)
    for penalty in (
        lambda: objectives.gradient_penalty(lambda x: x.sum(-1), batch, batch, key),
        lambda: objectives.r1_penalty(lambda x: x.sum(-1), batch),
        lambda: objectives.gradient_penalty(jnp.sum, batch, batch[0], key),
    ):
        with pytest.raises(AssertionError, match="vmap"):
            penalty()


def test_semi_supervised_loss_is_a_softmax_over_one_more_class():
    labelled, unlabelled, fake = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    unlabelled_probs, fake_probs = (softmax(np.append(logits, 0.0)) for logits in (unlabelled, fake))
    expected = -log_softmax(labelled)[2] - np.log(1 - unlabelled_probs[4]) - np.log(fake_probs[4])
    value = objectives.semi_supervised_discriminator_loss(labelled, jnp.array(2), unlabelled, fake)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_auxiliary_classifier_losses():
    real, fake = np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32)
    named = -log_softmax(fake)[0]
    discriminator = -np.log(sigmoid(0.5)) - np.log(1 - sigmoid(-1.5)) - log_softmax(real)[1] + named
    value = objectives.auxiliary_classifier_discriminator_loss(0.5, -1.5, real, fake, 1, 0)
    np.testing.assert_allclose(value, discriminator, rtol=1e-5)
    value = objectives.auxiliary_classifier_generator_loss(-1.5, fake, 0)
    np.testing.assert_allclose(value, -np.log(sigmoid(-1.5)) + named, rtol=1e-5)


def test_mutual_information_bound_holds_and_is_tight_at_the_posterior():
    joint = np.array([[0.2, 0.1, 0.1], [0.05, 0.25, 0.3]])  # p(c, x)
    prior, evidence = joint.sum(1), joint.sum(0)
    information = np.sum(joint * np.log(joint / (prior[:, None] * evidence)))
    bound = jax.vmap(objectives.mutual_information_bound, (0, None))

    def mean_bound(q):
        entropy = jnp.array(-np.sum(prior * np.log(prior)))
        return np.sum(joint.ravel() * bound(jnp.array(np.log(q).ravel()), entropy))

    np.testing.assert_allclose(mean_bound(joint / evidence), information, rtol=1e-5)
    assert mean_bound(np.array([[0.7, 0.3, 0.2], [0.3, 0.7, 0.8]])) < information - 1e-3


def test_cycle_consistency_is_the_summed_absolute_difference():
    x, reconstruction = jnp.array([[0.0, 1.0], [0.5, 0.2]]), jnp.array([[0.5, 0.25], [0.4, 0.3]])
    value, grad = jax.value_and_grad(objectives.cycle_consistency_loss, 1)(x, reconstruction)
    np.testing.assert_allclose(value, 1.45, rtol=1e-6)
    np.testing.assert_array_equal(grad, [[1, -1], [-1, 1]])
    np.testing.assert_array_equal(jax.grad(objectives.cycle_consistency_loss, (0, 1))(x, x), 0)
    with pytest.raises(AssertionError, match=r"x .* reconstruction .*vmap"):
        objectives.cycle_consistency_loss(x, x[0])
