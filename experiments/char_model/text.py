"""The text of a run as tokens, split for training and validation."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from experiments.char_model.baselines import check_memory
from experiments.char_model.config import Config
from experiments.char_model.resume import TrainedOn
from experiments.char_model.train import span
from experiments.processes import Group
from seqjax.data.text import (
    NAMED_CORPORA,
    Pieces,
    Vocabulary,
    count_characters,
    read_corpus,
    split_point,
    survey,
    token_file,
)
from seqjax.hosts import check_agreement

LARGE = 50_000_000  # bytes; a larger text is read in pieces, and its tokens stay in a file


class Text(NamedTuple):
    """A corpus as tokens.

    Attributes:
      sha256: the checksum of the text.
      vocabulary: the vocabulary of the training part.
      train: the training part, integers ``[N]``.
      validation: the validation part, integers ``[M]``.
      split: the name of the split in the results.
      validation_bytes: the size of the validation part in UTF-8.
    """

    sha256: str
    vocabulary: Vocabulary
    train: np.ndarray
    validation: np.ndarray
    split: str
    validation_bytes: int


class _Content(NamedTuple):
    """A corpus before it is encoded."""

    sha256: str
    split: str
    vocabulary: Vocabulary  # of the training part
    has_unseen: bool  # whether the validation part has characters that the training part lacks
    validation_bytes: int
    encode: Callable[[Vocabulary], tuple[np.ndarray, np.ndarray]]


def read_text(config: Config, trained: TrainedOn | None = None) -> Text:
    """Read the corpus and build a vocabulary from its training part.

    A text of more than `LARGE` bytes is not held in memory: its tokens are a memory-mapped file.

    Args:
      config: the options of the run.
      trained: the text of a trained model, which the corpus and its vocabulary must match.

    Raises:
      ValueError: the corpus cannot be read, is too short, or does not match ``trained``.
    """
    content = _in_pieces(config) if _is_large(config) else _in_memory(config)
    vocabulary = Vocabulary(None) if config.bytes else content.vocabulary
    if content.has_unseen and not (config.bytes or vocabulary.unknown):
        vocabulary = dataclasses.replace(vocabulary, unknown=True)
    if trained is not None:
        vocabulary = trained.vocabulary_of(config, content.sha256, vocabulary)
    train, validation = content.encode(vocabulary)
    check_memory(len(train), config.ngrams)
    needed = config.batch_size * span(config) + 1
    if len(train) < needed:
        raise ValueError(
            f"the training part of {config.corpus} has {len(train)} characters, but one step needs "
            f"{needed}: --batch-size {config.batch_size} rows of {span(config)} steps; "
            "give a longer text, fewer rows or shorter chunks"
        )
    if len(validation) < 2:
        raise ValueError(
            f"the validation part of {config.corpus} has {len(validation)} characters, but needs "
            "at least 2; give a longer text or a larger --validation"
        )
    return Text(
        content.sha256, vocabulary, train, validation, content.split, content.validation_bytes
    )


def read_in_turn(config: Config, resumed: TrainedOn | None, group: Group) -> Text:
    """Read the text in the first process and then in the others, which find the file of its tokens.

    Raises:
      ValueError: as `read_text` in any process, or the processes read different texts.
    """
    first = group.together(lambda: read_text(config, resumed) if group.is_first else None)
    text = group.together(lambda: first or read_text(config, resumed))
    if not group.alone:
        check_agreement(
            {"a text with the sha256": text.sha256, "a vocabulary of": text.vocabulary.size}
        )
    return text


def _is_large(config: Config) -> bool:
    is_named = config.corpus in NAMED_CORPORA
    return not is_named and Pieces(config.corpus, errors=config.errors).size > LARGE


def _parts(length: int, config: Config) -> tuple[int, int, str]:
    """The ends of the training and of the validation part, and the name of the split."""
    end, name = split_point(length, config.validation)
    if not config.tuning:
        return end, length, name
    inner, name = split_point(end, config.validation)
    return inner, end, f"{name} of the training part"


def _in_memory(config: Config) -> _Content:
    corpus = read_corpus(config.corpus, errors=config.errors)
    end, stop, name = _parts(len(corpus.text), config)
    train, validation = corpus.text[:end], corpus.text[end:stop]
    made = Vocabulary.of(train, min_count=config.min_count)
    has_unseen = bool({*validation} - {*train})

    def encode(vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
        return vocabulary.encode(train), vocabulary.encode(validation)

    size = len(validation.encode())
    return _Content(corpus.sha256, name, made, has_unseen, size, encode)


def _in_pieces(config: Config) -> _Content:
    pieces = Pieces(config.corpus, errors=config.errors)
    found = survey(pieces)
    end, stop, name = _parts(found.length, config)
    counts = count_characters(pieces, 0, end)
    later = count_characters(pieces, end, stop)
    made = Vocabulary.of_counts(counts, min_count=config.min_count)

    def encode(vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
        tokens = token_file(pieces, vocabulary, found)
        train, validation = (_tokens_of(part, vocabulary) for part in (counts, later))
        return tokens[:train], tokens[train : train + validation]

    has_unseen = bool(later.keys() - counts.keys())
    return _Content(found.sha256, name, made, has_unseen, _bytes_of(later), encode)


def _tokens_of(counts: Mapping[str, int], vocabulary: Vocabulary) -> int:
    """The number of tokens of a text with these counts of characters."""
    return _bytes_of(counts) if vocabulary.characters is None else sum(counts.values())


def _bytes_of(counts: Mapping[str, int]) -> int:
    """The size in UTF-8 of a text with these counts of characters."""
    return sum(n * len(c.encode()) for c, n in counts.items())
