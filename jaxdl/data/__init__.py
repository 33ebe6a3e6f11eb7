"""Data as a function of the step: sources, batches, preprocessing, augmentation."""

from jaxdl.data import augment, preprocess
from jaxdl.data.densities import checkerboard, eight_gaussians, spirals, two_moons
from jaxdl.data.embedded import Splits, digits, photographs
from jaxdl.data.images import ImageSet, images, num_classes, pixels, scaled, to_float
from jaxdl.data.pipeline import Batches
from jaxdl.data.text import Text, decode, encode, split_text, text, windows
