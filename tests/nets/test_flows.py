"""Every flow: it inverts, its log-det is the dense Jacobian's, and each layer does what its paper says."""

import math
import sys
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxdl.nets.flows import (
    ActNorm,
    Autoregressive,
    CheckerboardCoupling,
    Conditioned,
    Continuous,
    ConvConditioner,
    Coupling,
    DenseConditioner,
    Flat,
    Half,
    ImageEncoder,
    Injector,
    Inverse,
    InvertibleConv,
    Paired,
    ResidualConditioner,
    Reverse,
    Scaling,
    Squeezed,
    additive,
    affine,
    c_flow,
    glow,
    iaf,
    image_real_nvp,
    maf,
    nice,
    real_nvp,
    spline,
    spline_flow,
    squeeze,
    unsqueeze,
)

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator
NET, CONV = DenseConditioner((8,)), ConvConditioner(4)
IMAGE = (4, 4, 2)

# name: (flow, shape of an example, shape of its context)
FLOWS = {
    "additive coupling": (Coupling(NET, additive()), (3,), None),
    "affine coupling": (Coupling(NET, affine()), (5,), None),
    "affine coupling, flipped": (Coupling(NET, affine(), flip=True), (5,), None),
    "spline coupling": (Coupling(NET, spline(5, 2.0)), (4,), None),
    "coupling with a context": (Coupling(DenseConditioner((8,), 2), affine()), (4,), (3,)),
    "coupling of channels": (Coupling(CONV, affine()), IMAGE, None),
    "coupling of channels, a class": (Coupling(CONV, affine()), IMAGE, (3,)),
    "coupling of channels, an image": (Coupling(CONV, affine()), IMAGE, (2, 2, 3)),
    "checkerboard": (CheckerboardCoupling(ResidualConditioner(4, 1), affine()), (4, 3, 1), None),
    "checkerboard, flipped": (CheckerboardCoupling(CONV, affine(), flip=True), (3, 4, 2), (3,)),
    "actnorm": (ActNorm(), (3,), None),
    "actnorm of an image": (ActNorm(), IMAGE, None),
    "1x1 convolution": (InvertibleConv(), (2, 3, 4), None),
    "1x1 convolution of a vector": (InvertibleConv(), (5,), None),
    "scaling": (Scaling(), (3,), None),
    "reverse": (Reverse(), (3,), None),
    "autoregressive": (Autoregressive(affine(), (8, 7), octaves=2), (5,), None),
    "autoregressive spline": (Autoregressive(spline(4), (8,)), (4,), (2,)),
    "autoregressive of one variable": (Autoregressive(affine(), (3,)), (1,), None),
    "flat": (Flat(Autoregressive(affine(), (6,))), (2, 2, 2), None),
    "inverse": (Inverse(Coupling(NET, affine())), (4,), None),
    "half": (Half(ActNorm()), (2, 2, 4), None),
    "squeezed": (Squeezed(ActNorm()), (4, 2, 2), None),
    "injector": (Injector(CONV, affine()), IMAGE, (2, 2, 1)),
    "conditioned": (Conditioned(ImageEncoder(2), Injector(CONV, affine())), (4, 4, 1), (2, 2, 1)),
    "paired": (Paired(ActNorm(), Coupling(CONV, affine())), (2, 3, 4), None),
    "C-Flow": (c_flow(2, 3), (2, 2, 2), None),
    "NICE": (nice(3, (8,)), (5,), None),
    "spline flow": (spline_flow(2, (8,)), (4,), None),
    "SRFlow": (
        Conditioned(ImageEncoder(2), glow(1, 1, 3, inject=True)),
        (4, 4, 1),
        (2, 2, 1),
    ),
    "RealNVP": (real_nvp(3, (8,)), (4,), (2,)),
    "MAF": (maf(2, (8,)), (4,), None),
    "IAF": (iaf(2, (8,)), (4,), None),
    "Glow": (glow(2, 1, 3), (4, 4, 1), None),
    "RealNVP of images": (image_real_nvp(2, 2, 0), (4, 4, 1), None),
}


def filled(variables, scale=0.2):
    """Params away from the start, where many flows are the identity."""
    rng = np.random.default_rng(1)
    moved = jax.tree.map(
        lambda leaf: leaf + np.float32(scale) * rng.normal(size=leaf.shape).astype(np.float32),
        jax.device_get(variables.get("params", {})),
    )
    return {**variables, "params": moved}


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def examples(shape, context, num=3):
    return normal(0, num, *shape), None if context is None else normal(1, num, *context)


