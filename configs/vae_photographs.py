"""Variational autoencoder with Gaussian pixels, or levels of a discretized logistic.

Paper: Kingma & Welling, Auto-Encoding Variational Bayes, 2014; one learned σ: Rybkin et al., 2021;
    discretized logistic: Salimans et al., 2017
Data: patches of scikit-learn's two photographs, or an image set of TFDS
Command: jaxdl train configs/vae_photographs.py
    jaxdl train configs/vae_photographs.py --decoder discretized_logistic --steps 2000
Time: 1 min on 2 cores
Expected: ELBO >= 820 nats on patches of the test strips, of a density; of levels >= -3300 nats, that is
    6.2 bits per dimension, after 2000 steps
"""

from typing import Literal

from jaxdl import optim
from jaxdl.data import Batches, ImageSet, patches, pixels
from jaxdl.learners import DISCRETIZED_LOGISTIC, GAUSSIAN, vae
from jaxdl.nets.vae import Encoder, GaussianDecoder
from jaxdl.train import Experiment, Options

TINY = {
    "patch_size": 8,
    "stride": 16,
    "hidden": (32,),
    "latent_dim": 4,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "steps": 96,
}


def vae_photographs(
    image_set: ImageSet = ImageSet("photographs"),
    decoder: Literal["gaussian", "discretized_logistic"] = "gaussian",
    patch_size: int = 16,
    stride: int = 2,
    latent_dim: int = 64,
    hidden: tuple[int, ...] = (512,),
    beta: float = 1.0,
    learning_rate: float = 1e-3,
    batch_size: int = 128,
    steps: int = 4_000,
    nll_samples: int = 0,
    seed: int = 0,
    options: Options = Options(clip_norm=1_000.0),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns; of other sets than photographs the images are taken whole.
        decoder: what a pixel is: a number, or one of 256 levels.
        patch_size: side of a patch in pixels.
        stride: pixels from one training patch to the next.
        latent_dim: dimensions of z.
        hidden: widths of the encoder's hidden layers; the decoder's are the same in reverse.
        beta: weight of the KL divergence in training.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: examples in a step.
        steps: of training.
        nll_samples: draws of the importance-sampled −log p(x); 0 to leave it unmeasured.
        seed: of everything random.
        options: of the step.
    """
    sources = patches(image_set, patch_size, stride)
    train, validation, test = (Batches(source, batch_size, seed, pixels) for source in sources)
    learner = vae(
        Encoder(latent_dim, hidden),
        GaussianDecoder(train.example["image"].shape, hidden[::-1]),
        optim.adam(optim.warmup_cosine(learning_rate, steps)),
        likelihood={"gaussian": GAUSSIAN, "discretized_logistic": DISCRETIZED_LOGISTIC}[decoder],
        beta=beta,
        nll=(decoder, nll_samples) if nll_samples else None,
        options=options,
    )
    return Experiment(learner, steps, train, validation, test, monitor="elbo", maximize=True, seed=seed)
