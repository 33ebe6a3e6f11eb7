"""Configs: Python files with one function whose typed keyword arguments are the options."""

import argparse
import importlib.util
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxdl.errors import InputError
from jaxdl.train.experiment import Experiment
from jaxdl.train.workdir import flat, read_config

ConfigFunction = Callable[..., Experiment]

# What the numbers of an argument must be, by its name, in any config; a default that breaks a rule lifts it.
# What a net or an optimizer alone can know, it refuses itself.
RANGES: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    (
        r"(\w+_)?(dim|learning_rate|size|width|widths)|num_\w+"
        "|capacity|channels|clip_norm|collect|components|context|critic_steps|delta|depth|dilations|env_steps"
        "|epochs|features|hidden|k|layers|length|levels|minibatches|n|prior_std|restarts|skip|std|steps|stride"
        "|target_every|temperature|updates|value_epochs|warmup",
        lambda x: x > 0,
        "a number above 0",
    ),
    ("bins", lambda x: x >= 2, "2 or more"),
    ("dropout|ema|label_smoothing|momentum|rate", lambda x: 0 <= x < 1, "a number of at least 0 and below 1"),
    (
        "discount|epsilon|explore_last|explore_share|gae_lambda|lambda_|target_rate",
        lambda x: 0 <= x <= 1,
        "a number from 0 to 1",
    ),
    (".*", lambda x: x >= 0, "0 or more"),
    (".*", lambda x: -math.inf < x < math.inf, "a finite number"),
)


def find(name: str) -> Path:
    """Return the absolute path of a config file.

    Raises:
        InputError: if there is no such Python file.
    """
    try:
        path = Path(name).resolve()
        if path.suffix == ".py" and path.is_file():
            return path
    except (OSError, ValueError):  # a name that no file can have
        pass
    raise InputError(f"there is no config {name}; `jaxdl list` shows those in configs/")


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
    except (Exception, SystemExit) as error:
        raise InputError(f"config {path.name} cannot be imported: {_one_line(error)}") from error
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
        InputError: for an argument without a type or a default, of a type that no option can have, or that is
            there twice.
    """
    described: dict[str, dict[str, Any]] = {}
    for name, (kind, default, text) in _fields(function).items():
        option = "--" + name.rpartition(".")[-1].rstrip("_").replace("_", "-")
        if option in described:
            raise InputError(f"option {option} is there twice; rename one in config {function.__name__}")
        conversion = _conversion(function, name, kind)
        described[option] = {"dest": name, "default": default, "help": text, **conversion}
    return described


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
        InputError: if an argument is unknown or out of range, if the function refuses it, or if it does not
            return an Experiment.
    """
    fields = _fields(function)
    for name, value in flat(given).items():
        if name not in fields:
            raise InputError(f"config {function.__name__} has no argument {name}; it has {', '.join(fields)}")
        _check_value(name, value, *fields[name][:2])
    hints = typing.get_type_hints(function)

    def convert(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(value)
        return hints[name](**value) if isinstance(value, dict) else value

    try:
        experiment = function(**{name: convert(name, value) for name, value in given.items()})
    except (ValueError, OSError, ImportError) as error:  # what jaxdl raises says by itself what is wrong
        raise InputError(" ".join(str(error).split()) or _one_line(error)) from error
    except Exception as error:
        raise InputError(f"config {function.__name__} failed: {_one_line(error)}") from error
    if not isinstance(experiment, Experiment):
        message = f"config {function.__name__} returned {type(experiment).__name__}"
        raise InputError(f"{message}; it must return a jaxdl.train.Experiment")
    return experiment


def rebuild(workdir: Path) -> Experiment:
    """Build the experiment of a run's folder again, by what its config.json says.

    Raises:
        InputError: if it does not name a config and each of its arguments, or a config inside of the folder.
    """
    made, file = read_config(workdir), workdir / "config.json"
    config, given = made.get("config"), made.get("arguments")
    if not isinstance(config, str) or not isinstance(given, dict):
        raise InputError(
            f"{file} must hold a text `config` and an object `arguments`, as `jaxdl train` writes"
        )
    try:
        path = find(config)
    except InputError:
        fix = 'if it was moved, mend "config" there'
        raise InputError(f"there is no config {config}, which {file} names; {fix}") from None
    if path.is_relative_to(workdir.resolve()):  # or a run that was downloaded could bring code to run
        raise InputError(
            f"{file} names a config inside of the run's folder: {path}; read it, and move it elsewhere"
        )
    function = load(path)
    missing = [name for name in _fields(function) if name not in flat(given)]
    if missing:
        raise InputError(
            f"{file} does not give {', '.join(missing)}, which {path} asks for; add to it what was used"
        )
    return build(function, given)


def _fields(function: ConfigFunction) -> dict[str, tuple[Any, Any, str]]:
    """Return {name: (type, default, help)}; the fields of a NamedTuple argument are `argument.field`."""
    owner, texts = f"config {function.__name__}", _descriptions(function)
    try:
        hints = typing.get_type_hints(function)
    except Exception as error:
        raise InputError(f"{owner} has a type that cannot be read: {_one_line(error)}") from error
    fields: dict[str, tuple[Any, Any, str]] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        kind, default = hints.get(name), parameter.default
        if kind is None or default is parameter.empty:
            raise InputError(f"argument {name} of {owner} needs a type and a default")
        if not hasattr(kind, "_fields"):
            fields[name] = kind, default, texts.get(name, name)
            continue
        if not isinstance(default, kind):
            raise InputError(
                f"argument {name} of {owner} is {default!r}; give a {kind.__name__} as its default"
            )
        inner, inner_texts = typing.get_type_hints(kind), _descriptions(kind)
        for key, value in default._asdict().items():
            fields[f"{name}.{key}"] = inner[key], value, inner_texts.get(key, key)
    return fields


def _check_value(name: str, value: Any, kind: Any, default: Any) -> None:
    """Raise an InputError unless a value is of its argument's type, and its numbers are in range."""
    if not _is_a(kind, value):
        raise InputError(f"{name} is {value!r}; give {kind if typing.get_args(kind) else kind.__name__}")
    option = name.rpartition(".")[-1]
    for pattern, holds, wanted in RANGES:
        if re.fullmatch(pattern, option) and all(map(holds, _numbers(default))):
            for number in _numbers(value):
                if not holds(number):
                    raise InputError(f"{option} is {number}; give {wanted}")


def _is_a(kind: Any, value: Any) -> bool:
    """Tell whether a value, as JSON holds it, is of a type that an option can have."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return any(_is_a(part, value) for part in inner)
    if origin is typing.Literal:
        return value in inner
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_is_a(inner[0], part) for part in value)
    return type(value) is kind or (kind is float and type(value) is int)


def _numbers(value: Any) -> list[int | float]:
    parts = value if isinstance(value, list | tuple) else [value]
    return [part for part in parts if type(part) in (int, float)]


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


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
    if origin is tuple and inner in ((int, ...), (float, ...), (str, ...)):
        return {"type": inner[0], "nargs": "+", "metavar": inner[0].__name__}
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if kind in (int, float, str):
        return {"type": kind, "metavar": kind.__name__}
    raise InputError(
        f"argument {name} of config {function.__name__} has type {kind}, which no option can have"
    )
