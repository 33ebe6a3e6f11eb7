"""A run's folder: locked while it is used, and tied to the arguments that made it."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxdl.errors import InputError


@contextmanager
def open_workdir(path: Path, config: Mapping[str, Any]) -> Iterator[Path]:
    """Hold a run's folder for this process, made if needed, with its config.json.

    The lock is the kernel's: it ends with the process that holds it, however that process ends.

    Args:
        path: the folder.
        config: the config file's name and every argument, as JSON holds them.

    Yields:
        The folder.

    Raises:
        InputError: if it cannot be written, is in use, or was made by other arguments (each one named).
    """
    check_config(path, config)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise InputError(
            f"cannot write in workdir {path}: {error.strerror}; choose another --workdir"
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            message = f"workdir {path} is in use by another process"
            raise InputError(f"{message}; wait for it, or choose another --workdir") from None
        if not (path / "config.json").exists():
            write_atomically(path / "config.json", json.dumps(config, indent=2) + "\n")
        yield path
    finally:
        os.close(lock)


def check_config(path: Path, config: Mapping[str, Any]) -> None:
    """Raise an InputError if a folder was made by another config or with other arguments."""
    if path.exists() and not path.is_dir():
        raise InputError(f"workdir {path} is a file; choose another --workdir")
    if not (path / "config.json").exists():
        if path.is_dir() and any(child.name != "lock" for child in path.iterdir()):
            raise InputError(f"workdir {path} holds files but no run; choose another --workdir")
        return
    made, wanted = _flat(read_config(path)), _flat(json.loads(json.dumps(config)))
    differences = [
        f"{name} is {made.get(name)!r} there, {wanted.get(name)!r} here"
        for name in [*made, *(name for name in wanted if name not in made)]
        if made.get(name) != wanted.get(name)
    ]
    if differences:
        message = f"workdir {path} was made otherwise: {'; '.join(differences)}"
        raise InputError(f"{message}; choose another --workdir, or the same arguments")


def read_config(path: Path) -> dict[str, Any]:
    """Read config.json of a run's folder."""
    try:
        return json.loads((path / "config.json").read_text())
    except FileNotFoundError:
        raise InputError(f"{path} is not a run's folder: it has no config.json") from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path / 'config.json'}: {error}") from None


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is seen whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
