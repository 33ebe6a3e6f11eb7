"""Latent sequences of pen strokes: variational recurrent or temporal convolutional net, content and style.

Paper: Chung et al., A Recurrent Latent Variable Model for Sequential Data, 2015; Aksan, Pece & Hilliges,
    DeepWriting, 2018; Aksan & Hilliges, STCN: Stochastic Temporal Convolutional Networks, 2019
Data: generated rows of three digits, written with a pen in many styles
Command: jaxdl train configs/vrnn_strokes.py
    jaxdl train configs/vrnn_strokes.py --model stcn
Time: 5 min on 2 cores
Expected: ELBO >= 65 nats on the test rows, >= 70 with STCN
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxdl import optim
from jaxdl.data import Batches, sequences
from jaxdl.learners.latent_sequence import latent_sequence, pen
from jaxdl.nets.stcn import STCN
from jaxdl.nets.vrnn import VRNN, StyleEncoder
from jaxdl.ops.pictures import line_picture
from jaxdl.train import Experiment, Options
from jaxdl.types import Array, Key

TINY = {
    "latent_dim": 3,
    "width": 16,
    "components": 2,
    "num_train": 64,
    "batch_size": 16,
    "learning_rate": 1e-2,
    "steps": 96,
}


def with_content(key: Key, example: dict[str, Array]) -> dict[str, Array]:
    """Tell at each step which digit is written, and where one starts."""
    digit = jax.nn.one_hot(example["glyph"], len(sequences.GLYPHS))
    context = jnp.concatenate([digit, example["start"][:, None]], -1)
    return {"x": example["x"], "mask": example["mask"], "context": context}


def row_picture(x: Array, mask: Array) -> Array:
    """Draw a row of digits in its middle, at a scale that is the same for all."""
    path = x[:, :2].cumsum(0)
    inside = mask[:, None] > 0
    lowest = jnp.where(inside, path, jnp.inf).min(0)
    highest = jnp.where(inside, path, -jnp.inf).max(0)
    middle, half = (lowest + highest) / 2, jnp.array([12.0, 5.0])
    return line_picture(path, middle - half, middle + half, (40, 96), (1 - x[:, 2]) * mask)[..., None]


def vrnn_strokes(
    model: Literal["vrnn", "stcn"] = "vrnn",
    latent_dim: int = 16,
    style_dim: int = 8,
    free_nats: float = 8.0,
    width: int = 128,
    components: int = 1,
    nll_samples: int = 0,
    num_train: int = 8_000,
    learning_rate: float = 2e-3,
    batch_size: int = 32,
    steps: int = 3_000,
    seed: int = 0,
    options: Options = Options(clip_norm=10.0),
) -> Experiment:
    """Build the experiment.

    Args:
        model: the net of latents: recurrent, or convolutional with three layers of them.
        latent_dim: dimensions of z_t; of STCN those of the lowest layer, half as many in each above it.
        style_dim: dimensions of the latent that a whole row shares; 0 for none.
        free_nats: what the style may tell at no cost.
        width: of the hidden layers; the convolutions have half as many channels.
        components: of the mixture that a move of the pen is drawn from.
        nll_samples: draws of the importance-sampled −log p(x); 0 to leave it unmeasured.
        num_train: rows to train on, eight times as many as validate, and test.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: rows in a step.
        steps: of training.
        seed: of everything random; rows have seeds of their own.
        options: of the step.
    """
    sizes = num_train, num_train // 8, num_train // 8
    splits = (sequences.strokes(split, num) for split, num in enumerate(sizes))
    train, validation, test = (Batches(split, batch_size, seed, with_content) for split in splits)
    emission = pen(components)
    latent_dims = latent_dim, max(latent_dim // 2, 1), max(latent_dim // 4, 1)
    learner = latent_sequence(
        VRNN(emission.num_params, latent_dim, width)
        if model == "vrnn"
        else STCN(emission.num_params, latent_dims, channels=width // 2, width=width),
        emission,
        optim.adam(optim.warmup_cosine(learning_rate, steps, warmup=100)),
        row_picture,
        style=StyleEncoder(style_dim, width) if style_dim else None,
        warmup=steps // 4,
        free_nats=free_nats,
        nll_samples=nll_samples,
        options=options,
    )
    return Experiment(learner, steps, train, validation, test, monitor="elbo", maximize=True, seed=seed)
