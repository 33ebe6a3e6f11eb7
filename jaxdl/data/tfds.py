"""TensorFlow Datasets without TensorFlow: prepared sets are read from their ArrayRecord files."""

import difflib
import io
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

MEMORY_BYTES = 2**31  # larger sets are read from disk, example by example
BULK = 1024  # records in one read
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's names for so many channels of 8 bits
_NEEDS = "where tensorflow, apache-beam and mlcroissant are installed (only that command needs them)"


@dataclass(frozen=True)
class Examples:
    """The examples of a prepared set, each read and decoded when it is asked for: `len`, `[i]`."""

    records: Any
    decoders: Mapping[str, Callable[[Any], Any]]

    def __len__(self) -> int:
        """Count the examples."""
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read one example."""
        return self.decode(self.records[range(len(self))[index]])

    def decode(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Turn a record, whose pictures are still compressed, into an example."""
        return {name: decoder(record[name]) for name, decoder in self.decoders.items()}


def tfds(
    name: str, split: str, data_dir: str | Path | None = None, *, features: Sequence[str] | None = None
) -> dict[str, np.ndarray] | Examples:
    """Read a data set that TensorFlow Datasets has prepared as ArrayRecord; touch no network.

    Images stay uint8 [H, W, C], class labels are int32, text is UTF-8 bytes; all else is as TFDS decodes it.

    Args:
        name: "name", or in full "name/config:version"; the newest version on disk by default.
        split: as TFDS writes it, such as "train", "train[:90%]", "train[10000:]" or "train+test".
        data_dir: the folder of prepared sets; $TFDS_DATA_DIR or ~/tensorflow_datasets by default.
        features: names of the features to keep, such as ("image", "label"); all by default.

    Returns:
        Arrays {feature: [N, ...]} if every feature kept is a number or numbers of a fixed shape, and all of
        them take at most 2 GiB; otherwise a sequence of examples, read one by one from disk.

    Raises:
        FileNotFoundError: if the set is not prepared in the folder.
        ValueError: if TFDS has no such set, the set has no such split or feature, its config must be named,
            or it is prepared in another file format, or is damaged.
    """
    from tensorflow_datasets import builder_from_directory, decode

    data_dir = Path(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    folder = _find(name, data_dir)
    with _told_of_damage(folder):
        builder = builder_from_directory(folder)

    held = builder.info.features
    unknown = set(features or ()) - set(held)
    if unknown:
        raise ValueError(f"{name} has no feature {', '.join(sorted(unknown))}; it has {', '.join(held)}")
    kept = {feature: held[feature] for feature in features or held}
    # To decode small pictures here takes half the time that it takes inside TFDS.
    skip = {feature: decode.SkipDecoding() for feature in held if _is_picture(held[feature])}
    try:
        records = builder.as_data_source(split=split, decoders=skip)
    except NotImplementedError:
        raise ValueError(
            f"{name} is prepared in {folder} as {builder.info.file_format.value}, not as array_record; run "
            f"`tfds convert_format --dataset_version_dir={folder} --out_file_format=array_record` {_NEEDS}"
        ) from None
    except ValueError:
        splits = ", ".join(f"{key} ({info.num_examples})" for key, info in builder.info.splits.items())
        raise ValueError(
            f"{name} has no examples at split {split!r}; it has {splits}, and slices such as 'train[:90%]'"
        ) from None

    examples = Examples(records, {key: _decoder(feature) for key, feature in kept.items()})
    if not all(map(_is_fixed, kept.values())):
        return examples
    example_bytes = sum(math.prod(feature.shape) * _dtype(feature).itemsize for feature in kept.values())
    if len(examples) * example_bytes > MEMORY_BYTES:
        return examples
    arrays = {
        key: np.empty((len(examples), *feature.shape), _dtype(feature)) for key, feature in kept.items()
    }
    with _told_of_damage(folder):
        _read(examples, into=arrays)
    return arrays


@contextmanager
def _told_of_damage(folder: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes its reader say into one ValueError."""
    try:
        yield
    except Exception as error:
        message = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        raise ValueError(f"{folder} is damaged, delete it and prepare it again: {message}") from error


def _find(name: str, data_dir: Path) -> Path:
    """Find the folder data_dir/name[/config]/version, the newest version if none is named."""
    path, _, version = name.partition(":")
    if not re.fullmatch(r"\w+(/\w[\w.+-]*)?", path):
        raise ValueError(f"{name!r} is no name of a data set; give one such as mnist or name/config:1.0.0")
    folders = [
        info.parent
        for pattern in ("*/dataset_info.json", "*/*/dataset_info.json")
        for info in (data_dir / path).glob(pattern)
        if re.fullmatch(r"\d+\.\d+\.\d+", info.parent.name)
    ]
    if not folders:
        from tensorflow_datasets import list_builders

        title, titles = path.split("/")[0], list_builders(with_community_datasets=False)
        if title not in titles:
            near = difflib.get_close_matches(title, titles) or ["a name of the TFDS catalogue"]
            raise ValueError(f"{data_dir} holds no {title!r}, nor does TFDS know it; try {' or '.join(near)}")
        raise FileNotFoundError(
            f"{path} is not prepared in {data_dir}; run "
            f"`tfds build {path} --file_format=array_record --data_dir={data_dir}` {_NEEDS}"
        )
    configs = sorted({folder.parent.relative_to(data_dir).as_posix() for folder in folders})
    if len(configs) > 1:
        raise ValueError(f"{data_dir} holds several configs of {name}; name one of {', '.join(configs)}")
    versions = {folder.name: folder for folder in folders}
    if version and version not in versions:
        raise FileNotFoundError(f"{data_dir} does not hold {name}; it has version {', '.join(versions)}")
    return versions[version or max(versions, key=lambda version: tuple(map(int, version.split("."))))]


def _read(examples: Examples, into: dict[str, np.ndarray]) -> None:
    for start in range(0, len(examples), BULK):
        rows = range(start, min(start + BULK, len(examples)))
        for row, record in zip(rows, examples.records.__getitems__(rows), strict=True):
            for name, value in examples.decode(record).items():
                into[name][row] = value


def _decoder(feature: Any) -> Callable[[Any], Any]:
    if _is_picture(feature):
        return partial(_decode_picture, channels=feature.shape[-1])
    if _is_fixed(feature):
        return partial(np.asarray, dtype=_dtype(feature))
    return _keep


def _keep(value: Any) -> Any:
    return value  # a lambda could not be pickled, for reading in other processes


def _decode_picture(compressed: bytes, channels: int) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(compressed)) as picture:
        mode = _MODES[channels]
        pixels = picture if picture.mode == mode else picture.convert(mode)
        return np.frombuffer(pixels.tobytes(), np.uint8).reshape(picture.height, picture.width, channels)


def _is_picture(feature: Any) -> bool:
    from tensorflow_datasets import features

    return (
        isinstance(feature, features.Image) and feature.np_dtype == np.uint8 and feature.shape[-1] in _MODES
    )


def _is_fixed(feature: Any) -> bool:
    """Whether all examples hold numbers of one shape; the shape of a nested feature is a dict."""
    shape = feature.shape
    return isinstance(shape, tuple) and None not in shape and np.dtype(feature.np_dtype).kind in "biuf"


def _dtype(feature: Any) -> np.dtype:
    from tensorflow_datasets import features

    return np.dtype(np.int32 if isinstance(feature, features.ClassLabel) else feature.np_dtype)
