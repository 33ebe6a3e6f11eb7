"""Flows p(x|u) whose condition u is an image, another flow, or an attribute."""

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.flows.bijector import Bijector, Chain
from jaxdl.nets.flows.coupling import ConvConditioner, Coupling
from jaxdl.nets.flows.elementwise import affine
from jaxdl.nets.flows.glow import ActNorm, InvertibleConv
from jaxdl.nets.flows.image import Squeezed
from jaxdl.nets.layers import Conv
from jaxdl.types import Array


class Conditioned(Bijector):
    """Encode the context once, for all layers of a bijector."""

    encoder: nn.Module
    bijector: Bijector

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Map given the encoded context."""
        return self.bijector.forward_and_log_det(x, self.encoder(context))

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Map back given the encoded context."""
        return self.bijector.inverse_and_log_det(z, self.encoder(context))


class ImageEncoder(nn.Module):
    """Describe an image by feature maps of the same size: two 3x3 convolutions."""

    width: int

    @nn.compact
    def __call__(self, image: Array) -> Array:
        """Map [B, H, W, C] to [B, H, W, width]."""
        h = nn.relu(Conv(self.width, (3, 3))(image))
        return nn.relu(Conv(self.width, (3, 3))(h))


class Paired(Bijector):
    """Map a pair of images side by side, each by a layer of its own flow, the second given the first.

    z_a = f(x_a),  z_b = g(x_b; x_a),  log |det ∂z/∂x| = log |det ∂f/∂x_a| + log |det ∂g/∂x_b|

    Channels are [x_a, x_b]. In a chain the x_a of a layer are the activations of the first flow.

    See Pumarola, Popov, Moreno-Noguer & Ferrari (2020), "C-Flow", arXiv:1912.07009.
    """

    first: Bijector
    second: Bijector

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Map both."""
        x_a, x_b = jnp.split(x, 2, -1)
        z_a, log_det_a = self.first.forward_and_log_det(x_a, context)
        z_b, log_det_b = self.second.forward_and_log_det(x_b, x_a)
        return jnp.concatenate([z_a, z_b], -1), log_det_a + log_det_b

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Map back the first, then the second given it."""
        z_a, z_b = jnp.split(z, 2, -1)
        x_a, log_det_a = self.first.inverse_and_log_det(z_a, context)
        x_b, log_det_b = self.second.inverse_and_log_det(z_b, x_a)
        return jnp.concatenate([x_a, x_b], -1), log_det_a + log_det_b


def c_flow(steps: int, width: int) -> Bijector:
    """Build C-Flow of one scale: two Glows side by side, the steps of one given those of the other.

    Args:
        steps: of each flow.
        width: channels of the conditioners.
    """

    def step() -> Bijector:
        return Chain((ActNorm(), InvertibleConv(), Coupling(ConvConditioner(width), affine())))

    return Squeezed(Chain(tuple(Paired(step(), step()) for _ in range(steps))))
