"""Image sets whose pixels become 0 or 1: at a threshold, drawn once, or drawn anew on each visit."""

import sys

import numpy as np
import pytest

from jaxdl.data import Batches, ImageSet, binary_images, images
from jaxdl.data.images import drawn

MODULE = sys.modules["jaxdl.data.images"]  # jaxdl.data.images itself is the function


def visits(binarization, seed):
    """The first ten training images on two visits, drawn with the keys of a seed."""
    splits, transform = binary_images(ImageSet(), binarization, features=("image", "label"))
    source = {name: array[:10] for name, array in splits.train.items()}
    batches = Batches({k: np.concatenate([v, v]) for k, v in source.items()}, 20, seed, transform)
    ((items, _),) = batches.once()
    batch = batches.load(None, items)
    np.testing.assert_array_equal(batch["label"][:10], source["label"])
    assert batch.keys() == {"x", "label"}
    x = np.asarray(batch["x"])
    assert x.dtype == np.float32 and set(np.unique(x)) == {0.0, 1.0}
    return x[:10], x[10:]


def test_a_threshold_is_at_one_half():
    image = images(ImageSet()).train["image"][:10]
    for x in visits("threshold", 0):
        np.testing.assert_array_equal(x, image >= 128)


def test_a_fixed_draw_is_the_same_on_each_visit_and_with_each_seed():
    (a, b), (c, _) = visits("fixed", 0), visits("fixed", 1)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, c)
    assert (a != visits("threshold", 0)[0]).any()


def test_a_dynamic_draw_is_another_on_each_visit():
    a, b = visits("dynamic", 0)
    assert (a != b).any()


def test_pixels_are_drawn_with_their_brightness_as_probability():
    image = np.repeat(np.array([0, 1, 51, 128, 254, 255], np.uint8), 40_000).reshape(6, -1)
    x = drawn(image, 0)
    assert x.dtype == np.uint8 and set(np.unique(x)) == {0, 255}
    np.testing.assert_allclose(x.mean(1) / 255, image[:, 0] / 255, atol=0.01)
    assert not x[0].any() and x[5].all()  # what is certain stays so
    assert 0 < (x[1] > 0).mean() < 3 / 255


def test_images_read_one_by_one_have_no_fixed_draw(monkeypatch):
    monkeypatch.setattr(MODULE, "images", lambda image_set, features: ([{"image": 0}],) * 3)
    with pytest.raises(ValueError, match="choose threshold or dynamic"):
        binary_images(ImageSet(), "fixed")
