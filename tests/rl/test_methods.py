"""The table of methods names files that are there, and has a row for each algorithm."""

import inspect
import re
from pathlib import Path

import pytest

from jaxdl import rl
from jaxdl.rl import tabular
from jaxdl.types import Learner

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "rl_methods.md").read_text()
LINKS = re.findall(r"(?<!!)\[(.*?)\]\((.*?)\)", TEXT)
ROWS = re.findall(r"^\| *(.*?) *\|.*\| *\[(.*?)\]\(.*?\) *\|$", TEXT, re.MULTILINE)  # methods, file


def algorithms(package):
    """The functions of a package that make a Learner for what they are given first."""
    for name in package.__all__:
        function = getattr(package, name)
        if inspect.isfunction(function):
            signature = inspect.signature(function)
            if signature.return_annotation is Learner and {"environment", "mdp"} & set(signature.parameters):
                yield function


def letters(text):
    """The letters and digits alone, as names have them."""
    return "".join(filter(str.isalnum, text.replace("λ", "lambda").lower()))


def test_each_file_is_there():
    assert len(LINKS) > 10
    for name, target in LINKS:
        path = (DOCS / target).resolve()
        assert path.is_file(), target
        assert path.name == name


@pytest.mark.parametrize(("package", "num"), [(rl, 8), (tabular, 11)], ids=["deep", "tabular"])
def test_each_algorithm_has_its_row(package, num):
    """One that names it beside its file."""
    found = list(algorithms(package))
    assert len(found) >= num
    for function in found:
        name = re.sub("^(monte_carlo)_.*", r"\1", function.__name__)
        file = f"{function.__module__.rpartition('.')[-1]}.py"
        assert any(letters(name) in letters(row) and file == at for row, at in ROWS), function.__name__
