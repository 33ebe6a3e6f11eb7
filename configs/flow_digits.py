"""Normalizing flow of images.

Paper: Dinh et al., RealNVP, 2017; Kingma & Dhariwal, Glow, 2018; Papamakarios et al., MAF, 2017;
    Grathwohl et al., FFJORD, 2019
Data: scikit-learn's digits, 8x8, or an image set of TFDS, dequantized
Command: jaxdl train configs/flow_digits.py
    jaxdl train configs/flow_digits.py --flow continuous
    jaxdl train configs/flow_digits.py --dataset mnist --epochs 10
Time: 1 min on 2 cores; RealNVP 5 min
Expected: bits/dim on the test digits, which have 17 levels: <= 2.13 (Glow), 2.2 (MAF, RealNVP)
"""

from functools import partial
from typing import Literal

from jaxdl import optim
from jaxdl.data import Batches, ImageSet, images, num_levels, to_float
from jaxdl.learners.flow import dequantized, quantized
from jaxdl.learners.flow import flow as flow_learner
from jaxdl.learners.flow_pictures import draw_samples
from jaxdl.nets.flows import Bijector, Flat, continuous, glow, image_real_nvp, maf
from jaxdl.train import Experiment, Options
from jaxdl.types import Array, Key

TINY = {"levels": 1, "steps": 1, "width": 8, "batch_size": 32, "epochs": 2}


def levels_to_reals(key: Key, example: dict[str, Array], bins: int) -> dict[str, Array]:
    """Dequantize an image, anew on each visit."""
    return dequantized(to_float(example["image"]), key, bins)


def flow_digits(
    image_set: ImageSet = ImageSet(),
    bins: int | None = None,
    flow: Literal["glow", "real_nvp", "maf", "continuous"] = "glow",
    levels: int = 2,
    steps: int = 4,
    width: int = 64,
    learning_rate: float = 1e-3,
    batch_size: int = 64,
    epochs: int = 60,
    seed: int = 0,
    options: Options = Options(clip_norm=50.0, ema=0.999),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns.
        bins: levels of a pixel; by default 17 of the digits, 256 of other sets.
        flow: how it maps; MAF and the continuous flow, which needs diffrax, take the pixels as a vector.
        levels: scales of Glow and RealNVP.
        steps: of Glow on each scale; layers of MAF.
        width: channels of the conditioners; eight times as many units in each of the two layers for vectors.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    bins = bins or num_levels(image_set)
    nets: dict[str, Bijector] = {
        "glow": glow(levels, steps, width),
        "real_nvp": image_real_nvp(levels, width),
        "maf": Flat(maf(steps, (8 * width, 8 * width))),
        "continuous": Flat(continuous(1, (8 * width, 8 * width), exact=False)),
    }
    transform = partial(levels_to_reals, bins=bins)
    splits = images(image_set, features=("image",))
    train, validation, test = (Batches(split, batch_size, seed, transform) for split in splits)
    num_steps = epochs * len(train) // batch_size
    learner = flow_learner(
        nets[flow],
        optim.adam(optim.warmup_cosine(learning_rate, num_steps)),
        draw=draw_samples(partial(quantized, bins=bins)),
        options=options,
    )
    return Experiment(
        learner,
        num_steps,
        train,
        validation,
        test,
        monitor="bits_per_dim",
        seed=seed,
    )
