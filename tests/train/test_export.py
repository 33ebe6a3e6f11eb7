"""What a run exports gives its numbers in a process that has no jaxdl, for batches of any size."""

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import export

from jaxdl import cli, config, optim
from jaxdl.data import Batches
from jaxdl.errors import InputError, RunError
from jaxdl.learners import classifier
from jaxdl.train import Experiment, export_programs, initial_state
from jaxdl.train.export import PLATFORMS, evaluated, exported, provenance

CONFIGS = Path(__file__).parent.parent.parent / "configs"
SEEDS = np.array([7, 0, 2**32 - 1], np.uint32)
PAGE = CONFIGS.parent / "docs" / "export.md"
KEY = jax.random.key(0)


def programs(folder):
    """Read an export as a stranger would: {name: function of batches}."""
    about = json.loads((folder / "export.json").read_text())
    assert {f"{name}.stablehlo" for name in about["programs"]} | {"export.json"} == {
        path.name for path in folder.iterdir()
    }
    return {
        name: export.deserialize(bytearray((folder / f"{name}.stablehlo").read_bytes())).call
        for name in about["programs"]
    }


def nll(logits, label):
    return -jax.nn.log_softmax(logits)[np.arange(len(label)), label]


def perceptron(params, x):
    """Two dense layers by numpy."""
    hidden, out = (jax.tree.map(np.asarray, params[f"Dense_{index}"]) for index in range(2))
    return np.maximum(x @ hidden["kernel"] + hidden["bias"], 0) @ out["kernel"] + out["bias"]


def classified(call, values, batch, state):
    """Logits: of the loss and accuracy that evaluation finds."""
    logits = call["predict"](batch["image"])
    np.testing.assert_allclose(nll(logits, batch["label"]), values["loss"], rtol=1e-4, atol=1e-5)


def classified_by_m2(call, values, batch, state):
    wrong = call["predict"](batch["x"]).argmax(-1) != batch["label"]
    assert 0 < wrong.sum() < len(wrong)
    np.testing.assert_array_equal(wrong, values["error"])


def given_back(call, values, batch, state):
    """Decoded codes: as far from the data as evaluation finds."""
    decoded = call["decode"](call["encode"](batch["x"]))
    np.testing.assert_allclose(((decoded - batch["x"]) ** 2).sum((1, 2, 3)), values["loss"], rtol=1e-4)


def inferred(call, values, batch, state):
    """The posterior: of the divergence that evaluation finds; samples: normal latents decoded by numpy."""
    mean, log_std = call["encode"](batch["x"], batch["context"])
    kl = 0.5 * (mean**2 + jnp.exp(2 * log_std) - 1 - 2 * log_std).sum(-1)
    np.testing.assert_allclose(kl, values["kl"], rtol=1e-4, atol=1e-5)
    z = np.stack([jax.random.normal(jax.random.key(seed), mean.shape[1:]) for seed in SEEDS])
    given = np.concatenate([z, batch["context"][:3]], -1)
    logits = perceptron(state.params["model"]["decoder"]["params"], given).reshape(3, 8, 8, 1)
    for drawn in (call["sample"](SEEDS, batch["context"][:3]), call["decode"](z, batch["context"][:3])):
        np.testing.assert_allclose(drawn, 1 / (1 + np.exp(-logits)), rtol=1e-4, atol=1e-5)


def modelled(call, values, batch, state):
    """Log-densities: those that evaluation finds, finite for samples."""
    given = [batch["context"]] if "context" in batch else []
    np.testing.assert_allclose(call["log_prob"](batch["x"], *given), -values["nll"], rtol=1e-4, atol=1e-4)
    some = [leaf[:3] for leaf in given]
    drawn = call["sample"](SEEDS, *some)
    assert np.isfinite(call["log_prob"](drawn, *some)).all()


def generated(call, values, batch, state):
    assert call["sample"](SEEDS).shape == (3, *batch["x"].shape[1:])


def acted(call, values, batch, state):
    """The action of the highest value, by numpy."""
    observation = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    action = call["act"](observation)
    q = perceptron(state.params["q"]["params"]["Torso_0"], observation)
    np.testing.assert_array_equal(action, q.argmax(-1))
    assert len(set(action.tolist())) == 2


def followed(call, values, batch, state):
    """Logits: of the loss that evaluation finds; text that goes on, of tokens that there are."""
    tokens = batch["tokens"].astype(np.int32)
    log_probs = jax.nn.log_softmax(call["predict"](tokens[:, :-1]))
    nll = -np.take_along_axis(np.asarray(log_probs), tokens[:, 1:, None], -1).mean((1, 2))
    np.testing.assert_allclose(nll, values["loss"], rtol=1e-4)
    drawn = call["sample"](SEEDS, tokens[:3, :-1])
    assert drawn.ndim == 2 and drawn.min() >= 0 and drawn.max() < log_probs.shape[-1]


