"""Weights of PyTorch's residual networks, against a forward pass in numpy as torch defines it."""

import jax
import numpy as np
import pytest

from jaxdl.nets.from_torch import resnet_from_torch
from jaxdl.nets.resnet import ResNet

NET = ResNet(5, blocks=(1, 2, 1), widths=(4, 6, 8))


def state_dict():
    """Draw the arrays of NET under torchvision's names, in torch's layout."""
    rng = np.random.default_rng(0)
    arrays = {}

    def conv(name, out, into, size):
        arrays[f"{name}.weight"] = rng.normal(size=(out, into, size, size)) / np.sqrt(into * size**2)

    def norm(name, width):
        arrays[f"{name}.weight"] = rng.normal(1, 0.3, width)
        arrays[f"{name}.bias"] = rng.normal(0, 0.3, width)
        arrays[f"{name}.running_mean"] = rng.normal(0, 0.3, width)
        arrays[f"{name}.running_var"] = rng.uniform(0.5, 2, width)
        arrays[f"{name}.num_batches_tracked"] = np.int64(7)

    conv("conv1", 4, 3, 3)
    norm("bn1", 4)
    before = 4
    for stage, (blocks, width) in enumerate(zip(NET.blocks, NET.widths, strict=True), 1):
        for i in range(blocks):
            block = f"layer{stage}.{i}"
            conv(f"{block}.conv1", width, before, 3)
            norm(f"{block}.bn1", width)
            conv(f"{block}.conv2", width, width, 3)
            norm(f"{block}.bn2", width)
            if width != before:
                conv(f"{block}.downsample.0", width, before, 1)
                norm(f"{block}.downsample.1", width)
            before = width
    arrays["fc.weight"], arrays["fc.bias"] = rng.normal(size=(5, 8)), rng.normal(size=5)
    return arrays


def forward(arrays, x):
    """Torch's ResNet in evaluation: x [B, C, H, W] -> logits."""

    def conv(name, x, stride, padding):
        weight = arrays[f"{name}.weight"]
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], (2, 3))
        return np.einsum("bihwyx,oiyx->bohw", windows[:, :, ::stride, ::stride], weight)

    def norm(name, x):
        weight, bias, mean, var = (
            arrays[f"{name}.{part}"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(var + 1e-5) * weight + bias

    def relu(x):
        return np.maximum(x, 0)

    x = relu(norm("bn1", conv("conv1", x, 1, 1)))
    for stage, blocks in enumerate(NET.blocks, 1):
        for i in range(blocks):
            block, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            y = relu(norm(f"{block}.bn1", conv(f"{block}.conv1", x, stride, 1)))
            y = norm(f"{block}.bn2", conv(f"{block}.conv2", y, 1, 1))
            if f"{block}.downsample.0.weight" in arrays:
                x = norm(f"{block}.downsample.1", conv(f"{block}.downsample.0", x, stride, 0))
            x = relu(x + y)
    return x.mean((2, 3)) @ arrays["fc.weight"].T + arrays["fc.bias"]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 7)])
def test_the_net_gives_torchs_logits(height, width):
    arrays = state_dict()
    x = np.random.default_rng(1).normal(size=(2, 3, height, width))
    variables = resnet_from_torch(NET, arrays)
    logits = jax.jit(lambda x: NET.apply(variables, x, train=False))(x.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(logits, forward(arrays, x), rtol=1e-4, atol=1e-4)


def test_it_has_the_structure_and_dtypes_of_the_net():
    made = resnet_from_torch(NET, state_dict())
    like = jax.eval_shape(lambda: NET.init(jax.random.key(0), np.zeros((1, 8, 8, 3)), train=False))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), made) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), like
    )


def without(*names):
    return {name: value for name, value in state_dict().items() if name not in names}


@pytest.mark.parametrize(
    ("net", "arrays", "message"),
    [
        (NET, {"linear.weight": 1}, "has no conv1.weight; give one with torchvision's names"),
        (
            NET,
            without("layer2.1.bn2.running_var"),
            r"has no layer2\.1\.bn2\.running_var; give a net with its",
        ),
        (NET.clone(project=False), state_dict(), r"has layer2\.0\.downsample\.0\.weight, for which this net"),
        (NET.clone(blocks=(1, 1, 1)), state_dict(), r"has layer2\.1\.bn1\.bias, for which this net has no"),
        (NET.clone(blocks=(2, 2, 1)), state_dict(), r"has no layer1\.1\."),
        (
            NET.clone(num_classes=7),
            state_dict(),
            r"fc\.bias is \[5\] in the state dict, but \[7\] in this net",
        ),
        (
            NET,
            state_dict() | {"conv1.weight": np.zeros((4, 3, 7, 7))},
            r"conv1\.weight is \[4, 3, 7, 7\] in the state dict, but \[4, 3, 3, 3\] in this net; give a net",
        ),
        (
            NET,
            state_dict() | {"fc.weight": np.zeros((8, 5))},
            r"fc\.weight is \[8, 5\] in the state dict, but \[5, 8\] in this net; give a net with its widths",
        ),
    ],
)
def test_what_does_not_fit_is_named(net, arrays, message):
    with pytest.raises(ValueError, match=message):
        resnet_from_torch(net, arrays)
