"""Generated sequences: what a note and a row of digits hold, measured on them."""

import numpy as np
import pytest

from jaxdl.data import sequences
from jaxdl.data.sequences import HEIGHT, PITCHES, POINTS, STYLE, WIDTH


@pytest.mark.parametrize("sampler", [sequences.tones, sequences.strokes])
def test_samplers_are_functions_of_their_seed(sampler):
    first, again, other = sampler(3, 20), sampler(3, 20), sampler(4, 20)
    for name, array in first.items():
        assert len(array) == 20
        np.testing.assert_array_equal(array, again[name])
        assert not np.array_equal(array, other[name])


def test_a_note_has_its_pitch_and_decays():
    notes = sequences.tones(0, 400, length=512)
    wave, label = notes["wave"], notes["label"]
    assert wave.shape == (400, 512) and wave.dtype == np.float32 and np.abs(wave).max() <= 1
    assert set(label) == set(range(len(PITCHES)))
    spectrum = np.abs(np.fft.rfft(wave, 4096)) ** 2
    pitch = spectrum.argmax(1) / 4096  # the fundamental is the loudest harmonic
    np.testing.assert_allclose(pitch, PITCHES[label], rtol=0.03)
    loudness = np.abs(wave).reshape(400, 4, -1).max(2)
    assert (loudness[:, 0] > 1.3 * loudness[:, -1]).all()


def test_its_noise_is_as_strong_as_said():
    quiet, loud = (sequences.tones(0, 200, noise=noise)["wave"] for noise in (0.0, 0.02))
    np.testing.assert_allclose((loud - quiet).std(), 0.02, rtol=0.02)


@pytest.fixture(scope="module")
def rows():
    return sequences.strokes(0, 600, num_glyphs=3)


def test_a_row_is_digits_then_padding(rows):
    assert rows["x"].shape == (600, 3 * POINTS, 3) and rows["x"].dtype == np.float32
    end = rows["mask"].sum(1).astype(int)
    np.testing.assert_array_equal(rows["mask"], np.arange(3 * POINTS)[None] < end[:, None])
    np.testing.assert_array_equal(rows["start"].sum(1), 3)
    assert (rows["start"][:, 0] == 1).all()
    after = rows["mask"] == 0
    assert (rows["x"][after] == 0).all() and (rows["start"][after] == 0).all()
    changes = np.diff(rows["glyph"], axis=1) != 0
    assert (rows["start"][:, 1:][changes & (rows["mask"][:, 1:] > 0)] == 1).all()
    assert set(rows["glyph"][rows["start"] > 0]) == set(range(10))
    assert (rows["x"][rows["start"] > 0][:, 2] == 1).all()
    lifted = rows["x"][..., 2].sum(1)  # once for each digit, and once more for 4, 5 and 7
    twice = np.isin(rows["glyph"], (4, 5, 7)) & (rows["start"] > 0)
    np.testing.assert_array_equal(lifted, 3 + twice.sum(1))


def test_each_part_of_the_style_is_seen(rows):
    style = dict(zip(STYLE, rows["style"].T, strict=True))
    np.testing.assert_allclose(rows["style"].min(0), [-0.6, 0.6, 0.7, 0.01], atol=0.02)
    np.testing.assert_allclose(rows["style"].max(0), [0.6, 1.4, 1.4, 0.1], atol=0.02)
    path = rows["x"][..., :2].cumsum(1)
    height = np.ptp(np.where(rows["mask"][..., None] > 0, path, path[:, :1]), axis=1)[:, 1]
    np.testing.assert_allclose(height.mean(), HEIGHT * style["size"].mean(), rtol=0.1)  # jitter adds up
    assert np.corrcoef(height, style["size"])[0, 1] > 0.97

    # Of the digits 0: the way around, and the share of it that is left after half of the steps.
    zero, steps = sequences.GLYPHS[0][0], 14
    row, first = np.nonzero((rows["glyph"] == 0) & (rows["start"] > 0))
    row, first = row[first < 2 * POINTS], first[first < 2 * POINTS]
    moves = rows["x"][row[:, None], first[:, None] + 1 + np.arange(steps), :2]
    np.testing.assert_allclose(moves.sum(1), 0, atol=7 * 0.1 * np.sqrt(steps) / 2)
    upright = moves - style["slant"][row, None, None] * moves[..., 1:] * [1, 0]
    length = np.linalg.norm(upright, axis=-1)
    around = np.linalg.norm(np.diff(zero * [WIDTH, HEIGHT], axis=0), axis=1).sum()
    assert abs(np.median(length.sum(1) / style["size"][row]) / around - 1) < 0.05
    left = length[:, steps // 2 :].sum(1) / length.sum(1)
    assert np.corrcoef(left, style["rhythm"][row])[0, 1] > 0.9
    np.testing.assert_allclose(left.mean(), 1 - np.mean(0.5 ** style["rhythm"][row]), atol=0.02)
    anticlockwise = upright[:, 0, 0] < 0  # it starts at the top
    assert 0.3 < anticlockwise.mean() < 0.7


def test_the_first_move_of_a_row_is_jitter(rows):
    np.testing.assert_allclose((rows["x"][:, 0, :2] / rows["style"][:, 3:]).std(), 1, atol=0.1)
