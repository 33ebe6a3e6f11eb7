"""MADE: what an output sees, by gradient; and that its probabilities sum to one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.nets.made import MADE, MaskedDense, even_degrees, random_degrees

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator
SIZE = 6


def jacobian(net, degrees=None, context=None):
    """Return ∂ output / ∂ input at a random point and random params, [D, P, D]."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=SIZE).astype(np.float32)
    variables = jax.eval_shape(net.init, KEY, x[None], context)
    variables = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), variables)
    return np.asarray(jax.jit(jax.jacrev(lambda x: net.apply(variables, x[None], context, degrees)[0]))(x))


@pytest.mark.parametrize("hidden", [(), (20,), (40, 30)])
@pytest.mark.parametrize("context", [None, np.ones((1, 2), np.float32)], ids=["alone", "context"])
def test_each_output_sees_the_inputs_before_it(hidden, context):
    depends = np.abs(jacobian(MADE(2, hidden), None, context)).max(1) > 0
    assert not np.triu(depends).any()
    if hidden in ((), (20,)):  # two ReLU layers may be dead at one point
        assert depends[np.tri(SIZE, k=-1) > 0].mean() > 0.8


@pytest.mark.parametrize("seed", range(2))
def test_the_jacobian_is_strictly_triangular_in_a_drawn_order(seed):
    degrees = jax.jit(random_degrees, static_argnums=(1, 2))(jax.random.key(seed), SIZE, (30, 30))
    order = np.argsort(degrees[0])
    np.testing.assert_array_equal(np.sort(degrees[0]), np.arange(SIZE) + 1)
    for before, after in itertools.pairwise(degrees):
        assert min(before) <= min(after) and max(after) <= SIZE - 1
    depends = np.abs(jacobian(MADE(1, (30, 30)), degrees)).max(1) > 0
    assert not np.triu(depends[order][:, order]).any()
    assert depends.any(1).sum() >= SIZE - 2  # all but the first in the order see something


def test_orders_differ_from_key_to_key_unless_it_is_the_natural_one():
    orders = {tuple(np.asarray(random_degrees(jax.random.key(s), SIZE, (4,))[0])) for s in range(6)}
    assert len(orders) > 3
    natural = [random_degrees(jax.random.key(s), SIZE, (9,), shuffle=False) for s in range(2)]
    np.testing.assert_array_equal(natural[0][0], np.arange(SIZE) + 1)
    assert not np.array_equal(natural[0][1], natural[1][1])


@pytest.mark.parametrize(("hidden", "expected"), [((3,), [1, 2, 4]), ((10,), [1, 1, 2, 2, 3, 3, 4, 4, 5, 5])])
def test_even_degrees(hidden, expected):
    first, inner = even_degrees(SIZE, hidden)
    np.testing.assert_array_equal(first, [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(inner, expected)


def test_masks_by_hand():
    # Degrees 1, 2 | 1 of one hidden unit: it sees the first input only, and only the second output sees it.
    net = MADE(1, (1,))
    x = jnp.array([[3.0, 100.0]])
    params = {
        "MaskedDense_0": {"kernel": jnp.array([[2.0], [5.0]]), "bias": jnp.ones(1)},
        "MaskedDense_1": {"kernel": jnp.array([[4.0, 10.0]]), "bias": jnp.array([0.5, 0.25])},
    }
    np.testing.assert_allclose(net.apply({"params": params}, x)[0, :, 0], [0.5, 10 * (2 * 3 + 1) + 0.25])
    # A direct one adds what each output sees of the inputs: the second that of the first, 20 · 3.
    params["MaskedDense_2"] = {"kernel": jnp.array([[7.0, 20.0], [30.0, 40.0]])}
    direct = MADE(1, (1,), direct=True).apply({"params": params}, x)
    np.testing.assert_allclose(direct[0, :, 0], [0.5, 10 * (2 * 3 + 1) + 0.25 + 60])


def test_probabilities_of_all_inputs_sum_to_one():
    x = np.array(list(itertools.product([0.0, 1.0], repeat=SIZE)), np.float32)
    net = MADE(1, (12,))
    degrees = random_degrees(jax.random.key(4), SIZE, (12,))
    variables = jax.tree.map(lambda leaf: 3 * leaf, jax.jit(net.init)(KEY, x))
    for masks in (None, degrees):
        logits = np.asarray(net.apply(variables, x, None, masks)[..., 0], np.float64)
        log_prob = (x * logits - np.logaddexp(0, logits)).sum(1)
        np.testing.assert_allclose(np.exp(log_prob).sum(), 1, rtol=1e-5)
        assert log_prob.std() > 0.1


def test_the_first_variable_sees_the_context():
    net, x = MADE(1, (8,)), np.zeros((1, SIZE), np.float32)
    context = np.ones((1, 2), np.float32)
    variables = jax.jit(net.init)(KEY, x, context)
    slope = jax.jit(jax.jacrev(lambda context: net.apply(variables, x, context)[0, :, 0]))(context)
    assert (np.abs(slope).max((1, 2)) > 0).all()


def test_parameter_counts():
    def count(net, size):
        variables = jax.eval_shape(net.init, KEY, jax.ShapeDtypeStruct((2, size), jnp.float32))
        return sum(leaf.size for leaf in jax.tree.leaves(variables))

    assert count(MADE(1, (500,)), 784) == 784 * 500 + 500 + 500 * 784 + 784
    assert count(MADE(2, (3, 4)), 5) == (5 * 3 + 3) + (3 * 4 + 4) + (4 * 10 + 10)


def test_a_belief_net_has_half_of_the_parameters_of_its_matrix():
    """n weights into variable n and one bias each: n(n + 1)/2 in all."""
    net = MADE(1, ())
    x = np.random.default_rng(0).normal(size=(1, SIZE)).astype(np.float32)
    variables = jax.jit(net.init)(KEY, x)
    slope = jax.jit(jax.grad(lambda variables: net.apply(variables, x).sum()))
    used = jax.tree.map(lambda leaf: np.count_nonzero(leaf), slope(variables))
    assert sum(jax.tree.leaves(used)) == SIZE * (SIZE + 1) / 2


def test_outputs_are_float32_under_mixed_precision():
    net, x = MADE(1, (4,)), jax.ShapeDtypeStruct((2, SIZE), jnp.bfloat16)
    variables = jax.eval_shape(net.init, KEY, jax.ShapeDtypeStruct((2, SIZE), jnp.float32))
    low = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), variables)
    assert jax.eval_shape(net.apply, low, x).dtype == jnp.float32
    hidden = jax.eval_shape(
        lambda x: MaskedDense(3).init_with_output(KEY, x, jnp.ones((SIZE, 3)))[0],
        jax.ShapeDtypeStruct((2, SIZE), jnp.float32),
    )
    assert hidden.shape == (2, 3)
