"""What a run tells: rows, averages, lines, pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxdl.errors import RunError
from jaxdl.train.log import Meter, Progress, RunLog, losses, summary
from jaxdl.train.pictures import save_curves, save_picture


def test_the_meter_reads_one_call_late_and_averages_what_was_measured():
    meter = Meter()
    assert meter.push(2, {"loss": np.array([1.0, 3.0]), "rare": np.array([np.nan, 5.0])}) == {}
    latest = meter.push(4, {"loss": np.array([5.0, 7.0]), "rare": np.array([np.nan, np.nan])})
    assert latest == {"loss": 2.0, "rare": 5.0}
    assert meter.mean() == {"loss": 4.0, "rare": 5.0}  # NaN says: not measured
    assert meter.mean() == {}


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (
            {"loss": [1.0, np.nan, 1.0], "nonfinite": [0.0, 1.0, 0.0]},
            "loss or gradient is not finite at step 9",
        ),
        ({"generator/nonfinite": [0.0, 0.0, 1.0]}, "loss or gradient of generator is not finite at step 10"),
        ({"value": [np.inf, 1.0, 1.0]}, "metric value is not finite at step 8"),
        ({"value_loss": [1.0, np.nan, 1.0]}, "metric value_loss is not finite at step 9"),
    ],
)
def test_the_first_bad_step_is_named(metrics, message):
    meter = Meter()
    meter.push(10, {name: np.array(values) for name, values in metrics.items()})
    with pytest.raises(RunError, match=message):
        meter.mean()


def test_the_first_bad_leaf_is_named():
    meter = Meter({"generator/": ["params.w", "the gradient of params.w", "the loss itself"]})
    meter.push(10, {"generator/nonfinite": np.array([0.0, 2.0, 1.0])})
    with pytest.raises(
        RunError, match=r"generator is not finite at step 9; .* is the gradient of params\.w$"
    ):
        meter.mean()


def test_on_a_full_disk_the_log_warns_and_catches_up_when_there_is_room(tmp_path, monkeypatch):
    log = RunLog(tmp_path, 0)
    log.write(10, "train", {"loss": 1.0})
    (tmp_path / "metrics.jsonl").rename(tmp_path / "aside")
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")  # every write there fails as on a full disk
    with pytest.warns(
        UserWarning, match=r"cannot write .*metrics\.jsonl: No space left on device; the run goes"
    ):
        log.write(20, "train", {"loss": 2.0})
    log.write(30, "train", {"loss": 3.0})
    log.close()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 30]


def test_tensorboard_reads_the_events(tmp_path):
    """By the layout of the file: length, checksum, record, checksum; the records are protocol buffers."""
    from tensorboardX.proto.event_pb2 import Event

    log = RunLog(tmp_path, 0)
    log.write(10, "train", {"loss": 0.5})
    log.close()
    log = RunLog(tmp_path, 10)  # a run that goes on
    log.write(20, "validation", {"loss": 0.25, "accuracy": 1.0})
    log.close()
    scalars, restarts = set(), []
    for path in tmp_path.glob("events.out.tfevents.*"):
        data, at = path.read_bytes(), 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + size])
            at += size + 16
            scalars |= {(event.step, value.tag, value.simple_value) for value in event.summary.value}
            restarts += [event.step] * event.HasField("session_log")
    assert scalars == {
        (10, "train/loss", 0.5),
        (20, "validation/loss", 0.25),
        (20, "validation/accuracy", 1.0),
    }
    assert sorted(restarts) == [1, 11]


def test_a_skipped_step_is_no_error():
    meter = Meter()
    meter.push(2, {"loss": np.array([1.0, np.nan]), "skipped": np.array([0.0, 1.0])})
    assert meter.mean() == {"loss": 1.0, "skipped": 0.5}


def test_a_log_goes_on_after_the_step_it_resumes_from(tmp_path):
    log = RunLog(tmp_path, 0)
    for step in (10, 20, 30):
        log.write(step, "train", {"loss": 1 / step})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "spl')  # killed in the middle of a line
    log = RunLog(tmp_path, 20)
    log.write(30, "train", {"loss": 0.5})
    log.close()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == log.rows
    assert [(row["step"], row["loss"]) for row in rows] == [(10, 0.1), (20, 0.05), (30, 0.5)]


def test_lines():
    nan = float("nan")
    metrics = {"a/loss": 1.23456, "accuracy": 0.5, "b/loss": nan, "elbo": nan}
    assert summary(metrics) == "a/loss 1.235  accuracy 0.5  b/loss nan"
    assert summary(metrics, measured=True) == "a/loss 1.235  accuracy 0.5  b/loss nan  elbo nan"
    assert losses({**metrics, "b/skipped": 0.0}) == "a/loss 1.235"  # player b rests
    assert losses({**metrics, "b/skipped": 1.0}) == "a/loss 1.235  b/loss nan"
    assert losses({"return": 20.0}) == "return 20"


def test_quiet_progress_says_nothing(capsys):
    for quiet in (True, False):
        progress = Progress(10, 0, quiet)
        progress.compiled(1, 0.5)
        progress.update(5, {"loss": 1.0})
        progress.close()
        assert capsys.readouterr().err == ("" if quiet else "compiled in 0.5 s\n")


def test_progress_tells_no_speed_before_one_is_measured(capsys, monkeypatch):
    clock = iter((0.0, 20.0, 40.0, 44.0, 44.0))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    progress = Progress(10, 0, False)
    progress.compiled(2, 20.0)  # at 20 s
    progress.update(2, {"loss": 1.0})
    progress.update(6, {"loss": 1.0})  # at 44 s
    assert capsys.readouterr().err == "compiled in 20.0 s\nstep 6/10  loss 1  0.1667 steps/s  24 s left\n"


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3)], ids=str)
def test_a_small_picture_is_magnified_pixel_by_pixel(tmp_path, shape):
    picture = np.random.default_rng(0).random(shape)
    path = save_picture(tmp_path / "deep" / "picture", picture)
    pixels = np.asarray(Image.open(path))
    zoom = 640 // 6
    assert pixels.shape[:2] == (4 * zoom, 6 * zoom)
    np.testing.assert_array_equal(pixels[::zoom, ::zoom], np.round(picture * 255).astype(np.uint8).squeeze())


def test_values_outside_of_a_picture_s_range_are_cut(tmp_path):
    path = save_picture(tmp_path / "picture", np.array([[-1.0, 2.0]]))
    assert set(np.asarray(Image.open(path)).ravel().tolist()) == {0, 255}


def test_text_is_saved_as_text(tmp_path):
    assert save_picture(tmp_path / "words", "two\nlines").read_text() == "two\nlines\n"


def test_curves_are_drawn_if_there_are_any(tmp_path):
    save_curves(tmp_path / "none.png", [])
    assert not (tmp_path / "none.png").exists()
    rows = [{"step": step, "split": split, "loss": step} for step in (1, 2) for split in ("train", "test")]
    save_curves(tmp_path / "curves.png", rows)
    assert np.asarray(Image.open(tmp_path / "curves.png")).std() > 1


def test_frames_are_an_animation(tmp_path):
    frames = np.zeros((3, 4, 5, 3))
    for index in range(3):
        frames[index, index, index] = 1.0  # a white pixel that moves down the diagonal
    path = save_picture(tmp_path / "film", frames)
    assert path.name == "film.gif"
    with Image.open(path) as film:
        assert film.n_frames == 3
        assert film.size == (640, 512)
        for index in range(3):
            film.seek(index)
            shown = np.asarray(film.convert("L"))[64::128, 64::128]
            assert np.argwhere(shown > 128).tolist() == [[index, index]]