def init(flow, x, context=None):
    return filled(jax.jit(flow.init)(KEY, x, context))


@cache
def both_ways(name):
    """Return x, z, x again, both log-determinants and the Jacobians ∂z/∂x, in one compilation."""
    flow, shape, context_shape = FLOWS[name]
    x, context = examples(shape, context_shape)
    size = math.prod(shape)

    @jax.jit
    def run(variables, x, context):
        z, log_det = flow.apply(variables, x, context)
        again, inverse_log_det = flow.apply(variables, z, context, method="inverse_and_log_det")

        def one(x, context):
            context = None if context is None else context[None]
            return flow.apply(variables, x[None], context)[0][0]

        jacobian = jax.vmap(jax.jacfwd(one))(x, context).reshape(len(x), size, size)
        return z, again, log_det, inverse_log_det, jacobian

    return x, *jax.device_get(run(init(flow, x, context), x, context))


@pytest.mark.parametrize("name", FLOWS)
def test_it_inverts(name):
    x, z, again, log_det, inverse_log_det, _ = both_ways(name)
    assert z.shape == again.shape == x.shape
    assert log_det.shape == inverse_log_det.shape == (len(x),)
    np.testing.assert_allclose(again, x, atol=1e-4)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-4)
    assert name == "half" or not np.allclose(z, x, atol=0.01)


@pytest.mark.parametrize("name", FLOWS)
def test_its_log_det_is_that_of_the_dense_jacobian(name):
    _, _, _, log_det, _, jacobian = both_ways(name)
    expected = np.linalg.slogdet(jacobian.astype(np.float64))[1]
    np.testing.assert_allclose(log_det, expected, atol=1e-4)
    # and not for want of something to measure: only permutations and shifts keep volume
    assert name in ("additive coupling", "reverse") or np.abs(log_det).max() > 1e-3


@pytest.mark.parametrize("name", ["autoregressive", "autoregressive spline"])
def test_autoregressive_jacobian_is_triangular(name):
    jacobian = both_ways(name)[-1]
    np.testing.assert_array_equal(np.triu(jacobian, 1), 0)
    assert np.all(np.diagonal(jacobian, axis1=1, axis2=2) > 0)
    assert np.abs(jacobian[:, np.tri(jacobian.shape[1], k=-1) > 0]).max() > 0.01


def test_coupling_keeps_one_half_and_maps_the_other():
    for flip in (False, True):
        flow = Coupling(NET, affine(), flip=flip)
        x = normal(0, 3, 4)
        z, _ = flow.apply(init(flow, x), x)
        kept, changed = (slice(2, 4), slice(0, 2)) if flip else (slice(0, 2), slice(2, 4))
        np.testing.assert_array_equal(z[:, kept], x[:, kept])
        assert np.all(z[:, changed] != x[:, changed])


def test_checkerboard_keeps_every_other_pixel_and_does_not_see_the_rest():
    black = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    for flip in (False, True):
        flow = CheckerboardCoupling(CONV, affine(), flip=flip)
        x = normal(0, 2, 3, 3, 2)
        variables, changed = init(flow, x), black != flip
        z, _ = flow.apply(variables, x)
        np.testing.assert_array_equal(z[:, ~changed], x[:, ~changed])
        assert np.all(z[:, changed] != x[:, changed])
        moved = np.where(black[None, :, :, None] != flip, x + 1, x)
        slope = flow.apply(variables, moved)[0] - z  # eˢ of the same β
        again = flow.apply(variables, moved + (moved - x))[0] - flow.apply(variables, moved)[0]
        np.testing.assert_allclose(slope, again, atol=1e-5)


@pytest.mark.parametrize("transform", [additive(), affine(), spline()], ids=["additive", "affine", "spline"])
def test_layers_start_as_the_identity(transform):
    x = normal(0, 3, 4)
    (z, log_det), _ = jax.jit(Autoregressive(transform, (8,)).init_with_output)(KEY, x)
    np.testing.assert_allclose(z, x, atol=1e-5)
    np.testing.assert_allclose(log_det, 0, atol=1e-5)


# ---- elementwise maps


