"""Conditional variational autoencoder: images of a class, or what is hidden of an image.

Paper: Sohn, Lee & Yan, Structured Output Representation using Deep Conditional Generative Models, 2015
Data: scikit-learn's digits, 8x8, or an image set of TFDS, binarized; with their class, or hidden in part
Command: jaxdl train configs/conditional_vae_digits.py
    jaxdl train configs/conditional_vae_digits.py --task inpainting
Time: 15 s on 2 cores
Expected: ELBO >= -20.5 nats on the test digits, dynamically binarized, given their class; >= -11.6 of what a
    square of 5x5 hides, given the rest
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from jaxdl import optim
from jaxdl.data import Batches, ImageSet, images, num_classes, preprocess, to_float
from jaxdl.learners import vae
from jaxdl.nets.vae import BernoulliDecoder, Encoder, Inpainter
from jaxdl.train import Experiment, Options
from jaxdl.types import Array, Key

TINY = {"hidden": (32,), "latent_dim": 4, "batch_size": 32, "learning_rate": 3e-3, "epochs": 4}


def with_class(key: Key, example: dict[str, Array], classes: int) -> dict[str, Array]:
    """Give a binary image, drawn anew on each visit, its class as context."""
    x = preprocess.binarize(key, to_float(example["image"]))
    return {"x": x, "context": jax.nn.one_hot(example["label"], classes)}


def hidden_in_part(key: Key, example: dict[str, Array]) -> dict[str, Array]:
    """Hide a square at random of a binary image: x = image, u = (what is seen, mask of it)."""
    key_pixels, key_place = jax.random.split(key)
    x = preprocess.binarize(key_pixels, to_float(example["image"]))
    height, width, _ = x.shape
    side = 2 * min(height, width) // 3
    place = jax.random.randint(key_place, (2,), 0, jnp.array([height, width]) - side + 1)
    mask = jax.lax.dynamic_update_slice(jnp.ones_like(x), jnp.zeros((side, side, x.shape[-1])), (*place, 0))
    return {"x": x, "context": jnp.concatenate([x * mask, mask], -1)}


def grey_where_hidden(context: Array) -> Array:
    """Show what is seen of images [B, H, W, 2C]."""
    seen, mask = jnp.split(context, 2, -1)
    return jnp.where(mask > 0, seen, 0.5)


def conditional_vae_digits(
    image_set: ImageSet = ImageSet(),
    task: Literal["class", "inpainting"] = "class",
    latent_dim: int = 16,
    hidden: tuple[int, ...] = (256,),
    nll_samples: int = 0,
    learning_rate: float = 1e-3,
    batch_size: int = 128,
    epochs: int = 500,
    seed: int = 0,
    options: Options = Options(),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns.
        task: p(image | class), or p(what a square hides | the rest).
        latent_dim: dimensions of z.
        hidden: widths of the encoder's hidden layers; the decoder's are the same in reverse.
        nll_samples: draws of the importance-sampled −log p(x); 0 to leave it unmeasured.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    splits = images(image_set)
    decoder = BernoulliDecoder(splits.train["image"].shape[1:], hidden[::-1])
    inpaints = task == "inpainting"
    transform = hidden_in_part if inpaints else partial(with_class, classes=num_classes(splits.train))
    train, validation, test = (Batches(split, batch_size, seed, transform) for split in splits)
    steps = epochs * len(train) // batch_size
    learner = vae(
        Encoder(latent_dim, hidden),
        Inpainter(decoder) if inpaints else decoder,
        optim.adam(optim.warmup_cosine(learning_rate, steps)),
        nll=("dynamic", nll_samples) if nll_samples else None,
        show_context=grey_where_hidden if inpaints else None,
        options=options,
    )
    return Experiment(learner, steps, train, validation, test, monitor="elbo", maximize=True, seed=seed)
