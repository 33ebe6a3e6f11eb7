"""Invertible maps of single numbers, whose parameters a net computes: what couplings are made of."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.types import Array


class Elementwise(NamedTuple):
    """A family of invertible maps y = h(x; β) of numbers; β = 0 gives the identity.

    Attributes:
        num_params: P, how many numbers β is.
        forward: x [...], β [..., P] -> y [...], log ∂y/∂x [...].
        inverse: y [...], β [..., P] -> x [...], log ∂x/∂y [...].
    """

    num_params: int
    forward: Callable[[Array, Array], tuple[Array, Array]]
    inverse: Callable[[Array, Array], tuple[Array, Array]]


def additive() -> Elementwise:
    """Shift: y = x + t, which keeps volume.

    See Dinh, Krueger & Bengio (2015), "NICE", arXiv:1410.8516.
    """

    def forward(x: Array, beta: Array) -> tuple[Array, Array]:
        return x + beta[..., 0], jnp.zeros_like(x)

    def inverse(y: Array, beta: Array) -> tuple[Array, Array]:
        return y - beta[..., 0], jnp.zeros_like(y)

    return Elementwise(1, forward, inverse)


def affine(bound: float = 2.0) -> Elementwise:
    """Scale and shift: y = eˢ x + t, with s = c tanh(s'/c) so that no layer can blow up.

    See Dinh, Sohl-Dickstein & Bengio (2017), "RealNVP", arXiv:1605.08803.

    Args:
        bound: c, the largest |log-scale|.
    """

    def scale_and_shift(beta: Array) -> tuple[Array, Array]:
        return bound * jnp.tanh(beta[..., 0] / bound), beta[..., 1]

    def forward(x: Array, beta: Array) -> tuple[Array, Array]:
        s, t = scale_and_shift(beta)
        return x * jnp.exp(s) + t, s

    def inverse(y: Array, beta: Array) -> tuple[Array, Array]:
        s, t = scale_and_shift(beta)
        return (y - t) * jnp.exp(-s), -s

    return Elementwise(2, forward, inverse)


def spline(bins: int = 8, bound: float = 4.0, smallest: float = 1e-3) -> Elementwise:
    """Bend [-B, B] by a monotone rational-quadratic spline; the tails are the identity.

    In the bin [x_k, x_{k+1}] of width w and height h, with ξ = (x − x_k)/w, s = h/w and slopes d at its ends,

        y = y_k + h (s ξ² + d_k ξ(1−ξ)) / (s + (d_{k+1} + d_k − 2s) ξ(1−ξ))

    See Durkan, Bekasov, Murray & Papamakarios (2019), "Neural Spline Flows", arXiv:1906.04032.

    Args:
        bins: K; β holds K widths, K heights and K − 1 inner slopes before they are normalized.
        bound: B.
        smallest: slope, and share of a bin in the width or the height of all.
    """

    def edges(weights: Array) -> tuple[Array, Array]:
        """Return where the bins begin [..., K] and their sizes [..., K], which fill [-B, B]."""
        sizes = 2 * bound * (smallest + (1 - bins * smallest) * jax.nn.softmax(weights))
        return jnp.cumsum(sizes, -1) - sizes - bound, sizes

    def locate(beta: Array, value: Array, axis: int) -> list[Array]:
        """Return x_k, y_k, w, h, d_k and d_{k+1} of the bin that holds a value, of x (axis 0) or y (1)."""
        (x, w), (y, h) = edges(beta[..., :bins]), edges(beta[..., bins : 2 * bins])
        # softplus of this shift is 1 − smallest: β = 0 has slope 1 everywhere
        inner = smallest + jax.nn.softplus(beta[..., 2 * bins :] + jnp.log(jnp.expm1(1 - smallest)))
        end = jnp.ones((*inner.shape[:-1], 1), inner.dtype)
        slopes = jnp.concatenate([end, inner, end], -1)
        # a sum over one-hot bins: a gather is slower, and so is the scatter that is its gradient
        index = (value[..., None] >= (x, y)[axis][..., 1:]).sum(-1)
        here = jax.nn.one_hot(index, bins)
        return [(table * here).sum(-1) for table in (x, y, w, h, slopes[..., :-1], slopes[..., 1:])]

    def log_slope(xi: Array, s: Array, d0: Array, d1: Array) -> Array:
        """∂y/∂x = s² (d_{k+1} ξ² + 2s ξ(1−ξ) + d_k (1−ξ)²) / (s + (d_{k+1} + d_k − 2s) ξ(1−ξ))²."""
        numerator = d1 * xi**2 + 2 * s * xi * (1 - xi) + d0 * (1 - xi) ** 2
        return 2 * jnp.log(s) + jnp.log(numerator) - 2 * jnp.log(s + (d1 + d0 - 2 * s) * xi * (1 - xi))

    def forward(x: Array, beta: Array) -> tuple[Array, Array]:
        x_k, y_k, w, h, d0, d1 = locate(beta, inside := jnp.clip(x, -bound, bound), 0)
        xi, s = (inside - x_k) / w, h / w
        y = y_k + h * (s * xi**2 + d0 * xi * (1 - xi)) / (s + (d1 + d0 - 2 * s) * xi * (1 - xi))
        bent = jnp.abs(x) < bound
        return jnp.where(bent, y, x), jnp.where(bent, log_slope(xi, s, d0, d1), 0)

    def inverse(y: Array, beta: Array) -> tuple[Array, Array]:
        x_k, y_k, w, h, d0, d1 = locate(beta, inside := jnp.clip(y, -bound, bound), 1)
        s, eta = h / w, inside - y_k
        # a ξ² + b ξ + c = 0; its root in [0, 1], in the form that never subtracts near numbers
        a = h * (s - d0) + eta * (d1 + d0 - 2 * s)
        b = h * d0 - eta * (d1 + d0 - 2 * s)
        c = -s * eta
        xi = 2 * c / (-b - jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 1e-12)))
        bent = jnp.abs(y) < bound
        return jnp.where(bent, x_k + w * xi, y), jnp.where(bent, -log_slope(xi, s, d0, d1), 0)

    return Elementwise(3 * bins - 1, forward, inverse)
