"""Lines of a text in lower case, and which of their letters were not, as records on disk."""

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
        "letter": Feature(bool),  # whether it has two cases: what counts
    }
)


class Lines(NamedTuple):
    """The lines of a corpus."""

    train: list[str]
    held_out: list[str]
    split: str  # what to call it in results


class Records(NamedTuple):
    """The same as records, and what their tokens mean."""

    train: Source
    held_out: Source
    vocabulary: Vocabulary


def lower(text: str) -> str:
    """Return ``text`` in lower case, character by character and so of the same length.

    >>> lower("To be")
    'to be'
    >>> len("İ".lower()), len(lower("İ"))
    (2, 1)
    """
    return "".join(low if len(low := c.lower()) == 1 else c for c in text)


def cut_lines(text: str, longest: int) -> Lines:
    r"""Cut a text into its lines that are not empty, the last tenth of them held out.

    A line of more than ``longest`` characters becomes several, none longer than that.

    Raises:
      ValueError: there are fewer than two lines, or no upper case letter in one of the parts.

    >>> cut_lines("To be,\n\nor not\nTo", longest=4)
    Lines(train=['To b', 'e,', 'or n', 'ot'], held_out=['To'], split='first 90% / last 10%')
    """
    lines = [
        line[start : start + longest]
        for line in text.splitlines()
        for start in range(0, len(line), longest)
    ]
    if len(lines) < 2:
        raise ValueError(f"truecasing needs a corpus of two lines or more, got {len(lines)}")
    parts = split(np.array(lines, object))
    for name, part in (("train on", parts.train), ("hold out", parts.validation)):
        if not any(line != lower(line) for line in part):
            raise ValueError(
                f"the {len(part)} lines to {name} have no upper case letter, so there is nothing "
                "to find; give another corpus"
            )
    return Lines(parts.train.tolist(), parts.validation.tolist(), parts.name)


def example(line: str, vocabulary: Vocabulary) -> Example:
    """Return the features of `SCHEMA` for one line.

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
    """Raise ``ValueError`` if what `write_records` needs is not installed."""
    for module in ("tensorflow", "google_crc32c"):
        if importlib.util.find_spec(module) is None:
            raise ValueError(
                f"truecasing keeps its lines in records, and {module}, which that needs, is not "
                "installed: pip install -c constraints.txt -e '.[records]'"
            )


def write_records(lines: Lines, folder: Path) -> Records:
    """Write both parts to ``folder`` as SequenceExamples, and open them.

    The vocabulary is that of the training lines; the characters that they have once only, and those
    of the held-out lines that they do not have, are one unknown token.
    """
    from seqjax.data.records import RecordSource, write  # needs the extra "records"

    vocabulary = Vocabulary.of(lower("".join(lines.train)), min_count=2)

    def ingest(name: str, part: Iterable[str]) -> RecordSource:
        write(folder / name, SCHEMA, (example(line, vocabulary) for line in part))
        return RecordSource(folder / name)

    return Records(ingest("train", lines.train), ingest("held_out", lines.held_out), vocabulary)
