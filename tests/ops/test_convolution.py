"""Convolution against JAX's own and against sums written out, in every mode of differentiation."""

import re
from functools import partial

import jax
import numpy as np
import pytest
from flax import nnx
from jax import export, lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxdl.ops.convolution import conv_general_dilated, conv_transpose

RNG = np.random.default_rng(0)
NHWC = ("NHWC", "HWIO", "NHWC")
# (spatial, kernel, strides, padding, lhs_dilation, rhs_dilation)
WINDOWS = {
    "same": ((6, 5), (3, 3), (1, 1), "SAME", (1, 1), (1, 1)),
    "valid": ((6, 5), (3, 2), (1, 1), "VALID", (1, 1), (1, 1)),
    "uneven padding": ((5, 5), (2, 3), (1, 1), ((1, 0), (2, 1)), (1, 1), (1, 1)),
    "padded to more than it was": ((4, 5), (2, 3), (1, 1), ((1, 1), (2, 2)), (1, 1), (1, 1)),
    "cut": ((7, 7), (3, 3), (1, 1), ((-1, 1), (0, -2)), (1, 1), (1, 1)),
    "strided": ((7, 6), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), (1, 1)),
    "4x4, stride 2": ((8, 8), (4, 4), (2, 2), "SAME", (1, 1), (1, 1)),
    "stride 3 beyond the kernel": ((8, 9), (2, 2), (3, 3), "VALID", (1, 1), (1, 1)),
    "strided, many channels": ((7, 6), (3, 3), (2, 2), ((1, 1), (0, 1)), (1, 1), (1, 1)),
    "strides that differ, many channels": ((8, 9), (3, 2), (2, 3), "SAME", (1, 1), (1, 1)),
    "a stride beyond the kernel, many channels": ((8, 9), (1, 2), (3, 3), "VALID", (1, 1), (1, 1)),
    "1x1": ((5, 6), (1, 1), (1, 1), "SAME", (1, 1), (1, 1)),
    "1x1, padded and strided": ((6, 5), (1, 1), (2, 3), ((1, 0), (-1, 2)), (1, 1), (1, 1)),
    "1x1, transposed": ((3, 4), (1, 1), (1, 1), ((0, 1), (1, 0)), (2, 2), (1, 1)),
    "1x1, strided": ((5, 6), (1, 1), (2, 2), "SAME", (1, 1), (1, 1)),
    "strides that differ": ((7, 9), (3, 4), (1, 3), "SAME", (1, 1), (1, 1)),
    "dilated": ((9, 8), (3, 2), (1, 1), "SAME", (1, 1), (2, 3)),
    "dilated and strided": ((9, 8), (3, 2), (2, 1), "VALID", (1, 1), (2, 2)),
    "transposed": ((3, 4), (4, 4), (1, 1), ((2, 2), (2, 2)), (2, 2), (1, 1)),
    "transposed, uneven": ((3, 4), (3, 2), (1, 1), ((2, 0), (0, 3)), (3, 2), (1, 1)),
    "transposed and dilated": ((3, 4), (2, 2), (1, 1), ((2, 2), (2, 2)), (2, 2), (2, 1)),
    "a few at a time": ((12, 11), (3, 2), (1, 1), "SAME", (1, 1), (1, 1)),
    "strided, a few at a time": ((13, 12), (4, 4), (2, 2), "SAME", (1, 1), (1, 1)),
    "transposed, a few at a time": ((12, 12), (4, 3), (1, 1), ((2, 2), (2, 1)), (2, 2), (1, 1)),
    "strided, no example": ((7, 6), (3, 3), (2, 2), "SAME", (1, 1), (1, 1)),
    "1x1, no example": ((5, 6), (1, 1), (1, 1), "SAME", (1, 1), (1, 1)),
    "one axis": ((9,), (3,), (2,), "SAME", (1,), (1,)),
    "three axes": ((4, 3, 4), (2, 3, 2), (2, 1, 2), "SAME", (1, 1, 1), (1, 1, 1)),
}


def case(name):
    """Return x, w, our convolution and JAX's."""
    spatial, kernel, *window = WINDOWS[name]
    num = 20 if "at a time" in name else 0 if "no example" in name else 2
    letters = "HWD"[: len(spatial)]
    layout = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    channels = 16 if "many channels" in name else 3
    x = RNG.normal(size=(num, *spatial, channels)).astype(np.float32)
    w = RNG.normal(size=(*kernel, channels, 4), scale=3 / channels).astype(np.float32)
    ours, theirs = (
        partial(conv, window_strides=window[0], padding=window[1], dimension_numbers=layout)
        for conv in (conv_general_dilated, lax.conv_general_dilated)
    )
    dilation = {"lhs_dilation": window[2], "rhs_dilation": window[3]}
    return x, w, partial(ours, **dilation), partial(theirs, **dilation)


def slope_of_kernel(conv):
    return lambda x, w: jax.grad(lambda w: (conv(x, w) ** 2).sum())(w)


