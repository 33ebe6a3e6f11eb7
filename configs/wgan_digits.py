"""Wasserstein GAN with gradient penalty: five critic steps to one of the generator.

Paper: Arjovsky et al., Wasserstein GAN, 2017; Gulrajani et al., Improved Training of Wasserstein GANs, 2017
Data: scikit-learn's digits, 8x8, or an image set of TFDS
Command: jaxdl train configs/wgan_digits.py
Time: 4 min on 2 cores
Expected: Fréchet distance of pixels <= 0.4 to the test digits
"""

from collections.abc import Callable

from jaxdl import optim
from jaxdl.data import Batches, ImageSet, images, pixels
from jaxdl.learners.gan import gan, pixel_distance
from jaxdl.nets.dcgan import Discriminator, Generator
from jaxdl.objectives import gradient_penalty, wasserstein_discriminator_loss, wasserstein_generator_loss
from jaxdl.train import Experiment, Options
from jaxdl.types import Array, Key

TINY = {"widths": (8, 8), "batch_size": 32, "learning_rate": 2e-3, "epochs": 4}


def wgan_digits(
    image_set: ImageSet = ImageSet(),
    latent_dim: int = 64,
    widths: tuple[int, ...] = (128, 64),
    penalty: float = 10.0,
    critic_steps: int = 5,
    learning_rate: float = 5e-4,
    batch_size: int = 64,
    epochs: int = 200,
    seed: int = 0,
    options: Options = Options(ema=0.999),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns.
        latent_dim: dimensions of z.
        widths: channels of the generator before each doubling; the critic's are the reverse.
        penalty: λ, weight of the gradient penalty.
        critic_steps: critic steps to one generator step.
        learning_rate: of both players' Adam.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    splits = images(image_set, features=("image",))
    train, validation, test = (Batches(split, batch_size, seed, pixels) for split in splits)

    def weighted_penalty(critic: Callable[[Array], Array], real: Array, fake: Array, key: Key) -> Array:
        return penalty * gradient_penalty(critic, real, fake, key)

    learner = gan(
        Generator(train.example["image"].shape, widths),
        Discriminator(widths[::-1], norm=None),
        optim.adam(learning_rate, b1=0.0, b2=0.9),
        optim.adam(learning_rate, b1=0.0, b2=0.9),
        latent_dim=latent_dim,
        generator_loss=wasserstein_generator_loss,
        discriminator_loss=wasserstein_discriminator_loss,
        penalty=weighted_penalty,
        generator_every=critic_steps,
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
