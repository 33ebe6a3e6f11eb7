"""NADE: its formula written out, its sampler of one pass."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.learners.autoregressive import BERNOULLI, normal_mixture, sample, sample_in_one_pass
from jaxdl.nets.nade import NADE

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator
BINARY = NADE(1, 7), BERNOULLI
REAL = NADE(6, 5, nn.relu, scaled=True), normal_mixture(2)
both = pytest.mark.parametrize(("net", "conditionals"), [BINARY, REAL], ids=["nade", "rnade"])


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def variables_of(net, size):
    shapes = jax.eval_shape(net.init, KEY, jnp.zeros((1, size)))
    return jax.tree.map(lambda leaf: normal(1, *leaf.shape), shapes)


@both
def test_its_outputs_and_gradient_equal_the_formula_written_out(net, conditionals):
    x, variables = normal(0, 4, 2, 3), variables_of(net, 6)
    cotangent = normal(2, 4, 6, net.num_outputs)

    def by_hand(variables):
        p, flat = variables["params"], x.reshape(4, 6)
        rho = p.get("rho", np.ones(6))
        outputs = []
        for d in range(6):  # D products of up to D terms: O(D² H)
            h = net.activation(rho[d] * (p["c"][None] + flat[:, :d] @ p["W"][:d]))
            outputs.append(h @ p["V"][d] + p["b"][d][None])
        return jnp.stack(outputs, 1)

    def shared(variables):
        return net.apply(variables, x).reshape(4, 6, -1)

    np.testing.assert_allclose(jax.jit(shared)(variables), by_hand(variables), rtol=1e-4, atol=1e-5)
    slopes = [
        jax.jit(jax.grad(lambda variables, f=f: (f(variables) * cotangent).sum()))(variables)
        for f in (shared, by_hand)
    ]
    for a, b in zip(*map(jax.tree.leaves, slopes), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@both
@pytest.mark.parametrize("places", [None, [2, 3, 5]], ids=["all", "some"])
def test_one_pass_draws_what_a_pass_for_each_variable_draws(net, conditionals, places):
    apply, x = partial(net.apply, variables_of(net, 6)), normal(0, 8, 3, 2)
    places = None if places is None else jnp.array(places)
    fast, slow = (
        jax.jit(partial(draw, conditionals, apply))(KEY, x, places) for draw in (sample_in_one_pass, sample)
    )
    np.testing.assert_allclose(fast, slow, rtol=1e-3, atol=1e-4)
    flat = np.asarray(fast).reshape(8, 6)
    given = [] if places is None else [0, 1, 4]
    np.testing.assert_array_equal(flat[:, given], x.reshape(8, 6)[:, given])
    assert (flat[:, 5] != x.reshape(8, 6)[:, 5]).all()


def test_a_step_by_hand():
    # a_1 = c, a_2 = c + W_1 x_1: one unit that is open, and closes once x_1 is 1.
    params = {
        "c": jnp.array([100.0]),
        "W": jnp.array([[-200.0], [7.0]]),
        "V": jnp.array([[[2.0]], [[3.0]]]),
        "b": jnp.array([[0.5], [0.25]]),
    }
    output = NADE(1, 1).apply({"params": params}, jnp.array([[0.0, 1.0], [1.0, 1.0]]))
    np.testing.assert_allclose(output[..., 0], [[2.5, 3.25], [2.5, 0.25]], atol=1e-6)


def test_parameter_count():
    shapes = jax.eval_shape(NADE(1, 500).init, KEY, jnp.zeros((1, 784)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 500 + 784 * (500 + 500 + 1)


def test_outputs_are_float32_under_mixed_precision():
    net = REAL[0]
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), variables_of(net, 6))
    assert jax.eval_shape(net.apply, low, jnp.zeros((2, 6), jnp.bfloat16)).dtype == jnp.float32