def close(ours, theirs):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-5), ours, theirs)


def compare(ours, theirs, x, w):
    dx, dw = (RNG.normal(size=a.shape).astype(np.float32) for a in (x, w))

    def found(conv):
        y, pull_back = jax.vjp(conv, x, w)
        return y, pull_back(y), jax.jvp(conv, (x, w), (dx, dw))[1]

    close(jax.jit(partial(found, ours))(), jax.jit(partial(found, theirs))())


@pytest.mark.parametrize("name", WINDOWS)
def test_value_and_first_derivatives_are_those_of_jax(name):
    x, w, ours, theirs = case(name)
    compare(ours, theirs, x, w)


def test_it_is_the_sum_of_the_definition():
    x, w, ours, _ = case("strided")
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = np.asarray(ours(x, w))
    for n, i, j, o in np.ndindex(y.shape):
        seen = padded[n, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        np.testing.assert_allclose(y[n, i, j, o], (seen * w[..., o]).sum(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["strided", "strided, many channels", "transposed", "a few at a time"])
def test_gradients_of_gradients(name):
    """As the penalty of WGAN-GP takes them, and forward over reverse."""
    x, w, ours, theirs = case(name)

    def penalty(conv, x, w):
        return (jax.grad(lambda x: (conv(x, w) ** 3).sum())(x) ** 2).sum() ** 0.5

    close(*(jax.jit(jax.grad(partial(penalty, conv), (0, 1)))(x, w) for conv in (ours, theirs)))
    pushed = lambda conv: jax.jit(lambda: jax.jvp(jax.grad(partial(penalty, conv)), (x, w), (x, w))[1])()
    close(pushed(ours), pushed(theirs))


def test_one_kernel_for_each_of_several_images_by_vmap():
    x, w, ours, theirs = case("4x4, stride 2")
    xs, ws = np.stack([x, 2 * x]), np.stack([w, -w])
    grad = lambda conv: jax.jit(jax.vmap(jax.grad(lambda x, w: (conv(x, w) ** 2).sum(), (0, 1))))(xs, ws)
    close(grad(ours), grad(theirs))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (3, 2), (2, 3), (5, 1), (3, 3)])
def test_the_transposed_one_is_that_of_jax(kernel, stride, padding):
    x = RNG.normal(size=(2, 3, 4, 2)).astype(np.float32)
    w = RNG.normal(size=(kernel, kernel, 2, 3)).astype(np.float32)
    found = [
        jax.vjp(partial(conv, strides=(stride, stride), padding=padding), x, w)
        for conv in (conv_transpose, lax.conv_transpose)
    ]
    (ours, pull), (theirs, pull_theirs) = found
    assert ours.shape == theirs.shape
    close((ours, pull(ours)), (theirs, pull_theirs(theirs)))


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ((3, 3, 2, 4), {"feature_group_count": 2}),
        ((3, 3, 1, 8), {"feature_group_count": 4}),  # depthwise
        ((3, 3, 4, 4), {"batch_group_count": 2}),
        ((4, 4, 3, 3), {"dimension_numbers": ("NCHW", "OIHW", "NCHW")}),
    ],
)
def test_groups_and_other_layouts_are_left_to_jax(kernel, options):
    options = {"dimension_numbers": NHWC, "window_strides": (2, 2), "padding": "SAME"} | options
    x, w = (RNG.normal(size=shape).astype(np.float32) for shape in ((2, 4, 4, 4), kernel))
    compare(*(partial(conv, **options) for conv in (conv_general_dilated, lax.conv_general_dilated)), x, w)


@pytest.mark.parametrize(
    ("conv", "message"),
    [
        (partial(conv_general_dilated, padding="SAME", lhs_dilation=(2, 2)), "String padding is not impl"),
        (partial(conv_general_dilated, padding=((1.5, 1), (1, 1))), r"sequence of \(low, high\) pairs"),
        (partial(conv_transpose, padding="foo"), "padding 'foo'; give SAME, VALID"),
    ],
)
def test_padding_that_jax_refuses_is_refused(conv, message):
    layout = {} if conv.func is conv_transpose else {"dimension_numbers": NHWC}
    with pytest.raises(ValueError, match=message):
        conv(np.ones((2, 4, 4, 3)), np.ones((3, 3, 3, 4)), (1, 1), **layout)


@pytest.mark.parametrize("name", ["dilated", "transposed"])
def test_dilations_may_be_arrays(name):
    x, w, ours, _ = case(name)
    arrays = {side: np.array(ours.keywords[side]) for side in ("lhs_dilation", "rhs_dilation")}
    np.testing.assert_array_equal(ours(x, w, **arrays), ours(x, w))


