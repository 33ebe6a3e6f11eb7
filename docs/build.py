"""Build the documentation site, or say what is undocumented or which link leads nowhere, and fail.

pip install -e ".[docs]" && python docs/build.py [--out site]

The site is the Markdown pages of the project, and the reference of the public API made from its docstrings.
"""

import argparse
import importlib
import inspect
import pkgutil
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pages

OBJECTIVES = "jaxdl.objectives"
PARTS = ("train", "data", "nets", "learners", "rl", "ops", "metrics", "optim", "types")
MODULES = (OBJECTIVES, *(f"jaxdl.{part}" for part in PARTS))


def public_modules(module: ModuleType) -> Iterator[ModuleType]:
    """Yield a module and the public modules below it: those in `__all__` where there is one."""
    yield module
    exported = getattr(module, "__all__", None)
    for _, name, _ in pkgutil.iter_modules(getattr(module, "__path__", [])):
        if not name.startswith("_") and (exported is None or name in exported):
            child = importlib.import_module(f"{module.__name__}.{name}")
            if getattr(module, name) is child:  # a function of the same name hides its module
                yield from public_modules(child)


def public_names(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the functions and classes that a module exports, or, without `__all__`, defines."""
    exported = getattr(module, "__all__", None)
    for name, value in sorted(vars(module).items()):
        # __wrapped__: what jax.custom_jvp returns is an object that holds the function
        if inspect.isroutine(value) or inspect.isclass(value) or hasattr(value, "__wrapped__"):
            own = not name.startswith("_") and value.__module__ == module.__name__
            if own if exported is None else name in exported:
                yield name, value


def faults(module: ModuleType, *, sections: bool) -> Iterator[str]:
    """Say what is undocumented; `sections` asks functions with arguments for Args and Returns too."""
    for name, value in public_names(module):
        # The docstring itself, since inspect.getdoc falls back on the base class.
        doc = value.__doc__ or ""
        if not doc.strip() or doc.startswith(f"{name}("):  # dataclasses and NamedTuples print their fields
            yield f"{module.__name__}.{name} has no docstring"
        elif sections and not inspect.isclass(value) and inspect.signature(value).parameters:
            for section in ("Args:", "Returns:"):
                if not re.search(rf"^ *{section}\n", doc, re.MULTILINE):
                    yield f"{module.__name__}.{name} has no {section}"


def undocumented() -> list[str]:
    """List the faults of the whole public API."""
    return [
        fault
        for name in MODULES
        for page in public_modules(importlib.import_module(name))
        for fault in faults(page, sections=name == OBJECTIVES)
    ]


def render(out: Path) -> None:
    """Write the reference into a folder."""
    import pdoc  # only the site needs it: the check runs without

    modules = [importlib.import_module(name) for name in MODULES]
    shown = {page.__name__ for module in modules for page in public_modules(module)}
    below = {
        f"{module.__name__}.{name}"
        for module in modules
        for _, name, _ in pkgutil.iter_modules(getattr(module, "__path__", []))
    }
    pdoc.render.configure(docformat="google")
    pdoc.pdoc(*MODULES, *(f"!{name}$" for name in below - shown), output_directory=out)
    for page in out.rglob("*.html"):  # signatures spell out where jax keeps its Array
        prefix = r'(<span class="n">\w+</span><span class="o">\.</span>)+(?=<span class="n">Array</span>)'
        page.write_text(re.sub(prefix, "", page.read_text("utf-8")), "utf-8")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("site"), help="folder of the pages (default: site)")
    out = parser.parse_args().out
    if found := undocumented():
        sys.exit("\n".join(found))
    shutil.rmtree(out, ignore_errors=True)
    pages.render(out)
    render(out / "reference")
    if found := pages.broken(out):
        sys.exit("\n".join(found))
    print(out / "index.html")


if __name__ == "__main__":
    main()