@pytest.mark.parametrize("value", [-1e4, 0.0, 3.0, 1e4])
def test_log_scale_is_bounded(value):
    h = affine(1.5)
    beta = jnp.array([value, 0.5])
    for direction in (h.forward, h.inverse):
        y, log_slope = direction(jnp.ones(()), beta)
        gradient = jax.jacrev(direction, 1)(jnp.ones(()), beta)
        assert np.abs(log_slope) <= 1.5
        assert np.isfinite([y, log_slope]).all()
        assert all(np.isfinite(leaf).all() for leaf in gradient)
    np.testing.assert_allclose(h.forward(jnp.ones(()), beta)[1], 1.5 * np.tanh(value / 1.5), rtol=1e-6)


def test_affine_by_hand():
    y, log_slope = affine(2.0).forward(jnp.array(3.0), jnp.array([2.0, 0.25]))
    s = 2 * math.tanh(1)
    np.testing.assert_allclose([y, log_slope], [3 * math.exp(s) + 0.25, s], rtol=1e-6)


def slopes(h, x, beta):
    return jax.vmap(jax.grad(lambda x, beta: h.forward(x, beta)[0]))(x, beta)


@pytest.fixture(scope="module")
def bent():
    """A spline of strongly bent bins: h, x, β, y, log-slopes and the slopes by autodiff."""
    h = spline(6, 3.0)
    x = np.linspace(-5, 5, 401).astype(np.float32)
    beta = np.tile(3 * normal(2, 1, h.num_params), (len(x), 1))
    y, log_slope = jax.jit(h.forward)(x, beta)
    return (
        h,
        x,
        beta,
        np.asarray(y),
        np.asarray(log_slope),
        jax.jit(lambda x, beta: slopes(h, x, beta))(x, beta),
    )


def test_spline_rises_and_knows_its_slope(bent):
    h, x, beta, y, log_slope, slope = bent
    assert h.num_params == 3 * 6 - 1
    assert np.all(np.diff(y) > 0)
    np.testing.assert_allclose(np.exp(log_slope), slope, rtol=1e-3)
    again, inverse_log_slope = jax.jit(h.inverse)(y, beta)
    np.testing.assert_allclose(again, x, atol=1e-4)
    np.testing.assert_allclose(inverse_log_slope, -log_slope, atol=5e-3)


def test_spline_passes_its_knots_with_its_slopes(bent):
    h, _, beta, *_ = bent

    def knots(weights):
        share = np.exp(weights) / np.exp(weights).sum()
        return np.cumsum(np.append(0, 6 * (1e-3 + (1 - 6e-3) * share))) - 3

    widths, heights, inner = np.split(beta[0].astype(np.float64), [6, 12])
    x, y = knots(widths)[1:-1], knots(heights)[1:-1]
    rows, x = beta[:5], x.astype(np.float32)
    np.testing.assert_allclose(h.forward(x, rows)[0], y, atol=1e-4)
    slope = 1e-3 + np.log1p(np.exp(inner + np.log(np.expm1(1 - 1e-3))))
    np.testing.assert_allclose(jax.jit(lambda x, beta: slopes(h, x, beta))(x, rows), slope, rtol=2e-2)


def test_tails_of_a_spline_are_the_identity(bent):
    _, x, _, y, log_slope, _ = bent
    outside = np.abs(x) >= 3
    np.testing.assert_array_equal(y[outside], x[outside])
    np.testing.assert_array_equal(log_slope[outside], 0)
    assert np.abs(y - x)[~outside].max() > 0.1


def test_spline_is_finite_at_extremes():
    h = spline(4, 2.0)
    x = jnp.array([-1e4, -2.0, -1.0, 0.0, 2.0, 1e4])

    @jax.jit
    def gradients(x, beta):
        return [
            jax.value_and_grad(lambda x, beta, h=h: sum(part.sum() for part in h(x, beta)), (0, 1))(x, beta)
            for h in (h.forward, h.inverse)
        ]

    for size in (0.0, 1e4, -1e4):
        beta = size * jnp.asarray(np.sign(normal(3, 6, h.num_params)))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients(x, beta)))


# ---- actnorm, 1x1 convolution, squeezing


