"""Neural autoregressive distribution estimator.

Paper: Larochelle & Murray, The Neural Autoregressive Distribution Estimator, 2011
Data: scikit-learn's digits, 8x8, or an image set of TFDS, binarized
Command: jaxdl train configs/nade_digits.py
    jaxdl train configs/nade_digits.py --dataset mnist --binarization fixed --weight-decay 0.01 --epochs 15
Time: 20 s on 2 cores
Expected: nll <= 17.3 nats on the test digits; <= 99 on MNIST's after one epoch
"""

from functools import partial

from jaxdl import optim
from jaxdl.data import Batches, Binarization, ImageSet, binary_images
from jaxdl.learners.autoregressive import BERNOULLI, autoregressive, draw_images, sample_in_one_pass
from jaxdl.nets.nade import NADE
from jaxdl.train import Experiment, Options

TINY = {"width": 32, "batch_size": 32, "learning_rate": 1e-2, "epochs": 4}


def nade_digits(
    image_set: ImageSet = ImageSet(),
    binarization: Binarization = "threshold",
    width: int = 500,
    weight_decay: float = 0.1,
    learning_rate: float = 1e-2,
    batch_size: int = 128,
    epochs: int = 100,
    seed: int = 0,
    options: Options = Options(),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns.
        binarization: of pixels: at 1/2, or at random: once, or anew on each visit.
        width: units of each hidden layer, of which there is one for each pixel.
        weight_decay: of AdamW, on the matrices.
        learning_rate: of AdamW, at its peak; it falls along a cosine.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    splits, transform = binary_images(image_set, binarization)
    train, validation, test = (Batches(split, batch_size, seed, transform) for split in splits)
    steps = epochs * len(train) // batch_size
    learner = autoregressive(
        NADE(1, width),
        BERNOULLI,
        optim.adamw(
            optim.warmup_cosine(learning_rate, steps), weight_decay=weight_decay, mask=optim.matrices
        ),
        draw=draw_images(partial(sample_in_one_pass, BERNOULLI)),
        options=options,
    )
    return Experiment(learner, steps, train, validation, test, monitor="nll", seed=seed)