@pytest.mark.parametrize(
    ("name", "sizes", "derive"),
    [
        ("a few at a time", "b, 12, 11, 3", slope_of_kernel),
        ("a few at a time", "b, h, 11, 3", slope_of_kernel),
        ("4x4, stride 2", "b, h, w, 3", lambda conv: conv),
    ],
)
def test_an_export_takes_sizes_of_any_kind(name, sizes, derive):
    x, w, ours, theirs = case(name)
    images = jax.ShapeDtypeStruct(export.symbolic_shape(sizes), x.dtype)
    close(export.export(jax.jit(derive(ours)))(images, w).call(x, w), jax.jit(derive(theirs))(x, w))


def test_in_a_layer_of_nnx_it_computes_the_same():
    fast = {"conv_general_dilated": conv_general_dilated}
    x = RNG.normal(size=(2, 6, 5, 3)).astype(np.float32)
    close(*(nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0), **given)(x) for given in (fast, {})))


def test_a_result_of_a_given_sharding_is_left_to_jax():
    x, w = np.ones((8, 6, 5, 3), np.float32), np.ones((3, 3, 3, 4), np.float32)
    with jax.set_mesh(jax.make_mesh((8,), ("b",))):
        y = conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=NHWC, out_sharding=P("b"))
    assert y.sharding.spec == P("b", None, None, None)


def operations(conv, x, w, platform):
    """List what is lowered for the value and both gradients: operations that compute, with their layouts."""
    both = jax.jit(jax.value_and_grad(lambda x, w: (conv(x, w) ** 2).sum(), (0, 1)))
    lines = both.trace(x, w).lower(lowering_platforms=(platform,)).as_text().splitlines()
    shown = (
        "stablehlo.convolution",
        "stablehlo.reverse",
        "stablehlo.dot",
        "stablehlo.transpose",
        "stablehlo.pad",
    )
    names = r"%[\w#]+"  # of the values
    return sorted(re.sub(names, "", line).strip() for line in lines if any(name in line for name in shown))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("name", ["same", "strided", "transposed"])
def test_elsewhere_the_program_is_the_one_of_jax(name, platform):
    x, w, ours, theirs = case(name)
    native = operations(theirs, x, w, platform)
    assert sum("stablehlo.convolution" in line for line in native) == 3
    assert operations(ours, x, w, platform) == native
    assert operations(ours, x, w, "cpu") != operations(theirs, x, w, "cpu")


@pytest.mark.parametrize("name", ["same", "strided", "transposed"])
def test_on_cpu_all_have_the_fast_layout_and_no_gradient_puts_zeros_between_pixels(name):
    x, w, ours, _ = case(name)
    lines = [line for line in operations(ours, x, w, "cpu") if "stablehlo.convolution" in line]
    assert len(lines) == 3
    assert not [line for line in lines if "[b, 0, 1, f]x[0, 1, i, o]->" not in line]
    gaps = [line for line in lines if "lhs_dilate = [1, 1]" not in line]
    assert len(gaps) == (name == "transposed")  # the value of a transposed one, where it is fast


def test_on_cpu_the_gradient_of_the_kernel_takes_a_few_examples_at_a_time():
    x, w, ours, _ = case("a few at a time")
    layouts = [line for line in operations(ours, x, w, "cpu") if "stablehlo.convolution" in line]
    assert sum("(tensor<3x12x11x10xf32>" in line for line in layouts) == 1  # 10 of 20 examples, [C, H, W, N]


def each_device(function):
    """Run a function by `jax.pmap`, on one device: what it is given cannot be split."""
    alone = jax.pmap(function, devices=jax.devices()[:1])
    return lambda *args: jax.tree.map(lambda leaf: leaf[0], alone(*(arg[None] for arg in args)))


@pytest.mark.parametrize("name", [name for name in WINDOWS if "at a time" in name])
def test_on_one_device_neighbours_are_taken_together(name):
    x, w, ours, theirs = case(name)
    close(each_device(slope_of_kernel(ours))(x, w), slope_of_kernel(theirs)(x, w))
    alone = str(jax.make_jaxpr(jax.pmap(slope_of_kernel(ours), devices=jax.devices()[:1]))(x[None], w[None]))
    several = str(jax.make_jaxpr(slope_of_kernel(ours))(x, w))
    shape = ",".join(map(str, (2, 10, *x.shape[1:])))
    assert f"f32[{shape}] = reshape" in alone  # and no example is moved
    assert f"f32[{shape}] = reshape" not in several


def test_with_examples_split_over_devices_none_leaves_its_own():
    mesh = Mesh(np.asarray(jax.devices()), ("batch",))
    whole, split = NamedSharding(mesh, P()), NamedSharding(mesh, P("batch"))
    x = jax.ShapeDtypeStruct((64, 12, 12, 3), np.float32, sharding=split)
    w = jax.ShapeDtypeStruct((3, 3, 3, 4), np.float32, sharding=whole)
    loss = lambda w, x: conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=NHWC).sum()
    program = jax.jit(jax.grad(loss)).lower(w, x).compile().as_text()
    assert "while" in program and "all-reduce" in program
    assert "all-gather" not in program
