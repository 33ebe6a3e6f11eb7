"""Autoregressive model of small patches by a table, which assumes nothing: 2^D − 1 parameters for D pixels.

Paper: none; beside it stand those that share parameters, such as Bengio & Bengio, Modeling High-Dimensional
    Discrete Data with Multi-Layer Neural Networks, 2000
Data: patches of scikit-learn's digits, 8x8, or of an image set of TFDS, binarized
Command: jaxdl train configs/tabular_digits.py
    jaxdl train configs/tabular_digits.py --dataset mnist --patch-size 4 --epochs 10
Time: 10 s on 2 cores
Expected: nll <= 5.05 nats of 3x3 pixels of the test digits
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxdl import optim
from jaxdl.data import Batches, Binarization, ImageSet, binary_images
from jaxdl.data.pipeline import Transform
from jaxdl.learners.autoregressive import BERNOULLI, autoregressive
from jaxdl.nets.tabular import Tabular
from jaxdl.train import Experiment, Options
from jaxdl.types import Array, Key

TINY = {"batch_size": 32, "learning_rate": 0.3, "epochs": 4}
MAX_PIXELS = 25


def patch(key: Key, example: dict[str, Array], binary: Transform, size: int) -> dict[str, Array]:
    """Cut a square out of a binary image, elsewhere on each visit."""
    key_binary, key_place = jax.random.split(key)
    x = binary(key_binary, example)["x"]
    row, column = jax.random.randint(key_place, (2,), 0, jnp.array(x.shape[:2]) - size + 1)
    return {"x": jax.lax.dynamic_slice(x, (row, column, 0), (size, size, x.shape[-1]))}


def tabular_digits(
    image_set: ImageSet = ImageSet(),
    binarization: Binarization = "threshold",
    patch_size: int = 3,
    learning_rate: float = 3e-2,
    batch_size: int = 128,
    epochs: int = 60,
    seed: int = 0,
    options: Options = Options(),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns.
        binarization: of pixels: at 1/2, or at random: once, or anew on each visit.
        patch_size: side of the patches, whose D pixels take a table of 2^D − 1 parameters.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    splits, binary = binary_images(image_set, binarization)
    height, width, channels = Batches(splits.train, batch_size).example["image"].shape
    largest = min(height, width, int((MAX_PIXELS / channels) ** 0.5))
    if patch_size > largest:
        raise ValueError(f"patch_size is {patch_size}; give at most {largest}: the table has 2^D - 1 entries")
    transform = partial(patch, binary=binary, size=patch_size)
    train, validation, test = (Batches(split, batch_size, seed, transform) for split in splits)
    steps = epochs * len(train) // batch_size
    learner = autoregressive(
        Tabular(), BERNOULLI, optim.adam(optim.warmup_cosine(learning_rate, steps)), options=options
    )
    return Experiment(learner, steps, train, validation, test, monitor="nll", seed=seed)
