"""Real pictures that come inside scikit-learn's wheel: nothing is downloaded."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

STRIP = 64  # pixels; photographs are dealt to the splits in strips this wide
STRIPS = "train", "train", "validation", "train", "test", "train", "train", "test", "train", "train"


class Splits(NamedTuple):
    """Three disjoint parts of one data set: fit on the first, choose by the second, report the third."""

    train: Any
    validation: Any
    test: Any


def digits() -> Splits:
    """Load 1797 handwritten digits of 8 by 8 pixels, split 70 : 10 : 20 within each class.

    The split is fixed: the same examples in the same order on every machine.

    See Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits" (UCI, 1998), its test set.

    Returns:
        Splits of {"image": uint8 [N, 8, 8, 1] in 0 .. 255, "label": int32 [N]}; N is 1258, 180 and 359.
    """
    table = np.loadtxt(_shipped("data/digits.csv.gz"), delimiter=",")
    image = np.round(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    label = table[:, -1].astype(np.int32)

    # numpy promises that RandomState's stream never changes; default_rng's may with a release.
    order = np.random.RandomState(0).permutation(len(label))
    parts = []
    for digit in range(10):
        rows = order[label[order] == digit]
        parts.append(np.split(rows, [round(0.7 * len(rows)), round(0.8 * len(rows))]))
    rows_of_split = [np.sort(np.concatenate(rows)) for rows in zip(*parts, strict=True)]
    return Splits(*({"image": image[rows], "label": label[rows]} for rows in rows_of_split))


def photographs(patch_size: int = 16, stride: int | None = None) -> Splits:
    """Cut two colour photographs of 427 by 640 pixels, a Chinese temple and a flower, into square patches.

    Each photograph is cut into ten vertical strips, seven for training, one for validation and two for the
    test. Patches stay inside their strip, so the splits share no pixel.

    Args:
        patch_size: side of a patch in pixels, 1 to 64.
        stride: pixels from one patch to the next; patches do not overlap by default.

    Returns:
        Splits of {"image": uint8 [N, patch_size, patch_size, 3]}.

    Raises:
        ValueError: if the patch does not fit into a strip, or the stride is not positive.
    """
    stride = patch_size if stride is None else stride
    if not 1 <= patch_size <= STRIP:
        raise ValueError(f"patch_size is {patch_size}; choose 1 to {STRIP}, the width of a strip")
    if stride < 1:
        raise ValueError(f"stride is {stride}; choose 1 or more")
    patches: dict[str, list[np.ndarray]] = {name: [] for name in Splits._fields}
    for photograph in (_picture("china"), _picture("flower")):
        for strip, name in zip(np.split(photograph, len(STRIPS), axis=1), STRIPS, strict=True):
            windows = np.lib.stride_tricks.sliding_window_view(strip, (patch_size, patch_size), axis=(0, 1))
            windows = np.moveaxis(windows[::stride, ::stride], 2, -1)  # [rows, columns, p, p, 3]
            patches[name].append(windows.reshape(-1, patch_size, patch_size, 3))
    return Splits(*({"image": np.concatenate(patches[name])} for name in Splits._fields))


def _shipped(name: str) -> Path:
    """Find a file in scikit-learn's wheel; importing it takes longer than a small run's first step."""
    spec = find_spec("sklearn")
    assert spec is not None and spec.submodule_search_locations is not None  # a dependency
    return Path(spec.submodule_search_locations[0], "datasets", name)


def _picture(name: str) -> np.ndarray:
    from PIL import Image

    with Image.open(_shipped(f"images/{name}.jpg")) as picture:
        return np.asarray(picture)
