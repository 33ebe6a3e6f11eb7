"""Generative adversarial network on a ring of eight Gaussians.

Paper: Goodfellow et al., Generative Adversarial Networks, 2014; the ring: Metz et al., 2017
Data: eight Gaussians on a circle, generated
Command: jaxdl train configs/gan_ring.py
Time: 30 s on 2 cores
Expected: 8 of 8 modes, >= 90 % of samples within 3 standard deviations of one
"""

from functools import partial
from typing import Any

from jaxdl import optim
from jaxdl.data import Batches, eight_gaussians
from jaxdl.data.densities import RING_CENTERS, RING_STD
from jaxdl.learners import gan
from jaxdl.metrics import mode_coverage
from jaxdl.nets.mlp import MLP
from jaxdl.ops.pictures import scatter_picture
from jaxdl.train import Experiment, Options
from jaxdl.types import Array

TINY = {"hidden": (32,), "batch_size": 64, "steps": 64}


def covered(samples: Array, data: Any) -> dict[str, Array]:
    """Count the modes that samples reach."""
    return mode_coverage(samples, RING_CENTERS, RING_STD)


def gan_ring(
    latent_dim: int = 2,
    hidden: tuple[int, ...] = (128, 128),
    learning_rate: float = 1e-3,
    batch_size: int = 256,
    steps: int = 10_000,
    seed: int = 0,
    options: Options = Options(ema=0.999),
) -> Experiment:
    """Build the experiment.

    Args:
        latent_dim: dimensions of z.
        hidden: widths of the hidden layers of both nets.
        learning_rate: of both players' Adam.
        batch_size: examples in a step.
        steps: of training.
        seed: of everything random.
        options: of the step.
    """
    train, validation, test = (
        Batches(eight_gaussians(seed + part, num), batch_size, seed)
        for part, num in enumerate((50_000, 2_000, 2_000))
    )
    learner = gan(
        MLP(2, hidden),
        MLP(None, hidden),
        optim.adam(learning_rate, b1=0.5),
        optim.adam(learning_rate, b1=0.5),
        latent_dim=latent_dim,
        draw=partial(scatter_picture, bound=3.0),
        measure=covered,
        options=options,
    )
    return Experiment(
        learner, steps, train, validation, test, monitor="high_quality", maximize=True, seed=seed
    )
