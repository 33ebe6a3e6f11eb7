"""The table of methods names files that are there, and leaves no tabular one out."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
LINKS = re.findall(r"(?<!!)\[(.*?)\]\((.*?)\)", (DOCS / "rl_methods.md").read_text())


def test_each_file_is_there():
    assert len(LINKS) > 10
    for name, target in LINKS:
        path = (DOCS / target).resolve()
        assert path.is_file(), target
        assert path.name == name


def test_each_tabular_method_is_placed():
    """A module that makes a Learner is a method's."""
    tabular = DOCS.parent / "jaxdl" / "rl" / "tabular"
    methods = {path.name for path in tabular.glob("*.py") if "return Learner(" in path.read_text()}
    assert len(methods) == 5
    assert methods <= {name for name, _ in LINKS}
