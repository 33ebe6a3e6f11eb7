"""Image sets by name: the embedded digits and photographs, or any set of TFDS."""

from typing import Any, Literal, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

from jaxdl.data.embedded import Splits, digits, photographs
from jaxdl.data.pipeline import Transform
from jaxdl.data.preprocess import binarize
from jaxdl.data.tfds import tfds
from jaxdl.types import Array, Key

Binarization: TypeAlias = Literal["threshold", "fixed", "dynamic"]


class ImageSet(NamedTuple):
    """Name an image set.

    Attributes:
        dataset: digits or photographs, which are embedded, or an image set of TFDS, such as mnist.
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


def images(image_set: ImageSet, features: tuple[str, ...] = ("image", "label")) -> Splits:
    """Load an image set.

    Args:
        image_set: its name and splits.
        features: the arrays of an example that are kept.

    Returns:
        Splits of {"image": uint8 [N, H, W, C], "label": int32 [N]}, or of examples read one by one from disk
        if the images differ in size or take more than 2 GiB.

    Raises:
        ValueError: for a split that does not exist, or a set without these features.
        FileNotFoundError: if the set is not prepared in the folder; says how to prepare it.
    """
    dataset, data_dir, *names = image_set
    if dataset == "photographs":
        raise ValueError(
            "dataset is photographs, cut into patches elsewhere; choose digits, or a set of TFDS"
        )
    if dataset == "digits":
        return Splits(*({name: split[name] for name in features} for split in digits()))
    return Splits(*(tfds(dataset, name, data_dir, features=features) for name in names))


def patches(image_set: ImageSet, size: int, stride: int | None = None) -> Splits:
    """Load patches of the photographs, of which those to train on may overlap; of other sets, whole images.

    Args:
        image_set: its name and splits.
        size: side of a patch in pixels.
        stride: pixels from one training patch to the next; patches do not overlap by default.

    Raises:
        ValueError, FileNotFoundError: as `images` and `photographs` do.
    """
    if image_set.dataset != "photographs":
        return images(image_set, ("image",))
    return photographs(size)._replace(train=photographs(size, stride).train)


def num_levels(image_set: ImageSet) -> int:
    """Return how many levels a pixel of an image set has: 17 of the digits, 256 of other sets."""
    return 17 if image_set.dataset == "digits" else 256


def to_float(image: Array) -> Array:
    """Turn pixels of 0 .. 255 into float32 of [0, 1]."""
    return image.astype(jnp.float32) / 255


def scaled(key: Key, example: dict[str, Array]) -> dict[str, Array]:
    """Scale the pixels of an example to [0, 1]; a transform that draws nothing at random."""
    return {**example, "image": to_float(example["image"])}


def pixels(key: Key, example: dict[str, Array]) -> dict[str, Array]:
    """Scale the pixels of an example to [0, 1] and drop its label: a transform for generative learners."""
    return {"x": to_float(example["image"])}


def binary_images(
    image_set: ImageSet, binarization: Binarization, features: tuple[str, ...] = ("image",)
) -> tuple[Splits, Transform]:
    """Load an image set whose pixels become 0 or 1.

    Args:
        image_set: its name and splits.
        binarization: "threshold" sets a pixel to 1 above 1/2; "fixed" draws it with its brightness as
            probability, once, the same in every run; "dynamic" draws it so anew on each visit.
        features: the arrays of an example that are kept.

    Returns:
        The splits, and a transform to {"x": float32 [H, W, C] in {0, 1}}, with the features that are left.

    Raises:
        ValueError: as `images` does, and for a fixed binarization of images that are read one by one.
    """
    splits = images(image_set, features)
    if binarization == "fixed":
        if not all(isinstance(split, dict) for split in splits):
            raise ValueError("images read one by one have no fixed binarization; choose threshold or dynamic")
        splits = Splits(*({**split, "image": drawn(split["image"], i)} for i, split in enumerate(splits)))

    def transform(key: Key, example: dict[str, Array]) -> dict[str, Array]:
        """Set each pixel to 0 or 1."""
        brightness = to_float(example["image"])
        x = binarize(key, brightness) if binarization == "dynamic" else (brightness > 0.5).astype(jnp.float32)
        return {"x": x, **{name: value for name, value in example.items() if name != "image"}}

    return splits, transform


def drawn(image: np.ndarray, seed: int) -> np.ndarray:
    """Draw each pixel k of 0 .. 255 to be 255 with probability k/255, else 0."""
    # numpy promises that RandomState's stream never changes; default_rng's may with a release.
    uniform = np.random.RandomState(seed).randint(255, size=image.shape, dtype=np.uint8)
    return np.where(uniform < image, np.uint8(255), np.uint8(0))


def num_classes(source: Any) -> int:
    """Count the classes of a labelled source: one more than its largest label.

    Raises:
        ValueError: if a label is negative.
    """
    labels = (
        source["label"] if isinstance(source, dict) else np.array([example["label"] for example in source])
    )
    if labels.min() < 0:
        raise ValueError(f"label {labels.min()} is negative; classes count from 0")
    return int(labels.max()) + 1
