"""The command line: train, eval, render, export, list.

The options of a config are the keyword arguments of its function: their names, types and defaults. Nothing
that imports jax is imported at the top: platform and memory flags must stand in the environment before.
"""

import argparse
import ast
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from jaxdl.errors import InputError, Interrupted, RunError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for a run that failed, 2 for input that is wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)
    warnings.showwarning = show_warning
    sys.unraisablehook = show_unraisable
    if argv[1:] in (["--help"], ["-h"]):  # before what the command requires is missed
        make_parser().parse_args(argv)
    options, _ = make_parser(add_help=False).parse_known_args(argv)
    try:
        return COMMANDS[options.command or "help"](options, argv)
    except InputError as error:
        return _fail(error, 2, options)
    except Interrupted as error:
        return _fail(error, 128 + error.signum, options)
    except RunError as error:
        return _fail(error, 1, options)
    except BrokenPipeError:  # `jaxdl list | head`: what is left must not be written at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def train(options: argparse.Namespace, argv: Sequence[str]) -> int:
    """Train a config, or go on with a run that was interrupted."""
    prepare_backend(options)
    from jaxdl import config

    path = config.find(options.config)
    function = config.load(path)
    parser = make_parser(options=config.options(function), title=f"options of {options.config}")
    given = parser.parse_args(argv)
    arguments = config.arguments(function, vars(given))
    experiment = config.build(function, arguments)
    workdir = Path(given.workdir or Path("runs") / path.stem)

    from jaxdl.train.fit import fit
    from jaxdl.train.log import summary

    tie = {"config": str(path), "arguments": arguments}
    params = None
    if given.params_from:
        from jaxdl.train.checkpoint import load_part, saved_steps
        from jaxdl.train.safetensors import SUFFIX, load_params

        tie["params_from"] = str(Path(given.params_from).resolve())
        if not saved_steps(workdir / "checkpoints"):  # or the run needs its source no more
            params = (load_params if given.params_from.endswith(SUFFIX) else load_part)(given.params_from)
    result = fit(
        experiment,
        workdir,
        config=tie,
        strategy=given.strategy,
        shard_params=given.shard_params,
        steps_per_call=given.steps_per_call,
        patience=given.patience,
        params=params,
        quiet=given.quiet,
    )
    if given.process_index in (None, 0):
        metrics = summary(result.metrics, experiment.train is not None)
        print(f"{'validation' if experiment.test is None else 'test'}: {metrics}")
        print(f"pictures: {workdir / 'pictures'}")
    return 0


def evaluate(options: argparse.Namespace, argv: Sequence[str]) -> int:
    """Evaluate the latest or the best checkpoint of a run on its validation and test data."""
    make_parser().parse_args(argv)
    experiment = _rebuild(options)
    state, step, key = _restore(options, experiment)
    from jaxdl.train.evaluate import compile_evaluate
    from jaxdl.train.log import summary

    splits = {"validation": experiment.validation, "test": experiment.test}
    for name, data in splits.items():
        if data is not None or (experiment.train is None and name == "validation"):
            metrics = compile_evaluate(experiment.learner, data)(state, key)
            print(f"{name}: {summary(metrics, data is not None)}  (step {step})")
    return 0


def render(options: argparse.Namespace, argv: Sequence[str]) -> int:
    """Draw the pictures of the latest or the best checkpoint of a run again."""
    make_parser().parse_args(argv)
    experiment = _rebuild(options)
    state, _, _ = _restore(options, experiment)
    from jaxdl.train.fit import save_pictures

    for path in save_pictures(experiment, state, Path(options.workdir)):
        print(path)
    return 0


def export(options: argparse.Namespace, argv: Sequence[str]) -> int:
    """Write what a checkpoint of a run computes as programs that need no jaxdl, or its params."""
    make_parser().parse_args(argv)
    experiment, workdir = _rebuild(options), Path(options.workdir)
    from jaxdl.train.export import check_folder, evaluated, export_programs, provenance
    from jaxdl.train.safetensors import check_file, save_safetensors

    overwrite = options.overwrite
    if options.format == "safetensors":
        to = Path(options.to or workdir / "params.safetensors")
        check_file(to, overwrite)
        state, step, _ = _restore(options, experiment)
        print(save_safetensors(to, evaluated(state), provenance(workdir, step), overwrite=overwrite))
    else:
        to = Path(options.to or workdir / "export")
        check_folder(experiment.learner, to, overwrite)
        state, step, _ = _restore(options, experiment)
        about = provenance(workdir, step)
        for path in export_programs(experiment, state, to, about, overwrite=overwrite):
            print(path)
    return 0


