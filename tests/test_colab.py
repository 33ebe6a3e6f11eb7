"""The notebooks are valid, in step with their scripts, and run from the top."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COLAB = Path(__file__).parent.parent / "colab"
SPEC = importlib.util.spec_from_file_location("colab_pair", COLAB / "pair.py")
pair = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(pair)

SCRIPTS = sorted(path for path in COLAB.glob("*.py") if path.name != "pair.py")
PICTURES = {  # that each notebook draws
    "deep_rl": 7,
    "flows": 4,
    "gans": 4,
    "losses_in_your_project": 1,
    "quickstart": 4,
    "tabular_rl": 8,
    "vaes_and_autoregressive_models": 7,
}
RUN = """
import json, sys
import matplotlib.pyplot as plt
namespace = {"__name__": "__main__"}
for source in json.load(sys.stdin):
    exec(compile(source, "cell", "exec"), namespace)
print(json.dumps({"modules": sorted(sys.modules), "pictures": len(plt.get_fignums())}))
"""


def run(script, folder):
    """Execute a notebook from the top in a process of its own; return what it imported and drew."""
    whole = json.loads(script.with_suffix(".ipynb").read_text("utf-8"))
    sources = ["".join(cell["source"]) for cell in whole["cells"] if cell["cell_type"] == "code"]
    one_device = [flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag]
    environment = {
        **os.environ,
        "JAXDL_FAST": "1",
        "MPLBACKEND": "agg",
        "JAX_PLATFORMS": "cpu",
        "TMPDIR": str(folder),
        "XLA_FLAGS": " ".join(one_device),
    }
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(
        command,
        input=json.dumps(sources),
        capture_output=True,
        text=True,
        cwd=COLAB,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_notebooks_are_in_step_with_their_scripts(script):
    written = script.with_suffix(".ipynb").read_text("utf-8")
    assert written == pair.notebook(script.read_text("utf-8")), "run python colab/pair.py"


def test_each_notebook_has_a_script():
    assert SCRIPTS
    assert sorted(path.stem for path in COLAB.glob("*.ipynb")) == [path.stem for path in SCRIPTS]


def test_a_script_becomes_a_notebook():
    script = '"""Left out."""\n\n# %% [markdown]\n# # Title\n#\n# $x$\n\n# %%\nx = 1\n\n# why\nprint(x)\n'
    assert pair.cells(script) == [("markdown", "# Title\n\n$x$"), ("code", "x = 1\n\n# why\nprint(x)")]
    whole = json.loads(pair.notebook(script))
    assert (whole["nbformat"], whole["nbformat_minor"]) == (4, 5)
    text, code = whole["cells"]
    assert text == {
        "cell_type": "markdown",
        "id": "cell-0",
        "metadata": {},
        "source": ["# Title\n", "\n", "$x$"],
    }
    assert code["source"] == ["x = 1\n", "\n", "# why\n", "print(x)"]
    assert code["outputs"] == [] and code["execution_count"] is None


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_notebooks_run_from_the_top(script, tmp_path):
    result = run(script, tmp_path)
    assert result["pictures"] == PICTURES[script.stem]
    if script.stem == "losses_in_your_project":
        assert_only_the_objectives(result["modules"])


def test_each_notebook_begins_with_text():
    for script in SCRIPTS:
        assert pair.cells(script.read_text("utf-8"))[0][0] == "markdown", script.name


def assert_only_the_objectives(modules):
    imported = {name for name in modules if name.split(".")[0] == "jaxdl"}
    assert "jaxdl.objectives" in imported
    others = {name for name in imported if not name.startswith("jaxdl.objectives.")}
    assert others == {"jaxdl", "jaxdl.objectives", "jaxdl.types"}
    assert not {"flax", "orbax", "grain", "tensorflow_datasets"} & set(modules)
