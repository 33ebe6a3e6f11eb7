"""Nets of language: the LSTM, and what it shares with the Transformer: the head, and blocks computed anew."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy.special import expit

from jaxdl.nets.layers import flat
from jaxdl.nets.lstm import LSTM
from jaxdl.nets.transformer import Transformer

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator
RNG = np.random.default_rng(0)
TOKENS = np.array([[3, 1, 4, 1], [5, 2, 6, 0]])
VOCABULARIES = pytest.mark.parametrize("vocab_size", [7, 11], ids=["few words", "many words"])  # of 8 tokens
TIED = pytest.mark.parametrize("tied", [False, True], ids=["head of its own", "tied"])


def filled(net):
    shapes = jax.eval_shape(partial(net.init, train=False), KEY, TOKENS)
    return jax.tree.map(lambda leaf: RNG.uniform(-0.5, 1.0, leaf.shape).astype(np.float32), shapes)


@VOCABULARIES
@TIED
def test_lstm_equals_numpy(vocab_size, tied):
    net = LSTM(vocab_size, num_layers=2, width=3, tied=tied)
    variables = filled(net)
    weights = variables["params"]
    table = weights["Embed_0"]["embedding"]
    x = table[TOKENS]
    for layer in range(2):
        inputs, h, c, states = weights[f"inputs_{layer}"], np.zeros((2, 3)), np.zeros((2, 3)), []
        for t in range(4):
            gates = x[:, t] @ inputs["kernel"] + inputs["bias"] + h @ weights[f"kernel_{layer}"]
            i, f, g, o = np.split(gates, 4, -1)
            c = expit(f) * c + expit(i) * np.tanh(g)
            h = expit(o) * np.tanh(c)
            states.append(h)
        x = np.stack(states, 1)
    logits = jax.jit(partial(net.apply, train=False))(variables, TOKENS)
    np.testing.assert_allclose(logits, x @ (table if tied else weights["head"]).T, rtol=1e-4, atol=1e-5)


def test_lstm_does_not_see_later_tokens():
    net = LSTM(7, width=8)
    variables = filled(net)
    logits = jax.jit(partial(net.apply, variables, train=False))
    changed = TOKENS.copy()
    changed[:, 2] = 6
    same = np.isclose(logits(TOKENS), logits(changed)).all((0, 2))
    np.testing.assert_array_equal(same, [True, True, False, False])


@pytest.mark.parametrize(
    ("net", "count"),
    [
        # PyTorch's LSTM(256, 256, 2) has 1,052,672, of which 2·1024 are second biases; two tables of 65·256.
        (LSTM(65), 1_052_672 - 2 * 1_024 + 2 * 65 * 256),
        (LSTM(65, tied=True), 1_052_672 - 2 * 1_024 + 65 * 256),
    ],
)
def test_parameter_count(net, count):
    shapes = jax.eval_shape(partial(net.init, train=False), KEY, np.zeros((1, 3), int))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count


def test_forget_gates_start_open():
    params = LSTM(7, num_layers=1, width=2, forget_bias=1.5).init(KEY, TOKENS, train=False)["params"]
    np.testing.assert_array_equal(params["inputs_0"]["bias"], [0, 0, 1.5, 1.5, 0, 0, 0, 0])


def test_dropout_is_drawn_anew_after_each_layer_in_training_only():
    net, dropped = LSTM(7, num_layers=3, width=8, dropout=0.5), []

    def counted(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout) and context.method_name == "__call__":
            dropped.append(not context.module.deterministic)
        return call(*args, **kwargs)

    variables = filled(net)
    outputs = []
    for train, seed in ((True, 0), (True, 1), (False, 0), (False, 1)):
        dropped.clear()
        with nn.intercept_methods(counted):
            rngs = {"dropout": jax.random.key(seed, impl="rbg")}
            outputs.append(net.apply(variables, TOKENS, train=train, rngs=rngs))
        assert dropped == [train] * 3
    assert not np.allclose(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[2], outputs[3])


def test_mixed_precision_reaches_the_layers_and_the_logits_are_float32():
    net = LSTM(7, width=8)
    variables = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), filled(net))
    lowered = jax.jit(partial(net.apply, train=False)).lower(variables, TOKENS)
    assert lowered.out_info.dtype == jnp.float32
    operands = re.findall(r"stablehlo\.dot_general.* : \(tensor<\S*x(\w+)>, ", lowered.as_text())
    assert operands == ["bf16"] * 5


NETS = {
    "LSTM": LSTM(7, width=8),
    "tied LSTM": LSTM(7, width=8, tied=True),
    "Transformer": Transformer(7, context=5, num_layers=2, num_heads=2, width=8),
}


@pytest.mark.parametrize("name", NETS)
def test_the_head_is_a_product_with_the_table(name):
    net = NETS[name]
    variables = filled(net)
    x, table = net.apply(variables, TOKENS, train=False, head=False)
    assert x.shape == (2, 4, 8) and table.shape == (7, 8)
    logits = net.apply(variables, TOKENS, train=False)
    np.testing.assert_allclose(logits, np.einsum("btd,vd->btv", x, table), rtol=1e-4, atol=1e-5)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), variables)
    both = jax.eval_shape(partial(net.apply, train=False, head=False), half, TOKENS)
    assert [array.dtype for array in both] == [jnp.bfloat16, jnp.float32]


def test_flat_changes_the_shape_a_layer_sees_and_nothing_else():
    x, kernel, seen = RNG.normal(size=(2, 3, 4)).astype(np.float32), jnp.arange(8.0).reshape(4, 2), []
    y = flat(lambda x: seen.append(x.shape) or x @ kernel, x)
    assert seen == [(6, 4)]
    np.testing.assert_allclose(y, np.einsum("...d,df->...f", x, kernel), rtol=1e-5)


def remade(remat, **keywords):
    """A deep Transformer, and its loss."""
    net = Transformer(7, context=32, num_layers=6, num_heads=2, width=16, remat=remat, **keywords)

    def loss(params, tokens):
        logits = net.apply(params, tokens, train=True, rngs={"dropout": KEY})
        return jax.nn.log_softmax(logits)[..., 0].mean()

    return net, loss


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_blocks_computed_anew_change_neither_params_nor_value_nor_gradient(dropout):
    (net, plain), (again, remat) = (remade(remat, dropout=dropout) for remat in (False, True))
    variables = filled(net)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, filled(again))
    results = [jax.jit(jax.value_and_grad(loss))(variables, TOKENS) for loss in (plain, remat)]
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_blocks_computed_anew_keep_only_their_inputs():
    """What the backward pass is given: on CPU, XLA may still schedule what it computes anew too early."""
    tokens = np.zeros((64, 32), np.int32)
    kept = []
    for net, loss in map(remade, (False, True)):
        params = jax.eval_shape(partial(net.init, train=False), KEY, tokens)
        backward = lambda params, loss=loss: jax.vjp(partial(loss, tokens=tokens), params)[1]
        saved = jax.tree.leaves(jax.eval_shape(backward, params))
        kept.append(sum(leaf.size for leaf in saved) / tokens.size)  # numbers per token
    # A block keeps at least what its norms are given, q, k, v, what is attended to, and 4 D before and after
    # the GELU: 14 D. Otherwise six inputs of D are left, what the last norm and head keep, and the params.
    assert kept[0] > 6 * 14 * 16
    assert kept[1] < 6 * 16 + 8 * 16