def list_configs(options: argparse.Namespace, argv: Sequence[str]) -> int:
    """List the configs of a folder by what their docstrings say; none is run."""
    folder = Path(make_parser().parse_args(argv).folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; run this where configs/ lies, or name the folder")
    for path in sorted(folder.glob("[!_]*.py")):
        facts = describe(path)
        print(f"{path}\n    {facts.pop('System')}")
        for name, fact in facts.items():
            print(f"    {name:10}" + fact.replace("\n", "\n" + " " * 14))
    return 0


def show_help(options: argparse.Namespace, argv: Sequence[str]) -> int:
    """Say what there is."""
    make_parser().parse_args(argv)
    make_parser().print_help()
    return 0


def describe(path: Path) -> dict[str, str]:
    """Read what a config's docstring says: {"System": first line, "Paper": ..., "Expected": ...}.

    Each command is a line; all else is one.
    """
    try:
        lines = (ast.get_docstring(ast.parse(path.read_bytes())) or "").splitlines()
    except (OSError, SyntaxError, ValueError) as error:
        return {"System": f"cannot be read: {error}"}
    facts = {"System": lines[0] if lines else ""}
    last = ""
    for line in lines[1:]:
        name, colon, rest = line.partition(":")
        if colon and name in ("Paper", "Data", "Command", "Time", "Expected"):
            facts[name], last = rest.strip(), name
        elif last and line.startswith("    "):
            starts = last == "Command" and line.strip().startswith("jaxdl ")
            facts[last] += ("\n" if starts else " ") + line.strip()
        else:
            last = ""
    return facts


def prepare_backend(options: argparse.Namespace) -> None:
    """Set what jax reads from the environment when it is imported and when its backend starts."""
    if options.platform:
        os.environ["JAX_PLATFORMS"] = options.platform
    if options.cpu_devices:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={options.cpu_devices}"
    if options.memory_fraction:
        os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = str(options.memory_fraction)
    if options.cache:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(home / "jaxdl" / "xla"))
        # The default of one second would leave out most of what a small model compiles.
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    coordinator = getattr(options, "coordinator", None)
    for name, alone in (("num_processes", 1), ("process_index", 0)):
        value = getattr(options, name, None)
        if value not in (None, alone) and not coordinator:
            raise InputError(f"{name} is {value} without a coordinator; give --coordinator HOST:PORT or auto")
    if coordinator:
        from jaxdl.train.hosts import connect

        connect(coordinator, options.num_processes, options.process_index)
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # an assertion of jax's: of plugins, none is installed
        message = (str(error).splitlines() or ["jax finds no plugin for it"])[0]
        raise InputError(f"platform {os.environ.get('JAX_PLATFORMS')!r} is not here: {message}") from None


def _rebuild(options: argparse.Namespace) -> Any:
    """Rebuild the experiment of a workdir."""
    prepare_backend(options)
    from jaxdl import config

    return config.rebuild(Path(options.workdir))


def _restore(options: argparse.Namespace, experiment: Any) -> tuple[Any, int, Any]:
    """Read back the state of a workdir: (state, step, key of its evaluation)."""
    import jax

    from jaxdl.train.checkpoint import Checkpoints
    from jaxdl.train.experiment import check_experiment

    folder = Path(options.workdir) / "checkpoints"
    if not folder.is_dir():  # orbax would make it
        raise InputError(f"{options.workdir} holds no checkpoint yet; train it first")
    checkpoints = Checkpoints(folder, experiment.monitor, experiment.maximize)
    like = check_experiment(experiment)
    restored = checkpoints.restore_best(like) if options.best else checkpoints.restore_latest(like)
    checkpoints.close()
    if restored is None:
        raise InputError(f"{options.workdir} holds no checkpoint yet; train it first")
    return *restored, jax.random.key(experiment.seed)


