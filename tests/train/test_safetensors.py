"""Trees of arrays in safetensors files, read back by the format's own description: a length, JSON, bytes."""

import json
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxdl import cli
from jaxdl.errors import InputError
from jaxdl.train import load_safetensors, save_safetensors
from jaxdl.train.safetensors import load_params

MLP = str(Path(__file__).parent.parent.parent / "configs" / "mlp_digits.py")
TREE = {
    "params": {
        "net": {"Dense_0": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T}},  # not as C orders it
        "log_alpha": np.float32(0.5),
    },
    "model_state": {"count": np.arange(3), "mask": np.array([True, False]), "empty": np.zeros((0, 2))},
}


def parse(path):
    """Read a file by hand: (header, {name: array})."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    about = header.pop("__metadata__")
    kinds = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "U32": "<u4", "BOOL": "?"}
    arrays = {}
    for name, entry in header.items():
        start, end = (8 + size + offset for offset in entry["data_offsets"])
        arrays[name] = np.frombuffer(content[start:end], kinds[entry["dtype"]]).reshape(entry["shape"])
    return about, arrays


def write(path, arrays):
    """Write a file by hand."""
    header, data = {}, b""
    for name, array in arrays.items():
        span = [len(data), len(data) + 4 * array.size]
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": span}
        data += array.astype("<f4").tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_each_array_is_named_by_its_place(tmp_path):
    path = save_safetensors(tmp_path / "new" / "a.safetensors", TREE, {"step": 3})
    about, arrays = parse(path)
    assert json.loads(about["about"]) == {"step": 3}
    assert set(arrays) == {
        "params.net.Dense_0.kernel",
        "params.log_alpha",
        "model_state.count",
        "model_state.mask",
        "model_state.empty",
    }
    assert arrays["params.net.Dense_0.kernel"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert arrays["params.log_alpha"].shape == ()
    assert arrays["params.log_alpha"] == 0.5
    assert arrays["model_state.mask"].tolist() == [True, False]


def test_what_is_written_is_read_back(tmp_path):
    read = load_safetensors(save_safetensors(tmp_path / "a.safetensors", TREE))
    assert jax.tree.structure(read) == jax.tree.structure(TREE)
    for a, b in zip(jax.tree.leaves(read), jax.tree.leaves(TREE), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)
    assert load_params(tmp_path / "a.safetensors")["log_alpha"] == 0.5


def test_places_that_are_no_keys_are_numbers_and_keys_are_integers(tmp_path):
    tree = {"pair": (np.zeros(1, np.float32), np.ones(1, np.float32)), "key": jax.random.key(7)}
    _, arrays = parse(save_safetensors(tmp_path / "a.safetensors", tree))
    assert arrays["pair.1"].tolist() == [1]
    assert arrays["key"].tolist() == [0, 7]


def test_files_of_others_are_read(tmp_path):
    path = write(tmp_path / "a.safetensors", {"layer1.0.bias": np.ones(2), "layer1.1.bias": np.zeros(2)})
    assert load_safetensors(path)["layer1"]["0"]["bias"].tolist() == [1, 1]


WHOLE = b"\x02\0\0\0\0\0\0\0{}"
ONE = np.ones(1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read .*a.safetensors: No such file or directory; give the path of a"),
        (b"", "no whole safetensors file: .*header too small"),
        (b"x" * 99, "no whole safetensors file: "),
        ({"a": ONE, "a.b": ONE}, "holds an array a, and others inside of it; rename one"),
        ({"a.b.c": ONE, "a.b": ONE}, r"holds an array a\.b, and others"),
        (WHOLE, "holds no params; it holds nothing"),
        ({"layer1.bias": ONE, "fc.bias": ONE}, "holds no params; it holds (fc, layer1|layer1, fc)$"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, content, message):
    path = tmp_path / "a.safetensors"
    if isinstance(content, dict):
        write(path, content)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_short_is_refused(tmp_path):
    path = save_safetensors(tmp_path / "a.safetensors", TREE)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="no whole safetensors file"):
        load_safetensors(path)


def test_what_is_in_the_way_stays(tmp_path):
    path = save_safetensors(tmp_path / "a.safetensors", TREE)
    with pytest.raises(InputError, match="exists; give --overwrite to replace it"):
        save_safetensors(path, {"a": ONE})
    save_safetensors(path, {"a": ONE}, overwrite=True)
    assert list(load_safetensors(path)) == ["a"]
    (tmp_path / "b.safetensors").mkdir()
    with pytest.raises(InputError, match="is no earlier export and is not replaced"):
        save_safetensors(tmp_path / "b.safetensors", TREE, overwrite=True)
    with pytest.raises(InputError, match=r"a\.npz is no name of a safetensors file; give one that ends in"):
        save_safetensors(tmp_path / "a.npz", TREE)
    with pytest.raises(InputError, match=r"two arrays have the name a\.b; no key may hold a dot"):
        save_safetensors(tmp_path / "c.safetensors", {"a": {"b": ONE}, "a.b": ONE})
    with pytest.raises(InputError, match=r"cannot write .*: .*; give --to"):
        save_safetensors(path / "d.safetensors", TREE)


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.delitem(sys.modules, "safetensors.numpy", raising=False)
    with pytest.raises(InputError, match=r'safetensors is not installed; pip install "jaxdl\[export\]"'):
        load_safetensors(tmp_path / "a.safetensors")


def test_a_run_starts_from_params_that_another_one_exported(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--quiet", "--no-cache", "--hidden", "8", "--batch-size", "64", "--epochs", "1"]
    assert cli.main(["train", MLP, "--workdir", "a", *flags]) == 0
    assert cli.main(["export", "a", "--format", "safetensors", "--no-cache"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "a/params.safetensors"
    results = []
    for source in ("a", "a/params.safetensors"):
        argv = ["--workdir", f"of-{len(results)}", "--params-from", source]
        assert cli.main(["train", MLP, *argv, *flags]) == 0
        results.append(capsys.readouterr().out.splitlines()[0])
    assert results[0] == results[1]
    tied = json.loads(Path("of-1/config.json").read_text())["params_from"]
    assert tied == str(tmp_path / "a" / "params.safetensors")
    shutil.rmtree("a")  # a run that has a checkpoint of its own needs it no more
    assert cli.main(["train", MLP, "--workdir", "of-0", "--params-from", "a/", *flags]) == 0
    assert capsys.readouterr().out.splitlines()[0] == results[0]