@pytest.mark.parametrize("shape", [(200, 3), (20, 4, 5, 3)])
def test_actnorm_normalizes_the_batch_it_is_initialized_with(shape):
    x = 5 * normal(0, *shape) * np.array([0.1, 1, 3], np.float32) + np.array([7, 0, -2], np.float32)
    variables = jax.jit(ActNorm().init)(KEY, x)
    z, log_det = ActNorm().apply(variables, x)
    axes = tuple(range(z.ndim - 1))
    np.testing.assert_allclose(z.mean(axes), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(axes), 1, rtol=3e-3)
    pixels = math.prod(shape[1:-1])
    np.testing.assert_allclose(log_det, -np.log(x.std(axes)).sum() * pixels, rtol=1e-2)
    other, _ = ActNorm().apply(variables, 2 * x)  # a later batch is not normalized
    np.testing.assert_allclose(other.std(axes), 2, rtol=3e-3)


def test_a_deep_flow_is_normalized_throughout():
    x = 3 + 2 * normal(0, 500, 4, 4, 1)
    (z, _), _ = jax.jit(glow(2, 1, 3).init_with_output)(KEY, x)
    z = np.asarray(squeeze(z))
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=0.02)
    np.testing.assert_allclose(z.std((0, 1, 2)), 1, atol=0.05)


def test_constant_channels_do_not_break_actnorm():
    x = np.ones((4, 2), np.float32)
    z, log_det = ActNorm().apply(ActNorm().init(KEY, x), x)
    assert np.isfinite(z).all() and np.isfinite(log_det).all()


def test_invertible_convolution_is_its_plu_factors():
    x = normal(0, 2, 3, 2, 5)
    start = InvertibleConv().init(KEY, x)
    basis = np.eye(5, dtype=np.float32)
    rotation, _ = InvertibleConv().apply(start, basis)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(5), atol=1e-5)
    np.testing.assert_allclose(InvertibleConv().apply(start, x)[1], 0, atol=1e-4)
    assert np.abs(np.abs(rotation) - np.eye(5)).max() > 0.1

    variables = filled(start)
    packed, constants = variables["params"]["factors"], jax.device_get(variables["constants"])
    lower = np.tril(packed, -1) + np.eye(5)
    upper = np.triu(packed, 1) + np.diag(constants["sign"] * np.exp(np.diag(packed)))
    w = constants["permutation"] @ lower @ upper
    z, log_det = InvertibleConv().apply(variables, x)
    np.testing.assert_allclose(z, np.einsum("bhwc,cd->bhwd", x, w), atol=1e-4)
    np.testing.assert_allclose(log_det, 3 * 2 * np.linalg.slogdet(w)[1], rtol=1e-4)  # H W Σ log |s|


def test_squeeze_moves_squares_into_channels():
    x = normal(0, 2, 4, 6, 3)
    y = np.asarray(squeeze(x))
    assert y.shape == (2, 2, 3, 12)
    for channel in range(3):
        for dy in range(2):
            for dx in range(2):
                np.testing.assert_array_equal(y[..., 4 * channel + 2 * dy + dx], x[:, dy::2, dx::2, channel])
    np.testing.assert_array_equal(unsqueeze(y), x)
    with pytest.raises(ValueError, match="fewer levels"):
        squeeze(x[:, :3])


def test_half_leaves_the_second_half():
    x = normal(0, 3, 2, 2, 4)
    flow = Half(ActNorm())
    z, _ = flow.apply(init(flow, x), x)
    np.testing.assert_array_equal(z[..., 2:], x[..., 2:])
    assert np.all(z[..., :2] != x[..., :2])


# ---- conditional and continuous flows


def test_a_pair_is_mapped_the_second_given_the_first():
    flow, x = c_flow(2, 3), normal(0, 3, 2, 2, 2)
    variables, forward = init(flow, x), jax.jit(flow.apply)
    inverse = jax.jit(lambda z: flow.apply(variables, z, method="inverse_and_log_det")[0])
    z, _ = forward(variables, x)
    other = x.copy()
    other[..., 0] += 1
    moved, _ = forward(variables, other)
    assert np.all(moved[..., 0] != z[..., 0]) and np.any(np.abs(moved[..., 1] - z[..., 1]) > 1e-3)
    other = x.copy()
    other[..., 1] += 1
    np.testing.assert_array_equal(forward(variables, other)[0][..., 0], z[..., 0])
    # drawn given the first: its latents are kept, and it comes back
    drawn = inverse(jnp.concatenate([z[..., :1], normal(2, 3, 2, 2, 1)], -1))
    np.testing.assert_allclose(drawn[..., 0], x[..., 0], atol=1e-4)


