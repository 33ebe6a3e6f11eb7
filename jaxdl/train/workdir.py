"""A run's folder: locked while it is used, and tied to the arguments that made it."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxdl.errors import InputError

STARTED = ("lock", "config.json.part")  # what a run that was killed as it started may have left


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
    try:
        check_config(path, config)
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
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
    """Raise an InputError if a folder was made by another config or arguments, or holds what no run makes."""
    if path.exists() and not path.is_dir():
        raise InputError(f"workdir {path} is a file; choose another --workdir")
    if not (path / "config.json").exists():
        if path.is_dir() and any(child.name not in STARTED for child in path.iterdir()):
            raise InputError(f"workdir {path} holds files but no run; choose another --workdir")
        return
    made, wanted = flat(read_config(path)), flat(json.loads(json.dumps(config)))
    differences = [
        f"{name} is {made.get(name)!r} there, {wanted.get(name)!r} here"
        for name in [*made, *(name for name in wanted if name not in made)]
        if made.get(name) != wanted.get(name)
    ]
    if differences:
        message = f"workdir {path} was made otherwise: {'; '.join(differences)}"
        raise InputError(f"{message}; choose another --workdir, or the same arguments")
    for name, is_right in (
        ("metrics.jsonl", Path.is_file),
        ("checkpoints", Path.is_dir),
        ("pictures", Path.is_dir),
    ):
        if (path / name).exists() and not is_right(path / name):
            raise InputError(f"{path / name} is not what a run writes there; move it away")
    if (path / "pictures").is_symlink():
        raise InputError(
            f"{path / 'pictures'} is a link; pictures are not written through it: make it a folder"
        )
    check_rows(path / "metrics.jsonl")


def check_rows(path: Path) -> None:
    """Raise an InputError if a line of metrics.jsonl is JSON but no row; a half-written line is no harm."""
    try:
        lines = path.read_text().splitlines() if path.exists() else []
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text; move it away") from None
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if not (isinstance(row, dict) and isinstance(row.get("step"), int) and "split" in row):
            raise InputError(
                f"{path} holds no row of metrics in line {number}: {line[:40]}; delete that line"
            )


def read_config(path: Path) -> dict[str, Any]:
    """Read config.json of a run's folder."""
    try:
        config = json.loads((path / "config.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is not a run's folder: it has no config.json") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path / 'config.json'}: {error}; mend it, or train again") from None
    if not isinstance(config, dict):
        raise InputError(f"{path / 'config.json'} holds {type(config).__name__}, not the object of a run")
    return config


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is seen whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)  # left by a kill; or a link, which must not be followed
    with part.open("xb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    part.replace(path)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested arguments: {"options": {"ema": None}} is {"options.ema": None}."""
    leaves: dict[str, Any] = {}
    for name, value in config.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return leaves
