"""Masked autoencoder for distribution estimation.

Paper: Germain, Gregor, Murray & Larochelle, MADE, 2015; fully visible sigmoid belief net: Neal, 1992; Frey,
    Hinton & Dayan, 1996
Data: scikit-learn's digits, 8x8, or an image set of TFDS, binarized
Command: jaxdl train configs/made_digits.py
    jaxdl train configs/made_digits.py --dataset mnist --binarization fixed --learning-rate 1e-2
    --weight-decay 0.01 --epochs 30, also with --num-masks 32, or with --model fvsbn
Time: 10 s on 2 cores; MNIST 1 min for 3 epochs
Expected: nll <= 17.5 nats on the test digits, <= 19.6 with --model fvsbn; <= 95 on MNIST's after 3 epochs
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import optim
from jaxdl.data import Batches, Binarization, ImageSet, binary_images
from jaxdl.learners.autoregressive import BERNOULLI, autoregressive
from jaxdl.nets.made import MADE, Degrees, even_degrees, random_degrees
from jaxdl.train import Experiment, Options

TINY = {"hidden": (64,), "num_masks": 2, "batch_size": 32, "learning_rate": 1e-2, "epochs": 4}


def several_degrees(num: int, num_inputs: int, hidden: tuple[int, ...], seed: int, shuffle: bool) -> Degrees:
    """Draw degrees of several masks, and orders if asked; the first in the natural order: that of samples."""
    keys = jax.random.split(jax.random.key(seed), num - 1)
    drawn = [random_degrees(key, num_inputs, hidden, shuffle=shuffle) for key in keys]
    degrees = [even_degrees(num_inputs, hidden), *drawn]
    return jax.tree.map(lambda *layers: jnp.stack(layers), *degrees)


def made_digits(
    image_set: ImageSet = ImageSet(),
    binarization: Binarization = "threshold",
    model: Literal["made", "fvsbn"] = "made",
    hidden: tuple[int, ...] = (500,),
    num_masks: int = 1,
    natural_order: bool = False,
    weight_decay: float = 0.3,
    learning_rate: float = 3e-3,
    batch_size: int = 128,
    epochs: int = 200,
    seed: int = 0,
    options: Options = Options(),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns.
        binarization: of pixels: at 1/2, or at random: once, or anew on each visit.
        model: MADE, or the fully visible sigmoid belief net, which is one without hidden layers.
        hidden: widths of the hidden layers.
        num_masks: masks that are trained; their probabilities are averaged in evaluation.
        natural_order: whether all masks keep the order of the pixels, or each draws its own.
        weight_decay: of AdamW, on the matrices.
        learning_rate: of AdamW, at its peak; it falls along a cosine.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random, masks too.
        options: of the step.
    """
    hidden = hidden if model == "made" else ()
    splits, transform = binary_images(image_set, binarization)
    train, validation, test = (Batches(split, batch_size, seed, transform) for split in splits)
    steps = epochs * len(train) // batch_size
    learner = autoregressive(
        MADE(1, hidden, final_init=nn.initializers.zeros, direct=bool(hidden)),
        BERNOULLI,
        optim.adamw(
            optim.warmup_cosine(learning_rate, steps), weight_decay=weight_decay, mask=optim.matrices
        ),
        degrees=several_degrees(num_masks, train.example["image"].size, hidden, seed, not natural_order),
        options=options,
    )
    return Experiment(learner, steps, train, validation, test, monitor="nll", seed=seed)
