"""Training pairs as records on disk, and their batches."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.pronunciation.dictionary import Words
from experiments.pronunciation.symbols import END, Symbols
from seqjax.data import Batch, Bucketed, Example
from seqjax.data.schema import Feature, Schema

if TYPE_CHECKING:
    from seqjax.data.records import RecordSource

SCHEMA = Schema(
    context={
        "letters": Feature(np.int32),  # the number of letters, with the end
        "phonemes": Feature(np.int32),  # the number of phonemes, with the end
    },
    sequence={  # as long as the longer of the two, and padded with the end
        "letter": Feature(np.int32),
        "phoneme": Feature(np.int32),
    },
)


class Pairs(NamedTuple):
    """A batch of words and pronunciations, as the model takes them.

    Attributes:
      letters: ``int32[B, T]``, the letters of each word and the end.
      letter_count: ``int32[B]``, the number of letters, with the end.
      inputs: ``int32[B, T]``, the phonemes that the decoder reads, from the end on.
      targets: ``int32[B, T]``, the phonemes that it predicts, up to the end.
      weights: ``float32[B, T]``, the weights of the targets. Their sum is B, so the mean of the
        weighted losses over rows is the mean loss of a phoneme, also if several devices share the
        rows.
    """

    letters: Any
    letter_count: Any
    inputs: Any
    targets: Any
    weights: Any


def pairs_of(words: Words) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each word with each of its pronunciations.

    Raises:
      ValueError: a word has no letters or no pronunciation.
    """
    for word, pronunciations in words.items():
        if not word or not all(pronunciations) or not pronunciations:
            raise ValueError(
                f"each word must have letters and phonemes, got {word!r} with {pronunciations}"
            )
        for pronunciation in pronunciations:
            yield word, pronunciation


def example(letters: np.ndarray, phonemes: np.ndarray) -> Example:
    """The features of `SCHEMA` for the tokens of a word and of a pronunciation.

    >>> features = example(np.array([3, 1, 0], np.int32), np.array([7, 0], np.int32))
    >>> features["phoneme"], features["phonemes"]
    (array([7, 0, 0], dtype=int32), array(2, dtype=int32))
    """
    steps = max(len(letters), len(phonemes))
    padded = [np.pad(a, (0, steps - len(a)), constant_values=END) for a in (letters, phonemes)]
    counts = [np.array(len(a), np.int32) for a in (letters, phonemes)]
    return dict(zip(("letter", "phoneme", "letters", "phonemes"), [*padded, *counts], strict=True))


def check_records_can_be_read() -> None:
    """Raise ``ValueError`` if a package that reading records needs is not installed."""
    for module in ("tensorflow", "google_crc32c"):
        if importlib.util.find_spec(module) is None:
            raise ValueError(
                f"pronunciation reads records, which needs {module}, but {module} is not "
                "installed: pip install -c constraints.txt -e '.[pronunciation]'"
            )


def write_records(folder: Path, words: Words, letters: Symbols, phonemes: Symbols) -> None:
    """Write each word with each of its pronunciations to ``folder``."""
    from seqjax.data.records import write  # needs the extra "records"

    pairs = pairs_of(words)
    write(folder, SCHEMA, (example(letters.encode(w), phonemes.encode(p)) for w, p in pairs))


def open_records(folder: Path) -> "RecordSource":
    """Open the records that `write_records` wrote."""
    from seqjax.data.records import RecordSource

    return RecordSource(folder)


def make_buckets(lengths: np.ndarray, count: int, batch_size: int) -> Bucketed:
    """The buckets with the least padding, at most ``count``; each compiles a program.

    Args:
      lengths: ``int[N]``, the number of steps of each example.
      count: the number of buckets.
      batch_size: the number of examples in a batch.

    >>> make_buckets(np.array([3, 3, 3, 4, 9, 10]), count=2, batch_size=8).boundaries
    (4, 10)
    """
    sizes, counts = np.unique(lengths, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])
    # padded[k]: the least number of steps of the k shortest sizes, and the buckets that have it
    padded: list[tuple[int, list[int]]] = [(0, [])]
    padded += [(int(below[k] * sizes[k - 1]), [int(sizes[k - 1])]) for k in range(1, len(below))]
    for _ in range(count - 1):
        padded = [padded[0]] + [
            min(
                (padded[j][0] + int((below[k] - below[j]) * sizes[k - 1]),
                 [*padded[j][1], int(sizes[k - 1])])
                for j in range(k)
            )
            for k in range(1, len(below))
        ]  # fmt: skip
    return Bucketed(padded[-1][1], batch_size)


def as_pairs(batch: Batch, rows: int) -> Pairs:
    """The arrays of a batch, filled up to ``rows`` with rows of weight 0.

    The last batches of an epoch are not full. Filling them keeps the number of shapes small.
    """
    features = batch.features
    letters, targets = features["letter"], features["phoneme"]
    missing = rows - len(letters)
    steps = targets.shape[1]
    counts = np.pad(features["phonemes"], (0, missing))
    inputs = np.pad(targets[:, :-1], ((0, missing), (1, 0)), constant_values=END)
    letters, targets = (np.pad(a, ((0, missing), (0, 0))) for a in (letters, targets))
    within = np.arange(steps) < counts[:, None]
    weights = within * np.float32(rows / counts.sum())
    return Pairs(letters, np.pad(features["letters"], (0, missing)), inputs, targets, weights)
