"""The LSTM against a loop in numpy, flax's cell and the gradient of a plain scan."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from scipy.special import expit

from jaxdl.ops.recurrent import lstm

RNG = np.random.default_rng(0)
T, B, H = 5, 3, 4


def drawn(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_two_steps_by_hand():
    # h_0 = 0, so that U matters from the second step on, where only z_f of the second row is not zero.
    z = np.array([[1.0, 5.0, 2.0, 3.0], [0.0, -1.0, 0.0, 0.0]])
    c_1 = expit(1) * np.tanh(2)  # the first forget gate has nothing to forget
    h_1 = expit(3) * np.tanh(c_1)
    c_2 = expit(-1 + 0.2 * h_1) * c_1 + expit(0.1 * h_1) * np.tanh(0.3 * h_1)
    h_2 = expit(0.4 * h_1) * np.tanh(c_2)
    h = lstm(jnp.array(z, jnp.float32), jnp.array([[0.1, 0.2, 0.3, 0.4]]))
    np.testing.assert_allclose(h, [[h_1], [h_2]], rtol=1e-6)


@pytest.mark.parametrize("batch", [(), (B,), (2, B)])
def test_value_equals_numpy(batch):
    z, kernel = drawn(T, *batch, 4 * H), drawn(H, 4 * H)
    h, c, expected = np.zeros((*batch, H)), np.zeros((*batch, H)), []
    for z_t in z:
        i, f, g, o = np.split(z_t + h @ kernel, 4, -1)
        c = expit(f) * c + expit(i) * np.tanh(g)
        h = expit(o) * np.tanh(c)
        expected.append(h)
    np.testing.assert_allclose(jax.jit(lstm)(z, kernel), expected, rtol=2e-5, atol=1e-6)


def scanned(z, kernel):
    """The same by a plain scan, whose gradient is jax's own."""

    def step(state, z_t):
        h, c = state
        i, f, g, o = jnp.split(z_t + h @ kernel, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((*z.shape[1:-1], len(kernel)), z.dtype)
    return jax.lax.scan(step, (zeros, zeros), z)[1]


def slopes(f, z, kernel, weights):
    return jax.grad(lambda z, kernel: (f(z, kernel) * weights).sum(), (0, 1))(z, kernel)


@pytest.mark.parametrize("steps", [(T,), (T, 2, B), (0, B)])
def test_gradient_equals_that_of_the_plain_scan(steps):
    arguments = drawn(*steps, 4 * H), drawn(H, 4 * H), drawn(*steps, H)
    ours, plain = (jax.jit(partial(slopes, f))(*arguments) for f in (lstm, scanned))
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_gradient_under_vmap_over_inputs_and_kernels():
    arguments = drawn(2, T, B, 4 * H), drawn(2, H, 4 * H), drawn(2, T, B, H)
    ours = jax.vmap(partial(slopes, lstm))(*arguments)
    plain = [slopes(scanned, *each) for each in zip(*arguments, strict=True)]
    for a, b in zip(ours, zip(*plain, strict=True), strict=True):
        np.testing.assert_allclose(a, np.stack(b), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("specs", "num"), [((P(None, "b"), P()), 1), ((P(), P("b")), 8)])
def test_gradient_under_shard_map_over_examples_or_kernels(specs, num):
    def loss(f, z, kernels):
        return (jax.vmap(f, (None, 0))(z, kernels) ** 2).sum()

    arguments = drawn(T, 8, 4 * H), drawn(num, H, 4 * H)
    mesh = Mesh(np.asarray(jax.devices()), ("b",))
    slopes = jax.grad(lambda *arguments: jax.lax.psum(loss(lstm, *arguments), "b"), (0, 1))
    ours = jax.jit(jax.shard_map(slopes, mesh=mesh, in_specs=specs, out_specs=specs))(*arguments)
    plain = jax.jit(jax.grad(partial(loss, scanned), (0, 1)))(*arguments)
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "dtypes",
    [("bfloat16", "float32"), ("float32", "bfloat16"), ("float32", "float64"), ("float64", "float32")],
)
def test_cotangents_have_the_dtypes_of_what_they_belong_to(dtypes):
    with jax.enable_x64(True):
        arguments = drawn(T, B, 4 * H), drawn(H, 4 * H)
        arguments = [jnp.asarray(x, dtype) for x, dtype in zip(arguments, dtypes, strict=True)]
        found = jax.jit(partial(slopes, lstm))(*arguments, 1)
        assert tuple(str(slope.dtype) for slope in found) == dtypes
        exact = slopes(scanned, *(x.astype("float64") for x in arguments), 1)
        for a, b in zip(found, exact, strict=True):
            np.testing.assert_allclose(a.astype("float64"), b, rtol=0.03, atol=0.01)


