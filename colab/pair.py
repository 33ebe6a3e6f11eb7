"""Write each notebook of this folder from the script of the same name.

    python colab/pair.py

The scripts are in the percent format that editors run cell by cell: a line `# %%` opens a cell of code, and
`# %% [markdown]` a cell of text, whose lines are comments. Edit the script, never the notebook.
"""

import json
from pathlib import Path
from typing import Any

KINDS = {"# %%": "code", "# %% [markdown]": "markdown"}


def cells(script: str) -> list[tuple[str, str]]:
    """Split a script into (kind, source); what stands above the first cell is left out."""
    found: list[tuple[str, list[str]]] = []
    for line in script.splitlines():
        if line in KINDS:
            found.append((KINDS[line], []))
        elif found:
            kind, lines = found[-1]
            lines.append(line if kind == "code" else line.removeprefix("#").removeprefix(" "))
    return [(kind, "\n".join(lines).strip("\n")) for kind, lines in found]


def notebook(script: str) -> str:
    """Return the JSON of the notebook (nbformat 4.5), without outputs."""
    content = []
    for index, (kind, source) in enumerate(cells(script)):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{index}", "metadata": {}}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        content.append(cell | {"source": source.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    whole = {"cells": content, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path in Path(__file__).parent.glob("*.py"):
        if path.name != "pair.py":
            path.with_suffix(".ipynb").write_text(notebook(path.read_text("utf-8")), "utf-8")
