import io
import pickle
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tf_datasets
from PIL import Image

import jaxdl.data.tfds  # noqa: F401
from jaxdl.data.tfds import tfds

MODULE = sys.modules["jaxdl.data.tfds"]  # jaxdl.data.tfds itself may be the function
rng = np.random.default_rng(0)
GREY = rng.integers(0, 256, (14, 4, 5, 1), np.uint8)
COLOUR = rng.integers(0, 256, (14, 4, 5, 3), np.uint8)
POINT = rng.standard_normal((14, 2)).astype(np.float32)


def compressed(pixels):
    return png(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def png(picture):
    file = io.BytesIO()
    picture.save(file, "PNG")
    file.seek(0)
    return file


def prepare(data_dir, name, features, splits, version="1.0.0"):
    """Write a prepared set with TFDS's own writer: pictures go in compressed, so it needs no TensorFlow."""
    folder = data_dir / name / version
    folder.mkdir(parents=True)
    identity = tf_datasets.core.DatasetIdentity(
        name=name.split("/")[0],
        version=tf_datasets.core.Version(version),
        data_dir=str(folder),
        module_name="",
    )
    info = tf_datasets.core.DatasetInfo(
        builder=identity, features=tf_datasets.features.FeaturesDict(features)
    )
    writer = tf_datasets.core.SequentialWriter(info, max_examples_per_shard=7, file_format="array_record")
    writer.initialize_splits(list(splits))
    writer.add_examples(splits)
    writer.close_all()
    return folder


def prepare_numbers(data_dir, name, version="1.0.0", value=0):
    features = {"x": tf_datasets.features.Scalar(np.int64)}
    return prepare(data_dir, name, features, {"train": [{"x": value}]}, version)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("tfds")
    features = {
        "grey": tf_datasets.features.Image(shape=(4, 5, 1)),
        "colour": tf_datasets.features.Image(shape=(4, 5, 3)),
        "label": tf_datasets.features.ClassLabel(num_classes=3),
        "point": tf_datasets.features.Tensor(shape=(2,), dtype=np.float32),
        "count": tf_datasets.features.Scalar(np.int64),
    }
    examples = [
        {
            "grey": compressed(grey),
            "colour": compressed(colour),
            "label": i % 3,
            "point": point,
            "count": 2**40 + i,
        }
        for i, (grey, colour, point) in enumerate(zip(GREY, COLOUR, POINT, strict=True))
    ]
    prepare(data_dir, "shapes", features, {"train": examples[:12], "test": examples[12:]})
    features = {
        "image": tf_datasets.features.Image(shape=(None, None, 3)),
        "text": tf_datasets.features.Text(),
        "label": tf_datasets.features.ClassLabel(num_classes=3),
    }
    examples = [{"image": compressed(COLOUR[i, : i + 1]), "text": f"Nº {i}", "label": i} for i in range(3)]
    prepare(data_dir, "captions", features, {"train": examples})
    return data_dir


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        ("train", range(12)),
        ("test", range(12, 14)),
        ("train[3:8]", range(3, 8)),
        ("train[:25%]", range(3)),
        ("train[10:]+test", range(10, 14)),
    ],
)
@pytest.mark.parametrize("bulk", [1024, 5])
def test_a_set_of_fixed_shapes_becomes_arrays(data_dir, monkeypatch, bulk, split, rows):
    monkeypatch.setattr(MODULE, "BULK", bulk)
    source = tfds("shapes", split, data_dir)
    expected = {
        "grey": GREY[rows],
        "colour": COLOUR[rows],
        "label": np.array(rows, np.int32) % 3,
        "point": POINT[rows],
        "count": 2**40 + np.array(rows, np.int64),
    }
    assert source.keys() == expected.keys()
    for name, array in expected.items():
        assert source[name].dtype == array.dtype
        np.testing.assert_array_equal(source[name], array)


def test_tensorflow_is_not_imported(data_dir):
    tfds("shapes", "train", data_dir)
    assert "tensorflow" not in sys.modules


def test_only_the_features_asked_for_are_read(data_dir):
    source = tfds("captions", "train", data_dir, features=("label",))
    assert source.keys() == {"label"}
    np.testing.assert_array_equal(source["label"], [0, 1, 2])


def test_examples_of_other_shapes_are_read_one_by_one(data_dir):
    assert [len(example["image"]) for example in tfds("captions", "train", data_dir)] == [1, 2, 3]
    assert not isinstance(tfds("captions", "train", data_dir, features=("image",)), dict)
    source = tfds("captions", "train[1:]", data_dir)
    assert len(source) == 2
    for position, row in ((0, 1), (1, 2), (np.int64(1), 2), (-1, 2)):
        example = source[position]
        np.testing.assert_array_equal(example["image"], COLOUR[row, : row + 1])
        assert example["label"].dtype == np.int32 and example["label"].shape == ()
        assert example["label"] == row
        assert example["text"].decode() == f"Nº {row}"
    with pytest.raises(IndexError):
        source[2]


def test_a_set_beyond_memory_is_read_one_by_one(data_dir, monkeypatch):
    example_bytes = 4 * 5 + 4 * 5 * 3 + 4 + 2 * 4 + 8
    monkeypatch.setattr(MODULE, "MEMORY_BYTES", 12 * example_bytes)
    assert isinstance(tfds("shapes", "train", data_dir), dict)
    monkeypatch.setattr(MODULE, "MEMORY_BYTES", 12 * example_bytes - 1)
    source = tfds("shapes", "train", data_dir)
    np.testing.assert_array_equal([example["grey"] for example in source], GREY[:12])
    assert isinstance(tfds("shapes", "train", data_dir, features=("label", "point")), dict)


