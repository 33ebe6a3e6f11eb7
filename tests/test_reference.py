"""The site is built from docstrings and pages, where none is missing and every link leads somewhere."""

import ast
import importlib.util
import re
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))
SPEC = importlib.util.spec_from_file_location("reference_build", ROOT / "docs" / "build.py")
reference = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(reference)
messages, pages = reference.pages.messages, reference.pages

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


def test_the_site_holds_the_objectives_and_no_broken_link(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pdoc")
    out = tmp_path / "site"
    monkeypatch.setattr(sys, "argv", ["build.py", "--out", str(out)])
    reference.main()
    assert capsys.readouterr().out == f"{out / 'index.html'}\n"
    page = (out / "reference" / "jaxdl" / "objectives.html").read_text("utf-8")
    assert 'id="gae"' in page
    assert "Aₜ₋₁ = δₜ + γₜλ(1 − cutₜ)Aₜ" in page
    assert "_jax" not in page
    for part in reference.PARTS:
        assert (out / "reference" / "jaxdl" / f"{part}.html").is_file()
    assert (out / "reference" / "jaxdl" / "nets" / "mlp.html").is_file()
    assert not (out / "reference" / "jaxdl" / "objectives").exists()  # each function once, where exported

    index = (out / "index.html").read_text("utf-8")
    assert 'href="runs.html"' in index and 'href="files/configs/vae_digits.py"' in index
    assert (out / "files" / "docs" / "vae_digits.png").is_file()
    assert "there is no config {name}" in (out / "errors.html").read_text("utf-8")

    (out / "runs.html").write_text(
        '<a href="index.html#nowhere">a</a><img src="x.png"><a href="#b" id="a">b</a>'
    )
    (out / "hosts.html").unlink()
    faults = pages.broken(out)
    assert {
        f"runs.html: {rest}" for rest in ("index.html#nowhere has no such anchor", "x.png leads nowhere")
    } < {*faults}
    assert "runs.html: #b has no such anchor" in faults
    assert "index.html: hosts.html leads nowhere" in faults


def test_a_link_to_what_is_not_there_makes_the_command_fail(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("[here](README.md#a-title) [there](docs/lost.md)\n\n# A title\n")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "PAGES", {"README.md": "jaxdl"})
    monkeypatch.setattr(reference, "render", lambda out: None)
    monkeypatch.setattr(sys, "argv", ["build.py", "--out", str(tmp_path / "site")])
    with pytest.raises(SystemExit) as failure:
        reference.main()
    wanted = "docs/lost.md leads nowhere", "reference/index.html leads nowhere"
    assert sorted(failure.value.code.splitlines()) == [f"index.html: {fault}" for fault in wanted]


def test_every_page_of_docs_is_on_the_site():
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} < set(pages.PAGES)


def test_messages_are_read_from_the_source():
    source = """
def f(n):
    what = f"n is {n}"
    if n < 0:
        raise ValueError(f"{what}; give {'more' if n else 'one'}" + ", please")
    raise KeyError("left out")
"""
    assert list(messages.raised(ast.parse(source))) == [
        ("ValueError", "n is {n}; give {'more' if n else 'one'}, please")
    ]


def test_what_the_page_of_errors_explains_is_what_jaxdl_says():
    explained = re.findall(
        r"^\| `([^`]+)`", (ROOT / "docs" / "errors.md").read_text().split("| do |")[1], re.M
    )
    said = "\n".join(path.read_text("utf-8") for path in (ROOT / "jaxdl").rglob("*.py"))
    assert len(explained) == 8
    for text in explained:
        assert text in said, text


@pytest.mark.parametrize("page", ["contracts.md"])
def test_the_code_of_a_page_runs(page, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.S)
    exec(compile("\n".join(blocks), page, "exec"), {"__name__": "page"})
    printed = capsys.readouterr().out.splitlines()
    np.testing.assert_allclose(
        ast.literal_eval(re.sub(r"(?<=\d)\s+", ", ", printed[0])), np.full(4, 1.4189385)
    )
    assert ast.literal_eval(printed[1])["loss"] < 0.1  # nats; a constant prediction has 1.2


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
