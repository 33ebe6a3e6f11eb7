"""No file brings code: nothing in the sources runs what it reads, and a run writes in its own folder only."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from jaxdl.errors import RunError
from jaxdl.train.pictures import save_all, save_curves
from jaxdl.train.workdir import write_atomically

ROOT = Path(__file__).parent.parent
FOLDERS = ("jaxdl", "configs", "benchmarks", "colab", "docs")
# A config is Python that its user named, or that config.json of a run names from outside of the run's folder:
# importing it by its path is the one way in which jaxdl runs code. The manual imports jaxdl's own modules.
ALLOWED = {"jaxdl/config.py": "importlib.util.", "docs/build.py": "importlib.import_module"}

MODULES = re.compile(r"(pickle|_pickle|cPickle|dill|cloudpickle|joblib|shelve|marshal|runpy|code|imp)(\..*)?")
NAMES = re.compile(
    r"(builtins\.)?(eval|exec|compile|__import__)|os\.(system|popen|exec\w+|spawn\w+)|tempfile\.mktemp"
    r"|subprocess\.get(status)?output|yaml\.(\w+\.)?(\w*_)?load(_all)?|\w+\.(read|to)_pickle"
    r"|importlib\.(import_module|util\.(spec_from_file_location|module_from_spec)|machinery\.\w+)"
)
# What is refused unless its keyword says otherwise: (names, keyword, the only value allowed).
KEYWORDS = [
    (re.compile(r"torch\.load"), "weights_only", True),
    (re.compile(r".*"), "allow_pickle", False),
    (re.compile(r".*"), "shell", False),
]


def faults(source, path="jaxdl/some.py"):
    """List what the source uses that could run code from a file: "line: what"."""
    tree = ast.parse(source)
    names = {}  # local name: full name
    found = []

    def full(node):
        """Spell a name or attribute in full, aliases of imports resolved: "" for anything else."""
        if isinstance(node, ast.Name):
            return names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return f"{full(node.value)}.{node.attr}"
        return ""

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
                found += [(node.lineno, alias.name)] * bool(MODULES.fullmatch(alias.name))
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                names[alias.asname or alias.name] = name
                found += [(node.lineno, name)] * bool(MODULES.fullmatch(node.module))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            if NAMES.fullmatch(full(node)) and not full(node).startswith(ALLOWED.get(path, "nothing")):
                found.append((node.lineno, full(node)))
        elif isinstance(node, ast.Call):
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            for functions, keyword, allowed in KEYWORDS:
                value = given.get(keyword)
                right = isinstance(value, ast.Constant) and value.value is allowed
                needed = keyword == "weights_only" or keyword in given
                if needed and not right and functions.fullmatch(full(node.func)):
                    found.append((node.lineno, f"{full(node.func)} with {keyword}"))
    return [f"{line}: {what}" for line, what in sorted(found)]


FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def test_every_folder_is_read():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(FOLDERS)
    assert len(FILES) > 60


@pytest.mark.parametrize("path", [str(path.relative_to(ROOT)) for path in FILES])
def test_nothing_runs_what_it_reads(path):
    assert faults((ROOT / path).read_text(), path) == []


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import pickle", "pickle"),
        ("import pickle as p", "pickle"),
        ("from pickle import loads", "pickle.loads"),
        ("def f():\n    import cPickle", "cPickle"),
        ("import _pickle", "_pickle"),
        ("import dill", "dill"),
        ("import cloudpickle.cloudpickle", "cloudpickle.cloudpickle"),
        ("from joblib import load", "joblib.load"),
        ("import shelve", "shelve"),
        ("import marshal", "marshal"),
        ("import runpy", "runpy"),
        ("eval('1')", "eval"),
        ("run = eval", "eval"),
        ("import builtins as b\nb.exec(text)", "builtins.exec"),
        ("exec(text)", "exec"),
        ("code = compile(text, 'f', 'exec')", "compile"),
        ("__import__(name)", "__import__"),
        ("import importlib\nimportlib.import_module(name)", "importlib.import_module"),
        ("from importlib import import_module as get\nget(name)", "importlib.import_module"),
        (
            "import importlib.util\nimportlib.util.spec_from_file_location",
            "importlib.util.spec_from_file_location",
        ),
        ("import os\nos.system('ls')", "os.system"),
        ("from os import system\nsystem('ls')", "os.system"),
        ("import os\nos.popen('ls')", "os.popen"),
        ("import os\nos.execv(path, [])", "os.execv"),
        ("import subprocess\nsubprocess.run('ls', shell=True)", "subprocess.run with shell"),
        ("import subprocess\nsubprocess.Popen('ls', shell=flag)", "subprocess.Popen with shell"),
        ("import subprocess\nsubprocess.getoutput('ls')", "subprocess.getoutput"),
        ("import yaml\nyaml.load(text)", "yaml.load"),
        ("import yaml\nyaml.load(text, Loader=yaml.SafeLoader)", "yaml.load"),
        ("import yaml\nyaml.unsafe_load(text)", "yaml.unsafe_load"),
        ("import numpy as np\nnp.load(path, allow_pickle=True)", "numpy.load with allow_pickle"),
        ("import numpy as np\nnp.load(path, allow_pickle=flag)", "numpy.load with allow_pickle"),
        ("import jax.numpy as jnp\njnp.save(path, x, allow_pickle=True)", "jax.numpy.save with allow_pickle"),
        ("import torch\ntorch.load(path)", "torch.load with weights_only"),
        ("import torch\ntorch.load(path, weights_only=False)", "torch.load with weights_only"),
        ("from torch import load\nload(path)", "torch.load with weights_only"),
        ("import pandas as pd\npd.read_pickle(path)", "pandas.read_pickle"),
        ("import tempfile\ntempfile.mktemp()", "tempfile.mktemp"),
    ],
)
def test_a_breach_is_found(source, what):
    assert [fault.partition(": ")[2] for fault in faults(source)] == [what]


def test_only_the_config_loader_may_import_a_file():
    source = "import importlib.util\nimportlib.util.module_from_spec(spec)"
    assert faults(source, "jaxdl/config.py") == []
    assert len(faults(source, "jaxdl/cli.py")) == 1
    assert len(faults("eval(text)", "jaxdl/config.py")) == 1


def test_what_is_harmless_is_not_found():
    harmless = (
        "import re, ast, json, os, subprocess, numpy as np, torch, tempfile\n"
        "re.compile('a')\nast.parse(text)\nmodel.eval()\njson.loads(text)\nnp.load(path)\n"
        "np.load(path, allow_pickle=False)\ntorch.load(path, weights_only=True)\n"
        "subprocess.run(['ls'], shell=False)\ntempfile.mkdtemp()\ntrace.lower().compile()\n"
        "learner.evaluate(x)\nevaluate(x)\nexecuted = 1\n"
    )
    assert faults(harmless) == []


def write_whole(path):
    write_atomically(path, "new")


def write_picture(path):
    save_all(path.parent, {path.stem: "new" if path.suffix == ".txt" else np.zeros((2, 2))})


def write_curves(path):
    save_curves(path, [{"step": 1, "split": "train", "loss": 1.0}])


@pytest.mark.parametrize(
    ("write", "name", "linked"),
    [
        (write_whole, "metrics.jsonl", "metrics.jsonl"),
        (write_whole, "metrics.jsonl", "metrics.jsonl.part"),
        (write_picture, "samples.png", "samples.png"),
        (write_picture, "words.txt", "words.txt"),
        (write_curves, "curves.png", "curves.png"),
    ],
)
def test_a_link_in_a_run_is_replaced_and_not_written_through(tmp_path, write, name, linked):
    foreign, run = tmp_path / "foreign", tmp_path / "run"
    foreign.write_text("important")
    run.mkdir()
    (run / linked).symlink_to(foreign)
    write(run / name)
    assert foreign.read_text() == "important"
    assert [path.name for path in run.iterdir()] == [name]
    assert not (run / name).is_symlink()


def test_pictures_are_not_written_through_a_link_to_a_folder(tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "pictures").symlink_to(tmp_path / "foreign")
    with pytest.raises(RunError, match="pictures is a link; pictures are not written through it"):
        save_all(tmp_path / "pictures", {"x": np.zeros((2, 2))})
    assert not list((tmp_path / "foreign").iterdir())
