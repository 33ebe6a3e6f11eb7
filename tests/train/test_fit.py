"""The loop: what it logs, saves, resumes and stops at."""

import json
import os
import signal
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import optim
from jaxdl.data import Batches
from jaxdl.errors import InputError, Interrupted, RunError
from jaxdl.train import Experiment, Options, Player, fit, gradient_learner, load_part
from jaxdl.train.fit import steps_in_a_second
from jaxdl.types import Learner

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4)).astype(np.float32)
SOURCE = {"x": X, "y": X @ np.array([1.0, -1.0, 2.0, 0.5], np.float32)}


def noisy(key, example):
    return {**example, "x": example["x"] + 0.1 * jax.random.normal(key, (4,))}


def init(key, batch):
    return {"model": {"w": jax.random.normal(key, (4,))}}, {"sum": jnp.zeros(4)}


def loss(params, model_state, batch, key):
    error = batch["x"] @ params["model"]["w"] - batch["y"] + 0.01 * jax.random.normal(key)
    return (error**2).mean(), (
        {"sum": model_state["sum"] + batch["x"].sum(0)},
        {"mae": jnp.abs(error).mean()},
    )


def evaluate(params, model_state, batch, key):
    return {"loss": (batch["x"] @ params["model"]["w"] - batch["y"]) ** 2}


def render(params, model_state, batch, key):
    return {"weights": jnp.clip(params["model"]["w"][None], 0, 1), "words": "four weights"}


def experiment_of(loss=loss, evaluate=evaluate, steps=50, options=Options(ema=0.9), **keywords):
    learner = gradient_learner(
        init, {"model": Player(loss, optim.adam(0.1))}, evaluate=evaluate, render=render, options=options
    )
    data = {
        "train": Batches(SOURCE, 8, seed=1, transform=noisy),
        "validation": Batches(SOURCE, 16),
        "test": Batches(SOURCE, 16),
    }
    return Experiment(learner, steps, **{**data, "steps_per_call": 4, **keywords})


def leaves(state):
    return [
        np.asarray(
            jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        )
        for leaf in jax.tree.leaves(state)
    ]


