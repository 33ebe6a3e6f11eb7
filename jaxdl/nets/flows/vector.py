"""Flows of vectors."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.flows.autoregressive import Autoregressive
from jaxdl.nets.flows.bijector import Bijector, Chain, Inverse, Reverse
from jaxdl.nets.flows.coupling import Coupling, DenseConditioner
from jaxdl.nets.flows.elementwise import Elementwise, additive, affine, spline
from jaxdl.nets.flows.glow import ActNorm
from jaxdl.types import Array


class Scaling(Bijector):
    """Scale each variable: z = eˢ x, the last layer of NICE, without which volume is kept everywhere."""

    @nn.compact
    def log_scale(self, size: int) -> Array:
        """Return s [D]."""
        return self.param("log_scale", nn.initializers.zeros, (size,))

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Scale."""
        s = self.log_scale(x.shape[-1])
        return x * jnp.exp(s)[None], jnp.full(len(x), s.sum())

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Scale back."""
        s = self.log_scale(z.shape[-1])
        return z * jnp.exp(-s)[None], jnp.full(len(z), -s.sum())


def nice(layers: int = 4, hidden: tuple[int, ...] = (64, 64), octaves: int = 0) -> Bijector:
    """Build NICE: additive couplings of alternating halves, then a scaling.

    See Dinh, Krueger & Bengio (2015), arXiv:1410.8516.
    """
    return Chain((*couplings(additive(), layers, hidden, octaves), Scaling()))


def real_nvp(layers: int = 8, hidden: tuple[int, ...] = (64, 64), octaves: int = 0) -> Bijector:
    """Build RealNVP of vectors: affine couplings of alternating halves.

    See Dinh, Sohl-Dickstein & Bengio (2017), arXiv:1605.08803.
    """
    return Chain(couplings(affine(), layers, hidden, octaves))


def spline_flow(layers: int = 4, hidden: tuple[int, ...] = (64, 64), octaves: int = 0) -> Bijector:
    """Build a neural spline flow: rational-quadratic couplings of alternating halves.

    See Durkan, Bekasov, Murray & Papamakarios (2019), arXiv:1906.04032.
    """
    return Chain(couplings(spline(), layers, hidden, octaves))


def maf(layers: int = 5, hidden: tuple[int, ...] = (64, 64), octaves: int = 0) -> Bijector:
    """Build a masked autoregressive flow: affine layers, normalized before and reversed after each.

    See Papamakarios, Pavlakou & Murray (2017), arXiv:1705.07057, whose normalization is by batch.
    """
    return alternating(lambda: Autoregressive(affine(), hidden, octaves), layers)


def iaf(layers: int = 5, hidden: tuple[int, ...] = (64, 64), octaves: int = 0) -> Bijector:
    """Build an inverse autoregressive flow: it samples in one pass and takes D to find a density.

    See Kingma et al. (2016), arXiv:1606.04934.
    """
    return alternating(lambda: Inverse(Autoregressive(affine(), hidden, octaves)), layers)


def couplings(h: Elementwise, layers: int, hidden: tuple[int, ...], octaves: int) -> tuple[Bijector, ...]:
    """Make couplings that map one half and the other by turns."""
    return tuple(Coupling(DenseConditioner(hidden, octaves), h, flip=i % 2 == 1) for i in range(layers))


def alternating(make: Callable[[], Bijector], layers: int) -> Bijector:
    """Chain layers with a normalization before and a reversal of the order after each."""
    return Chain(tuple(layer for _ in range(layers) for layer in (ActNorm(), make(), Reverse())))
