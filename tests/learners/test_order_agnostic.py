"""The order-agnostic learner: its loss over all orders and places, all inputs enumerated, gaps filled."""

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from scipy.special import logsumexp

from jaxdl.learners.autoregressive import BERNOULLI, categorical
from jaxdl.learners.order_agnostic import draw_mask, log_prob, order_agnostic, order_agnostic_nll, sample
from jaxdl.nets.deep_nade import ConvNADE, DeepNADE

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator
RNG = np.random.default_rng(0)
ORDERS = list(itertools.permutations(range(4)))
SHAPE = 2, 2, 1
NETS = {"dense": DeepNADE(1, (12,)), "convolutional": ConvNADE(1, 6, 1)}
each_net = pytest.mark.parametrize("name", NETS)


def random_params(net, *shape):
    shapes = jax.eval_shape(net.init, KEY, jnp.zeros((1, *shape)), jnp.zeros((1, *shape)))
    return jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32), shapes)


def seen_before(order, place):
    mask = np.zeros(len(order), np.float32)
    mask[list(order[:place])] = 1
    return mask


def test_its_mean_over_all_orders_and_places_is_that_of_the_orders():
    table = RNG.normal(size=(16, 4)) - 3  # log p(x_i | seen) of each set that is seen
    exact, estimates = [], []
    for order in ORDERS:
        masks = [seen_before(order, place) for place in range(4)]
        rows = [table[int(mask @ [8, 4, 2, 1])] for mask in masks]
        exact.append(-sum(row[i] for row, i in zip(rows, order, strict=True)))
        estimates += [
            order_agnostic_nll(jnp.asarray(row), mask) for row, mask in zip(rows, masks, strict=True)
        ]
    np.testing.assert_allclose(np.mean(estimates), np.mean(exact), rtol=1e-5)
    assert np.std(estimates) > 0.1


def test_masks_are_drawn_as_by_a_random_order_and_place():
    masks = np.asarray(jax.jit(jax.vmap(partial(draw_mask, size=4)))(jax.random.split(KEY, 12_000)))
    expected = np.zeros(16)
    for order, place in itertools.product(ORDERS, range(4)):
        expected[int(seen_before(order, place) @ [8, 4, 2, 1])] += 12_000 / (24 * 4)
    counts = np.bincount((masks @ [8, 4, 2, 1]).astype(int), minlength=16)
    assert counts[15] == expected[15] == 0  # something is always left to be predicted
    assert stats.chisquare(counts[:15], expected[:15]).pvalue > 0.01


@each_net
def test_an_output_does_not_depend_on_what_is_not_seen(name):
    net = NETS[name]
    variables, x = random_params(net, *SHAPE), RNG.normal(size=(1, *SHAPE)).astype(np.float32)
    mask = np.array([1, 0, 0, 1], np.float32).reshape(1, *SHAPE)
    slope = jax.jit(jax.jacrev(lambda x: net.apply(variables, x, mask)))(x).reshape(4, 4)
    assert (slope[:, [1, 2]] == 0).all() and (slope[:, [0, 3]] != 0).any(0).all()
    hidden = net.apply(variables, np.zeros_like(x), mask)
    assert (np.asarray(hidden) != np.asarray(net.apply(variables, np.zeros_like(x), 0 * mask))).any()


@each_net
@pytest.mark.parametrize("order", [ORDERS[0], ORDERS[13]], ids=str)
def test_probabilities_of_all_inputs_sum_to_one_in_each_order(name, order):
    net = NETS[name]
    apply = partial(net.apply, random_params(net, *SHAPE))
    x = np.array(list(itertools.product([0.0, 1.0], repeat=4)), np.float32).reshape(16, *SHAPE)
    log_probs = [
        np.float64(jax.jit(partial(log_prob, BERNOULLI, apply, chunk=chunk))(x, jnp.array(order)))
        for chunk in (1, 4)
    ]
    np.testing.assert_allclose(*log_probs, rtol=1e-4)
    np.testing.assert_allclose(np.exp(log_probs[0]).sum(), 1, rtol=1e-5)
    drawn = jax.jit(partial(sample, BERNOULLI, apply))(KEY, jnp.zeros((8_000, *SHAPE)), jnp.array(order))
    counts = np.bincount(np.asarray(drawn, int).reshape(-1, 4) @ [8, 4, 2, 1], minlength=16)
    expected = np.exp(log_probs[0])
    assert stats.chisquare(counts, 8_000 * expected / expected.sum()).pvalue > 0.01


