"""PixelCNN or PixelRNN: each pixel predicted from those before it.

Paper: van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks, 2016; gated: van den Oord et
    al., Conditional Image Generation with PixelCNN Decoders, 2016
Data: scikit-learn's digits, 8x8, or an image set of TFDS, binarized or of few levels
Command: jaxdl train configs/pixelcnn_digits.py
    jaxdl train configs/pixelcnn_digits.py --levels 17 --conditional --epochs 30
    jaxdl train configs/pixelcnn_digits.py --model diagonal_bilstm --layers 3 --learning-rate 5e-3
    --epochs 12, also with --model row_lstm
    jaxdl train configs/pixelcnn_digits.py --dataset mnist --binarization dynamic --first-size 27
    --learning-rate 5e-3 --epochs 5
Time: 30 s on 2 cores; PixelRNN 1 min; MNIST 1 h
Expected: nll <= 17.4 nats on the test digits, <= 17.9 of the PixelRNNs; bits/dim <= 1.75 of 17 levels given
    the class
"""

from functools import partial
from typing import Literal

import jax
from flax import linen as nn

from jaxdl import optim
from jaxdl.data import Batches, Binarization, ImageSet, binary_images, images, num_classes, to_float
from jaxdl.data.pipeline import Transform
from jaxdl.data.preprocess import quantize
from jaxdl.learners.autoregressive import BERNOULLI, autoregressive, categorical
from jaxdl.nets.pixel_cnn import GatedPixelCNN, PixelCNN
from jaxdl.nets.pixel_rnn import DiagonalBiLSTM, PixelRNN, RowLSTM
from jaxdl.train import Experiment, Options
from jaxdl.types import Array, Key

TINY = {"features": 8, "layers": 1, "batch_size": 32, "learning_rate": 1e-2, "epochs": 2}


def of_levels(key: Key, example: dict[str, Array], levels: int) -> dict[str, Array]:
    """Round pixels to a few levels."""
    return {**example, "x": quantize(to_float(example["image"]), levels)}


def modelled(key: Key, example: dict[str, Array], transform: Transform, classes: int) -> dict[str, Array]:
    """Keep of an example the pixels, as transformed, and its class, if any, as context."""
    x = {"x": transform(key, example)["x"]}
    return x | {"context": jax.nn.one_hot(example["label"], classes)} if classes else x


def pixelcnn_digits(
    image_set: ImageSet = ImageSet(),
    model: Literal["gated", "pixelcnn", "row_lstm", "diagonal_bilstm"] = "gated",
    conditional: bool = False,
    levels: int = 2,
    binarization: Binarization = "threshold",
    features: int = 32,
    layers: int = 5,
    first_size: int = 7,
    learning_rate: float = 2e-3,
    batch_size: int = 64,
    epochs: int = 20,
    seed: int = 0,
    options: Options = Options(clip_norm=10.0, ema=0.999),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns.
        model: what predicts a pixel: gated PixelCNN, PixelCNN, or PixelRNN by its LSTM.
        conditional: whether it is told the class.
        levels: of a pixel, evenly spaced; 2 for binary ones.
        binarization: of binary pixels: at 1/2, or at random: once, or anew on each visit.
        features: channels of the convolutions.
        layers: of the net, between its first convolution and its last two.
        first_size: side of the first convolution's kernel, odd: what it sees makes the receptive field.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    conditionals = BERNOULLI if levels == 2 else categorical(levels)
    nets: dict[str, nn.Module] = {
        "gated": GatedPixelCNN(conditionals.num_params, features, layers, first_size=first_size),
        "pixelcnn": PixelCNN(conditionals.num_params, features, layers, first_size),
        "row_lstm": PixelRNN(conditionals.num_params, features, layers, RowLSTM, first_size),
        "diagonal_bilstm": PixelRNN(conditionals.num_params, features, layers, DiagonalBiLSTM, first_size),
    }
    arrays = ("image", "label") if conditional else ("image",)
    if levels == 2:
        splits, transform = binary_images(image_set, binarization, arrays)
    else:
        splits, transform = images(image_set, arrays), partial(of_levels, levels=levels)
    classes = num_classes(splits.train) if conditional else 0
    transform = partial(modelled, transform=transform, classes=classes)
    train, validation, test = (Batches(split, batch_size, seed, transform) for split in splits)
    steps = epochs * len(train) // batch_size
    optimizer = optim.adam(optim.warmup_cosine(learning_rate, steps))
    return Experiment(
        autoregressive(nets[model], conditionals, optimizer, options=options),
        steps,
        train,
        validation,
        test,
        monitor="nll",
        seed=seed,
    )
