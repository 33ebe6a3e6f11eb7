"""Measures of quality that are no training objective."""

import jax
import jax.numpy as jnp

from jaxdl.types import Array


def mode_coverage(samples: Array, centers: Array, std: float) -> dict[str, Array]:
    """Count the modes of a mixture of Gaussians that samples reach.

    A sample is of high quality if it lies within 3σ of the nearest center. A mode is covered if at least a
    tenth of its fair share of all samples, N/(10 K), is of high quality and nearest to it.

    See Metz et al. (2017), arXiv:1611.02163, for the ring of eight.

    Args:
        samples: [N, D].
        centers: [K, D].
        std: σ, the standard deviation of each mode.

    Returns:
        {"modes": covered modes, "high_quality": share of samples of high quality}.
    """
    distance = jnp.linalg.norm(samples[:, None] - centers[None], axis=-1)
    good = distance.min(1) <= 3 * std
    reached = (jax.nn.one_hot(distance.argmin(1), len(centers), dtype=bool) & good[:, None]).sum(0)
    covered = 10 * len(centers) * reached >= len(samples)  # in integers: a share just met is met
    return {"modes": covered.sum(), "high_quality": good.mean()}


def frechet_distance(x: Array, y: Array) -> Array:
    """Measure the distance between the Gaussians that fit two samples.

    ‖μ_x − μ_y‖² + tr(Σ_x + Σ_y − 2 (Σ_x Σ_y)^½)

    On Inception features this is the FID of Heusel et al. (2017), arXiv:1706.08500. The trace of the root is
    the sum of the roots of the eigenvalues of Σ_x^½ Σ_y Σ_x^½, a symmetric matrix.

    Args:
        x: features [N, D].
        y: features [M, D].

    Returns:
        A scalar.
    """

    def moments(features: Array) -> tuple[Array, Array]:
        mean = features.mean(0)
        centered = features - mean[None]
        return mean, centered.T @ centered / (len(features) - 1)

    (mean_x, cov_x), (mean_y, cov_y) = moments(x), moments(y)
    values, vectors = jnp.linalg.eigh(cov_x)
    root = (vectors * jnp.sqrt(jnp.maximum(values, 0))[None]) @ vectors.T
    product = jnp.linalg.eigvalsh(root @ cov_y @ root)
    trace_root = jnp.sqrt(jnp.maximum(product, 0)).sum()
    return ((mean_x - mean_y) ** 2).sum() + jnp.trace(cov_x) + jnp.trace(cov_y) - 2 * trace_root