def test_value_and_gradient_equal_those_of_flax():
    x, weights = drawn(B, T, 6), drawn(B, T, H)
    net = nn.RNN(nn.OptimizedLSTMCell(H))
    params = net.init(jax.random.key(0, impl="rbg"), x)["params"]["cell"]
    params = jax.tree.map(lambda leaf: drawn(*leaf.shape), params)

    def ours(params):
        join = lambda side, part: jnp.concatenate([params[side + gate][part] for gate in "ifgo"], -1)
        z = x.swapaxes(0, 1) @ join("i", "kernel") + join("h", "bias")[None, None]
        return lstm(z, join("h", "kernel")).swapaxes(0, 1)

    theirs = lambda params: net.apply({"params": {"cell": params}}, x)
    np.testing.assert_allclose(ours(params), theirs(params), rtol=1e-4, atol=1e-5)
    a, b = (
        jax.jit(jax.grad(lambda params, f=f: (f(params) * weights).sum()))(params) for f in (ours, theirs)
    )
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for each in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(*each, rtol=1e-4, atol=1e-5)


def test_saturated_gates_keep_the_memory_and_stay_finite():
    # Everything is written in the first step, then the forget gate is open and nothing is added.
    z = np.full((100, 4), -1e4, np.float32)
    z[:, 1], z[:, 3], z[0] = 1e4, 1e4, 1e4
    h, slope = jax.value_and_grad(lambda z, kernel: lstm(z, kernel)[-1, 0], (0, 1))(z, jnp.zeros((1, 4)))
    assert h == pytest.approx(np.tanh(1), rel=1e-6)
    assert all(np.isfinite(leaf).all() for leaf in slope)


def test_the_memory_adds_up_in_float32_whatever_the_gates_compute_in():
    # c grows by σ(0)·0.002 a step to 1: in bfloat16 it would stop at 0.5, where half a digit is 0.00195.
    z = jnp.broadcast_to(jnp.array([0.0, 1e4, 0.002, 1e4], jnp.bfloat16), (1_000, 4))
    h = lstm(z, jnp.zeros((1, 4), jnp.bfloat16))
    assert h.dtype == jnp.bfloat16
    np.testing.assert_allclose(h[-1].astype(jnp.float32), [np.tanh(1)], rtol=1e-2)
    slope = jax.grad(lambda z: lstm(z, jnp.zeros((1, 4), jnp.bfloat16)).sum().astype(jnp.float32))(z)
    assert slope.dtype == jnp.bfloat16


def test_the_kernel_gradient_is_one_product_outside_of_the_loops():
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in [(7, 3, 20), (5, 20), (7, 3, 5)]]
    text = {f: jax.jit(partial(slopes, f)).lower(*arguments).as_text() for f in (lstm, scanned)}
    whole = "contracting_dims = [0, 1] x [0, 1]"  # over steps and batch
    assert text[lstm].count(whole) == 1 and text[lstm].count("dot_general") == 3  # and one in each loop
    assert whole not in text[scanned]


@pytest.mark.parametrize("shapes", [((T, 8), (H, 4 * H)), ((T, 4 * H), (H, 3 * H)), ((T, H), (4 * H, H))])
def test_shapes_that_do_not_fit_are_refused(shapes):
    with pytest.raises(ValueError, match=r"give \[H, 4H\] and \[T, ..., 4H\]"):
        lstm(*map(jnp.zeros, shapes))
