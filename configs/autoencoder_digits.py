"""Autoencoder: linear, undercomplete, sparse, denoising or contractive.

Paper: Baldi & Hornik, 1989; Hinton & Salakhutdinov, 2006; Ng, Sparse Autoencoder, 2011; Vincent et al.,
    Denoising Autoencoders, 2008; Rifai et al., Contractive Auto-Encoders, 2011
Data: scikit-learn's digits, 8x8, or an image set of TFDS
Command: jaxdl train configs/autoencoder_digits.py
    jaxdl train configs/autoencoder_digits.py --kind denoising --latent-dim 128
Time: 15 s on 2 cores
Expected: squared error <= 0.85 on the test digits, where 8 principal components leave 1.55, and a linear one
    1.6 with --learning-rate 1e-2
"""

from typing import Literal

import jax

from jaxdl import optim
from jaxdl.data import Batches, ImageSet, images, pixels
from jaxdl.learners.autoencoder import autoencoder, contractive, masking_noise, sparse_kl, sparse_l1
from jaxdl.nets.mlp import MLP
from jaxdl.nets.vae import BernoulliDecoder
from jaxdl.train import Experiment, Options

TINY = {"hidden": (32,), "latent_dim": 4, "batch_size": 32, "learning_rate": 3e-3, "epochs": 4}


def autoencoder_digits(
    image_set: ImageSet = ImageSet(),
    kind: Literal[
        "linear", "undercomplete", "sparse_l1", "sparse_kl", "denoising", "contractive"
    ] = "undercomplete",
    latent_dim: int = 8,
    hidden: tuple[int, ...] = (256,),
    weight: float = 0.1,
    rate: float = 0.3,
    learning_rate: float = 3e-3,
    batch_size: int = 128,
    epochs: int = 300,
    seed: int = 0,
    options: Options = Options(),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns.
        kind: what keeps it from copying: a narrow code, few active units, noise, or a penalty on slopes.
        latent_dim: units of the code; a sparse one wants more than pixels.
        hidden: widths of the encoder's hidden layers; the decoder's are the same in reverse. A linear one
            has none, and a contractive one is a single sigmoid layer, as in its paper.
        weight: λ of the penalty of a sparse or contractive one.
        rate: share of the pixels that are hidden from a denoising one.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    splits = images(image_set, features=("image",))
    train = Batches(splits.train, batch_size, seed, pixels)
    # a density is fitted to the codes of one batch: a large one
    validation, test = (Batches(split, 512, seed, pixels) for split in splits[1:])
    steps = epochs * len(train) // batch_size
    hidden = () if kind in ("linear", "contractive") else hidden
    rules = {
        "sparse_l1": {"act": jax.nn.relu, "penalty": sparse_l1(weight)},
        "sparse_kl": {"act": jax.nn.sigmoid, "penalty": sparse_kl(weight)},
        "contractive": {"act": jax.nn.sigmoid, "penalty": contractive(weight)},
        "denoising": {"corrupt": masking_noise(rate)},
    }
    learner = autoencoder(
        MLP(latent_dim, hidden),
        BernoulliDecoder(train.example["image"].shape, hidden[::-1]),
        optim.adam(optim.warmup_cosine(learning_rate, steps)),
        **rules.get(kind, {}),
        options=options,
    )
    return Experiment(learner, steps, train, validation, test, seed=seed)