def test_examples_can_be_sent_to_another_process(data_dir):
    source = pickle.loads(pickle.dumps(tfds("captions", "train", data_dir)))
    np.testing.assert_array_equal(source[2]["image"], COLOUR[2, :3])


def test_pictures_get_the_channels_that_their_feature_states(tmp_path):
    grey, palette = GREY[0], Image.fromarray(COLOUR[0]).quantize(4)
    features = {"image": tf_datasets.features.Image(shape=(4, 5, 3))}
    prepare(tmp_path, "mixed", features, {"train": [{"image": compressed(grey)}, {"image": png(palette)}]})
    image = tfds("mixed", "train", tmp_path)["image"]
    np.testing.assert_array_equal(image[0], np.repeat(grey, 3, axis=-1))
    np.testing.assert_array_equal(image[1], palette.convert("RGB"))


def test_the_newest_version_is_read_unless_one_is_named(tmp_path):
    for value, version in enumerate(("1.9.0", "1.10.0", "1.2.0")):
        prepare_numbers(tmp_path, "numbers", version, value)
    shutil.copytree(tmp_path / "numbers/1.2.0", tmp_path / "numbers/2.0.0.incompleteABC")
    assert tfds("numbers", "train", tmp_path)["x"] == [1]
    assert tfds("numbers:1.2.0", "train", tmp_path)["x"] == [2]
    with pytest.raises(FileNotFoundError, match=r"does not hold numbers:3.0.0; it has version 1\.\d+\.0, "):
        tfds("numbers:3.0.0", "train", tmp_path)


def test_a_config_is_named_when_there_are_several(tmp_path):
    prepare_numbers(tmp_path, "numbers/few", value=3)
    assert tfds("numbers", "train", tmp_path)["x"] == [3]
    prepare_numbers(tmp_path, "numbers/many", value=4)
    assert tfds("numbers/many:1.0.0", "train", tmp_path)["x"] == [4]
    with pytest.raises(
        ValueError, match=r"several configs of numbers; name one of numbers/few, numbers/many$"
    ):
        tfds("numbers", "train", tmp_path)


def test_the_default_folder_is_that_of_tfds(data_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    assert len(tfds("captions", "train")) == 3
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", str(data_dir))
    with pytest.raises(FileNotFoundError, match=rf"not prepared in {data_dir}/tensorflow_datasets; run"):
        tfds("mnist", "train")


def one_line(error):
    return "\n" not in str(error.value)


def test_a_set_that_is_not_prepared_is_told_how_to(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        tfds("mnist", "train", tmp_path)
    assert one_line(error)
    command = f"`tfds build mnist --file_format=array_record --data_dir={tmp_path}`"
    assert f"mnist is not prepared in {tmp_path}; run {command} where tensorflow" in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "advice"),
    [("mnits", "try mnist or kmnist or emnist"), ("qqqqqq", "try a name of the TFDS catalogue")],
)
def test_a_name_that_tfds_does_not_know_is_refused(tmp_path, name, advice):
    with pytest.raises(ValueError, match=rf"holds no '{name}', nor does TFDS know it; {advice}") as error:
        tfds(name, "train", tmp_path)
    assert one_line(error)


@pytest.mark.parametrize("split", ["trian", "train[:x%]", "train[:13]", "train[:150%]", "train[5:5]", ""])
def test_a_split_that_does_not_exist_is_refused(data_dir, split):
    with pytest.raises(ValueError) as error:
        tfds("shapes", split, data_dir)
    assert one_line(error)
    assert f"shapes has no examples at split {split!r}; it has train (12), test (2), and slices" in str(
        error.value
    )


def test_a_feature_that_does_not_exist_is_refused(data_dir):
    with pytest.raises(ValueError, match=r"shapes has no feature image, mask; it has .*grey") as error:
        tfds("shapes", "train", data_dir, features=("label", "mask", "image"))
    assert one_line(error)


def test_another_file_format_is_told_how_to_convert(data_dir, tmp_path):
    folder = tmp_path / "shapes/1.0.0"
    shutil.copytree(data_dir / "shapes/1.0.0", folder)
    for file in folder.glob("*array_record*"):
        file.rename(file.with_name(file.name.replace("array_record", "tfrecord")))
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord").replace("ARRAY_RECORD", "TFRECORD"))
    with pytest.raises(ValueError) as error:
        tfds("shapes", "train", tmp_path)
    assert one_line(error)
    assert f"shapes is prepared in {folder} as tfrecord, not as array_record; run" in str(error.value)
    command = f"`tfds convert_format --dataset_version_dir={folder} --out_file_format=array_record`"
    assert command in str(error.value)


def test_importing_the_sources_is_cheap():
    code = (
        "import sys, jaxdl.data.tfds, jaxdl.data.embedded, jaxdl.data.text, jaxdl.data.densities\n"
        "late = {'tensorflow_datasets', 'sklearn', 'PIL', 'scipy.stats', 'grain'} & sys.modules.keys()\n"
        "assert not late, late"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
