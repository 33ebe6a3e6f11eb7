"""Every net: shapes and types, parameter counts, the train flag, and what each family promises."""

import math
import re
from functools import cache, partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy.special import softmax

from jaxdl.nets.cnn import CNN
from jaxdl.nets.dcgan import Discriminator, Generator
from jaxdl.nets.mlp import MLP
from jaxdl.nets.resnet import BasicBlock, ResNet, ResNet18, ResNet20, cifar_resnet
from jaxdl.nets.transformer import Transformer
from jaxdl.nets.vae import BernoulliDecoder, Encoder, GaussianDecoder


def dense(*widths):
    return sum(before * after + after for before, after in pairwise(widths))


def conv(kernel, before, after, norm=True):
    """Weights of a convolution, and a batch norm's scale and offset or else the bias."""
    return kernel**2 * before * after + (2 * after if norm else after)


def cnn(channels, side, norm=True):
    return conv(3, channels, 4, norm) + conv(3, 4, 6, norm) + dense(side**2 * 6, 16, 10)


def transformer(vocab_size, context, num_layers, width):
    # A block: attention 4 D² + 4 D, MLP 8 D² + 5 D, two layer norms 4 D; then embedding, positions, norm.
    return (vocab_size + context) * width + num_layers * (12 * width**2 + 13 * width) + 2 * width


GENERATOR = (5 * 3 * 2 * 6 + 2 * 6) + conv(4, 6, 4) + conv(4, 4, 3, norm=False)
DISCRIMINATOR = conv(4, 3, 4, norm=False) + conv(4, 4, 6) + dense(3 * 2 * 6, 1)
CRITIC = conv(4, 1, 4, norm=False) + conv(4, 4, 6, norm=False) + dense(2 * 2 * 6, 1)
IMAGE, CIFAR = (2, 28, 28, 1), (2, 32, 32, 3)
REST = {"train": False}

# name: (net, its keywords, shape of the input, shape of each output, number of parameters)
NETS = {
    "MLP 784-512-512-10": (MLP(10, (512, 512)), REST, IMAGE, [(2, 10)], 669_706),
    "MLP to a number": (MLP(None, (7,)), REST, (2, 3), [(2,)], dense(3, 7, 1)),
    "linear map": (MLP(4, ()), REST, (2, 3), [(2, 4)], dense(3, 4)),
    "CNN, two poolings": (CNN(10, (4, 6), 16), REST, IMAGE, [(2, 10)], cnn(1, 7)),
    "CNN, 4x4 is not pooled": (CNN(10, (4, 6), 16), REST, (2, 8, 8, 3), [(2, 10)], cnn(3, 4)),
    "CNN without norm": (CNN(10, (4, 6), 16, norm=None), REST, IMAGE, [(2, 10)], cnn(1, 7, False)),
    "ResNet-20, option A": (ResNet20(10), REST, CIFAR, [(2, 10)], 269_722),
    "ResNet-20, odd size": (ResNet20(10), REST, (2, 25, 27, 3), [(2, 10)], 269_722),
    "ResNet-56, option A": (cifar_resnet(56, 10), REST, CIFAR, [(2, 10)], 853_018),
    "ResNet-18 for 32x32": (ResNet18(10), REST, CIFAR, [(2, 10)], 11_173_962),
    "Transformer": (Transformer(11, 6, 2, 2, 8), REST, (2, 6), [(2, 6, 11)], transformer(11, 6, 2, 8)),
    "GPT-2": (Transformer(50_257, 1_024, 12, 12, 768), REST, (1, 5), [(1, 5, 50_257)], 124_439_808),
    "Encoder 784-400-20": (Encoder(20, (400,)), {}, IMAGE, [(2, 20), (2, 20)], 330_040),
    "BernoulliDecoder 20-400-784": (BernoulliDecoder(IMAGE[1:], (400,)), {}, (2, 20), [IMAGE], 322_784),
    "GaussianDecoder": (GaussianDecoder((4, 3), (5,)), {}, (2, 3), [(2, 4, 3)] * 2, dense(3, 5, 12) + 1),
    "Generator": (Generator((12, 8, 3), (6, 4)), REST, (2, 5), [(2, 12, 8, 3)], GENERATOR),
    "Discriminator": (Discriminator((4, 6)), REST, (2, 12, 8, 3), [(2,)], DISCRIMINATOR),
    "critic": (Discriminator((4, 6), norm=None), REST, (2, 8, 8, 1), [(2,)], CRITIC),
}

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator


