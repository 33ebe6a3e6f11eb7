"""Deep convolutional generative adversarial network.

Paper: Radford, Metz & Chintala, Unsupervised Representation Learning with DCGANs, 2016
Data: scikit-learn's digits, 8x8, or an image set of TFDS
Command: jaxdl train configs/dcgan_digits.py
Time: 1 min on 2 cores
Expected: Fréchet distance of pixels <= 0.5 to the test digits
"""

from jaxdl import optim
from jaxdl.data import Batches, ImageSet, images, pixels
from jaxdl.learners.gan import gan, pixel_distance
from jaxdl.nets.dcgan import Discriminator, Generator
from jaxdl.train import Experiment, Options

TINY = {"widths": (8, 8), "batch_size": 32, "epochs": 4}


def dcgan_digits(
    image_set: ImageSet = ImageSet(),
    latent_dim: int = 64,
    widths: tuple[int, ...] = (128, 64),
    learning_rate: float = 2e-4,
    batch_size: int = 64,
    epochs: int = 100,
    seed: int = 0,
    options: Options = Options(ema=0.999),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns.
        latent_dim: dimensions of z.
        widths: channels of the generator before each doubling; the discriminator's are the reverse.
        learning_rate: of both players' Adam.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    splits = images(image_set, features=("image",))
    train, validation, test = (Batches(split, batch_size, seed, pixels) for split in splits)
    learner = gan(
        Generator(train.example["image"].shape, widths),
        Discriminator(widths[::-1]),
        optim.adam(learning_rate, b1=0.5),
        optim.adam(learning_rate, b1=0.5),
        latent_dim=latent_dim,
        measure=pixel_distance,
        options=options,
    )
    steps = epochs * len(train) // batch_size
    return Experiment(
        learner,
        steps,
        train,
        validation,
        test,
        monitor="frechet",
        seed=seed,
    )
