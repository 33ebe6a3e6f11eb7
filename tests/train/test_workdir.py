"""A run's folder is locked while in use and tied to its arguments."""

import json
import os
import subprocess
import sys

import pytest

from jaxdl.errors import InputError
from jaxdl.train.workdir import open_workdir, read_config, write_atomically

CONFIG = {"config": "a.py", "arguments": {"width": 3, "options": {"ema": None}}}


def test_the_config_is_kept_and_the_same_one_reopens(tmp_path):
    for _ in range(2):
        with open_workdir(tmp_path / "deep" / "run", CONFIG) as folder:
            assert read_config(folder) == CONFIG


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**CONFIG, "config": "b.py"}, r"config is 'a.py' there, 'b.py' here"),
        (
            {**CONFIG, "arguments": {"width": 4, "options": {"ema": None}}},
            r"arguments.width is 3 there, 4 here",
        ),
        (
            {**CONFIG, "arguments": {"width": 3, "options": {"ema": 0.9}}},
            r"options.ema is None there, 0.9 here",
        ),
        (
            {**CONFIG, "arguments": {"depth": 1, "options": {"ema": 0.9}}},
            r"width is 3.*ema is None.*depth is None there, 1",
        ),
    ],
)
def test_other_arguments_are_refused_naming_each(tmp_path, config, message):
    with open_workdir(tmp_path, CONFIG):
        pass
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=message), open_workdir(tmp_path, config):
        pass
    assert sorted(tmp_path.iterdir()) == before
    assert read_config(tmp_path) == CONFIG


def hold(folder):
    """Start a process that holds the folder until its stdin closes."""
    code = (
        "import sys, pathlib; from jaxdl.train.workdir import open_workdir\n"
        f"with open_workdir(pathlib.Path({str(folder)!r}), {CONFIG!r}):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_folder_in_use_is_refused_and_a_dead_holder_is_not(tmp_path):
    process = hold(tmp_path)
    try:
        with pytest.raises(InputError, match="in use by another process"), open_workdir(tmp_path, CONFIG):
            pass
    finally:
        process.kill()  # as SIGKILL leaves it: the lock file stays, the lock does not
        process.communicate()
    assert (tmp_path / "lock").exists()
    with open_workdir(tmp_path, CONFIG):
        pass


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="is a file; choose another --workdir"),
        open_workdir(tmp_path / "file", CONFIG),
    ):
        pass


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(InputError, match="holds files but no run"), open_workdir(tmp_path, CONFIG):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root meets /proc this way")
def test_a_folder_that_cannot_be_written_is_refused():
    from pathlib import Path

    with (
        pytest.raises(InputError, match="cannot write in workdir /proc/jaxdl"),
        open_workdir(Path("/proc/jaxdl"), CONFIG),
    ):
        pass


def test_no_run_and_broken_config_are_refused(tmp_path):
    with pytest.raises(InputError, match="is not a run's folder"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot read"):
        read_config(tmp_path)


def test_a_file_is_replaced_whole(tmp_path):
    write_atomically(tmp_path / "x.json", json.dumps({"a": 1}))
    write_atomically(tmp_path / "x.json", json.dumps({"a": 2}))
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