def example(net, shape):
    if isinstance(net, Transformer):
        return jnp.arange(math.prod(shape)).reshape(shape) % net.vocab_size
    return np.random.default_rng(0).uniform(size=shape).astype(np.float32)


@cache
def traced(name):
    net, keywords, shape, *_ = NETS[name]
    x = example(net, shape)
    return net, keywords, x, jax.eval_shape(partial(net.init, **keywords), KEY, x)


def filled(net, x):
    """Variables away from the start: no bias is zero, no scale is one. Nothing is compiled."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(partial(net.init, train=False), KEY, x)

    def fill(path, leaf):
        low = 0.5 if path[0].key == "batch_stats" else -0.5  # a variance is positive
        return rng.uniform(low, 1.0, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(fill, shapes)


@pytest.mark.parametrize("name", NETS)
def test_parameter_count(name):
    *_, variables = traced(name)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == NETS[name][-1]


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", NETS)
def test_outputs_and_batch_statistics_are_float32_whatever_the_params(name, bf16):
    net, keywords, x, variables = traced(name)

    def cast(leaf):
        low = bf16 and jnp.issubdtype(leaf.dtype, jnp.floating)
        return jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16 if low else leaf.dtype)

    variables = {**variables, "params": jax.tree.map(cast, variables["params"])}
    train = dict.fromkeys(keywords, True)
    apply = partial(net.apply, rngs={"dropout": KEY}, mutable=["batch_stats"], **train)
    outputs, updated = jax.eval_shape(apply, variables, cast(x))
    outputs = jax.tree.leaves(outputs)
    assert [leaf.shape for leaf in outputs] == NETS[name][3]
    assert {leaf.dtype for leaf in outputs} == {jnp.dtype(jnp.float32)}
    assert {leaf.dtype for leaf in jax.tree.leaves(updated)} <= {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("name", ["MLP 784-512-512-10", "ResNet-20, option A", "Transformer", "Generator"])
def test_mixed_precision_reaches_the_layers(name):
    # All matrix products and convolutions run in bfloat16: none quietly falls back to float32. But the last
    # of them gives float32, and takes it unless it is the one of a large vocabulary.
    net, keywords, x, variables = traced(name)
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.bfloat16), variables)
    x = x.astype(jnp.bfloat16) if jnp.issubdtype(x.dtype, jnp.floating) else x
    text = jax.jit(partial(net.apply, **keywords)).lower(variables, x).as_text()
    form = r"stablehlo\.(?:dot_general|convolution).* : \(tensor<\S*x(\w+)>, .* -> tensor<\S*x(\w+)>"
    operands, results = zip(*re.findall(form, text), strict=True)
    assert len(operands) > 2 and set(operands[:-1]) == {"bf16"} and results[-1] == "f32"
    assert operands[-1] == ("bf16" if name == "Transformer" else "f32")


@pytest.mark.parametrize("name", NETS)
def test_equal_nets_hash_alike(name):
    net = NETS[name][0]
    assert hash(net) == hash(net.clone()) and net == net.clone()


# ---- the train flag


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (MLP(5, (64,), dropout=0.5), (2, 3)),
        (CNN(5, (), hidden=64, dropout=0.5), (2, 3, 3, 1)),
        (Transformer(7, 6, 1, 2, 8, dropout=0.5), (2, 6)),
    ],
    ids=["MLP", "CNN", "Transformer"],
)
def test_dropout_is_drawn_anew_in_training_and_absent_otherwise(net, shape):
    x = example(net, shape)
    variables = filled(net, x)
    train = jax.jit(lambda key: net.apply(variables, x, train=True, rngs={"dropout": key}))
    first, again, other = (train(jax.random.key(seed, impl="rbg")) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    at_rest = jax.jit(partial(net.apply, train=False))(variables, x)  # asks for no key
    without = jax.jit(partial(net.clone(dropout=0.0).apply, train=True))(variables, x)
    np.testing.assert_allclose(at_rest, without, rtol=1e-6)
    assert np.abs(first - at_rest).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "layer"),
    [("CNN, 4x4 is not pooled", "Conv_0"), ("Generator", "Dense_0"), ("Discriminator", "Conv_1")],
)
def test_batch_norm_learns_its_statistics_in_training_only(name, layer):
    net, _, shape, *_ = NETS[name]
    x = example(net, shape)
    variables = filled(net, x)

    @partial(jax.jit, static_argnames="train")
    def apply(x, train):
        mutable = ["batch_stats", "intermediates"]
        rngs = {"dropout": KEY}
        return net.apply(variables, x, train=train, mutable=mutable, capture_intermediates=True, rngs=rngs)

    _, at_rest = apply(x, train=False)
    _, trained = apply(x, train=True)
    before = variables["batch_stats"]
    jax.tree.map(np.testing.assert_array_equal, at_rest["batch_stats"], before)

    # By hand for the first norm: a tenth of the way to the batch's mean and variance.
    features, normed, rested = (
        np.asarray(run["intermediates"][name]["__call__"][0], np.float64).reshape(-1, width)
        for width in [before["BatchNorm_0"]["mean"].size]
        for run, name in [(trained, layer), (trained, "BatchNorm_0"), (at_rest, "BatchNorm_0")]
    )
    for name, value in {"mean": features.mean(0), "var": features.var(0)}.items():
        moved = 0.9 * before["BatchNorm_0"][name] + 0.1 * value
        np.testing.assert_allclose(trained["batch_stats"]["BatchNorm_0"][name], moved, rtol=1e-4)

    # It normalises by the batch in training, otherwise by what it has learned.
    params, old = variables["params"]["BatchNorm_0"], before["BatchNorm_0"]
    for result, mean, var in (normed, features.mean(0), features.var(0)), (rested, old["mean"], old["var"]):
        expected = (features - mean) / np.sqrt(var + 1e-5) * params["scale"] + params["bias"]
        np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-3)


def test_norms_are_where_the_paper_has_them():
    # Radford et al.: none after the discriminator's first layer, none on either output.
    nets = ("Discriminator", "Generator", "critic")
    assert [len(traced(name)[-1].get("batch_stats", {})) for name in nets] == [1, 2, 0]


# ---- each family


def test_mlp_equals_numpy():
    net = MLP(2, (4, 3), act=jnp.tanh)
    x = example(net, (5, 2, 2))
    variables = filled(net, x)
    h = x.reshape(5, 4)
    for index in range(3):
        layer = variables["params"][f"Dense_{index}"]
        h = h @ layer["kernel"] + layer["bias"]
        h = np.tanh(h) if index < 2 else h
    np.testing.assert_allclose(net.apply(variables, x, train=False), h, rtol=1e-5, atol=1e-6)


def test_images_of_the_unit_interval_come_out_and_go_in_around_zero():
    generator, critic = Generator((2, 2, 1), (3,)), Discriminator((3,), norm=None)
    z = 100 * example(generator, (4, 5)) - 50
    images = jax.jit(partial(generator.apply, train=False))(filled(generator, z), z)
    assert images.shape == (4, 2, 2, 1) and images.min() >= 0 and images.max() <= 1 and images.std() > 0.1
    # A grey picture is the zero of the critic: only its biases are left.
    grey = np.full((1, 2, 2, 1), 0.5, np.float32)
    params = filled(critic, grey)["params"]
    h = params["Conv_0"]["bias"]
    expected = np.where(h > 0, h, 0.2 * h) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    np.testing.assert_allclose(critic.apply({"params": params}, grey, train=False), expected, rtol=1e-5)


def test_gaussian_decoder_has_one_learned_scale():
    net = GaussianDecoder((2, 2), ())
    head = {"kernel": np.zeros((2, 4), np.float32), "bias": np.zeros(4, np.float32)}
    params = {"BernoulliDecoder_0": {"Dense_0": head}, "log_std": np.float32(-1.5)}
    _, log_std = net.apply({"params": params}, np.ones((3, 2), np.float32))
    np.testing.assert_array_equal(log_std, np.full((3, 2, 2), -1.5))


@pytest.mark.parametrize("project", [False, True])
def test_basic_block_starts_as_its_shortcut(project):
    # The second norm starts at scale zero, so that only the shortcut is left.
    norm = partial(nn.BatchNorm, use_running_average=False)
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype(np.float32)

    def start(features, stride):
        return jax.jit(BasicBlock(features, stride, norm, project).init_with_output)(KEY, x)[0]

    np.testing.assert_array_equal(start(3, 1), np.maximum(x, 0))
    changed = start(6, 2)
    assert changed.shape == (2, 3, 3, 6)
    if not project:  # each other row and column; of three new channels one comes before, two after
        expected = np.zeros((2, 3, 3, 6), np.float32)
        for row in range(3):
            for column in range(3):
                expected[:, row, column, 1:4] = np.maximum(x[:, 2 * row, 2 * column], 0)
        np.testing.assert_array_equal(changed, expected)


@pytest.mark.parametrize(
    "net",
    [ResNet(3, blocks=(1,), widths=(4,)), CNN(3, (4,), 8, dropout=0.0), Discriminator((4, 4))],
    ids=["ResNet", "CNN", "Discriminator"],
)
def test_norm_with_an_axis_name_sees_the_whole_batch(net):
    x = example(net, (8, 6, 6, 3)) + np.arange(8, dtype=np.float32)[:, None, None, None]
    variables = filled(net, x)

    def apply(net, x):
        return net.apply(variables, x, train=True, mutable=["batch_stats"])

    def apart(net):
        logits, updated = jax.jit(jax.vmap(partial(apply, net), axis_name="batch"))(x.reshape(4, 2, 6, 6, 3))
        return logits.reshape(whole.shape), updated

    whole, statistics = jax.jit(partial(apply, net))(x)
    joined, joined_statistics = apart(net.clone(norm=partial(nn.BatchNorm, axis_name="batch")))
    np.testing.assert_allclose(joined, whole, rtol=1e-4, atol=1e-5)
    expected = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (4, *leaf.shape)), statistics)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), joined_statistics, expected)
    assert np.abs(apart(net)[0] - whole).max() > 1e-2  # without the axis, parts see themselves only


# ---- the Transformer


def test_residual_blocks_computed_anew_change_nothing_but_what_is_kept():
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    nets = [ResNet(3, blocks=(3, 2), widths=(4, 8), remat=remat) for remat in (False, True)]
    variables, again = (net.init(jax.random.key(0), x, train=False) for net in nets)
    assert jax.tree.structure(again) == jax.tree.structure(variables)
    kept, results = [], []
    for net in nets:

        def loss(params, net=net):
            everything = {**variables, "params": params}
            logits, after = net.apply(everything, x, train=True, mutable=["batch_stats"])
            return (logits**2).sum(), after

        params = jax.tree.map(lambda leaf: leaf + 0.1, variables["params"])  # zero scales would hide a block
        results.append(jax.jit(jax.value_and_grad(loss, has_aux=True))(params))
        saved = jax.eval_shape(lambda params, loss=loss: jax.vjp(lambda p: loss(p)[0], params)[1], params)
        kept.append(sum(leaf.size for leaf in jax.tree.leaves(saved)))
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert kept[1] < kept[0] / 2


def test_transformer_sees_all_earlier_tokens_and_no_later_one():
    length = 6
    net = Transformer(7, context=8, num_layers=2, num_heads=2, width=8)
    tokens = jnp.array([[3, 1, 4, 1, 5, 2]])
    variables = filled(net, tokens)

    def logits(embedded):
        def instead(call, args, kwargs, context):
            embedding = isinstance(context.module, nn.Embed) and context.method_name == "__call__"
            return embedded[None] if embedding else call(*args, **kwargs)

        with nn.intercept_methods(instead):
            return net.apply(variables, tokens, train=False)[0]

    embedded = variables["params"]["Embed_0"]["embedding"][tokens[0]]
    slopes = jax.jit(jax.jacobian(logits))(embedded)  # [T, V, T, D]
    reached = np.abs(slopes).max((1, 3)) > 0
    np.testing.assert_array_equal(reached, np.tril(np.ones((length, length), bool)))


def test_transformer_drops_out_after_the_embedding_and_each_part_of_a_block():
    net, dropped = Transformer(7, context=5, num_layers=3, num_heads=2, width=8, dropout=0.5), []

    def counted(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout) and context.method_name == "__call__":
            dropped.append(not context.module.deterministic)
        return call(*args, **kwargs)

    tokens = np.zeros((1, 5), np.int32)
    variables = filled(net, tokens)
    for train in (True, False):
        dropped.clear()
        with nn.intercept_methods(counted):
            jax.eval_shape(partial(net.apply, train=train, rngs={"dropout": KEY}), variables, tokens)
        assert dropped == [train] * (1 + 2 * 3)


def test_transformer_equals_numpy():
    net = Transformer(7, context=5, num_layers=2, num_heads=2, width=8)
    tokens = np.array([[3, 1, 4, 1], [5, 2, 6, 0]])
    variables = filled(net, tokens)
    weights = jax.tree.map(partial(np.asarray, dtype=np.float64), variables["params"])

    def norm(x, layer):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * layer["scale"] + layer["bias"]

    def linear(x, layer):
        return x @ layer["kernel"] + layer["bias"]

    def attend(x, layer):
        q, k, v = np.split(linear(x, layer["qkv"]), 3, axis=-1)
        heads = []
        for part in (slice(0, 4), slice(4, 8)):
            scores = q[:, part] @ k[:, part].T / np.sqrt(4)
            scores[np.triu_indices(len(x), 1)] = -np.inf
            heads.append(softmax(scores, axis=-1) @ v[:, part])
        return linear(np.concatenate(heads, axis=-1), layer["out"])

    def gelu(x):
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    expected = []
    for sequence in tokens:
        x = weights["Embed_0"]["embedding"][sequence] + weights["positions"][: len(sequence)]
        for index in range(2):
            block = weights[f"Block_{index}"]
            x = x + attend(norm(x, block["LayerNorm_0"]), block["Attention_0"])
            x = x + linear(gelu(linear(norm(x, block["LayerNorm_1"]), block["Dense_0"])), block["Dense_1"])
        expected.append(norm(x, weights["LayerNorm_0"]) @ weights["Embed_0"]["embedding"].T)
    logits = jax.jit(partial(net.apply, train=False))(variables, tokens)
    np.testing.assert_allclose(logits, np.stack(expected), rtol=1e-4, atol=1e-4)


# ---- errors


@pytest.mark.parametrize(
    ("net", "shape", "words"),
    [
        (
            Transformer(5, context=4, width=4),
            (1, 5),
            ("5 tokens", "context=4", "cut"),
        ),
        (Transformer(5, 4, 1, num_heads=3, width=8), (1, 4), ("width=8", "3 heads", "give a multiple")),
        (Generator((10, 8, 1), (4, 4)), (1, 2), ("10x8", "2 times", "give fewer widths")),
        (Generator((8, 10, 1), (4, 4)), (1, 2), ("8x10", "2 times", "give fewer widths")),
    ],
    ids=["sequence too long", "width and heads", "height does not halve", "width does not halve"],
)
def test_errors_name_value_and_fix(net, shape, words):
    with pytest.raises(ValueError) as caught:
        jax.eval_shape(partial(net.init, train=False), KEY, example(net, shape))
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("depth", [2, 18, 21])
def test_a_depth_that_is_no_multiple_of_six_and_two_is_an_error(depth):
    with pytest.raises(ValueError, match=rf"depth is {depth}; give 6 n \+ 2, such as 20"):
        cifar_resnet(depth, 10)
