from pydoc_data.topics import topics

import numpy as np
import pytest

from jaxdl.data.text import decode, encode, split_text, text, windows


def test_a_file_becomes_positions_in_its_sorted_characters(tmp_path):
    path = tmp_path / "b.txt"
    path.write_text("cab\nÄ a", encoding="utf-8")
    tokens, vocabulary = text(path)
    assert vocabulary == "\n abcÄ"
    assert tokens.dtype == np.uint8
    np.testing.assert_array_equal(tokens, [4, 2, 3, 0, 5, 1, 2])
    assert decode(tokens, vocabulary) == "cab\nÄ a"


def test_the_default_text_is_the_documentation_in_python():
    tokens, vocabulary = text()
    characters = decode(tokens, vocabulary)
    assert len(tokens) > 300_000 and vocabulary == "".join(sorted(set(characters)))
    assert characters.startswith(topics["assert"] + "\n\n" + topics["assignment"])
    assert characters.endswith(topics["yield"])
    assert all(page in characters for page in topics.values())


def test_the_dtype_is_the_smallest_that_holds_the_vocabulary():
    vocabulary = "".join(map(chr, range(256)))
    assert encode("aÿ", vocabulary).dtype == np.uint8
    wider = encode("aΩ", vocabulary + "Ω")
    assert wider.dtype == np.uint16
    np.testing.assert_array_equal(wider, [97, 256])


def test_a_vocabulary_may_come_in_any_order():
    np.testing.assert_array_equal(encode("abca", "cab"), [1, 2, 0, 1])
    assert decode(np.array([1, 2, 0, 1]), "cab") == "abca"


def test_characters_beyond_the_first_plane_are_single_tokens():
    np.testing.assert_array_equal(encode("😀a😀", "a😀"), [1, 0, 1])


def test_encode_names_unknown_characters():
    with pytest.raises(ValueError, match="does not hold '!z'"):
        encode("az!", "abc")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no text file .*nowhere.txt; give the path"):
        text(tmp_path / "nowhere.txt")
    with pytest.raises(FileNotFoundError, match="no text file"):
        text(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty; give a file"), (b"ab\xe9", "not UTF-8 at byte 2; convert it")]
)
def test_a_file_without_text_is_refused(tmp_path, content, message):
    path = tmp_path / "odd.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"odd.txt {message}|odd.txt is {message}"):
        text(path)


@pytest.mark.parametrize(("cuts", "sizes"), [((0.9, 0.95), (90, 5, 5)), ((0.9, 1.0), (90, 10, 0))])
def test_split_text_cuts_by_position_without_copying(cuts, sizes):
    tokens = np.arange(100, dtype=np.uint8)
    splits = split_text(tokens, cuts)
    assert tuple(map(len, splits)) == sizes
    np.testing.assert_array_equal(np.concatenate(splits), tokens)
    assert all(np.shares_memory(split, tokens) for split in splits if len(split))


def test_split_text_cuts_tiny_shakespeare_where_others_do():
    assert [len(split) for split in split_text(np.zeros(1_115_394))] == [1_003_854, 55_770, 55_770]


@pytest.mark.parametrize("cuts", [(0.95, 0.9), (0.0, 0.5), (0.9, 1.1), (90, 95)])
def test_split_text_refuses_cuts_out_of_order(cuts):
    with pytest.raises(ValueError, match=r"cuts are .*rising fractions"):
        split_text(np.arange(10), cuts)


@pytest.mark.parametrize(("length", "stride"), [(3, 1), (3, 2), (3, 3), (9, 1), (1, 4)])
def test_windows_are_every_stride_th_stretch_of_the_text(length, stride):
    tokens = np.arange(10, dtype=np.uint8)
    expected = [list(range(start, start + length + 1)) for start in range(0, 10 - length, stride)]
    found = windows(tokens, length, stride)["tokens"]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8 and np.shares_memory(found, tokens)


@pytest.mark.parametrize(
    ("length", "stride", "message"),
    [(10, 1, "length 10 needs 11 tokens, and the text has 10"), (0, 1, "length is 0"), (3, 0, "stride 0")],
)
def test_windows_refuse_what_does_not_fit(length, stride, message):
    with pytest.raises(ValueError, match=message):
        windows(np.arange(10), length, stride)
