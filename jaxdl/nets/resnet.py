"""Residual networks for small images."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.layers import Conv, Dense
from jaxdl.types import Array

ModuleDef = Any


class BasicBlock(nn.Module):
    """Add two 3x3 convolutions to the identity: relu(x + norm(conv(relu(norm(conv(x)))))).

    Where the shape changes, the shortcut is a projection (1x1 convolution, "option B"), or it drops rows and
    columns and pads channels with zeros ("option A", no parameters).
    """

    features: int
    stride: int
    norm: ModuleDef
    project: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, H, W, C] to [B, H / stride, W / stride, features]."""
        conv = partial(Conv, self.features, use_bias=False)
        y = nn.relu(self.norm()(conv((3, 3), self.stride, padding=1)(x)))
        y = self.norm(scale_init=nn.initializers.zeros)(conv((3, 3), padding=1)(y))
        if x.shape != y.shape:
            if self.project:
                x = self.norm()(conv((1, 1), self.stride)(x))
            else:
                grown = self.features - x.shape[-1]
                strided = x[:, :: self.stride, :: self.stride]
                x = jnp.pad(strided, ((0, 0), (0, 0), (0, 0), (grown // 2, grown - grown // 2)))
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Classify small images by stages of basic blocks, the first convolution 3x3 and not strided.

    See He, Zhang, Ren & Sun (2016), section 4.2. The last norm of a block starts at zero, so that each block
    starts as the identity (Goyal et al., 2017).

    Attributes:
        num_classes: width of the output.
        blocks: basic blocks in each stage.
        widths: channels of each stage; each after the first halves the image.
        project: whether shortcuts are projections where the shape changes.
        norm: normalisation layer; for statistics over all devices under pmap, give
            `partial(nn.BatchNorm, axis_name="batch")`.
        remat: whether the backward pass computes each block anew from its input, so that memory holds the
            arrays of one block (Chen et al., 2016, arXiv:1604.06174); XLA saves none by it on CPU.
    """

    num_classes: int
    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    project: bool = True
    norm: ModuleDef = nn.BatchNorm
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Map images [B, H, W, C] to logits [B, num_classes]."""
        norm = partial(self.norm, use_running_average=not train, momentum=0.9)
        x = Conv(self.widths[0], (3, 3), padding=1, use_bias=False)(x)
        x = nn.relu(norm()(x))
        make = nn.remat(BasicBlock) if self.remat else BasicBlock
        sizes = [
            (width, 2 if stage > 0 and block == 0 else 1)
            for stage, (num_blocks, width) in enumerate(zip(self.blocks, self.widths, strict=True))
            for block in range(num_blocks)
        ]
        for index, (width, stride) in enumerate(sizes):
            x = make(width, stride, norm, self.project, name=f"BasicBlock_{index}")(x)
        return Dense(self.num_classes, dtype=jnp.float32)(x.mean((1, 2)))


ResNet18 = partial(ResNet, blocks=(2, 2, 2, 2), widths=(64, 128, 256, 512))


def cifar_resnet(depth: int, num_classes: int) -> ResNet:
    """Build the narrow network of He et al. (2016), section 4.2, with shortcuts that have no parameters.

    Args:
        depth: 6 n + 2 layers, n blocks in each of three stages; 20, 32, 44, 56 and 110 in the paper.
        num_classes: width of the output.

    Raises:
        ValueError: for another depth.
    """
    blocks, left_over = divmod(depth - 2, 6)
    if left_over or blocks < 1:
        raise ValueError(f"depth is {depth}; give 6 n + 2, such as 20, 32 or 56")
    return ResNet(num_classes, blocks=(blocks,) * 3, widths=(16, 32, 64), project=False)


ResNet20 = partial(cifar_resnet, 20)
