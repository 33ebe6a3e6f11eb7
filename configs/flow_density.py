"""Normalizing flow on a density of the plane.

Paper: Dinh et al., RealNVP, 2017; NICE, 2015; MAF, 2017; IAF, 2016; spline flows, 2019; FFJORD, 2019
Data: two moons, eight Gaussians, a checkerboard or spirals, generated; their true density is known
Command: jaxdl train configs/flow_density.py
    jaxdl train configs/flow_density.py --density eight_gaussians --flow spline_flow --layers 4
    jaxdl train configs/flow_density.py --density eight_gaussians --octaves 4 --steps 12000
    jaxdl train configs/flow_density.py --density eight_gaussians --flow maf --layers 8 --hidden 128 128
    --octaves 4 --steps 15000
Time: 30 s on 2 cores; the continuous flow 15 min
Expected: gap to the true density, on test points: two moons <= 0.03 nats (NICE: 0.11), eight Gaussians
    <= 0.05 (RealNVP, MAF, spline flow)
"""

from typing import Literal

from jaxdl import data, optim
from jaxdl.data import Batches
from jaxdl.learners.flow import flow as flow_learner
from jaxdl.learners.flow_pictures import draw_plane
from jaxdl.nets.flows import continuous, iaf, maf, nice, real_nvp, spline_flow
from jaxdl.train import Experiment, Options

TINY = {"layers": 2, "hidden": (16,), "batch_size": 64, "steps": 64}

DENSITIES = {
    "two_moons": (data.two_moons, data.two_moons_log_prob),
    "eight_gaussians": (data.eight_gaussians, data.eight_gaussians_log_prob),
    "checkerboard": (data.checkerboard, data.checkerboard_log_prob),
    "spirals": (data.spirals, data.spirals_log_prob),
}
FLOWS = {
    "real_nvp": real_nvp,
    "nice": nice,
    "maf": maf,
    "iaf": iaf,
    "spline_flow": spline_flow,
    "continuous": continuous,
}


def flow_density(
    density: Literal["two_moons", "eight_gaussians", "checkerboard", "spirals"] = "two_moons",
    flow: Literal["real_nvp", "nice", "maf", "iaf", "spline_flow", "continuous"] = "real_nvp",
    layers: int = 12,
    hidden: tuple[int, ...] = (64, 64),
    octaves: int = 0,
    learning_rate: float = 1e-3,
    batch_size: int = 256,
    steps: int = 5_000,
    seed: int = 0,
    options: Options = Options(clip_norm=1.0, ema=0.999),
) -> Experiment:
    """Build the experiment.

    Args:
        density: what it learns.
        flow: how it maps; continuous needs diffrax.
        layers: of the flow.
        hidden: widths of the hidden layers of each conditioner, or of the vector field.
        octaves: of the waves that each conditioner sees its input by; they part densities with gaps.
        learning_rate: of Adam, at its peak; it rises, then falls along a cosine.
        batch_size: points in a step.
        steps: of training.
        seed: of everything random.
        options: of the step.
    """
    sample, true_log_prob = DENSITIES[density]
    train, validation, test = (
        Batches(sample(seed + part, num), batch_size, seed)
        for part, num in enumerate((1_000_000, 2_000, 10_000))
    )
    learner = flow_learner(
        FLOWS[flow](layers, hidden, octaves),
        optim.adam(optim.warmup_cosine(learning_rate, steps, warmup=500)),
        draw=draw_plane(true_log_prob, bound=4.0),
        true_log_prob=true_log_prob,
        options=options,
    )
    return Experiment(learner, steps, train, validation, test, monitor="nll", seed=seed)
