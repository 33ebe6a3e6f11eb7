"""The reference is built from the docstrings, and only where none is missing."""

import importlib.util
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("reference_build", ROOT / "docs" / "build.py")
reference = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(reference)

SECTIONS = "Args:\n        x: a number.\n\n    Returns:\n        A number.\n    "


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Return a function that writes a module of its own and imports it."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source, name="fake_reference"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield write
    sys.modules.pop("fake_reference", None)


def test_nothing_public_is_undocumented():
    assert reference.undocumented() == []


def test_pages_hold_the_objectives(tmp_path):
    pytest.importorskip("pdoc")
    reference.render(tmp_path)
    page = (tmp_path / "jaxdl" / "objectives.html").read_text("utf-8")
    assert 'id="gae"' in page
    assert "Aₜ₋₁ = δₜ + γₜλ(1 − cutₜ)Aₜ" in page
    assert "_jax" not in page
    for part in reference.PARTS:
        assert (tmp_path / "jaxdl" / f"{part}.html").is_file()
    assert (tmp_path / "jaxdl" / "nets" / "mlp.html").is_file()
    assert not (tmp_path / "jaxdl" / "objectives").exists()  # each function once, where it is exported


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(x):\n    return x", ["f has no docstring"]),
        ('def f(x):\n    " "\n    return x', ["f has no docstring"]),
        ("class C(Exception):\n    pass", ["C has no docstring"]),
        ("import typing\nclass C(typing.NamedTuple):\n    x: int", ["C has no docstring"]),
        ("import dataclasses\n@dataclasses.dataclass\nclass C:\n    x: int", ["C has no docstring"]),
        ("import jax\n@jax.jit\ndef f(x):\n    return x", ["f has no docstring"]),
        ("import jax\n@jax.custom_jvp\ndef f(x):\n    return x", ["f has no docstring"]),
        ('def f(x):\n    """Add."""', ["f has no Args:", "f has no Returns:"]),
        ('def f(x):\n    """Add.\n\n    Args:\n        x: a number.\n    """', ["f has no Returns:"]),
        (f'def f(x):\n    """Add.\n\n    {SECTIONS}"""', []),
        ('def f():\n    """Return one."""', []),
        ('class C:\n    """A thing."""', []),
        ("def _f(x):\n    return x", []),
        ("from math import sqrt\nfrom fractions import Fraction\nx: int = 1", []),
        ("from math import sqrt\n__all__ = ['g']\ndef f(): ...\ndef g(): ...", ["g has no docstring"]),
    ],
)
def test_what_is_undocumented_is_named(source, expected, fake):
    module = fake(source)
    assert list(reference.faults(module, sections=True)) == [f"fake_reference.{each}" for each in expected]


def test_sections_are_asked_of_objectives_only(fake):
    assert list(reference.faults(fake('def f(x):\n    """Add."""'), sections=False)) == []


def test_an_undocumented_function_makes_the_command_fail(tmp_path, fake, monkeypatch):
    fake("def f(x):\n    return x")
    monkeypatch.setattr(reference, "MODULES", ("jaxdl.types", "fake_reference"))
    monkeypatch.setattr(sys, "argv", ["build.py", "--out", str(tmp_path / "site")])
    with pytest.raises(SystemExit) as failure:
        reference.main()
    assert failure.value.code == "fake_reference.f has no docstring"  # printed, with status 1
    assert not (tmp_path / "site").exists()


def test_modules_below_a_package_are_checked():
    nets = [page.__name__ for page in reference.public_modules(importlib.import_module("jaxdl.nets"))]
    assert {"jaxdl.nets", "jaxdl.nets.mlp", "jaxdl.nets.resnet"} <= set(nets)
    data = [page.__name__ for page in reference.public_modules(importlib.import_module("jaxdl.data"))]
    pages = "augment", "preprocess", "sequences"  # those in __all__
    assert data == ["jaxdl.data", *(f"jaxdl.data.{page}" for page in pages)]
