"""PixelCNNs and PixelRNNs by hand, and what they see of an image. Causality: see test_autoregressive."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.nets.pixel_cnn import ColorDense, GatedLayer, GatedPixelCNN, MaskedConv, PixelCNN
from jaxdl.nets.pixel_rnn import DiagonalBiLSTM, LineCell, PixelRNN, RowLSTM, skew, unskew

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator
RNG = np.random.default_rng(0)


def random_variables(net, *inputs):
    """Draw all params at random: those of a fresh net hold zeros."""
    variables = jax.eval_shape(net.init, KEY, *inputs)
    return jax.tree.map(
        lambda leaf: RNG.normal(size=leaf.shape, scale=1.5 / math.sqrt(math.prod(leaf.shape[:-1]))).astype(
            np.float32
        ),
        variables,
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("own", "above", "expected"),
    [
        (False, True, [[0, 1, 2], [3, 10, 10]]),
        (True, True, [[1, 3, 5], [7, 15, 16]]),
        (False, False, [[0, 1, 2], [0, 4, 5]]),
        (True, False, [[1, 3, 5], [4, 9, 11]]),
    ],
)
def test_the_taps_of_a_3x3_kernel_of_ones(own, above, expected):
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)[None, :, :, None]
    net = MaskedConv(1, 3, 1, own, above)
    variables = jax.eval_shape(net.init, KEY, x)
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, leaf.ndim > 1, np.float32), variables)
    np.testing.assert_array_equal(net.apply(variables, x)[0, :, :, 0], expected)


@pytest.mark.parametrize("own", [False, True])
def test_a_colour_sees_those_before_it_at_its_pixel(own):
    net, x = MaskedConv(6, 3, 3, own), np.ones((1, 1, 1, 3), np.float32)
    variables = random_variables(net, x)
    slope = jax.jacrev(lambda x: net.apply(variables, x).ravel())(x).reshape(6, 3)  # features R G B R G B
    expected = [[1, 0, 0], [1, 1, 0], [1, 1, 1]] if own else [[0, 0, 0], [1, 0, 0], [1, 1, 0]]
    np.testing.assert_array_equal(np.asarray(slope) != 0, np.tile(expected, (2, 1)))


def test_a_gated_layer_at_one_pixel():
    net = GatedLayer(2, 3, 1)
    v, h = (RNG.normal(size=(1, 1, 1, 2)).astype(np.float32) for _ in range(2))
    context = RNG.normal(size=(1, 3)).astype(np.float32)
    variables = random_variables(net, v, h, context)
    params = jax.tree.map(np.asarray, variables["params"])

    def dense(name, x):
        inner = params[name].get("MaskedDense_0", params[name])
        return x @ inner["kernel"] + inner.get("bias", 0)

    def gate(y):
        return np.tanh(y[:2]) * sigmoid(y[2:])  # not tanh(y_f) ⊙ y_g

    y_v = v[0, 0, 0] @ params["Conv_0"]["kernel"][1, 1] + params["Conv_0"]["bias"]
    conv_h = params["MaskedConv_0"]["Conv_0"]
    y_h = h[0, 0, 0] @ conv_h["kernel"][0, 1] + conv_h["bias"] + dense("ColorDense_0", y_v)
    expected_v = gate(y_v + dense("Dense_0", context[0]))
    expected_h = h[0, 0, 0] + dense("ColorDense_1", gate(y_h + dense("Dense_1", context[0])))
    v, h = net.apply(variables, v, h, context)
    np.testing.assert_allclose(v[0, 0, 0], expected_v, rtol=1e-5)
    np.testing.assert_allclose(h[0, 0, 0], expected_h, rtol=1e-5)


def test_a_cell_in_numpy():
    net, features = LineCell((-1, 0, 1)), 2
    h, c = RNG.normal(size=(2, 1, 3, features)).astype(np.float32)
    inputs = RNG.normal(size=(1, 3, 4 * features)).astype(np.float32)
    variables = random_variables(net, (h, c), inputs)
    kernel = np.asarray(variables["params"]["Dense_0"]["kernel"]).reshape(3, features, 4 * features)
    (h_after, c_after), output = net.apply(variables, (h, c), inputs)
    for at in range(3):
        seen = [(tap, at + tap - 1) for tap in range(3) if 0 <= at + tap - 1 < 3]
        gates = inputs[0, at] + sum(h[0, place] @ kernel[tap] for tap, place in seen)
        o, f, i, g = gates.reshape(4, features)
        c_at = sigmoid(f) * c[0, at] + sigmoid(i) * np.tanh(g)
        np.testing.assert_allclose(c_after[0, at], c_at, rtol=1e-5)
        np.testing.assert_allclose(output[0, at], sigmoid(o) * np.tanh(c_at), rtol=1e-5)
    np.testing.assert_array_equal(output, h_after)


@pytest.mark.parametrize("net", [RowLSTM(2, 1), DiagonalBiLSTM(2, 1)])
def test_lines_start_from_a_state_of_zeros(net):
    x = np.ones((1, 3, 2, 4), np.float32)
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(net.init, KEY, x))
    np.testing.assert_array_equal(net.apply(variables, x), np.zeros((1, 3, 2, 2)))


def test_skewed_rows_start_one_later_each():
    x = jnp.arange(1, 7).reshape(1, 2, 3, 1)
    np.testing.assert_array_equal(skew(x)[0, :, :, 0], [[1, 2, 3, 0], [0, 4, 5, 6]])
    x = jnp.arange(2 * 4 * 3 * 5).reshape(2, 4, 3, 5)
    np.testing.assert_array_equal(unskew(skew(x), 3), x)


# Whether the output at a pixel sees one `up` rows above and `right` columns to the right that is before it.
FIELDS = {
    "PixelCNN has a blind spot": (PixelCNN(1, 8, layers=5, size=3), lambda up, right: right <= up),
    "gated has none": (GatedPixelCNN(1, 4, layers=5, first_size=3), lambda up, right: True),
    "Row LSTM, a triangle": (
        PixelRNN(1, 8, 1, RowLSTM, size=3),
        lambda up, right: (
            -(up + 2) <= right <= up
        ),  # three from the masked kernels to the left, of which one up
    ),
    "Diagonal BiLSTM, all": (PixelRNN(1, 8, 1, size=3), lambda up, right: True),
}


@pytest.mark.parametrize("name", FIELDS)
def test_receptive_field(name):
    net, sees = FIELDS[name]
    height, width, row, column = 4, 9, 3, 5
    points = RNG.normal(size=(8, 1, height, width, 1)).astype(np.float32)  # a ReLU may be dead at one
    variables = random_variables(net, points[0])

    def output(x):
        return net.apply(variables, x)[0, row, column].sum()

    slopes = np.asarray(jax.jit(jax.vmap(jax.grad(output)))(points))[:, 0, :, :, 0]
    up, right = np.mgrid[row : row - height : -1, -column : width - column]
    before = (up > 0) | ((up == 0) & (right < 0))
    expected = before & np.vectorize(sees)(up, right)
    np.testing.assert_array_equal(np.abs(slopes).max(0) > 0, expected)


@pytest.mark.parametrize("net", [PixelCNN(1, 4, 1), GatedPixelCNN(1, 4, 1), PixelRNN(1, 4, 1)])
def test_the_first_pixel_sees_the_context(net):
    x, context = np.zeros((1, 2, 2, 1), np.float32), np.ones((1, 3), np.float32)
    variables = random_variables(net, x, context)
    slope = jax.jit(jax.grad(lambda context: net.apply(variables, x, context)[0, 0, 0].sum()))(context)
    assert (np.abs(slope) > 0).all()


@pytest.mark.parametrize("net", [PixelCNN(2, 4), GatedPixelCNN(2, 4), PixelRNN(2, 4)])
def test_colours_must_divide_the_features(net):
    with pytest.raises(ValueError, match=r"x is \[1, 2, 2, 3\]; .* a divisor of features=4"):
        jax.eval_shape(net.init, KEY, jnp.zeros((1, 2, 2, 3)))
    with pytest.raises(ValueError, match=r"x is \[1, 2, 2\]; give images"):
        jax.eval_shape(net.init, KEY, jnp.zeros((1, 2, 2)))


@pytest.mark.parametrize("net", [PixelCNN(5, 6), GatedPixelCNN(5, 6), PixelRNN(5, 6)])
def test_outputs_are_float32_under_mixed_precision(net):
    x, context = jnp.zeros((2, 3, 4, 2)), jnp.zeros((2, 7))
    variables = jax.eval_shape(net.init, KEY, x, context)
    low = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), (variables, x, context))
    output = jax.eval_shape(net.apply, *low)
    assert output.shape == (2, 3, 4, 2, 5)
    assert output.dtype == jnp.float32


@pytest.mark.parametrize("net", [MaskedConv(4, 3, 1), ColorDense(4), RowLSTM(4, 1), DiagonalBiLSTM(4, 1)])
def test_layers_stay_in_bfloat16(net):
    x = jax.ShapeDtypeStruct((2, 3, 4, 4), jnp.bfloat16)
    low = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), jax.eval_shape(net.init, KEY, x)
    )
    assert jax.eval_shape(net.apply, low, x).dtype == jnp.bfloat16
