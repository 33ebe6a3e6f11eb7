"""Multilayer perceptron.

Paper: Rumelhart, Hinton & Williams, Learning representations by back-propagating errors, 1986
Data: scikit-learn's digits, 8x8, or an image set of TFDS
Command: jaxdl train configs/mlp_digits.py
Time: 5 s on 2 cores
Expected: accuracy >= 98 % on the test digits
"""

from jaxdl import optim
from jaxdl.data import Batches, ImageSet, images, num_classes, scaled
from jaxdl.learners import classifier
from jaxdl.nets.mlp import MLP
from jaxdl.train import Experiment, Options

TINY = {"hidden": (32,), "batch_size": 32, "epochs": 4}


def mlp_digits(
    image_set: ImageSet = ImageSet(),
    hidden: tuple[int, ...] = (512, 512),
    dropout: float = 0.2,
    learning_rate: float = 1e-3,
    batch_size: int = 128,
    epochs: int = 100,
    seed: int = 0,
    options: Options = Options(),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns.
        hidden: widths of the hidden layers.
        dropout: share of hidden units dropped in training.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    train, validation, test = (Batches(split, batch_size, seed, scaled) for split in images(image_set))
    steps = epochs * len(train) // batch_size
    learner = classifier(
        MLP(num_classes(train.source), hidden, dropout=dropout),
        optim.adam(optim.warmup_cosine(learning_rate, steps)),
        options=options,
    )
    return Experiment(learner, steps, train, validation, test, monitor="accuracy", maximize=True, seed=seed)