def assert_identical(one, other):
    for a, b in zip(leaves(one), leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run") / "whole"
    return fit(experiment_of(), workdir, quiet=True), workdir


def test_it_trains_and_measures(uninterrupted):
    result, _ = uninterrupted
    assert result.step == result.state.step == 50
    values = [row["loss"] for row in result.rows if row["split"] == "validation"]
    assert values[-1] < 0.1 * values[0]
    w = np.asarray(result.state.ema_params["model"]["w"])
    np.testing.assert_allclose(result.metrics["loss"], ((X @ w - SOURCE["y"]) ** 2).mean(), rtol=1e-4)


def test_what_a_run_leaves_on_disk(uninterrupted):
    result, workdir = uninterrupted
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert rows == result.rows
    evaluated = [row["step"] for row in rows if row["split"] == "validation"]
    # each tenth of the run (5 steps), at the end of the call of 4 steps that reaches it
    assert evaluated == [8, 12, 16, 20, 28, 32, 36, 40, 48, 50]
    assert [row["step"] for row in rows if row["split"] == "test"] == [50]
    train_rows = [row for row in rows if row["split"] == "train"]
    assert {"loss", "mae", "grad_norm", "param_norm", "update_ratio", "learning_rate"} <= set(train_rows[0])
    pictures = {path.name for path in (workdir / "pictures").iterdir()}
    assert pictures == {"weights.png", "words.txt", "curves.png"}
    assert list(workdir.glob("events.out.tfevents.*"))


def test_it_is_the_plain_loop_over_batches(uninterrupted):
    """The oracle: one step at a time over batch_at, by hand."""
    experiment = experiment_of()
    state = experiment.learner.init(jax.random.key(0), experiment.train.batch_at(0))
    step = jax.jit(experiment.learner.step)
    for index in range(50):
        state, _ = step(state, experiment.train.batch_at(index))
    for a, b in zip(leaves(uninterrupted[0].state), leaves(state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


class Kill(Exception):
    pass


def test_a_run_that_dies_resumes_bit_for_bit(uninterrupted, tmp_path):
    """Death in an evaluation: the steps since the last checkpoint are lost, and taken again."""
    for dies_at in (2, 5):
        calls = []

        def report(params, model_state, data, calls=calls, dies_at=dies_at):
            calls.append(data)
            if len(calls) == dies_at:
                raise Kill
            return {}

        workdir = tmp_path / str(dies_at)
        whole = experiment_of()
        mortal = Experiment(
            **{
                **vars(whole),
                "learner": whole.learner._replace(report=lambda state, data: report(None, None, data)),
            }
        )
        with pytest.raises(Kill):
            fit(mortal, workdir, quiet=True)
        result = fit(whole, workdir, quiet=True)
        assert_identical(result.state, uninterrupted[0].state)
        steps = [(row["split"], row["step"]) for row in result.rows]
        assert len(steps) == len(set(steps))  # nothing is logged twice


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_saves_and_stops_and_the_same_call_goes_on(uninterrupted, tmp_path, signum, capsys):
    before = signal.getsignal(signum)
    sent = []

    def noticed(state, data):
        if not sent:
            sent.append(os.kill(os.getpid(), signum))
        return {}

    whole = experiment_of()
    signalled = Experiment(**{**vars(whole), "learner": whole.learner._replace(report=noticed)})
    with pytest.raises(
        Interrupted, match="interrupted at step 8; the last good checkpoint is of step 8"
    ) as caught:
        fit(signalled, tmp_path / "run", quiet=True)
    assert caught.value.signum == signum
    assert signal.getsignal(signum) == before
    result = fit(whole, tmp_path / "run")
    assert "going on from step 8" in capsys.readouterr().err  # and not from the start
    assert_identical(result.state, uninterrupted[0].state)


class Signalling:
    """A source that sends SIGTERM when its twentieth example is read."""

    def __init__(self):
        self.reads = 0

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        self.reads += 1
        if self.reads == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"x": X[index], "y": SOURCE["y"][index]}


def test_a_signal_between_evaluations_is_saved_as_well(tmp_path):
    experiment = experiment_of(train=Batches(Signalling(), 8, seed=1, transform=noisy), eval_every=50)
    message = r"interrupted at step (\d+); the last good checkpoint is of step \1"
    with pytest.raises(Interrupted, match=message):
        fit(experiment, tmp_path / "run", quiet=True)


def test_a_finished_run_measures_again_and_takes_no_step(uninterrupted):
    result, workdir = uninterrupted
    again = fit(experiment_of(), workdir, quiet=True)
    assert again.step == 50
    assert again.metrics == result.metrics
    assert_identical(again.state, result.state)


def test_steps_in_a_call_do_not_change_where_a_run_ends(uninterrupted):
    result = fit(experiment_of(), steps_per_call=1, quiet=True)
    for a, b in zip(leaves(result.state), leaves(uninterrupted[0].state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_fewer_steps_in_a_call_change_nothing_of_the_run(monkeypatch):
    experiment = experiment_of(steps=70, steps_per_call=None, eval_every=20)
    expected = fit(experiment, quiet=True)
    monkeypatch.setattr(sys.modules["jaxdl.train.fit"], "steps_in_a_second", lambda k, seconds: 2)
    slow = fit(experiment, quiet=True)
    assert_identical(slow.state, expected.state)
    assert [row for row in slow.rows if row["split"] != "train"] == [
        row for row in expected.rows if row["split"] != "train"
    ]
    assert [row["step"] for row in slow.rows if row["split"] == "validation"] == [32, 48, 64, 70]


@pytest.mark.parametrize(
    ("seconds", "steps"), [(0.0, 16), (1.0, 16), (1.1, 8), (2.0, 8), (3.0, 4), (8.0, 2), (1e4, 2)]
)
def test_a_call_takes_no_more_than_a_second_where_two_steps_do_not(seconds, steps):
    assert steps_in_a_second(16, seconds) == steps


@pytest.mark.parametrize("strategy", ["pmap", "shard"])
def test_eight_devices_learn_as_well(strategy):
    result = fit(experiment_of(), strategy=strategy, quiet=True)
    values = [row["loss"] for row in result.rows if row["split"] == "validation"]
    assert values[-1] < 0.1 * values[0]


def test_patience_stops_and_goes_back_to_the_best(tmp_path):
    """The monitored score is best at the third evaluation, by the number of steps, and NaN at the fourth."""

    def evaluate(params, model_state, batch, key):
        score = jnp.where(model_state["steps"] == 16, jnp.nan, -jnp.abs(model_state["steps"] - 12.0))
        return {"score": jnp.full(len(batch["y"]), score)}

    def counted(params, model_state, batch, key):
        value, (_, metrics) = loss(params, {"sum": jnp.zeros(4)}, batch, key)
        return value, ({"steps": model_state["steps"] + 1}, metrics)

    learner = gradient_learner(
        lambda key, batch: (init(key, batch)[0], {"steps": jnp.zeros(())}),
        {"model": Player(counted, optim.adam(0.05))},
        evaluate=evaluate,
    )
    data = Batches(SOURCE, 8)
    experiment = Experiment(
        learner, 50, data, data, monitor="score", maximize=True, steps_per_call=4, eval_every=4
    )
    for workdir, step in ((tmp_path / "run", 12), (None, 24)):
        result = fit(experiment, workdir, patience=3, quiet=True)
        assert result.step == step  # without a workdir there is nothing to go back to
        assert [row["step"] for row in result.rows if row["split"] == "validation"] == [4, 8, 12, 16, 20, 24]
    assert fit(experiment, tmp_path / "run", patience=3, quiet=True).step == 12  # and it stays stopped


def bad_from(at):
    def bad_loss(params, model_state, batch, key):
        value, (state, metrics) = loss(params, model_state, batch, key)
        late = model_state["sum"][0] != 0 if at == 0 else jnp.abs(model_state["sum"]).sum() > at
        return value + jnp.where(late, jnp.nan, 0.0), (state, metrics)

    return bad_loss


def test_a_loss_that_is_not_finite_stops_naming_step_and_checkpoint(tmp_path):
    with pytest.raises(
        RunError, match="at step 2; the first bad leaf is the loss itself; no checkpoint was saved"
    ):
        fit(experiment_of(bad_from(0)), tmp_path / "early", quiet=True)
    with pytest.raises(
        RunError, match=r"not finite at step \d+; .* the loss itself; the last good checkpoint is of step \d+"
    ) as error:
        fit(experiment_of(bad_from(60)), tmp_path / "late", quiet=True)
    at, good = [int(word) for word in str(error.value).replace(";", "").split() if word.isdigit()]
    assert good < at
    rows = [json.loads(line) for line in (tmp_path / "late" / "metrics.jsonl").read_text().splitlines()]
    assert max(row["step"] for row in rows if row["split"] == "validation") == good


def test_skipping_goes_on_to_the_end():
    result = fit(experiment_of(bad_from(60), options=Options(on_nonfinite="skip")), quiet=True)
    assert result.step == 50
    assert np.isfinite(result.state.params["model"]["w"]).all()
    assert any(row.get("skipped", 0) > 0 for row in result.rows)


def counter(num_episodes=3):
    """A learner that draws its own experience: its state counts its steps."""
    return Learner(
        init=lambda key, batch: {"steps": jnp.zeros((), jnp.int32), "key": key},
        step=lambda state, batch, *, axis_name=None: (
            {**state, "steps": state["steps"] + 1},
            {"noise": jax.random.normal(jax.random.fold_in(state["key"], state["steps"]))},
        ),
        evaluate=lambda state, batch, key: {"return": state["steps"] + jnp.arange(float(num_episodes))},
    )


def test_a_learner_without_data_runs_in_the_same_loop(tmp_path):
    experiment = Experiment(counter(), steps=10, steps_per_call=4, monitor="return", maximize=True)
    result = fit(experiment, tmp_path / "run", quiet=True)
    assert result.state["steps"] == 10
    assert result.metrics == {"return": 11.0}
    again = fit(experiment, tmp_path / "run", quiet=True)
    assert_identical(again.state, result.state)


def test_any_metric_that_is_not_finite_stops_a_learner_of_its_own():
    learner = counter()._replace(
        step=lambda state, batch, *, axis_name=None: (
            {**state, "steps": state["steps"] + 1},
            {"value": jnp.where(state["steps"] == 6, jnp.inf, 1.0)},
        )
    )
    with pytest.raises(RunError, match="metric value is not finite at step 7"):
        fit(Experiment(learner, steps=10, monitor="return", steps_per_call=4), quiet=True)


def test_it_runs_outside_the_main_thread():
    results, experiment = [], Experiment(counter(), steps=3, monitor="return")
    thread = threading.Thread(target=lambda: results.append(fit(experiment, quiet=True)))
    thread.start()
    thread.join()
    assert results[0].step == 3


def test_params_of_another_run_are_where_a_run_starts(uninterrupted, tmp_path):
    params = load_part(uninterrupted[1])
    result = fit(experiment_of(steps=1, steps_per_call=1), params=params, quiet=True)
    learner, train = experiment_of().learner, experiment_of().train
    state = learner.init(jax.random.key(0), train.batch_at(0))
    given = jax.tree.map(jnp.asarray, params)
    state, _ = learner.step(state.replace(params=given, ema_params=given), train.batch_at(0))
    np.testing.assert_allclose(
        result.state.params["model"]["w"], state.params["model"]["w"], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        result.state.ema_params["model"]["w"], state.params["model"]["w"], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"model": {"w": np.zeros(3, np.float32)}}, r"model\.w is float32\[3\] in the given params"),
        (
            {"model": {"w": np.zeros(4)}},
            r"model\.w is float64\[4\] in the given params, but float32\[4\] here",
        ),
        ({"net": {"w": np.zeros(4, np.float32)}}, r"model\.w is missing in the given params"),
    ],
)
def test_params_that_do_not_fit_are_refused(params, message, tmp_path):
    with pytest.raises(InputError, match=message):
        fit(experiment_of(), tmp_path / "run", params=params, quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_learner_of_its_own_takes_no_params():
    with pytest.raises(InputError, match="the state of this learner is a dict; it has no params to replace"):
        fit(Experiment(counter(), steps=3, monitor="return"), params={}, quiet=True)


def test_a_learner_without_data_is_not_split_by_pmap():
    with pytest.raises(InputError, match="strategy is pmap, but there is no batch to split"):
        fit(Experiment(counter(), steps=3), strategy="pmap", quiet=True)
    experiment = Experiment(counter(), steps=3, monitor="return", steps_per_call=2)
    result = fit(experiment, strategy="shard", quiet=True)
    assert result.state["steps"] == 3


@pytest.mark.parametrize(("wrote", "reads"), [("shard", "jit"), ("jit", "shard"), ("pmap", "jit")])
def test_a_run_goes_on_under_another_strategy(wrote, reads, tmp_path):
    """The learning rate is constant and the transform draws by visit, so both halves are one run."""
    halves = [experiment_of(steps=steps, eval_every=20) for steps in (20, 40)]
    fit(halves[0], tmp_path / "run", strategy=wrote, shard_params=wrote == "shard", quiet=True)
    result = fit(halves[1], tmp_path / "run", strategy=reads, quiet=True)
    assert result.step == 40
    values = [row["loss"] for row in result.rows if row["split"] == "validation"]
    assert len(values) == 2 and values[1] < values[0]
