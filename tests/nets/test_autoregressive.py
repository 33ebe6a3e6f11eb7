"""Every autoregressive net: what an element's output sees, by gradient; that its probabilities sum to one.

A row is a net, the shape of an example, the number of its context's values or None, and whether each output
sees every element before it.
"""

import itertools
import math
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.learners.autoregressive import BERNOULLI, categorical, log_prob, sample
from jaxdl.nets.made import MADE
from jaxdl.nets.nade import NADE
from jaxdl.nets.pixel_cnn import GatedPixelCNN, PixelCNN
from jaxdl.nets.pixel_rnn import PixelRNN, RowLSTM
from jaxdl.nets.wavenet import WaveNet

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator


class Row(NamedTuple):
    net: nn.Module  # one output an element, a logit; or two, those of a categorical
    shape: tuple[int, ...]
    context: int | None = None
    sees_all: bool = True


NETS = {
    "fvsbn": Row(MADE(1, ()), (6,)),
    "made": Row(MADE(1, (40,)), (3, 2, 1)),
    "made_direct": Row(MADE(1, (3,), direct=True), (6,)),
    "nade": Row(NADE(1, 12), (6,)),
    "rnade": Row(NADE(2, 12, nn.relu, scaled=True), (6,)),
    "made_context": Row(MADE(2, (40,)), (6,), context=2),
    "pixel_cnn": Row(PixelCNN(1, 8, 2, 3), (3, 3, 1), sees_all=False),
    "pixel_cnn_colours": Row(PixelCNN(2, 12, 1, 3), (2, 2, 3), context=2),
    "gated": Row(GatedPixelCNN(1, 4, 2, 3, 3), (3, 3, 1)),
    "gated_colours": Row(GatedPixelCNN(2, 12, 1, 3, 3), (2, 2, 3), context=2),
    "row_lstm": Row(PixelRNN(1, 8, 1, RowLSTM, 3), (3, 3, 1), sees_all=False),
    "row_lstm_colours": Row(PixelRNN(2, 12, 1, RowLSTM, 3), (2, 2, 3), context=2),
    "diagonal_bilstm": Row(PixelRNN(1, 8, 1, size=3), (3, 3, 1)),
    "diagonal_bilstm_colours": Row(PixelRNN(2, 12, 1, size=3), (2, 2, 3), context=2),
    "wavenet": Row(WaveNet(1, (1, 2, 4), channels=4, skip=6), (9,)),
    "wavenet_context": Row(WaveNet(2, (1, 2), channels=4, skip=6), (6,), context=2, sees_all=False),
}
every_net = pytest.mark.parametrize("name", NETS)


@cache
def case(name):
    """Return the net with random params, and a context of one example."""
    net, shape, context, _ = NETS[name]
    contexts = () if context is None else (np.linspace(-1, 1, context, dtype=np.float32)[None],)
    rng = np.random.default_rng(0)
    variables = jax.eval_shape(net.init, KEY, jnp.zeros((1, *shape)), *contexts)
    variables = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape, scale=1.5 / math.sqrt(leaf.shape[0])).astype(np.float32),
        variables,
    )

    def apply(x):
        given = (jnp.repeat(context, len(x), 0) for context in contexts)
        return net.apply(variables, x, *given)

    return jax.jit(apply)


def conditionals_of(name):
    return BERNOULLI if NETS[name].net.num_outputs == 1 else categorical(2)


@every_net
def test_an_output_sees_the_elements_before_it_and_no_other(name):
    _, shape, _, sees_all = NETS[name]
    size, apply = math.prod(shape), case(name)

    def output(x):
        return apply(x.reshape(1, *shape)).reshape(size, -1)

    points = np.random.default_rng(1).normal(size=(8, size)).astype(np.float32)  # a ReLU may be dead at one
    depends = np.abs(jax.jit(jax.vmap(jax.jacrev(output)))(points)).max((0, 2)) > 0  # [output, element]
    assert not np.triu(depends).any()
    if sees_all:
        assert depends[np.tri(size, k=-1) > 0].all()


@every_net
def test_probabilities_of_all_inputs_sum_to_one(name):
    shape, apply = NETS[name].shape, case(name)
    if math.prod(shape) > 12:
        pytest.skip("more inputs than can be enumerated")
    x = np.array(list(itertools.product([0.0, 1.0], repeat=math.prod(shape))), np.float32)
    log_probs = log_prob(conditionals_of(name), apply, {"x": x.reshape(-1, *shape)})
    np.testing.assert_allclose(np.exp(np.float64(log_probs)).sum(), 1, rtol=1e-5)
    assert log_probs.std() > 0.1


@every_net
def test_samples_equal_those_drawn_by_hand(name):
    shape, apply = NETS[name].shape, case(name)
    size = math.prod(shape)
    drawn = jax.jit(partial(sample, conditionals_of(name), apply))(KEY, jnp.ones((5, *shape)))
    x = np.full((5, size), np.nan, np.float32)
    for place, key in enumerate(jax.random.split(KEY, size)):
        logits = apply(np.nan_to_num(x).reshape(5, *shape)).reshape(5, size, -1)[:, place]
        if logits.shape[-1] == 1:
            x[:, place] = jax.random.bernoulli(key, jax.nn.sigmoid(logits[:, 0]))
        else:
            x[:, place] = jax.random.categorical(key, logits)
    np.testing.assert_array_equal(drawn, x.reshape(5, *shape))
