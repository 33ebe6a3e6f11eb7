"""Who may import whom: the arrows of the plan, read from the source with ast."""

import ast
import sys
from pathlib import Path

import pytest

import jaxdl

ROOT = Path(jaxdl.__file__).parent

# part of jaxdl: the parts that it may import, besides itself
ALLOWED = {
    "__init__": set(),
    "__main__": {"cli"},
    "types": set(),
    "errors": set(),
    "objectives": {"types"},
    "ops": {"types"},
    "metrics": {"types"},
    "optim": {"types"},
    "nets": {"ops", "types"},
    "data": {"errors", "types"},
    "train": {"data", "errors", "types"},
    "learners": {"data", "metrics", "nets", "objectives", "ops", "train", "types"},
    "rl": {"data", "metrics", "nets", "objectives", "ops", "optim", "train", "types"},
    "config": {"data", "errors", "train", "types"},
    "cli": {"config", "data", "errors", "train", "types"},
}
PURE = {"chex", "jax", "numpy", "optax", *sys.stdlib_module_names}  # what objectives and ops may use
NEVER = {"configs", "tests", "benchmarks", "tensorflow", "torch"}
ALGORITHMS = {  # of jaxdl.rl: each reads as its paper, alone and flat
    *("jaxdl.rl.actor_critic", "jaxdl.rl.c51", "jaxdl.rl.dqn", "jaxdl.rl.ppo", "jaxdl.rl.reinforce"),
    *("jaxdl.rl.sac", "jaxdl.rl.td3", "jaxdl.rl.trpo", "jaxdl.rl.tabular.dyna"),
    *("jaxdl.rl.tabular.dynamic_programming", "jaxdl.rl.tabular.monte_carlo"),
    *("jaxdl.rl.tabular.td_control", "jaxdl.rl.tabular.td_prediction"),
}
MAX_LINES = 400
PRIVATE = "jax." + "_src"  # spelled apart, so that a search for it finds breaches only


def imported(source, module):
    """List the full names that a module's source imports; `from a import b` counts as a.b."""
    package = module.split(".")
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = package[: len(package) - node.level] if node.level else []
            origin += node.module.split(".") if node.module else []
            names += [".".join([*origin, alias.name]) for alias in node.names]
    return names


def faults(source, module):
    """Say what is wrong with the source of a module, such as jaxdl.nets.mlp."""
    part = module.split(".")[1]
    for name in imported(source, module):
        top, _, rest = name.partition(".")
        if top == "jaxdl":
            other = rest.split(".")[0]
            if other in ALLOWED and other not in ALLOWED[part] | {part}:
                yield f"{module} imports {name}"
        elif top in NEVER or (part in ("objectives", "ops") and top not in PURE):
            yield f"{module} imports {name}"
        if "_src" in name.split("."):
            yield f"{module} imports {name}, which is private"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr == "_src":
            yield f"{module} uses {ast.unparse(node)}, which is private"
    if len(source.splitlines()) > MAX_LINES:
        yield f"{module} is longer than {MAX_LINES} lines"


def nested(node, depth=0):
    """List the functions inside of a function that is itself inside of one."""
    for child in ast.iter_child_nodes(node):
        function = isinstance(child, ast.FunctionDef)
        if function and depth == 2:
            yield child.name
        yield from nested(child, depth + function)


def algorithm_faults(source, module):
    """Say where an algorithm's file leans on another's, or nests functions deeper than two."""
    for name in imported(source, module):
        if any(f"{name}.".startswith(f"{other}.") for other in ALGORITHMS - {module}):
            yield f"{module} imports {name}"
    for name in nested(ast.parse(source)):
        yield f"{module}: {name} is nested deeper than two functions"


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        yield ".".join(parts), path


def test_each_part_has_its_row():
    names = [name for name, _ in modules()]
    assert len(names) > 30
    assert {name.split(".")[1] for name in names} <= set(ALLOWED)


@pytest.mark.parametrize(("module", "path"), [pytest.param(*each, id=each[0]) for each in modules()])
def test_imports_follow_the_arrows(module, path):
    assert list(faults(path.read_text(), module)) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("jaxdl.objectives.elbo", "from flax import linen as nn"),
        ("jaxdl.ops.boxes", "import flax.linen as nn"),
        ("jaxdl.ops.boxes", "from jaxdl.objectives import elbo"),
        ("jaxdl.objectives.elbo", "import jaxdl.nets.mlp"),
        ("jaxdl.nets.mlp", "from jaxdl.objectives.elbo import elbo"),
        ("jaxdl.nets.mlp", "from jaxdl import train"),
        ("jaxdl.nets.mlp", "from ..data import digits"),
        ("jaxdl.nets.mlp", "from .. import learners"),
        ("jaxdl.train.fit", "def f():\n    from jaxdl.nets.mlp import MLP"),
        ("jaxdl.train.fit", "import jaxdl.objectives"),
        ("jaxdl.train.fit", "from jaxdl.learners import vae"),
        ("jaxdl.data.text", "import jaxdl.nets as nets"),
        ("jaxdl.data.text", "from jaxdl.train import fit"),
        ("jaxdl.types", "from jaxdl.errors import InputError"),
        ("jaxdl.cli", "import configs.vae_digits"),
        ("jaxdl.data.tfds", "import tensorflow as tf"),
        ("jaxdl.train.step", f"from {PRIVATE} import core"),
        ("jaxdl.train.step", f"import jax\n{PRIVATE}.core"),
        ("jaxdl.train.step", "\n" * (MAX_LINES + 1)),
    ],
)
def test_a_breach_is_reported(module, source):
    assert len(list(faults(source, module))) == 1


@pytest.mark.parametrize("module", sorted(ALGORITHMS))
def test_algorithms_stand_alone(module):
    assert list(algorithm_faults(dict(modules())[module].read_text(), module)) == []


@pytest.mark.parametrize(
    "source",
    [
        "from jaxdl.rl.dqn import dqn",
        "from jaxdl.rl.tabular import dyna",
        "def f():\n    def g():\n        if g:\n            def h(): pass",
    ],
)
def test_an_algorithm_that_leans_is_reported(source):
    assert len(list(algorithm_faults(source, "jaxdl.rl.ppo"))) == 1
    assert (
        list(algorithm_faults("from jaxdl.rl.ppo import ppo\ndef f():\n    def g(): pass", "jaxdl.rl.ppo"))
        == []
    )


def test_what_is_allowed_is_not_reported():
    source = "import math\nimport optax\nfrom jaxdl.types import Array\nfrom jaxdl.objectives import _check"
    assert list(faults(source, "jaxdl.objectives.elbo")) == []
    assert list(faults("from flax import linen\nfrom jaxdl.train import Options", "jaxdl.learners.vae")) == []
