"""Coupling layers: one part of an example is mapped given the other, which stays as it is."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxdl.nets.flows.bijector import Bijector
from jaxdl.nets.flows.elementwise import Elementwise
from jaxdl.nets.layers import Conv, Dense
from jaxdl.ops.encoding import fourier_features
from jaxdl.types import Array


class DenseConditioner(nn.Module):
    """Compute the parameters of a coupling of vectors by an MLP, from zero, where the map is the identity.

    Attributes:
        hidden: widths of the hidden layers.
        octaves: of `fourier_features` of the input; they fit densities with gaps and edges much faster.
    """

    hidden: tuple[int, ...] = (64, 64)
    octaves: int = 0

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, features: int) -> Array:
        """Map [B, D] and context [B, C] to [B, features]."""
        h = beside(fourier_features(x, self.octaves), context)
        for width in self.hidden:
            h = nn.relu(Dense(width)(h))
        return Dense(features, kernel_init=nn.initializers.zeros, dtype=jnp.float32)(h)


class ConvConditioner(nn.Module):
    """Compute the parameters of a coupling of images by convolutions, from zero: 3x3, 1x1, 3x3.

    See Kingma & Dhariwal (2018), "Glow", section 3.3. Without a width it is the last convolution alone.
    """

    width: int = 0

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, features: int) -> Array:
        """Map [B, H, W, C] and context [B, h, w, c] or [B, c] to [B, H, W, features]."""
        h = beside(x, context)
        if self.width:
            h = nn.relu(Conv(self.width, (3, 3))(h))
            h = nn.relu(Conv(self.width, (1, 1))(h))
        return Conv(features, (3, 3), kernel_init=nn.initializers.zeros, dtype=jnp.float32)(h)


class ResidualConditioner(nn.Module):
    """Compute the parameters of a coupling of images by residual blocks of two 3x3 convolutions, from zero.

    See Dinh, Sohl-Dickstein & Bengio (2017), section 3.6; here the blocks go without normalization.
    """

    width: int
    blocks: int = 2

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, features: int) -> Array:
        """Map [B, H, W, C] and context [B, h, w, c] or [B, c] to [B, H, W, features]."""
        h = Conv(self.width, (3, 3))(beside(x, context))
        for _ in range(self.blocks):
            h += Conv(self.width, (3, 3))(nn.relu(Conv(self.width, (3, 3))(nn.relu(h))))
        return Conv(features, (3, 3), kernel_init=nn.initializers.zeros, dtype=jnp.float32)(nn.relu(h))


def beside(x: Array, context: Array | None) -> Array:
    """Join x and context along the last axis; the context is resized to an image, or repeated over it."""
    if context is None:
        return x
    if x.ndim == 4 and context.ndim == 2:
        context = context[:, None, None]
    if x.ndim == 4:
        shape = (*x.shape[:3], context.shape[-1])
        resize = context.shape[1:3] != (1, 1)
        context = jax.image.resize(context, shape, "linear") if resize else jnp.broadcast_to(context, shape)
    return jnp.concatenate([x, context], -1)


class Coupling(Bijector):
    """Map one half of the last axis, of variables or channels, given the other.

    z^A = h(x^A; β(x^B)),  z^B = x^B,  log |det ∂z/∂x| = Σ log ∂h/∂x^A

    See Dinh, Krueger & Bengio (2015); Dinh, Sohl-Dickstein & Bengio (2017); with a context, u, in β(x^B, u):
    Winkler et al. (2019), arXiv:1912.00042.

    Attributes:
        conditioner: β; called with the number of `features` to return.
        transform: h.
        flip: whether A is the first half instead of the second.
    """

    conditioner: nn.Module
    transform: Elementwise
    flip: bool = False

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Apply h to A."""
        return self.couple(self.transform.forward, x, context)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Apply h⁻¹ to A; β is the same, since z^B = x^B."""
        return self.couple(self.transform.inverse, z, context)

    def couple(
        self, h: Callable[[Array, Array], tuple[Array, Array]], x: Array, context: Array | None
    ) -> tuple[Array, Array]:
        """Apply h or its inverse to A given B."""
        first, second = jnp.split(x, [x.shape[-1] // 2], -1)
        a, b = (first, second) if self.flip else (second, first)
        a, log_slope = h(a, parameters(self.conditioner, self.transform, b, context, a.shape))
        x = jnp.concatenate([a, b] if self.flip else [b, a], -1)
        return x, log_slope.reshape(len(x), -1).sum(-1)


class CheckerboardCoupling(Coupling):
    """Map the black pixels of an image given the white ones, or the white given the black where flipped."""

    def couple(
        self, h: Callable[[Array, Array], tuple[Array, Array]], x: Array, context: Array | None
    ) -> tuple[Array, Array]:
        """Apply h or its inverse to A given B, which the conditioner sees in place, A blanked out."""
        changed = checkerboard(*x.shape[1:3])[None, :, :, None] != self.flip
        seen = jnp.where(changed, 0, x)
        z, log_slope = h(x, parameters(self.conditioner, self.transform, seen, context, x.shape))
        return jnp.where(changed, z, x), jnp.where(changed, log_slope, 0).reshape(len(x), -1).sum(-1)


class Injector(Bijector):
    """Map all elements by what the context alone says: z = h(x; β(u)).

    See Lugmayr, Danelljan, Van Gool & Timofte (2020), "SRFlow", arXiv:2006.14200, section 3.3.

    Attributes:
        conditioner: β; called with the number of `features` to return.
        transform: h.
    """

    conditioner: nn.Module
    transform: Elementwise

    def beta(self, x: Array, context: Array | None) -> Array:
        """Compute the parameters of each element from the context, beside no channel of x."""
        return parameters(self.conditioner, self.transform, x[..., :0], context, x.shape)

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Apply h."""
        z, log_slope = self.transform.forward(x, self.beta(x, context))
        return z, log_slope.reshape(len(x), -1).sum(-1)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Apply h⁻¹."""
        x, log_slope = self.transform.inverse(z, self.beta(z, context))
        return x, log_slope.reshape(len(z), -1).sum(-1)


def checkerboard(height: int, width: int) -> np.ndarray:
    """Return the black squares of a board, bool [height, width]; the corner is white."""
    return np.indices((height, width)).sum(0) % 2 == 1


def parameters(
    conditioner: nn.Module,
    transform: Elementwise,
    x: Array,
    context: Array | None,
    shape: tuple[int, ...],
) -> Array:
    """Call a conditioner for the parameters [*shape, P] of an elementwise map of an array of this shape."""
    beta = conditioner(x, context, features=shape[-1] * transform.num_params)
    return beta.reshape(*shape, transform.num_params)
