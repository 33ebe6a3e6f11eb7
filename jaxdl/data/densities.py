"""Densities on the plane, to see what a generative model learns.

Each sampler takes (seed, num) and returns {"x": float32 [num, 2]}, centred on the origin and inside [-4, 4]²
up to the tails of its noise. Where the density has a closed form, `*_log_prob` gives it for one point.
"""

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from jaxdl.types import Array

Points = dict[str, np.ndarray]

_ANGLE = 2 * np.pi * np.arange(8) / 8
RING_CENTERS = 2 * np.stack([np.cos(_ANGLE), np.sin(_ANGLE)], axis=1).astype(np.float32)  # [8, 2]
RING_STD = 0.1
_MIDPOINTS = (np.arange(1024) + 0.5) / 1024  # of [0, 1]: on an arm much closer than its noise is wide


def two_moons(seed: int, num: int) -> Points:
    """Sample two interleaved half circles of radius 2.

    x = s·(2 cos t - 1, 2 sin t - ½) + 0.1·ε,  s = ±1,  t ~ U[0, π],  ε ~ N(0, I)
    """
    rng = np.random.default_rng(seed)
    return _both_arms(rng, _moon(np.pi * rng.random(num)))


def two_moons_log_prob(x: Array) -> Array:
    """Evaluate the log density of `two_moons` at one point, by quadrature along the moons.

    log p(x) = log ½ Σ_s ∫ dt/π N(x; s·(2 cos t - 1, 2 sin t - ½), 0.1²·I) over [0, π]

    Args:
        x: [2].

    Returns:
        A scalar, in nats.
    """
    return _both_arms_log_prob(x, _moon(np.pi * _MIDPOINTS))


def spirals(seed: int, num: int) -> Points:
    """Sample two spiral arms of one and a half turns, out to radius π.

    x = s·t/3·(-cos t, sin t) + 0.1·ε,  s = ±1,  t = 3π√u,  u ~ U[0, 1],  ε ~ N(0, I)
    """
    rng = np.random.default_rng(seed)
    return _both_arms(rng, _spiral(rng.random(num)))


def spirals_log_prob(x: Array) -> Array:
    """Evaluate the log density of `spirals` at one point, by quadrature along the arms.

    log p(x) = log ½ Σ_s ∫ du N(x; s·t/3·(-cos t, sin t), 0.1²·I) over [0, 1],  t = 3π√u

    Args:
        x: [2].

    Returns:
        A scalar, in nats.
    """
    return _both_arms_log_prob(x, _spiral(_MIDPOINTS))


def _moon(t: np.ndarray) -> np.ndarray:
    return np.stack([2 * np.cos(t) - 1, 2 * np.sin(t) - 0.5], axis=1)


def _spiral(u: np.ndarray) -> np.ndarray:
    t = 3 * np.pi * np.sqrt(u)
    return t[:, None] / 3 * np.stack([-np.cos(t), np.sin(t)], axis=1)


def _both_arms(rng: np.random.Generator, arm: np.ndarray) -> Points:
    sign = rng.choice([-1, 1], (len(arm), 1))
    return {"x": (sign * arm + 0.1 * rng.standard_normal(arm.shape)).astype(np.float32)}


def _both_arms_log_prob(x: Array, arm: np.ndarray) -> Array:
    centers = jnp.asarray(np.concatenate([arm, -arm]), jnp.float32)
    log_kernel = -jnp.sum((x[None] - centers) ** 2, axis=1) / (2 * 0.1**2)
    return logsumexp(log_kernel) - jnp.log(len(centers) * 2 * jnp.pi * 0.1**2)


def eight_gaussians(seed: int, num: int, *, std: float = RING_STD) -> Points:
    """Sample eight Gaussians of equal weight, their means `RING_CENTERS` on a circle of radius 2.

    x = c_k + std·ε,  k ~ U{0, ..., 7},  ε ~ N(0, I)

    See Metz et al., "Unrolled Generative Adversarial Networks" (2017), who take std = 0.02.
    """
    rng = np.random.default_rng(seed)
    center = RING_CENTERS[rng.integers(8, size=num)]
    return {"x": (center + std * rng.standard_normal((num, 2))).astype(np.float32)}


def eight_gaussians_log_prob(x: Array, *, std: float = RING_STD) -> Array:
    """Evaluate the log density of `eight_gaussians` at one point.

    log p(x) = log ⅛ Σ_k N(x; c_k, std²·I)

    Args:
        x: [2].
        std: standard deviation of each Gaussian.

    Returns:
        A scalar, in nats.
    """
    # The centers have one norm, so relative to the nearest, c, the exponents are x·(c_k - c) / std² <= 0. The
    # logsumexp of -‖x - c_k‖² / 2·std² itself overflows far away, where XLA rounds it differently each time.
    along = jnp.sum(x[None] * RING_CENTERS, axis=1)
    nearest = along.argmax()
    log_sum = jnp.log(jnp.sum(jnp.exp((along - along[nearest]) / std**2)))
    center = jnp.asarray(RING_CENTERS)[nearest]
    return log_sum - jnp.sum((x - center) ** 2) / (2 * std**2) - jnp.log(8 * 2 * jnp.pi * std**2)


def checkerboard(seed: int, num: int) -> Points:
    """Sample uniformly from the eight black squares, of side 2, of a 4 by 4 board on [-4, 4]².

    x = 2·(i + u, j + v),  i, j ∈ {-2, -1, 0, 1},  i + j even,  u, v ~ U(0, 1)
    """
    rng = np.random.default_rng(seed)
    i = rng.integers(-2, 2, num)
    j = i % 2 + rng.choice([-2, 0], num)
    # Midpoints of a grid that float32 holds exactly: no sample is rounded onto an edge, out of its square.
    uv = (rng.integers(2**20, size=(num, 2)) + 0.5) / 2**20
    return {"x": (2 * (np.stack([i, j], axis=1) + uv)).astype(np.float32)}


def checkerboard_log_prob(x: Array) -> Array:
    """Evaluate the log density of `checkerboard` at one point.

    log p(x) = -log 32 on a black square, -∞ elsewhere

    Args:
        x: [2].

    Returns:
        A scalar, in nats.
    """
    square = jnp.floor(x / 2)
    black = jnp.all((square >= -2) & (square < 2)) & (square.sum() % 2 == 0)
    return jnp.where(black, -jnp.log(32.0), -jnp.inf)
