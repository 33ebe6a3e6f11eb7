"""Multi-scale flows of images."""

from itertools import chain

import jax.numpy as jnp

from jaxdl.nets.flows.bijector import Bijector, Chain
from jaxdl.nets.flows.coupling import (
    CheckerboardCoupling,
    ConvConditioner,
    Coupling,
    Injector,
    ResidualConditioner,
)
from jaxdl.nets.flows.elementwise import affine
from jaxdl.nets.flows.glow import ActNorm, InvertibleConv
from jaxdl.types import Array


class Squeezed(Bijector):
    """Run a bijector on squares of 2x2 pixels that are one pixel of four times the channels.

    See Dinh, Sohl-Dickstein & Bengio (2017), section 3.6.
    """

    bijector: Bijector

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Squeeze, apply, unsqueeze."""
        z, log_det = self.bijector.forward_and_log_det(squeeze(x), context)
        return unsqueeze(z), log_det

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Squeeze, apply the inverse, unsqueeze."""
        x, log_det = self.bijector.inverse_and_log_det(squeeze(z), context)
        return unsqueeze(x), log_det


class Half(Bijector):
    """Run a bijector on the first half of the channels; the second half are latents already.

    See Dinh, Sohl-Dickstein & Bengio (2017), section 3.6.
    """

    bijector: Bijector

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Apply to the first half."""
        first, second = jnp.split(x, 2, -1)
        first, log_det = self.bijector.forward_and_log_det(first, context)
        return jnp.concatenate([first, second], -1), log_det

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Apply the inverse to the first half."""
        first, second = jnp.split(z, 2, -1)
        first, log_det = self.bijector.inverse_and_log_det(first, context)
        return jnp.concatenate([first, second], -1), log_det


def squeeze(x: Array) -> Array:
    """Move squares of 2x2 pixels into channels, [B, H, W, C] -> [B, H/2, W/2, 4 C], those of one together.

    Raises:
        ValueError: if H or W is odd.
    """
    b, h, w, c = x.shape
    if h % 2 or w % 2:
        raise ValueError(f"an image of {h}x{w} does not divide into squares of 2x2; give fewer levels")
    return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(b, h // 2, w // 2, 4 * c)


def unsqueeze(x: Array) -> Array:
    """Undo `squeeze`: [B, H, W, 4 C] -> [B, 2 H, 2 W, C]."""
    b, h, w, c = x.shape
    return x.reshape(b, h, w, c // 4, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(b, 2 * h, 2 * w, c // 4)


def glow(levels: int, steps: int, width: int, *, inject: bool = False) -> Bijector:
    """Build Glow: on each level squeeze, `steps` times normalize, mix and couple, then split off a half.

    What is split off is Gaussian with mean and deviation computed from the rest: one more affine coupling.

    See Kingma & Dhariwal (2018), arXiv:1807.03039.

    Args:
        levels: L; the sides of the image divide by 2ᴸ.
        steps: K, of flow on each level.
        width: channels of the conditioners.
        inject: whether each step also scales and shifts all by what the context says, as SRFlow does.
    """
    layers: list[Bijector] = []
    for _ in range(steps):
        layers += [ActNorm(), InvertibleConv()]
        layers += [Injector(ConvConditioner(width), affine())] if inject else []
        layers += [Coupling(ConvConditioner(width), affine())]
    if levels > 1:
        layers += [Coupling(ConvConditioner(), affine()), Half(glow(levels - 1, steps, width, inject=inject))]
    return Squeezed(Chain(tuple(layers)))


def image_real_nvp(levels: int, width: int, blocks: int = 2) -> Bijector:
    """Build RealNVP of images: levels couple checkerboards, squeeze, couple channels, and split off a half.

    Three couplings of each kind, on the last level four checkerboards. ActNorm stands for batch norm.

    See Dinh, Sohl-Dickstein & Bengio (2017), arXiv:1605.08803.

    Args:
        levels: the sides of the image divide by 2^(levels − 1).
        width: channels of the conditioners.
        blocks: their residual blocks.
    """

    def couplings(kind: type[Coupling], num: int) -> list[Bijector]:
        pairs = (
            (ActNorm(), kind(ResidualConditioner(width, blocks), affine(), flip=index % 2 == 1))
            for index in range(num)
        )
        return list(chain(*pairs))

    if levels == 1:
        return Chain(tuple(couplings(CheckerboardCoupling, 4)))
    rest = Half(image_real_nvp(levels - 1, width, blocks))
    coarse = Squeezed(Chain((*couplings(Coupling, 3), rest)))
    return Chain((*couplings(CheckerboardCoupling, 3), coarse))
