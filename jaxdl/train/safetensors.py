"""Trees of arrays as safetensors files, which other libraries read and which hold no code."""

import json
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdl.errors import InputError
from jaxdl.train.export import check_target
from jaxdl.train.names import is_key, named, nested
from jaxdl.train.workdir import write_atomically

SUFFIX = ".safetensors"


def save_safetensors(
    path: str | Path, tree: Any, about: Mapping[str, Any] | None = None, *, overwrite: bool = False
) -> Path:
    """Write a tree of arrays, each named by its place: "params.net.Dense_0.kernel".

    Args:
        path: of the file, *.safetensors.
        tree: nested dicts of arrays; of what is no dict, the places are numbers or names of attributes.
        about: what the header tells beside, as JSON holds it, under "about".
        overwrite: whether an earlier file is replaced.

    Returns:
        The path.

    Raises:
        InputError: if the file cannot be written, or two arrays would have one name.
    """
    path = Path(path)
    check_file(path, overwrite)
    numpy_format, _ = _library()
    arrays = {
        # in C's order, as the library writes other ones as they lie in memory
        name: np.array(jax.random.key_data(leaf) if is_key(leaf) else leaf, order="C")
        for name, leaf in named(tree).items()
    }
    content = numpy_format.save(arrays, {"about": json.dumps(about or {})})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; give --to for another place") from None
    return path


def load_safetensors(path: str | Path) -> dict[str, Any]:
    """Read a file of `save_safetensors`, or any other, as nested dicts: dots in names are levels.

    Args:
        path: of the file.

    Returns:
        Nested dicts of numpy arrays.

    Raises:
        InputError: if the file cannot be read, or an array lies inside of another.
    """
    numpy_format, damage = _library()
    try:
        arrays = numpy_format.load(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give the path of a {SUFFIX} file") from None
    except (damage, KeyError) as error:
        raise InputError(f"{path} is no whole safetensors file: {error}; write it again") from None
    levels = {level for name in arrays for level in accumulate(name.split(".")[:-1], "{}.{}".format)}
    for name in levels & set(arrays):
        raise InputError(f"{path} holds an array {name}, and others inside of it; rename one")
    return nested(arrays)


def load_params(path: str | Path) -> Any:
    """Read the params of a file that `jaxdl export --format safetensors` wrote.

    Raises:
        InputError: if it cannot be read, or holds no params.
    """
    tree = load_safetensors(path)
    if "params" not in tree:
        raise InputError(f"{path} holds no params; it holds {', '.join(tree) or 'nothing'}")
    return tree["params"]


def check_file(path: Path, overwrite: bool) -> None:
    """Raise an InputError unless a file of this name can be written."""
    if path.suffix != SUFFIX:
        raise InputError(f"{path} is no name of a safetensors file; give one that ends in {SUFFIX}")
    check_target(path, overwrite, path.is_file)


def _library() -> tuple[Any, Any]:
    try:
        import safetensors.numpy
    except ImportError:
        raise InputError('safetensors is not installed; pip install "jaxdl[export]"') from None
    return safetensors.numpy, safetensors.SafetensorError
