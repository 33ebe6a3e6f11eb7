"""WaveNet: how far it sees, and steps that equal whole passes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.learners.autoregressive import categorical, sample
from jaxdl.learners.wavenet import sample_by_steps
from jaxdl.nets.causal_conv import CausalConv, delayed, empty_past
from jaxdl.nets.wavenet import WaveNet

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator
RNG = np.random.default_rng(0)
LENGTH = 12
CONTEXT = RNG.normal(size=(3, 2)).astype(np.float32)


@pytest.fixture(autouse=True)
def fresh():
    """What a test draws does not depend on the tests before it."""
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (2, 1), (2, 3), (3, 2)])
def test_a_causal_convolution_is_that_of_flax_and_goes_on_where_it_stopped(kernel_size, dilation):
    x, conv = normal(2, LENGTH, 3), CausalConv(4, kernel_size, dilation)
    past = empty_past(2, 3, kernel_size, dilation)
    params = {"kernel": normal(kernel_size, 3, 4), "bias": normal(4)}
    y, end = conv.apply({"params": {"conv": params}}, x, past)
    oracle = nn.Conv(4, (kernel_size,), kernel_dilation=dilation, padding="CAUSAL")
    np.testing.assert_allclose(y, oracle.apply({"params": params}, x), rtol=1e-4, atol=1e-5)
    parts = []
    for part in np.split(x, [1, 2, 7], axis=1):
        y_part, past = conv.apply({"params": {"conv": params}}, part, past)
        parts.append(y_part)
    np.testing.assert_allclose(np.concatenate(parts, 1), y, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(past, end)


def test_delayed():
    np.testing.assert_array_equal(delayed(jnp.array([[[1.0], [2.0], [3.0]]]))[0, :, 0], [0, 1, 2])


def variables_of(net, *args):
    shapes = jax.eval_shape(net.init, KEY, *args)
    return jax.tree.map(lambda leaf: normal(*leaf.shape) / np.sqrt(leaf.shape[0]), shapes)


@pytest.mark.parametrize(
    ("kernel_size", "dilations"), [(2, (1,)), (2, (1, 2, 4)), (3, (1, 2)), (2, (1, 2, 1, 2)), (1, (1, 1))]
)
def test_its_receptive_field_by_gradient(kernel_size, dilations):
    net, x = WaveNet(2, dilations, 4, 6, kernel_size), normal(4, LENGTH)  # a ReLU may be dead at one
    variables = variables_of(net, x)
    jacobian = jax.jit(jax.vmap(jax.jacrev(lambda x: net.apply(variables, x[None])[0])))(x)
    seen = np.abs(jacobian).max((0, 2)) > 0
    field = 1 + (kernel_size - 1) * sum(dilations)
    for t in range(LENGTH):
        np.testing.assert_array_equal(np.flatnonzero(seen[t]), np.arange(max(t - field, 0), t))


def test_every_output_sees_the_context():
    net = WaveNet(2, (1, 2), 4, 6)
    x = normal(3, LENGTH)
    variables = variables_of(net, x, CONTEXT)
    moved = net.apply(variables, x, CONTEXT + 1) - net.apply(variables, x, CONTEXT)
    assert (np.abs(moved).max(-1) > 0).all()


@pytest.mark.parametrize("context", [None, CONTEXT], ids=["alone", "context"])
def test_steps_equal_the_whole_pass_and_draw_the_same(context):
    levels = 7
    net, conditionals = WaveNet(levels, (1, 2, 4), 4, 6), categorical(levels)
    x = (RNG.integers(0, levels, (3, LENGTH)) / (levels - 1)).astype(np.float32)
    given = () if context is None else (context,)
    variables = variables_of(net, x, *given)
    apply = partial(net.apply, variables)

    step = jax.jit(partial(apply, method="step"))
    before, pasts, outputs = jnp.zeros((3, 1)), net.pasts(3), []
    for t in range(LENGTH):
        output, pasts = step(before, pasts, *given)
        outputs.append(output)
        before = 2 * x[:, t : t + 1] - 1
    np.testing.assert_allclose(np.stack(outputs, 1), apply(x, *given), rtol=1e-4, atol=1e-5)

    half = jnp.arange(LENGTH // 2, LENGTH)
    for places in (None, half):
        slow, fast = (
            jax.jit(partial(sampler, conditionals, apply))(KEY, x, places, context)
            for sampler in (sample, partial(sample_by_steps, net))
        )
        np.testing.assert_allclose(fast, slow, atol=1e-6)
        assert np.unique(np.round(np.asarray(fast) * (levels - 1))).size > 3
    np.testing.assert_array_equal(fast[:, : LENGTH // 2], x[:, : LENGTH // 2])
