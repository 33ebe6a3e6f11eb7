"""Weights of PyTorch's residual networks for those of `jaxdl.nets.resnet`; torch itself is not needed."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.nets.resnet import ResNet
from jaxdl.types import Array

# what Flax numbers as it is called, and what torchvision calls it; in a block the third pair is the shortcut
MODULES = {
    "Conv_0": "conv1",
    "BatchNorm_0": "bn1",
    "Conv_1": "conv2",
    "BatchNorm_1": "bn2",
    "Conv_2": "downsample.0",
    "BatchNorm_2": "downsample.1",
    "Dense_0": "fc",
}
ARRAYS = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def resnet_from_torch(net: ResNet, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Translate a state dict with torchvision's names: conv1, bn1, layer1.0.conv1 …, downsample.0, fc.

    kernel[h, w, i, o] = weight[o, i, h, w];  scale, bias, mean, var = weight, bias, running_mean, running_var

    Kernels of 3x3 pad an image by 1 on each side, and norms add 1e-5 to the variance, in both libraries. The
    first convolution of a net for small images is 3x3: the 7x7 of ImageNet's nets does not fit.

    Args:
        net: of basic blocks, with the state dict's number of blocks, widths and classes.
        state_dict: {name: array}, as a safetensors file holds it, or torch.load with weights_only; counts of
            batches are left out.

    Returns:
        {"params", "batch_stats"} of the net, float32, for images [B, H, W, C] normalized as torch's were.

    Raises:
        ValueError: if a name is missing or left over, or a shape differs.
    """
    left = {name for name in state_dict if not name.endswith("num_batches_tracked")}
    if "conv1.weight" not in left:
        raise ValueError("the state dict has no conv1.weight; give one with torchvision's names")
    image = jnp.zeros((1, 32, 32, np.shape(state_dict["conv1.weight"])[1]))
    like: Any = jax.eval_shape(partial(net.init, train=False), jax.random.key(0), image)
    blocks = [f"layer{stage + 1}.{i}" for stage, num in enumerate(net.blocks) for i in range(num)]

    def translate(path: Any, leaf: Array) -> np.ndarray:
        _, *modules, array = (entry.key for entry in path)
        name = ".".join(
            blocks[int(module.removeprefix("BasicBlock_"))] if module not in MODULES else MODULES[module]
            for module in modules
        )
        name = f"{name}.{ARRAYS[array]}"
        if name not in left:
            raise ValueError(f"the state dict has no {name}; give a net with its blocks and shortcuts")
        left.remove(name)
        weight = np.asarray(state_dict[name], np.float32)
        value = weight.transpose(*range(2, weight.ndim), 1, 0) if weight.ndim > 1 else weight
        if value.shape != leaf.shape:
            wanted = [*leaf.shape[:-3:-1], *leaf.shape[:-2]]
            given = f"{name} is {list(weight.shape)} in the state dict, but {wanted} in this net"
            raise ValueError(f"{given}; give a net with its widths and classes")
        return value

    translated = jax.tree_util.tree_map_with_path(translate, like)
    if left:
        raise ValueError(f"the state dict has {min(left)}, for which this net has no place; give another net")
    return translated
