"""Text as a sequence of characters."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxdl.data.embedded import Splits


class Text(NamedTuple):
    """A text as tokens: character n of it is vocabulary[tokens[n]]."""

    tokens: np.ndarray  # [N], of the smallest unsigned dtype that holds the vocabulary
    vocabulary: str  # each character that occurs, once, sorted


def text(path: str | Path | None = None) -> Text:
    """Read a UTF-8 text file as a sequence of characters.

    Without a path, the text is one that CPython itself carries: the pages of its manual on the language
    (`pydoc_data.topics`, some 465,000 characters; each Python release changes a few).

    Args:
        path: of the file.

    Returns:
        The tokens and the vocabulary.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty or is not UTF-8.
    """
    if path is None:
        from pydoc_data.topics import topics

        characters = "\n\n".join(topics[title] for title in sorted(topics))
    else:
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no text file {path}; give the path of a UTF-8 text file")
        try:
            characters = Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not UTF-8 at byte {error.start}; convert it, as with `iconv -f latin1 -t utf-8`"
            ) from None
        if not characters:
            raise ValueError(f"{path} is empty; give a file that holds text")
    vocabulary = "".join(sorted(set(characters)))
    return Text(encode(characters, vocabulary), vocabulary)


def encode(characters: str, vocabulary: str) -> np.ndarray:
    """Turn characters into tokens, their positions in the vocabulary.

    Args:
        characters: N characters.
        vocabulary: the known characters.

    Returns:
        Tokens [N] of the smallest unsigned dtype that holds the vocabulary.

    Raises:
        ValueError: if a character is not in the vocabulary.
    """
    unknown = sorted(set(characters) - set(vocabulary))
    if unknown:
        raise ValueError(f"the vocabulary does not hold {''.join(unknown)!r}; leave these characters out")
    known = _code_points(vocabulary)
    order = np.argsort(known)
    tokens = order[np.searchsorted(known, _code_points(characters), sorter=order)]
    return tokens.astype(np.min_scalar_type(len(vocabulary) - 1))


def decode(tokens: np.ndarray, vocabulary: str) -> str:
    """Turn tokens [N] back into N characters."""
    return "".join(vocabulary[token] for token in np.asarray(tokens))


def _code_points(characters: str) -> np.ndarray:
    return np.frombuffer(characters.encode("utf-32-le"), np.uint32)


def split_text(tokens: np.ndarray, cuts: tuple[float, float] = (0.9, 0.95)) -> Splits:
    """Cut a text into its beginning to train on, its middle to validate on, and its end to test on.

    Args:
        tokens: [N].
        cuts: the fractions of the text at which it is cut. (0.9, 1.0) is the convention for tiny
            Shakespeare: the last tenth is for validation, the test is empty.

    Returns:
        Splits of tokens: views, not copies.

    Raises:
        ValueError: if the cuts do not lie in order between 0 and 1.
    """
    if not 0 < cuts[0] <= cuts[1] <= 1:
        raise ValueError(f"cuts are {cuts}; give two rising fractions of the text, such as (0.9, 0.95)")
    return Splits(*np.split(tokens, [int(cut * len(tokens)) for cut in cuts]))


def windows(tokens: np.ndarray, length: int, stride: int = 1) -> dict[str, np.ndarray]:
    """View a text as overlapping windows: inputs are window[:-1], their targets window[1:].

    Nothing is copied: only a batch is, when it is picked.

    Args:
        tokens: [T].
        length: of the context; a window holds one token more, the last target.
        stride: tokens from one window to the next; `length` predicts each token once.

    Returns:
        {"tokens": [N, length + 1]}, N = ⌊(T - length - 1) / stride⌋ + 1, a read-only view.

    Raises:
        ValueError: if the text is shorter than a window, or length or stride is not positive.
    """
    if length < 1 or stride < 1:
        raise ValueError(f"length is {length} and stride {stride}; both must be 1 or more")
    if len(tokens) <= length:
        raise ValueError(
            f"a window of length {length} needs {length + 1} tokens, and the text has {len(tokens)}; "
            "give a longer text or a shorter length"
        )
    return {"tokens": np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[::stride]}
