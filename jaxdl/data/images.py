"""Image sets by name: the embedded digits, or any set of TFDS."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxdl.data.embedded import Splits, digits
from jaxdl.data.pipeline import Batches
from jaxdl.data.tfds import tfds
from jaxdl.types import Array


class ImageSet(NamedTuple):
    """Name an image set.

    Attributes:
        dataset: digits, which are embedded, or an image set of TFDS, such as mnist.
        data_dir: folder of the prepared TFDS sets; TFDS's own by default.
        train_split: TFDS split to train on; those of the digits are fixed.
        validation_split: TFDS split to validate on.
        test_split: TFDS split to test on.
    """

    dataset: str = "digits"
    data_dir: str | None = None
    train_split: str = "train[:95%]"
    validation_split: str = "train[95%:]"
    test_split: str = "test"


def images(image_set: ImageSet) -> Splits:
    """Load an image set.

    Args:
        image_set: its name and splits.

    Returns:
        Splits of {"image": uint8 [N, H, W, C], "label": int32 [N], ...}.

    Raises:
        ValueError: for a split that does not exist, or a set without images.
        FileNotFoundError: if the set is not prepared in the folder; says how to prepare it.
    """
    dataset, data_dir, *names = image_set
    if dataset == "digits":
        return digits()
    splits = Splits(*(tfds(dataset, name, data_dir) for name in names))
    example = Batches(splits.train, 1).example
    if "image" not in example:
        raise ValueError(f"{dataset} holds {', '.join(example)}, but no image; choose an image set")
    return splits


def to_float(image: Array) -> Array:
    """Turn pixels of 0 .. 255 into float32 of [0, 1]."""
    return image.astype(jnp.float32) / 255


def num_classes(source: Any) -> int:
    """Count the classes of a labelled source: one more than its largest label.

    Raises:
        ValueError: if a label is negative.
    """
    labels = source["label"] if isinstance(source, dict) else np.array([example["label"] for example in source])
    if labels.min() < 0:
        raise ValueError(f"label {labels.min()} is negative; classes count from 0")
    return int(labels.max()) + 1
