"""Semi-supervised VAE: few labels, enumerated where they are missing.

Paper: Kingma, Rezende, Mohamed & Welling, Semi-Supervised Learning with Deep Generative Models, 2014
Data: scikit-learn's digits, 8x8, or an image set of TFDS, binarized, of which few have labels
Command: jaxdl train configs/m2_digits.py
    jaxdl train configs/m2_digits.py --dataset mnist --hidden 500 --latent-dim 50 --epochs 30
Time: 1 min on 2 cores
Expected: error <= 0.15 on the test digits with 100 labels
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import optim
from jaxdl.data import Batches, ImageSet, images, preprocess, to_float
from jaxdl.data import num_classes as count_classes
from jaxdl.learners.m2 import m2
from jaxdl.nets.mlp import MLP
from jaxdl.nets.vae import BernoulliDecoder, Encoder
from jaxdl.train import Experiment, Options
from jaxdl.types import Array, Key

TINY = {"hidden": (32,), "latent_dim": 4, "batch_size": 32, "learning_rate": 3e-3, "epochs": 4}


def binary(key: Key, example: dict[str, Array]) -> dict[str, Array]:
    """Draw a binary image, anew on each visit."""
    return {"x": preprocess.binarize(key, to_float(example["image"])), "label": example["label"]}


def beside_labelled(key: Key, example: dict[str, Array], labelled: dict[str, Array]) -> dict[str, Array]:
    """Put one of the labelled examples, at random, beside an example whose label is dropped."""
    key_x, key_choice, key_labelled = jax.random.split(key, 3)
    chosen = jax.random.randint(key_choice, (), 0, len(labelled["label"]))
    one = jax.tree.map(lambda array: array[chosen], labelled)
    return {"x": binary(key_x, example)["x"], "labelled": binary(key_labelled, one)}


def first_of_each_class(source: dict[str, np.ndarray], num: int, seed: int) -> dict[str, Array]:
    """Pick `num` examples at random, as many of each class as of another."""
    order = np.random.default_rng(seed).permutation(len(source["label"]))
    classes = count_classes(source)
    if num % classes:
        raise ValueError(f"num_labels is {num}; give a multiple of {classes}, as many labels of each class")
    rows = [order[source["label"][order] == label][: num // classes] for label in range(classes)]
    return {name: jnp.asarray(array[np.concatenate(rows)]) for name, array in source.items()}


def m2_digits(
    image_set: ImageSet = ImageSet(),
    num_labels: int = 100,
    latent_dim: int = 16,
    hidden: tuple[int, ...] = (256,),
    alpha: float = 10.0,
    learning_rate: float = 1e-3,
    batch_size: int = 128,
    epochs: int = 200,
    seed: int = 0,
    options: Options = Options(),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns.
        num_labels: examples that keep their label, as many of each class as of another.
        latent_dim: dimensions of z.
        hidden: widths of the hidden layers of encoder and classifier; the decoder's are the same in reverse.
        alpha: weight of the classification of labelled examples.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: unlabelled examples in a step, and as many labelled ones.
        epochs: passes over the training data.
        seed: of everything random, the choice of labels too.
        options: of the step.
    """
    splits = images(image_set)
    classes = count_classes(splits.train)
    labelled = first_of_each_class(splits.train, num_labels, seed)
    train = Batches(splits.train, batch_size, seed, partial(beside_labelled, labelled=labelled))
    validation, test = (Batches(split, batch_size, seed, binary) for split in splits[1:])
    steps = epochs * len(train) // batch_size
    learner = m2(
        Encoder(latent_dim, hidden),
        BernoulliDecoder(train.example["image"].shape, hidden[::-1]),
        MLP(classes, hidden),
        optim.adam(optim.warmup_cosine(learning_rate, steps)),
        num_classes=classes,
        labelled_share=num_labels / len(train),
        alpha=alpha,
        options=options,
    )
    return Experiment(learner, steps, train, validation, test, monitor="error", seed=seed)
