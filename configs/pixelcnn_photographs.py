"""Gated PixelCNN of colour patches: each colour of a pixel predicted from the pixels and colours before it.

Paper: van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016; mixture of discretized
    logistics: Salimans et al., PixelCNN++, 2017
Data: patches of scikit-learn's two photographs, or an image set of TFDS
Command: jaxdl train configs/pixelcnn_photographs.py
    jaxdl train configs/pixelcnn_photographs.py --conditionals logistic_mixture --levels 256
Time: 5 min on 2 cores
Expected: bits/dim <= 0.6 on patches of the test strips, of 8 levels
"""

from functools import partial
from typing import Literal

from jaxdl import optim
from jaxdl.data import Batches, ImageSet, patches, preprocess, to_float
from jaxdl.learners.autoregressive import autoregressive, categorical, logistic_mixture
from jaxdl.nets.pixel_cnn import GatedPixelCNN
from jaxdl.train import Experiment, Options
from jaxdl.types import Array, Key

TINY = {
    "patch_size": 4,
    "stride": 16,
    "features": 12,
    "layers": 1,
    "batch_size": 32,
    "learning_rate": 1e-2,
    "steps": 48,
}


def of_levels(key: Key, example: dict[str, Array], levels: int) -> dict[str, Array]:
    """Round pixels to a few levels."""
    return {"x": preprocess.quantize(to_float(example["image"]), levels)}


def pixelcnn_photographs(
    image_set: ImageSet = ImageSet("photographs"),
    conditionals: Literal["categorical", "logistic_mixture"] = "categorical",
    levels: int = 8,
    components: int = 5,
    patch_size: int = 12,
    stride: int = 4,
    features: int = 48,
    layers: int = 4,
    learning_rate: float = 2e-3,
    batch_size: int = 64,
    steps: int = 1_000,
    seed: int = 0,
    options: Options = Options(clip_norm=100.0, ema=0.99),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns; of other sets than photographs the images are taken whole.
        conditionals: what a colour of a pixel is: any distribution over levels, or a mixture of logistics.
        levels: of a colour, evenly spaced; 256 for all of them.
        components: of the mixture.
        patch_size: side of a patch in pixels.
        stride: pixels from one training patch to the next.
        features: channels of the convolutions, a multiple of 3.
        layers: gated layers.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: examples in a step.
        steps: of training.
        seed: of everything random.
        options: of the step.
    """
    output = categorical(levels) if conditionals == "categorical" else logistic_mixture(components, levels)
    sources = patches(image_set, patch_size, stride)
    transform = partial(of_levels, levels=levels)
    train, validation, test = (Batches(source, batch_size, seed, transform) for source in sources)
    optimizer = optim.adam(optim.warmup_cosine(learning_rate, steps))
    return Experiment(
        autoregressive(
            GatedPixelCNN(output.num_params, features, layers), output, optimizer, options=options
        ),
        steps,
        train,
        validation,
        test,
        monitor="bits_per_dim",
        seed=seed,
    )
