"""The product of a dense layer against numpy's, in every mode of differentiation."""

from functools import partial

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax import export, lax
from jax.sharding import PartitionSpec as P

from jaxdl.ops.dense import MANY, dot_general

RNG = np.random.default_rng(0)
SHAPES = {  # (B, I, O)
    "narrow": (5, 12, 3),
    "half as wide": (5, 8, 4),
    "square": (5, 6, 6),
    "square, many examples": (MANY, 2, 2),
    "few inputs": (5, 4, 9),
    "wide": (5, 6, 9),
    "one output": (5, 8, 1),
    "one input": (5, 1, 1),
}
NUMBERS = (((1,), (0,)), ((), ()))


def case(name):
    num, width, features = SHAPES[name]
    x, delta = (RNG.normal(size=(num, size)).astype(np.float32) for size in (width, features))
    return x, RNG.normal(size=(width, features)).astype(np.float32), delta


ours = partial(dot_general, dimension_numbers=NUMBERS)
theirs = partial(lax.dot_general, dimension_numbers=NUMBERS)
close = partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("name", SHAPES)
def test_value_and_first_derivatives_are_the_products_of_numpy(name):
    x, w, delta = case(name)
    y, pull_back = jax.jit(lambda x, w: jax.vjp(ours, x, w))(x, w)
    dx, dw = pull_back(delta)
    close(y, x @ w)
    close(dx, delta @ w.T)
    close(dw, x.T @ delta)
    a, b = RNG.normal(size=x.shape).astype(np.float32), RNG.normal(size=w.shape).astype(np.float32)
    close(jax.jvp(ours, (x, w), (a, b))[1], a @ w + x @ b)
    close(jax.jvp(partial(ours, x), (w,), (b,))[1], x @ b)


@pytest.mark.parametrize("name", ["narrow", "square"])
def test_derivatives_of_derivatives_and_a_batch_of_products(name):
    x, w, delta = case(name)

    def energy(dot, x, w):
        return (jax.nn.tanh(dot(x, w)) * delta).sum()

    for derivative in (jax.hessian, lambda f, argnums: jax.jacrev(jax.jacrev(f, argnums), argnums)):
        close(*(jax.jit(derivative(partial(energy, dot), argnums=1))(x, w) for dot in (ours, theirs)))
    xs, ws = np.stack([x, 2 * x, x - 1]), np.stack([w, w + 1, -w])
    for axes in ((0, 0), (0, None), (None, 0)):
        given = tuple(many if axis == 0 else many[0] for many, axis in zip((xs, ws), axes, strict=True))
        found, expected = (
            jax.vmap(jax.grad(partial(energy, dot), 1), axes)(*given) for dot in (ours, theirs)
        )
        close(found, expected)


def lowered(dot, x, w, platform):
    gradient = jax.jit(jax.grad(lambda x, w: (dot(x, w) ** 2).sum(), argnums=(0, 1)))
    text = gradient.trace(x, w).lower(lowering_platforms=(platform,)).as_text()
    shown = "stablehlo.dot", "stablehlo.transpose", "optimization_barrier"
    return sorted(
        line.split("=", 1)[1].split(":")[-1] for line in text.splitlines() if any(op in line for op in shown)
    )


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("name", ["narrow", "square", "few inputs", "wide"])
def test_elsewhere_the_program_is_the_one_of_jax(name, platform):
    x, w, _ = case(name)
    native = lowered(theirs, x, w, platform)
    assert len(native) >= 3
    assert lowered(ours, x, w, platform) == native
    assert (lowered(ours, x, w, "cpu") == lowered(theirs, x, w, "cpu")) == (name == "wide")


def test_in_a_layer_of_flax_it_takes_the_same_params():
    x, _, _ = case("narrow")
    plain, fast = nn.Dense(3), nn.Dense(3, dot_general=dot_general)
    params = plain.init(jax.random.key(0), x)
    close(fast.apply(params, x), plain.apply(params, x))
    close(fast.apply(params, x[None]), plain.apply(params, x[None]))
    plain, fast = (
        nnx.Linear(12, 3, rngs=nnx.Rngs(0), **given) for given in ({}, {"dot_general": dot_general})
    )
    close(fast(x), plain(x))


@pytest.mark.parametrize("name", ["narrow", "square", "few inputs"])
def test_an_exported_gradient_takes_any_batch(name):
    x, w, _ = case(name)
    slope = jax.jit(jax.grad(lambda w, x: (ours(x, w) ** 2).sum()))
    rows = jax.ShapeDtypeStruct(export.symbolic_shape(f"b, {len(w)}"), x.dtype)
    close(export.export(slope)(w, rows).call(w, x), 2 * x.T @ (x @ w))


def test_a_result_of_a_given_sharding_is_left_to_jax():
    x, w, _ = case("narrow")
    with jax.set_mesh(jax.make_mesh((len(jax.devices()),), ("b",))):
        y = ours(np.tile(x, (8, 1)), w, out_sharding=P("b"))
    assert y.sharding.spec == P("b", None)
    close(np.asarray(y)[:5], x @ w)
