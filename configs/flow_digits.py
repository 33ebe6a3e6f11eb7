"""Normalizing flow of images.

Paper: Dinh et al., RealNVP, 2017; Kingma & Dhariwal, Glow, 2018; Papamakarios et al., MAF, 2017
Data: scikit-learn's digits, 8x8, or an image set of TFDS, dequantized
Command: jaxdl train configs/flow_digits.py
    jaxdl train configs/flow_digits.py --dataset mnist --bins 256 --levels 2 --epochs 10
Time: 1 min on 2 cores; RealNVP 5 min
Expected: bits/dim on the test digits, which have 17 levels: <= 2.13 (Glow), 2.2 (MAF, RealNVP)
"""

from functools import partial
from typing import Literal

from jaxdl import optim
from jaxdl.data import Batches, ImageSet, images, to_float
from jaxdl.learners.flow import dequantized, quantized
from jaxdl.learners.flow import flow as flow_learner
from jaxdl.learners.flow_pictures import draw_samples
from jaxdl.nets.flows import Bijector, Flat, glow, image_real_nvp, maf
from jaxdl.train import Experiment, Options
from jaxdl.types import Array, Key

TINY = {"levels": 1, "steps": 1, "width": 8, "batch_size": 32, "epochs": 2}


def levels_to_reals(key: Key, example: dict[str, Array], bins: int) -> dict[str, Array]:
    """Dequantize an image, anew on each visit."""
    return dequantized(to_float(example["image"]), key, bins)


def flow_digits(
    image_set: ImageSet = ImageSet(),
    bins: int = 17,
    flow: Literal["glow", "real_nvp", "maf"] = "glow",
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
        bins: levels of a pixel: 17 of the digits, 256 of 8-bit images.
        flow: how it maps; MAF has no scales and takes the pixels as a vector.
        levels: scales of Glow and RealNVP.
        steps: of Glow on each scale; layers of MAF.
        width: channels of the conditioners; of MAF the units of its two hidden layers, eight times as many.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    nets: dict[str, Bijector] = {
        "glow": glow(levels, steps, width),
        "real_nvp": image_real_nvp(levels, width),
        "maf": Flat(maf(steps, (8 * width, 8 * width))),
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
