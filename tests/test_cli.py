"""The command line, called in this process except where the process itself is the point."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jaxdl import cli
from jaxdl.errors import InputError

CONFIGS = Path(__file__).parent.parent / "configs"
MLP = str(CONFIGS / "mlp_digits.py")
TINY = ["--epochs", "2", "--hidden", "16", "--batch-size", "32", "--no-cache"]


def jaxdl(capsys, *argv):
    """Run a command; return (exit code, stdout, stderr)."""
    try:
        code = cli.main(argv)
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "mlp"
    assert cli.main(["train", MLP, "--workdir", str(folder), "--quiet", *TINY]) == 0
    return folder


def test_train_prints_the_test_metrics_and_where_the_pictures_are(capsys, tmp_path):
    code, out, err = jaxdl(capsys, "train", MLP, "--workdir", str(tmp_path / "w"), *TINY)
    assert code == 0
    assert out.startswith("test: accuracy 0.")
    assert f"pictures: {tmp_path / 'w' / 'pictures'}" in out
    assert "1,258 train, 180 validation, 359 test examples" in err
    assert err.count("compiled in") == 1
    assert "step 16  accuracy" in err  # plain lines: this is no terminal


def test_a_run_is_rebuilt_from_its_folder(capsys, workdir):
    made = json.loads((workdir / "config.json").read_text())
    assert made["config"] == MLP
    assert made["arguments"]["hidden"] == [16]
    assert made["arguments"]["image_set"]["dataset"] == "digits"
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    code, out, _ = jaxdl(capsys, "eval", str(workdir), "--no-cache")
    assert code == 0
    accuracy = next(row["accuracy"] for row in rows if row["split"] == "test")
    assert f"test: accuracy {accuracy:.4g}" in out
    (workdir / "pictures" / "hardest.png").unlink()
    code, out, _ = jaxdl(capsys, "render", str(workdir), "--best", "--no-cache")
    assert code == 0
    assert out.strip() == str(workdir / "pictures" / "hardest.png")
    assert (workdir / "pictures" / "hardest.png").stat().st_size > 100


def test_help_lists_every_option_with_type_and_default(capsys):
    code, out, _ = jaxdl(capsys, "train", MLP, "--help")
    text = " ".join(out.split())
    assert code == 0
    for part in (
        "--hidden int [int ...] widths of the hidden layers (default: (512, 512))",
        "--dropout float share of hidden units dropped in training (default: 0.2)",
        "--dataset str digits or photographs, which are embedded, or an image set of TFDS, such as mnist",
        "--on-nonfinite {stop,skip}",
        "--strategy {jit,pmap,shard}",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("command", "option"),
    [("train", "--strategy"), ("eval", "--best"), ("export", "--format"), ("list", "folder")],
)
def test_help_of_a_command_needs_nothing_else(capsys, command, option):
    for flag in ("--help", "-h"):
        code, out, err = jaxdl(capsys, command, flag)
        assert code == 0
        assert out.startswith(f"usage: jaxdl {command}")
        assert option in out
        assert not err


def test_list_shows_every_config(capsys):
    code, out, _ = jaxdl(capsys, "list", str(CONFIGS))
    assert code == 0
    for path in CONFIGS.glob("*.py"):
        assert str(path) in out
    for fact in ("Expected", "Paper", "Data"):
        assert len(re.findall(rf"^    {fact} ", out, re.M)) == len(list(CONFIGS.glob("*.py")))


def test_list_shows_each_command_in_a_line(capsys, tmp_path):
    text = "Command: jaxdl train a.py\n    jaxdl train a.py --long\n    --wide 3\nExpected: much\n    more"
    (tmp_path / "a.py").write_text(f'"""A.\n\n{text}\n"""')
    _, out, _ = jaxdl(capsys, "list", str(tmp_path))
    assert out.splitlines()[2:] == [
        "    Command   jaxdl train a.py",
        "              jaxdl train a.py --long --wide 3",
        "    Expected  much more",
    ]


def test_no_command_prints_the_help(capsys):
    code, out, _ = jaxdl(capsys)
    assert code == 0
    assert "usage: jaxdl" in out


def test_debug_shows_the_traceback():
    with pytest.raises(InputError, match="there is no config"):
        cli.main(["train", "nothing.py", "--debug", "--no-cache"])


def child(*argv, **environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    return subprocess.run(
        [sys.executable, "-m", "jaxdl", *argv],
        capture_output=True,
        text=True,
        env={**inherited, **environment},
        check=False,
    )


def test_flags_reach_jax_before_it_starts(tmp_path):
    """Devices, platform and cache are read by jax once: only a fresh process can tell."""
    cache = tmp_path / "cache"
    flags = [
        "--workdir",
        str(tmp_path / "w"),
        "--cpu-devices",
        "2",
        "--strategy",
        "shard",
        "--platform",
        "cpu",
    ]
    done = child("train", MLP, *flags, *TINY[:-1], XDG_CACHE_HOME=str(cache))
    assert done.returncode == 0, done.stderr
    assert "2 x cpu" in done.stderr
    assert any((cache / "jaxdl" / "xla").iterdir())
    assert "Traceback" not in done.stderr


def test_what_stands_in_the_environment_is_what_jax_reads(tmp_path):
    """jax ignores names that it does not know: ask jax itself."""
    code = (
        "from jaxdl import cli; "
        "flags = ['--platform', 'cpu', '--cpu-devices', '3']; "
        "cli.prepare_backend(cli.make_parser().parse_args(['eval', 'W', *flags])); "
        "import jax; config = jax.config; print(config.jax_compilation_cache_dir, "
        "config.jax_persistent_cache_min_compile_time_secs, config.jax_platforms, jax.device_count())"
    )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**inherited, "XDG_CACHE_HOME": str(tmp_path)},
        check=True,
    )
    assert done.stdout.split() == [str(tmp_path / "jaxdl" / "xla"), "0.0", "cpu", "3"]


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_a_platform_that_is_not_here_is_one_line(tmp_path, platform):
    argv = ["train", MLP, "--workdir", str(tmp_path / "w"), "--platform", platform, "--no-cache"]
    done = child(*argv, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert f"platform '{platform}' is not here: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "w").exists()


def test_a_list_that_nobody_reads_on_ends_quietly():
    listing = subprocess.Popen(
        [sys.executable, "-u", "-m", "jaxdl", "list", str(CONFIGS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    listing.stdout.readline()
    listing.stdout.close()
    assert listing.stderr.read() == ""
    listing.stderr.close()
    assert listing.wait() in (0, 1)  # 0, if all of it was in the pipe by then


def test_listing_configs_does_not_import_jax():
    code = (
        "import sys; from jaxdl import cli; "
        f"cli.main(['list', {str(CONFIGS)!r}]); assert not {{'jax', 'numpy'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
