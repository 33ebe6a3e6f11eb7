"""Order-agnostic autoregressive model: one net for all orders, which fills any gap.

Paper: Uria, Murray & Larochelle, A Deep and Tractable Density Estimator, 2014; convolutional: Uria et al.,
    Neural Autoregressive Distribution Estimation, 2016
Data: scikit-learn's digits, 8x8, or an image set of TFDS, binarized
Command: jaxdl train configs/order_agnostic_digits.py
    jaxdl train configs/order_agnostic_digits.py --dataset mnist --binarization fixed --weight-decay 0.01
    --num-orders 1 --epochs 100 --validation-split 'train[99%:]'
Time: 1 min on 2 cores
Expected: nll <= 16.7 nats on the test digits, four orders averaged; <= 19.6 with --net convolutional
    --depth 2 --epochs 50 --num-orders 1
"""

from typing import Literal

from flax import linen as nn

from jaxdl import optim
from jaxdl.data import Batches, Binarization, ImageSet, binary_images
from jaxdl.learners.order_agnostic import order_agnostic
from jaxdl.nets.deep_nade import ConvNADE, DeepNADE
from jaxdl.train import Experiment, Options

TINY = {"hidden": (64,), "num_orders": 1, "batch_size": 32, "learning_rate": 1e-2, "epochs": 4}


def order_agnostic_digits(
    image_set: ImageSet = ImageSet(),
    binarization: Binarization = "threshold",
    net: Literal["dense", "convolutional"] = "dense",
    hidden: tuple[int, ...] = (500, 500),
    width: int = 32,
    depth: int = 4,
    num_orders: int = 4,
    weight_decay: float = 0.1,
    learning_rate: float = 3e-3,
    batch_size: int = 128,
    epochs: int = 300,
    seed: int = 0,
    options: Options = Options(),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns.
        binarization: of pixels: at 1/2, or at random: once, or anew on each visit.
        net: DeepNADE or ConvNADE.
        hidden: widths of the hidden layers of the dense net.
        width: channels of the convolutional net.
        depth: residual blocks of the convolutional net.
        num_orders: orders drawn for an evaluation, whose probabilities are averaged.
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
    nets: dict[str, nn.Module] = {"dense": DeepNADE(1, hidden), "convolutional": ConvNADE(1, width, depth)}
    learner = order_agnostic(
        nets[net],
        optim.adamw(
            optim.warmup_cosine(learning_rate, steps), weight_decay=weight_decay, mask=optim.matrices
        ),
        num_orders=num_orders,
        options=options,
    )
    return Experiment(
        learner,
        steps,
        train,
        validation,
        test,
        monitor="nll",
        seed=seed,
    )
