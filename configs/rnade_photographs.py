"""Real-valued neural autoregressive distribution estimator of patches of photographs.

Paper: Uria, Murray & Larochelle, RNADE: The Real-Valued Neural Autoregressive Density-Estimator, 2013
Data: patches of scikit-learn's two photographs, or an image set of TFDS, dequantized
Command: jaxdl train configs/rnade_photographs.py
Time: 2 min on 2 cores
Expected: bits/dim <= 4.6 on the strips of the photographs kept for the test
"""

from functools import partial

from flax import linen as nn

from jaxdl import optim
from jaxdl.data import Batches, ImageSet, patches, to_float
from jaxdl.learners.autoregressive import autoregressive, draw_images, normal_mixture, sample_in_one_pass
from jaxdl.learners.flow import dequantized, quantized
from jaxdl.nets.nade import NADE
from jaxdl.train import Experiment, Options
from jaxdl.types import Array, Key

TINY = {"patch_size": 4, "width": 16, "components": 3, "batch_size": 32, "learning_rate": 1e-2, "epochs": 1}
BINS = 256


def levels_to_reals(key: Key, example: dict[str, Array]) -> dict[str, Array]:
    """Dequantize a patch, anew on each visit."""
    return dequantized(to_float(example["image"]), key, BINS)


def rnade_photographs(
    image_set: ImageSet = ImageSet("photographs"),
    patch_size: int = 8,
    components: int = 10,
    width: int = 256,
    learning_rate: float = 3e-3,
    batch_size: int = 128,
    epochs: int = 10,
    seed: int = 0,
    options: Options = Options(clip_norm=100.0),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns; of other sets than photographs the images are taken whole.
        patch_size: side of a patch in pixels.
        components: normals in the mixture of each value.
        width: units of each hidden layer, of which there is one for each value.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    splits = patches(image_set, patch_size)
    train, validation, test = (Batches(split, batch_size, seed, levels_to_reals) for split in splits)
    steps = epochs * len(train) // batch_size
    conditionals = normal_mixture(components)
    learner = autoregressive(
        NADE(conditionals.num_params, width, nn.relu, scaled=True),
        conditionals,
        optim.adam(optim.warmup_cosine(learning_rate, steps, warmup=100)),
        draw=draw_images(partial(sample_in_one_pass, conditionals), partial(quantized, bins=BINS)),
        options=options,
    )
    return Experiment(learner, steps, train, validation, test, monitor="bits_per_dim", seed=seed)