def written(call, values, batch, state):
    assert call["sample"](SEEDS, batch["context"][:3]).shape == (3, *batch["x"].shape[1:])


def assigned(call, values, batch, state):
    """Of one of the mixtures: its density at points, and which component is likeliest there."""
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    phi, log_prob = call["predict"](x), call["log_prob"](x)
    np.testing.assert_allclose(phi.sum(-1), 1, rtol=1e-5)
    found = []
    for mean, log_std in zip(*(np.asarray(leaf, np.float64) for leaf in state), strict=True):
        score = (2 * x[:, None] * mean - mean**2 - np.exp(2 * log_std)).sum(-1)
        variance = 1 + np.exp(2 * log_std[:, 0])
        density = np.exp(-0.5 * ((x[:, None] - mean) ** 2).sum(-1) / variance) / (2 * np.pi * variance)
        alike = np.allclose(log_prob, np.log(density.mean(-1)), rtol=1e-4)
        found.append(alike and (phi.argmax(-1) == score.argmax(-1)).all())
    assert sum(found) == 1


def walked(call, values, batch, state):
    """Values as evaluation finds them at the start; actions that there are."""
    s = np.arange(16, dtype=np.int32)
    assert np.asarray(call["act"](s)).tolist() == np.asarray(state.policy).argmax(-1).tolist()
    np.testing.assert_array_equal(call["value"](s), state.v)


def walked_both(call, values, batch, state):
    q = {name: np.asarray(each.q).mean(0) for name, each in state.items()}
    s = np.arange(len(q["sarsa"]), dtype=np.int32)
    assert {*call} == {f"{name}_{what}" for name in q for what in ("act", "value")}
    for name, table in q.items():
        np.testing.assert_allclose(call[f"{name}_value"](s), table.max(-1), rtol=1e-6)
        chosen = table[s, call[f"{name}_act"](s)]
        np.testing.assert_allclose(chosen, table.max(-1), rtol=1e-6)


SYSTEMS = {
    "transformer_text": followed,
    "vrnn_strokes": written,
    "cavi_ring": assigned,
    "value_iteration_frozenlake": walked,
    "sarsa_cliff": walked_both,
    "resnet_cifar10": classified,
    "m2_digits": classified_by_m2,
    "autoencoder_digits": given_back,
    "conditional_vae_digits": inferred,
    "flow_density": modelled,
    "made_digits": modelled,  # with two masks, of which the density is a mixture
    "ar_series": modelled,  # with a context
    "order_agnostic_digits": generated,
    "gan_ring": generated,
    "dqn_cartpole": acted,
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_programs_give_the_numbers_of_the_learner(name, tmp_path):
    function = config.load(CONFIGS / f"{name}.py")
    experiment = function(**function.__globals__["TINY"])
    state, data = initial_state(experiment), experiment.test or experiment.validation
    batch = None if data is None else jax.tree.map(lambda leaf: leaf[:64], data.batch_at(0))
    values = None if data is None else jax.jit(experiment.learner.evaluate)(state, batch, KEY)
    export_programs(experiment, state, tmp_path / "export")
    call = programs(tmp_path / "export")
    SYSTEMS[name](call, values, batch, state)
    if "sample" in call:  # each of its own seed, whatever else is in the batch
        given = [batch["context"][:3]] if "context" in batch else []
        given += [np.int32(batch["tokens"][:3, :-1])] if "tokens" in batch else []
        drawn = np.asarray(call["sample"](SEEDS, *given))
        alone = call["sample"](SEEDS[1:2], *(leaf[1:2] for leaf in given))
        np.testing.assert_allclose(drawn[1:2], alone, rtol=1e-4, atol=1e-5)
        assert not np.allclose(drawn[0], drawn[2])


def test_the_page_reads_what_it_says(tmp_path, monkeypatch):
    experiment = config.load(CONFIGS / "vae_digits.py")(hidden=(8,), latent_dim=2)
    state = initial_state(experiment)
    export_programs(experiment, state, tmp_path / "runs" / "vae_digits" / "export")
    monkeypatch.chdir(tmp_path)
    reader, learner, arrays, _ = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    page = {"params": state.params, "net": Scale(), "images": None}
    for source in (reader, learner, arrays):
        exec(compile(source, PAGE.name, "exec"), page)
    assert page["images"].shape == (64, 8, 8, 1)
    programs = page["export"](
        {"net": {"params": {"scale": np.ones((1, 2))}}}, {}, {"x": np.ones((1, 2, 2, 1))}
    )
    assert set(programs) == {"predict"}
    for a, b in zip(jax.tree.leaves(page["params"]), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_rows_that_are_none_are_said(tmp_path):
    (tmp_path / "config.json").write_text('{"config": "/somewhere/a.py", "arguments": {}}')
    assert provenance(tmp_path, 3) == {"config": "a.py", "arguments": {}, "step": 3, "metrics": {}}
    rows = [{"step": step, "split": split, "loss": step} for step in (3, 6) for split in ("train", "test")]
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows) + '{"step": 9, "sp'
    )
    assert provenance(tmp_path, 3)["metrics"] == {"test": {"loss": 3}}
    (tmp_path / "metrics.jsonl").write_text("3\n")
    with pytest.raises(InputError, match="holds no row of metrics in line 1: 3; delete that line"):
        provenance(tmp_path, 3)