def test_the_injector_sees_the_context_only():
    flow, x, context = Injector(CONV, affine()), normal(0, 2, 4, 4, 2), normal(1, 2, 4, 4, 1)
    variables = init(flow, x, context)
    (z, log_det), (moved, same) = flow.apply(variables, x, context), flow.apply(variables, x + 1, context)
    np.testing.assert_array_equal(log_det, same)
    slope = moved - z
    np.testing.assert_allclose(flow.apply(variables, x + 2, context)[0] - moved, slope, atol=1e-5)
    assert np.all(flow.apply(variables, x, context + 1)[1] != log_det)


@pytest.fixture(scope="module")
def field():
    """A continuous flow, its variables and points [3, 3] with their context [3, 2]."""
    pytest.importorskip("diffrax")
    flow, x, context = Continuous((5,), octaves=1, tolerance=1e-6), normal(0, 3, 3), normal(1, 3, 2)
    return flow, filled(jax.jit(flow.init)(KEY, x, context), 0.5), x, context


def test_continuous_flow_inverts_and_knows_its_volume(field):
    flow, variables, x, context = field

    step = 0.01 * np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])[:, None].astype(np.float32)
    moved, of_each = (x[None] + step).reshape(-1, 3), np.tile(context, (7, 1))
    z, log_det = jax.jit(flow.apply)(variables, moved, of_each)
    inverse = jax.jit(lambda z: flow.apply(variables, z, of_each, method="inverse_and_log_det"))
    again, inverse_log_det = inverse(z)
    np.testing.assert_allclose(again, moved, atol=1e-4)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-4)
    z = np.float64(z).reshape(7, 3, 3)
    jacobian = ((z[1:4] - z[4:]) / 0.02).swapaxes(0, 1)  # by central differences
    np.testing.assert_allclose(log_det[:3], np.linalg.slogdet(jacobian)[1], atol=1e-3)
    assert np.abs(log_det).max() > 0.1 and np.abs(z[0] - x).max() > 0.1


def test_hutchinson_estimates_the_trace(field):
    flow, variables, x, context = field
    exact = jax.jit(flow.apply)(variables, x, context)[1]
    rough = flow.clone(exact=False)
    keys = jax.random.split(jax.random.key(1), 500)
    draw = jax.jit(jax.vmap(lambda key: rough.apply(variables, x, context, rngs={"trace": key})[1]))
    estimates = draw(keys)
    error = estimates.std(0) / np.sqrt(len(keys))
    assert (error > 1e-4).all()
    assert (np.abs(estimates.mean(0) - exact) < 4 * error).all()


def test_continuous_flow_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"jaxdl\[ode\]"):
        Continuous().init(KEY, normal(0, 2, 2))


# ---- whole flows


def test_one_context_for_each_example():
    flow, x = Autoregressive(affine(), (8,)), normal(0, 4, 3)
    context = normal(1, 4, 2)
    variables, apply = init(flow, x, context), jax.jit(flow.apply)
    z, _ = apply(variables, x, context)
    other = context + np.eye(4, dtype=np.float32)[1][:, None]
    moved, _ = apply(variables, x, other)
    same = np.isclose(z, moved).all(1)
    np.testing.assert_array_equal(same, [True, False, True, True])
    assert np.all(moved[1] != z[1])  # the first variable sees it too


def test_parameter_counts():
    def count(flow, *shape):
        variables = jax.eval_shape(flow.init, KEY, jax.ShapeDtypeStruct((2, *shape), jnp.float32))
        return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))

    # NICE on MNIST: four couplings of five hidden layers of 1000 and 784 scales, section 5.1 of the paper
    mlp = 392 * 1000 + 1000 + 4 * (1000 * 1000 + 1000) + 1000 * 392 + 392
    assert count(nice(4, (1000,) * 5), 784) == 4 * mlp + 784
    # A step of Glow on C channels: 2 C, C² and its conditioner's three convolutions
    step = 2 * 12 + 12 * 12 + (9 * 6 * 512 + 512) + (512 * 512 + 512) + (9 * 512 * 12 + 12)
    assert count(glow(1, 32, 512), 32, 32, 3) == 32 * step
    assert count(InvertibleConv(), 7) == 7 * 7