def test_its_numbers_by_hand():
    net, x = NETS["dense"], RNG.integers(0, 2, (3, *SHAPE)).astype(np.float32)
    learner = order_agnostic(net, optax.sgd(0.1), num_orders=2)
    variables = random_params(net, *SHAPE)
    state = jax.jit(learner.init)(KEY, {"x": x}).replace(params={"net": variables["params"]})

    apply = jax.jit(partial(net.apply, variables))

    def conditional(mask):
        """log p(x_i | seen) of all elements, [B, 4]."""
        masks = np.tile(mask, (3, 1)).reshape(x.shape)
        logits = np.float64(apply(x, masks)).reshape(3, 4)
        return x.reshape(3, 4) * logits - np.logaddexp(0, logits)

    exact = []
    for key in jax.random.split(KEY, 2):
        order = np.asarray(jax.random.permutation(key, 4))
        exact.append(sum(conditional(seen_before(order, d))[:, i] for d, i in enumerate(order)))
    values = jax.jit(learner.evaluate)(state, {"x": x}, KEY)
    np.testing.assert_allclose(values["nll"], math.log(2) - logsumexp(exact, axis=0), rtol=1e-5)
    np.testing.assert_allclose(values["nll_of_one_order"], -np.mean(exact, 0), rtol=1e-5)
    assert (values["nll"] <= values["nll_of_one_order"] + 1e-5).all()  # by Jensen's inequality

    # the loss is one of those of all masks for each example, and its mean over many keys is exact
    one = {"x": x[:1]}
    step = jax.jit(jax.vmap(lambda key: learner.step(state.replace(key=key), one)[1]["loss"]))
    masks = [seen_before(order, place) for order, place in itertools.product(ORDERS, range(4))]
    possible = [-4 / (4 - mask.sum()) * (conditional(mask)[0] * (1 - mask)).sum() for mask in masks]
    losses = np.asarray(step(jax.random.split(KEY, 2_000)))
    np.testing.assert_allclose(np.abs(np.subtract.outer(losses, possible)).min(1), 0, atol=1e-4)
    np.testing.assert_allclose(losses.mean(), np.mean(possible), atol=4 * np.std(possible) / math.sqrt(2_000))


def test_pictures_keep_what_is_seen():
    x = RNG.integers(0, 2, (3, 4, 4, 1)).astype(np.float32)
    learner = order_agnostic(DeepNADE(1, (8,)), optax.sgd(0.1))
    state = jax.jit(learner.init)(KEY, {"x": x})
    pictures = learner.render(state, {"x": x}, KEY)
    assert pictures.keys() == {"samples", "lower half", "left half", "three pixels of four"}
    for name in pictures.keys() - {"samples"}:
        cells = np.stack([pictures[name][5 * row : 5 * row + 4] for row in range(3)])
        cells = np.stack([cells[:, :, 5 * column : 5 * column + 4] for column in range(8)], 1)
        np.testing.assert_array_equal(cells[:, 0], x)
        hidden = cells[:, 1] == 0.5
        assert 0 < hidden.mean() < 1
        for copy in range(2, 8):
            np.testing.assert_array_equal(cells[:, copy][~hidden], x[~hidden])
    assert set(np.unique(pictures["lower half"])) == {0.0, 0.5, 1.0}


def test_bits_per_dim_of_levels():
    learner = order_agnostic(DeepNADE(3, (8,)), optax.sgd(0.1), conditionals=categorical(3), num_orders=1)
    x = jnp.asarray(RNG.integers(0, 3, (3, *SHAPE)) / 2, jnp.float32)
    state = jax.jit(learner.init)(KEY, {"x": x})
    values = jax.jit(learner.evaluate)(state, {"x": x}, KEY)
    np.testing.assert_allclose(values["bits_per_dim"], values["nll"] / (4 * np.log(2)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"rescale it to \[0, 1\]"):
        learner.check(state, {"x": x}, {"x": np.asarray(2 * x + 1)})
    with pytest.raises(ValueError, match=r"give images \[B, H, W, C\]"):
        learner.check(state, {"x": x[0]}, {})