def one_or_more(text: str) -> int:
    """Read a whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 or more; give a whole number")
    return int(text)


def share(text: str) -> float:
    """Read a number above 0 and up to 1."""
    with suppress(ValueError):
        if 0 < float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no share; give a number above 0, at most 1")


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (--help lists what there is)", file=sys.stderr)
        raise SystemExit(2)


def make_parser(
    add_help: bool = True, options: Mapping[str, dict[str, Any]] | None = None, title: str = ""
) -> argparse.ArgumentParser:
    """Build the parser; `options` are those of a config, added to `train`."""
    keywords: dict[str, Any] = {"add_help": add_help, "allow_abbrev": False}
    parser = _OneLineParser("jaxdl", description="Train and look at deep-learning systems.", **keywords)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    form = argparse.ArgumentDefaultsHelpFormatter

    def command(name: str, function: Any) -> argparse.ArgumentParser:
        text = (function.__doc__ or "").splitlines()[0]
        made = commands.add_parser(name, help=text, description=text, formatter_class=form, **keywords)
        made.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return made

    def machine(made: argparse.ArgumentParser) -> None:
        group = made.add_argument_group("machine")
        group.add_argument(
            "--platform", choices=("cpu", "cuda", "tpu"), help="where to run; the best by default"
        )
        group.add_argument(
            "--cpu-devices", type=one_or_more, metavar="N", help="split the CPU into N devices"
        )
        group.add_argument(
            "--memory-fraction", type=share, metavar="F", help="share of GPU memory to reserve"
        )
        group.add_argument(
            "--cache",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="keep compiled programs under the user's cache folder",
        )

    made = command("train", train)
    made.add_argument("config", help="a config file, such as configs/vae_digits.py")
    made.add_argument("--workdir", help="the run's folder; runs/NAME by default")
    made.add_argument(
        "--strategy", choices=("jit", "pmap", "shard"), default="jit", help="how devices are used"
    )
    made.add_argument("--shard-params", action="store_true", help="under shard, split params over devices")
    made.add_argument(
        "--steps-per-call",
        type=one_or_more,
        metavar="K",
        help="steps of one dispatch; the config's, or as many as take a second, by default",
    )
    made.add_argument(
        "--patience", type=one_or_more, metavar="N", help="stop after N evaluations without a better one"
    )
    made.add_argument(
        "--params-from",
        metavar="RUN",
        help="start from the params of another run's folder, or of a .safetensors file",
    )
    made.add_argument("--quiet", action="store_true", help="show no progress")
    machine(made)
    group = made.add_argument_group("several hosts")
    for name, variable, kind, text in (
        ("--coordinator", "JAX_COORDINATOR_ADDRESS", str, "HOST:PORT of process 0, or auto on a cluster"),
        ("--num-processes", "JAX_NUM_PROCESSES", one_or_more, "how many processes train together"),
        ("--process-index", "JAX_PROCESS_ID", int, "which one this is, from 0"),
    ):
        default = os.environ.get(variable)
        group.add_argument(
            name, type=kind, metavar=name[2].upper(), default=default, help=f"{text} (or {variable})"
        )
    if options is not None:
        group = made.add_argument_group(title)
        for name, keywords_of_option in options.items():
            if (word := keywords_of_option["dest"]) in ("command", "config"):  # of the positional ones
                raise InputError(f"argument {word} of the config is a word of its own to jaxdl; rename it")
            try:
                group.add_argument(name, **keywords_of_option)
            except argparse.ArgumentError:
                raise InputError(f"option {name} is there twice; rename the config's argument") from None
    for name, function in (("eval", evaluate), ("render", render), ("export", export)):
        made = command(name, function)
        made.add_argument("workdir", help="a run's folder")
        made.add_argument("--best", action="store_true", help="the best checkpoint instead of the latest")
        if function is export:
            made.add_argument(
                "--format",
                choices=("stablehlo", "safetensors"),
                default="stablehlo",
                help="programs, a folder of them; or the params, a file",
            )
            made.add_argument("--to", metavar="PATH", help="what is written; in the run's folder by default")
            made.add_argument("--overwrite", action="store_true", help="replace an earlier export")
        machine(made)
    command("list", list_configs).add_argument(
        "folder", nargs="?", default="configs", help="where configs lie"
    )
    return parser


def _fail(error: Exception, code: int, options: argparse.Namespace) -> int:
    if getattr(options, "debug", False):
        raise error
    print(f"jaxdl: {error}", file=sys.stderr)
    return code


def show_warning(message: Warning | str, *rest: Any, **keywords: Any) -> None:
    """Show a warning as one line."""
    print(f"jaxdl: warning: {message}", file=sys.stderr)


def show_unraisable(unraisable: Any) -> None:
    """Show what Python cannot raise, save what every failed write of a checkpoint says over and over."""
    if "Event loop is closed" not in str(unraisable.exc_value):
        sys.__unraisablehook__(unraisable)


COMMANDS = {
    "train": train,
    "eval": evaluate,
    "render": render,
    "export": export,
    "list": list_configs,
    "help": show_help,
}
