"""Data as a function of the step: sources, batches, preprocessing, augmentation."""

from jaxdl.data import augment, preprocess, sequences
from jaxdl.data.densities import (
    checkerboard,
    checkerboard_log_prob,
    eight_gaussians,
    eight_gaussians_log_prob,
    spirals,
    spirals_log_prob,
    two_moons,
    two_moons_log_prob,
)
from jaxdl.data.embedded import Splits, digits, photographs
from jaxdl.data.images import (
    Binarization,
    ImageSet,
    binary_images,
    images,
    num_classes,
    num_levels,
    patches,
    pixels,
    scaled,
    to_float,
)
from jaxdl.data.pipeline import Batches
from jaxdl.data.text import Text, decode, encode, split_text, text, windows
from jaxdl.data.tfds import tfds

__all__ = [
    "Batches",
    "Binarization",
    "ImageSet",
    "Splits",
    "Text",
    "augment",
    "binary_images",
    "checkerboard",
    "checkerboard_log_prob",
    "decode",
    "digits",
    "eight_gaussians",
    "eight_gaussians_log_prob",
    "encode",
    "images",
    "num_classes",
    "num_levels",
    "patches",
    "photographs",
    "pixels",
    "preprocess",
    "scaled",
    "sequences",
    "spirals",
    "spirals_log_prob",
    "split_text",
    "text",
    "tfds",
    "to_float",
    "two_moons",
    "two_moons_log_prob",
    "windows",
]
