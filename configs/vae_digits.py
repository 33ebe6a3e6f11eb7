"""Variational autoencoder with Bernoulli pixels.

Paper: Kingma & Welling, Auto-Encoding Variational Bayes, 2014; IWAE: Burda et al., 2016; β-VAE: Higgins et
    al., 2017; inverse autoregressive flow: Kingma et al., 2016
Data: scikit-learn's digits, 8x8, or an image set of TFDS, binarized
Command: jaxdl train configs/vae_digits.py
    jaxdl train configs/vae_digits.py --dataset mnist --binarization dynamic --latent-dim 20
    --hidden 400 --learning-rate 3e-3 --epochs 10
    jaxdl train configs/vae_digits.py --dataset mnist --binarization dynamic --latent-dim 50
    --hidden 200 200 --epochs 300 --nll-samples 5000 --validation-split 'train[99%:]', also with --k 50
Time: 15 s on 2 cores; MNIST 1 min
Expected: ELBO >= -19 nats on the test digits, >= -18.4 with --flow-layers 2; >= -104 on MNIST's,
    dynamically binarized
"""

from jaxdl import optim
from jaxdl.data import Batches, Binarization, ImageSet, binary_images
from jaxdl.learners import vae
from jaxdl.nets.vae import BernoulliDecoder, Encoder, inverse_autoregressive
from jaxdl.train import Experiment, Options

TINY = {"hidden": (32,), "latent_dim": 4, "batch_size": 32, "learning_rate": 3e-3, "epochs": 4}


def vae_digits(
    image_set: ImageSet = ImageSet(),
    binarization: Binarization = "threshold",
    latent_dim: int = 16,
    hidden: tuple[int, ...] = (256,),
    k: int = 1,
    beta: float = 1.0,
    flow_layers: int = 0,
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
        binarization: of pixels: at 1/2, or at random: once, or anew on each visit.
        latent_dim: dimensions of z.
        hidden: widths of the encoder's hidden layers; the decoder's are the same in reverse.
        k: draws of z for each example; the bound is importance-weighted for more than one.
        beta: weight of the KL divergence in training.
        flow_layers: of the inverse autoregressive flow that bends the posterior; 0 for a Gaussian one.
        nll_samples: draws of the importance-sampled −log p(x); 0 to leave it unmeasured.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    splits, transform = binary_images(image_set, binarization)
    train, validation, test = (Batches(split, batch_size, seed, transform) for split in splits)
    steps = epochs * len(train) // batch_size
    learner = vae(
        Encoder(latent_dim, hidden, features=hidden[-1] if flow_layers else 0),
        BernoulliDecoder(train.example["image"].shape, hidden[::-1]),
        optim.adam(optim.warmup_cosine(learning_rate, steps)),
        flow=inverse_autoregressive(flow_layers, hidden) if flow_layers else None,
        k=k,
        beta=beta,
        nll=(binarization, nll_samples) if nll_samples else None,
        options=options,
    )
    monitor = "elbo" if k == 1 else f"iwae_k{k}"
    return Experiment(learner, steps, train, validation, test, monitor=monitor, maximize=True, seed=seed)