PLANE = {
    "NICE": (nice(3, (8,)), 0.4),
    "RealNVP": (real_nvp(3, (8,)), 0.5),
    "spline flow": (spline_flow(2, (8,)), 0.1),
    "MAF": (maf(2, (8,)), 0.3),
    "IAF": (iaf(2, (8,)), 0.3),
}


@pytest.mark.parametrize("name", PLANE)
def test_density_integrates_to_one_and_samples_follow_it(name):
    (flow, scale), cell, fine = PLANE[name], 0.5, 10
    variables = filled(jax.jit(flow.init)(KEY, normal(0, 100, 2)), scale)

    @jax.jit
    def density(x):
        z, log_det = flow.apply(variables, x)
        return jnp.exp(log_det - 0.5 * (z**2).sum(1) - jnp.log(2 * jnp.pi))

    z = jax.random.normal(jax.random.key(3), (20_000, 2))
    x, _ = jax.jit(lambda z: flow.apply(variables, z, method="inverse_and_log_det"))(z)
    low, high = np.floor(x.min(0)) - 1, np.ceil(x.max(0)) + 1
    size = np.round((high - low) / cell).astype(int)
    axes = [a + cell / fine * (np.arange(n * fine) + 0.5) for a, n in zip(low, size, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2).astype(np.float32)
    mass = (
        np.asarray(density(grid), np.float64).reshape(size[0], fine, size[1], fine).sum((1, 3))
        * (cell / fine) ** 2
    )
    np.testing.assert_allclose(mass.sum(), 1, atol=5e-3)
    edges = [a + cell * np.arange(n + 1) for a, n in zip(low, size, strict=True)]
    counts = np.histogram2d(*np.asarray(x).T, bins=edges)[0]
    likely = mass * len(x) > 10
    assert likely.sum() > 15
    observed = np.append(counts[likely], counts[~likely].sum())
    expected = np.append(mass[likely], mass[~likely].sum())
    assert stats.chisquare(observed, expected / expected.sum() * len(x)).pvalue > 0.01


IMAGES = {
    "Glow": (glow(1, 2, 3), None, 0.3),
    "RealNVP of images": (image_real_nvp(1, 2, 0), None, 0.2),
    "SRFlow": (Conditioned(ImageEncoder(2), glow(1, 1, 3, inject=True)), (1, 1, 1), 0.3),
}


@pytest.mark.parametrize("name", IMAGES)
def test_samples_of_images_follow_the_density(name):
    """Each of the 16 orthants of four pixels holds the mass that importance samples of the density find."""
    flow, context_shape, scale = IMAGES[name]
    x, context = examples((2, 2, 1), context_shape, 100)
    variables = filled(jax.jit(flow.init)(KEY, x, context), scale)
    given = lambda num: None if context is None else np.tile(context[:1], (num, 1, 1, 1))
    apply = jax.jit(flow.apply, static_argnames="method")

    def orthants(x, weight):
        index = (x.reshape(-1, 4) > 0) @ (1 << np.arange(4))
        return np.bincount(index, weight, 16)

    z = np.random.default_rng(2).normal(size=(2_000, 2, 2, 1)).astype(np.float32)
    drawn, _ = apply(variables, z, given(2_000), method="inverse_and_log_det")
    drawn = np.asarray(drawn)
    counts = orthants(drawn, np.ones(2_000))

    flat, num = drawn.reshape(-1, 4), 200_000
    spread = 1.5 * np.linalg.cholesky(np.cov(flat.T))
    unit = np.random.default_rng(3).standard_t(4, size=(num, 4))
    broad = (flat.mean(0) + unit @ spread.T).astype(np.float32).reshape(num, 2, 2, 1)
    z, log_det = apply(variables, broad, given(num))
    log_p = np.asarray(log_det) + stats.norm.logpdf(z).sum((1, 2, 3))
    log_q = stats.t.logpdf(unit, 4).sum(1) - np.linalg.slogdet(spread)[1]
    mass = orthants(broad, np.exp(log_p - log_q) / num)
    np.testing.assert_allclose(mass.sum(), 1, atol=0.02)
    likely = mass * 2_000 > 10
    assert likely.sum() > 7
    expected = mass[likely] * counts[likely].sum() / mass[likely].sum()
    assert stats.chisquare(counts[likely], expected).pvalue > 0.01
    assert stats.chisquare(counts, np.full(16, 125)).pvalue < 1e-6  # and it is not the base's
