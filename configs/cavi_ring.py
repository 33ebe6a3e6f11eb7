"""Bayesian mixture of Gaussians, by coordinate-ascent variational inference.

Paper: Blei, Kucukelbir & McAuliffe, Variational Inference: A Review for Statisticians, 2017
Data: eight Gaussians on a ring, generated, in units of their standard deviation
Command: jaxdl train configs/cavi_ring.py
Time: 5 s on 2 cores
Expected: log_prob >= -4.77 nats of points that were not seen, where the true density gives -4.757
"""

import jax.numpy as jnp

from jaxdl.data import densities
from jaxdl.learners.cavi import mixture_cavi
from jaxdl.train import Experiment

TINY = {"num_points": 64, "restarts": 2, "steps": 32}


def cavi_ring(
    num_points: int = 1_000,
    std: float = 0.4,
    components: int = 8,
    prior_std: float = 5.0,
    restarts: int = 20,
    steps: int = 50,
    seed: int = 0,
) -> Experiment:
    """Build the experiment.

    Args:
        num_points: that are given.
        std: standard deviation of each Gaussian, on a ring of radius 2.
        components: K, of the mixture.
        prior_std: σ of the means, in units of std.
        restarts: mixtures that start from different points; the best counts.
        steps: sweeps.
        seed: of the points and of where the mixtures start.
    """
    if components > num_points:
        raise ValueError(
            f"components is {components}; give {num_points} at most, as many as there are points"
        )
    x, test = (
        jnp.asarray(densities.eight_gaussians(seed + part, num, std=std)["x"] / std)
        for part, num in enumerate((num_points, 10_000))
    )
    learner = mixture_cavi(x, test, components=components, prior_std=prior_std, restarts=restarts)
    return Experiment(learner, steps, monitor="elbo", maximize=True, steps_per_call=5, seed=seed)