STRANGER = """
import sys
for name in ("jaxdl", "flax", "optax", "orbax"):
    sys.modules[name] = None  # importing it raises an ImportError
import json
import jax, numpy as np
from jax import export
folder, data = sys.argv[1:]
about, data = json.load(open(f"{folder}/export.json")), np.load(data)
predict = export.deserialize(open(f"{folder}/predict.stablehlo", "rb").read()).call
logits = predict(data["image"])
correct = logits.argmax(-1) == data["label"]
loss = -jax.nn.log_softmax(logits)[np.arange(len(logits)), data["label"]]
print(json.dumps([about, float(correct.mean()), float(loss.mean()), list(predict(data["image"][:1]).shape)]))
"""


def test_a_process_without_jaxdl_finds_the_numbers_of_the_run(tmp_path, capsys):
    run, source = str(tmp_path / "run"), str(CONFIGS / "mlp_digits.py")
    flags = ["--epochs", "3", "--hidden", "16", "--batch-size", "32", "--ema", "0.9", "--no-cache"]
    assert cli.main(["train", source, "--workdir", run, "--quiet", *flags]) == 0
    assert cli.main(["export", run, "--no-cache"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{run}/export/export.json"
    data = config.rebuild(Path(run)).test
    whole = Batches(data.source, len(data), transform=data.transform)
    np.savez(tmp_path / "data.npz", **whole.batch_at(0))
    argv = [sys.executable, "-c", STRANGER, f"{run}/export", str(tmp_path / "data.npz")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    about, accuracy, loss, shape = json.loads(done.stdout)
    rows = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    assert about["metrics"]["test"] == {k: rows[-1][k] for k in rows[-1] if k not in ("step", "split")}
    assert about["metrics"]["test"]["accuracy"] == pytest.approx(accuracy)
    assert about["metrics"]["test"]["loss"] == pytest.approx(loss, rel=1e-4)
    assert shape == [1, 10]
    assert about["config"] == "mlp_digits.py"
    assert about["arguments"]["hidden"] == [16]
    assert about["step"] == rows[-1]["step"]
    assert about["jax"] == jax.__version__
    assert about["platforms"] == ["cpu", "cuda", "tpu"]
    described = {"inputs": {"image": "float32[b, 8, 8, 1]"}, "outputs": "float32[b, 10]"}
    assert about["programs"] == {"predict": described}


class Scale(nn.Module):
    """Multiply the mean of an image by one number for each of two classes."""

    @nn.compact
    def __call__(self, image, *, train):
        return image.mean((1, 2)) * self.param("scale", nn.initializers.ones, (1, 2))


def scaling(**changes):
    """An experiment whose two logits are the mean of an image, times its params."""
    data = Batches({"image": np.ones((4, 2, 2, 1), np.float32), "label": np.zeros(4, np.int32)}, 4)
    learner = classifier(Scale(), optim.sgd(0.1))
    return Experiment(learner._replace(**changes), 3, data)


def test_averaged_params_are_exported_where_they_are_kept():
    state = initial_state(scaling())
    averaged = state.replace(ema_params=jax.tree.map(lambda leaf: leaf + 1, state.params))
    assert evaluated(state)["params"]["net"]["scale"].tolist() == [[1, 1]]
    assert evaluated(averaged)["params"]["net"]["scale"].tolist() == [[2, 2]]
    with pytest.raises(InputError, match="the state of this learner is a dict; it has no params"):
        evaluated({"n": 1})


FALLING = """
import numpy as np
from jaxdl import optim
from jaxdl.data import Batches
from jaxdl.learners import classifier
from jaxdl.nets.mlp import MLP
from jaxdl.train import Experiment

def falling(seed: int = 0) -> Experiment:
    data = Batches({"image": np.ones((8, 2, 2, 1), np.float32), "label": np.zeros(8, np.int32)}, 8, seed)
    learner = classifier(MLP(3, (4,)), optim.sgd(0.1))
    return Experiment(learner, 3, data, data, monitor="loss", maximize=True, eval_every=1, steps_per_call=1)
"""


def test_the_best_checkpoint_is_not_the_latest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "falling.py").write_text(FALLING)
    assert cli.main(["train", "falling.py", "--workdir", "run", "--quiet", "--no-cache"]) == 0
    image, losses = np.ones((1, 2, 2, 1), np.float32), []
    for flags, step in (([], 3), (["--best", "--to", "best/of/it"], 1)):
        assert cli.main(["export", "run", "--no-cache", *flags]) == 0
        folder = Path(flags[-1] if flags else "run/export")
        about = json.loads((folder / "export.json").read_text())
        losses.append(float(nll(programs(folder)["predict"](image), np.zeros(1, int))[0]))
        assert about["step"] == step
        assert about["metrics"]["validation"]["loss"] == pytest.approx(losses[-1], rel=1e-5)
    assert losses[0] < losses[1]


def test_an_earlier_export_is_replaced_when_asked_and_nothing_else_is(tmp_path):
    state = initial_state(scaling())
    save = partial(export_programs, scaling(), folder=tmp_path / "e")
    image = np.ones((2, 2, 2, 1), np.float32)
    for left in (".e.jaxdl-part", ".e.jaxdl-old"):  # by a kill
        (tmp_path / left).mkdir()
        (tmp_path / left / "junk").write_text("")
    assert [path.name for path in save(state)] == ["predict.stablehlo", "export.json"]
    with pytest.raises(InputError, match="e exists; give --overwrite to replace it, or --to for another"):
        save(state)
    doubled = state.replace(params=jax.tree.map(lambda leaf: 2 * leaf, state.params))
    save(doubled, overwrite=True)
    assert programs(tmp_path / "e")["predict"](image).tolist() == [[2, 2], [2, 2]]
    assert [path.name for path in tmp_path.iterdir()] == ["e"]
    (tmp_path / "e" / "export.json").unlink()
    with pytest.raises(InputError, match="e is no earlier export and is not replaced; give --to"):
        save(state, overwrite=True)
    assert (tmp_path / "e" / "predict.stablehlo").exists()


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path):
    state = initial_state(scaling())
    export_programs(scaling(), state, tmp_path / "first")
    (tmp_path / "e").symlink_to(tmp_path / "first")
    export_programs(scaling(), state, tmp_path / "e", {"new": 1}, overwrite=True)
    assert not (tmp_path / "e").is_symlink()
    assert "new" in json.loads((tmp_path / "e" / "export.json").read_text())
    assert "new" not in json.loads((tmp_path / "first" / "export.json").read_text())


def test_a_failed_write_leaves_the_earlier_export(tmp_path, monkeypatch):
    state = initial_state(scaling())
    export_programs(scaling(), state, tmp_path / "e")
    before = (tmp_path / "e" / "export.json").read_bytes()

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"cannot write .*/e: No space left on device; give --to for"):
        export_programs(scaling(), state, tmp_path / "e", {"new": 1}, overwrite=True)
    assert (tmp_path / "e" / "export.json").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"export": lambda state, batch: {"../up": (jnp.sin, jnp.ones(1))}},
            InputError,
            "export names a program '../up'; give a plain name",
        ),
        ({"export": None}, InputError, "this learner exports nothing; give it an `export`, or take --format"),
        (
            {"export": lambda state, batch: {"branch": (lambda x: x if x > 0 else -x, jnp.ones(1))}},
            RunError,
            "^branch cannot be exported: TracerBoolConversionError: ",
        ),
    ],
)
def test_what_cannot_be_exported_is_said(tmp_path, changes, kind, message):
    with pytest.raises(kind, match=message):
        export_programs(scaling(**changes), initial_state(scaling()), tmp_path / "e")
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    def serialize(self):
        raise ImportError("flatbuffers")

    monkeypatch.setattr(export.Exported, "serialize", serialize)
    with pytest.raises(InputError, match=r'flatbuffers; pip install "jaxdl\[export\]"'):
        export_programs(scaling(), initial_state(scaling()), tmp_path / "e")


def test_a_program_has_code_for_each_platform_and_any_batch():
    program = exported(lambda x, y: {"sum": x + y.sum()}, np.ones((1, 2)), np.ones((1, 3), np.int32))
    assert program.platforms == PLATFORMS
    x, y = np.zeros((4, 2), np.float32), np.arange(12, dtype=np.int32).reshape(4, 3)
    assert program.call(x, y)["sum"].tolist() == [[3, 3], [12, 12], [21, 21], [30, 30]]
    with pytest.raises(ValueError, match="shape"):
        program.call(x, y[:3])
