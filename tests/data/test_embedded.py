import hashlib

import numpy as np
import pytest
import sklearn.datasets

from jaxdl.data import embedded
from jaxdl.data.embedded import digits, photographs


def test_digits_hold_each_example_of_scikit_learn_once():
    pixels, labels = sklearn.datasets.load_digits(return_X_y=True)
    expected = sorted((*row.astype(int), label) for row, label in zip(pixels, labels, strict=True))
    rows = []
    for split in digits():
        assert split["image"].dtype == np.uint8 and split["label"].dtype == np.int32
        assert split["image"].shape[1:] == (8, 8, 1)
        sixteenths = np.round(split["image"].reshape(-1, 64) / 255 * 16).astype(int)
        rows += [(*row, label) for row, label in zip(sixteenths, split["label"], strict=True)]
    assert sorted(rows) == expected


def test_digits_span_the_whole_range():
    image = digits().train["image"]
    assert set(np.unique(image)) == {round(k * 255 / 16) for k in range(17)}


def test_digits_are_split_in_the_same_proportions_within_each_class():
    counts = np.stack([np.bincount(split["label"]) for split in digits()])
    np.testing.assert_allclose(counts, counts.sum(axis=0) * np.array([[0.7], [0.1], [0.2]]), atol=1)


def test_the_split_of_digits_is_fixed():
    splits = digits()
    assert [len(split["label"]) for split in splits] == [1258, 180, 359]
    content = b"".join(split["image"].tobytes() + split["label"].tobytes() for split in splits)
    assert hashlib.sha256(content).hexdigest()[:16] == "8b0bb1f4c0fc6353"


def test_photographs_share_no_pixel_between_splits(monkeypatch):
    row, column = np.mgrid[:40, :640]
    traced = [np.stack([row + 40 * photo, column % 256, column // 256], -1) for photo in range(2)]
    pictures = iter([image.astype(np.uint8) for image in traced])
    monkeypatch.setattr(embedded, "_picture", lambda name: next(pictures))
    pixels = [
        {tuple(pixel) for pixel in split["image"].reshape(-1, 3).tolist()}
        for split in photographs(patch_size=16, stride=8)
    ]
    assert [len(split) for split in pixels] == [2 * 40 * 64 * strips for strips in (7, 1, 2)]
    assert len(set.union(*pixels)) == sum(map(len, pixels))


def test_photographs_are_cut_row_by_row_into_patches():
    splits = photographs(patch_size=32)
    china, flower = sklearn.datasets.load_sample_images().images
    assert [len(split["image"]) for split in splits] == [2 * 13 * 2 * strips for strips in (7, 1, 2)]
    assert splits.train["image"].dtype == np.uint8
    np.testing.assert_array_equal(splits.train["image"][0], china[:32, :32])
    np.testing.assert_array_equal(splits.train["image"][3], china[32:64, 32:64])
    np.testing.assert_array_equal(splits.validation["image"][-1], flower[384:416, 160:192])
    np.testing.assert_array_equal(splits.test["image"][0], china[:32, 256:288])


def test_photographs_overlap_by_the_stride():
    image = photographs(patch_size=16, stride=4).validation["image"]
    assert image.shape == (2 * 103 * 13, 16, 16, 3)
    np.testing.assert_array_equal(image[0, :, 4:], image[1, :, :-4])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": 65}, "patch_size is 65; choose 1 to 64"),
        ({"patch_size": 0}, "patch_size is 0; choose 1 to 64"),
        ({"stride": 0}, "stride is 0; choose 1 or more"),
    ],
)
def test_photographs_refuse_patches_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        photographs(**arguments)
