"""Conditional flow of images: super-resolution, one image from another, or a class and its change.

Paper: Lugmayr et al., SRFlow, 2020; Pumarola et al., C-Flow, 2020; Abdal et al., StyleFlow, 2021
Data: scikit-learn's digits, 8x8 from 4x4, sharp from blurred, or of a class; or an image set of TFDS
Command: jaxdl train configs/conditional_flow_digits.py
    jaxdl train configs/conditional_flow_digits.py --task c_flow
    jaxdl train configs/conditional_flow_digits.py --task attribute
Time: 2 min on 2 cores
Expected: bits/dim <= 1.55 given the small image; <= 1.66 of both images; <= 2.02 given the class
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from jaxdl import optim
from jaxdl.data import Batches, ImageSet, images, num_classes, num_levels, to_float
from jaxdl.learners.flow import dequantized, flow, quantized
from jaxdl.learners.flow_pictures import draw_edits, draw_given
from jaxdl.nets.flows import Conditioned, ImageEncoder, c_flow, glow
from jaxdl.train import Experiment, Options
from jaxdl.types import Array, Key

TINY = {"levels": 1, "steps": 1, "width": 8, "batch_size": 32, "epochs": 2}


def mean_of(image: Array, size: int, stride: int, padding: str) -> Array:
    """Average the squares of an image [H, W, C]."""
    squares = (size, size, 1), (stride, stride, 1), padding
    return jax.lax.reduce_window(image, 0.0, jax.lax.add, *squares) / size**2


def with_small(key: Key, example: dict[str, Array], bins: int) -> dict[str, Array]:
    """Give an image the half as large one as context: x = image, u = small."""
    image = to_float(example["image"])
    return {**dequantized(image, key, bins), "context": mean_of(image, 2, 2, "VALID")}


def beside_blurred(key: Key, example: dict[str, Array], bins: int) -> dict[str, Array]:
    """Put an image beside its blurred self: x = [blurred, image]."""
    image = to_float(example["image"])
    return dequantized(jnp.concatenate([mean_of(image, 3, 1, "SAME"), image], -1), key, bins)


def with_class(key: Key, example: dict[str, Array], bins: int, classes: int) -> dict[str, Array]:
    """Give an image its class as context: x = image, u = one-hot label."""
    context = jax.nn.one_hot(example["label"], classes)
    return {**dequantized(to_float(example["image"]), key, bins), "context": context}


def conditional_flow_digits(
    image_set: ImageSet = ImageSet(),
    bins: int | None = None,
    task: Literal["super_resolution", "c_flow", "attribute"] = "super_resolution",
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
        task: p(image | half as large), p(blurred) p(image | blurred), or p(image | class).
        levels: scales of Glow; C-Flow has one.
        steps: of flow on each scale.
        width: channels of the conditioners.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    bins = bins or num_levels(image_set)
    splits = images(image_set)
    to_image = partial(quantized, bins=bins)
    net, transform, draw = {
        "super_resolution": (
            Conditioned(ImageEncoder(width), glow(levels, steps, width, inject=True)),
            with_small,
            draw_given(to_image),
        ),
        "c_flow": (c_flow(steps, width), beside_blurred, draw_given(to_image)),
        "attribute": (
            glow(levels, steps, width),
            partial(with_class, classes=num_classes(splits.train)),
            draw_edits(to_image),
        ),
    }[task]
    transform = partial(transform, bins=bins)
    train, validation, test = (Batches(split, batch_size, seed, transform) for split in splits)
    num_steps = epochs * len(train) // batch_size
    optimizer = optim.adam(optim.warmup_cosine(learning_rate, num_steps))
    return Experiment(
        flow(net, optimizer, draw=draw, options=options),
        num_steps,
        train,
        validation,
        test,
        monitor="bits_per_dim",
        seed=seed,
    )
