"""Lines of a text in lower case, with the case of their letters, as records on disk."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqjax.data import Example, Source
from seqjax.data.schema import Feature, Schema
from seqjax.data.text import Vocabulary, split

SCHEMA = Schema(
    sequence={
        "token": Feature(np.int32),  # the characters of a line in lower case
        "upper": Feature(bool),  # whether it was upper case
        "letter": Feature(bool),  # whether it has two cases, and is scored
    }
)


class Lines(NamedTuple):
    """The lines of a corpus.

    Attributes:
      train: the training lines.
      held_out: the held-out lines.
      split: the name of the split in results.
    """

    train: list[str]
    held_out: list[str]
    split: str


class Records(NamedTuple):
    """The lines of a corpus as records.

    Attributes:
      train: the training lines.
      held_out: the held-out lines.
      vocabulary: the vocabulary of the tokens.
    """

    train: Source
    held_out: Source
    vocabulary: Vocabulary


def lower(text: str) -> str:
    """Convert ``text`` to lower case, character by character, so its length does not change.

    >>> lower("To be")
    'to be'
    >>> len("İ".lower()), len(lower("İ"))
    (2, 1)
    """
    return "".join(low if len(low := c.lower()) == 1 else c for c in text)


def cut_lines(text: str, longest: int) -> Lines:
    r"""Cut a text into non-empty lines and hold out the last tenth of them.

    Lines of more than ``longest`` characters are cut into pieces of at most that length.

    Raises:
      ValueError: there are fewer than two lines, or a part has no upper case letter.

    >>> cut_lines("To be,\n\nor not\nTo", longest=4)
    Lines(train=['To b', 'e,', 'or n', 'ot'], held_out=['To'], split='first 90% / last 10%')
    """
    lines = [
        line[start : start + longest]
        for line in text.splitlines()
        for start in range(0, len(line), longest)
    ]
    if len(lines) < 2:
        raise ValueError(
            f"truecasing needs two lines or more, got {len(lines)}; give a longer corpus"
        )
    parts = split(np.array(lines, object))
    for name, part in (("train on", parts.train), ("hold out", parts.validation)):
        if not any(line != lower(line) for line in part):
            raise ValueError(
                f"the {len(part)} lines to {name} have no upper case letter to predict; give "
                "another corpus"
            )
    return Lines(parts.train.tolist(), parts.validation.tolist(), parts.name)


def example(line: str, vocabulary: Vocabulary) -> Example:
    """The features of `SCHEMA` for one line.

    >>> features = example("Ah!", Vocabulary("!ah"))
    >>> features["token"], features["upper"], features["letter"]
    (array([1, 2, 0], dtype=int32), array([ True, False, False]), array([ True,  True, False]))
    """
    low = lower(line)
    return {
        "token": vocabulary.encode(low),
        "upper": np.array([a != b for a, b in zip(line, low, strict=True)], bool),
        "letter": np.array([c.upper() != c for c in low], bool),
    }


def check_records_can_be_read() -> None:
    """Raise ``ValueError`` if a package that `write_records` needs is not installed."""
    for module in ("tensorflow", "google_crc32c"):
        if importlib.util.find_spec(module) is None:
            raise ValueError(
                f"truecasing writes records, which needs {module}, but {module} is not installed: "
                "pip install -c constraints.txt -e '.[records]'"
            )


def write_records(lines: Lines, folder: Path) -> Records:
    """Write both parts to ``folder`` as SequenceExamples in process 0, and open them in all.

    The vocabulary comes from the training lines. Characters that occur there only once or not at
    all are one unknown token.

    Raises:
      OSError: they cannot be written, or a process does not see them.
    """
    from experiments.processes import ALL  # it imports JAX, which the options do not need
    from seqjax.data.records import RecordSource, write  # needs the extra "records"

    vocabulary = Vocabulary.of(lower("".join(lines.train)), min_count=2)

    def ingest(name: str, part: Iterable[str]) -> RecordSource:
        path, examples = folder / name, (example(line, vocabulary) for line in part)
        ALL.by_first(lambda: write(path, SCHEMA, examples))
        return ALL.together(lambda: open_records(path))

    def open_records(path: Path) -> RecordSource:
        if not path.is_dir():
            raise FileNotFoundError(
                f"{path}, which process 0 has written, is not here; all processes must share the "
                "folder --out, for example on a network file system"
            )
        return RecordSource(path)

    return Records(ingest("train", lines.train), ingest("held_out", lines.held_out), vocabulary)
