"""Configs: Python files with one function whose typed keyword arguments are the options."""

import argparse
import importlib.util
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxdl.errors import InputError
from jaxdl.train.experiment import Experiment

ConfigFunction = Callable[..., Experiment]


def find(name: str) -> Path:
    """Return the absolute path of a config file.

    Raises:
        InputError: if there is no such Python file.
    """
    path = Path(name).resolve()
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"there is no config {name}; `jaxdl list` shows those in configs/")
    return path


def load(path: Path) -> ConfigFunction:
    """Import a config file and return its function, which has the name of the file.

    Raises:
        InputError: if it cannot be imported, or has no such function.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InputError(f"config {path.name} is no Python module")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        message = f"config {path.name} cannot be imported: {type(error).__name__}: {error}"
        raise InputError(message) from error
    function = getattr(module, path.stem, None)
    if not inspect.isfunction(function):
        raise InputError(
            f"config {path.name} has no function {path.stem}(); give it one that returns an Experiment"
        )
    return function


def options(function: ConfigFunction) -> dict[str, dict[str, Any]]:
    """Describe the function's keyword arguments as options: {"--name": keywords of `add_argument`}.

    An argument whose type is a NamedTuple stands for one option per field. The help is what the docstring
    says of the argument.

    Raises:
        InputError: for an argument without a type or a default, or of a type that no option can have.
    """
    return {
        "--" + name.rpartition(".")[-1].replace("_", "-"): {
            "dest": name,
            "default": default,
            "help": text,
            **_conversion(function, name, kind),
        }
        for name, (kind, default, text) in _fields(function).items()
    }


def arguments(function: ConfigFunction, values: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the function's arguments from parsed options: a nested dict, as JSON holds it."""
    picked: dict[str, Any] = {}
    for name in _fields(function):
        outer, _, inner = name.rpartition(".")
        place = picked.setdefault(outer, {}) if outer else picked
        value = values[name]
        place[inner] = list(value) if isinstance(value, tuple) else value
    return picked


def build(function: ConfigFunction, given: Mapping[str, Any]) -> Experiment:
    """Call a config's function with arguments as JSON holds them.

    Raises:
        InputError: if the function refuses them, or does not return an Experiment.
    """

    hints = typing.get_type_hints(function)

    def convert(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(value)
        return hints[name](**value) if isinstance(value, dict) else value

    try:
        experiment = function(**{name: convert(name, value) for name, value in given.items()})
    except (ValueError, OSError, ImportError, TypeError) as error:
        raise InputError(" ".join(str(error).split())) from error
    if not isinstance(experiment, Experiment):
        message = f"config {function.__name__} returned {type(experiment).__name__}"
        raise InputError(f"{message}; it must return a jaxdl.train.Experiment")
    return experiment


def _fields(function: ConfigFunction) -> dict[str, tuple[Any, Any, str]]:
    """Return {name: (type, default, help)}; the fields of a NamedTuple argument are `argument.field`."""
    hints, texts = typing.get_type_hints(function), _descriptions(function)
    fields: dict[str, tuple[Any, Any, str]] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in hints or parameter.default is parameter.empty:
            raise InputError(f"argument {name} of config {function.__name__} needs a type and a default")
        if hasattr(hints[name], "_fields"):
            inner, inner_texts = typing.get_type_hints(hints[name]), _descriptions(hints[name])
            for key, value in parameter.default._asdict().items():
                fields[f"{name}.{key}"] = inner[key], value, inner_texts.get(key, key)
        else:
            fields[name] = hints[name], parameter.default, texts.get(name, name)
    return fields


def _descriptions(documented: Any) -> dict[str, str]:
    """Read {argument: what its docstring says of it}."""
    found: dict[str, str] = {}
    last = ""
    for line in inspect.cleandoc(documented.__doc__ or "").splitlines():
        if match := re.match(r"    (\w+): (.*)", line):
            last = match[1]
            found[last] = match[2]
        elif last and line.startswith(" " * 8):
            found[last] += f" {line.strip()}"
        else:
            last = ""
    return {name: text.rstrip(".").replace("%", "%%") for name, text in found.items()}


def _conversion(function: ConfigFunction, name: str, kind: Any) -> dict[str, Any]:
    """Say how argparse reads a type: bool, int, float, str, Literal, tuple[T, ...], one of these | None."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union) and len(inner) == 2 and type(None) in inner:
        return _conversion(function, name, next(part for part in inner if part is not type(None)))
    if origin is typing.Literal:
        return {"choices": inner}
    if origin is tuple and len(inner) == 2 and inner[1] is Ellipsis:
        return {"type": inner[0], "nargs": "+", "metavar": inner[0].__name__}
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if kind in (int, float, str):
        return {"type": kind, "metavar": kind.__name__}
    raise InputError(
        f"argument {name} of config {function.__name__} has type {kind}, which no option can have"
    )
