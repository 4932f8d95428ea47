"""The text of a run as tokens, split for training and validation."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.char_model.baselines import check_memory
from experiments.char_model.config import Config
from experiments.char_model.resume import TrainedOn
from experiments.char_model.train import span
from seqjax.data.text import (
    NAMED_CORPORA,
    Pieces,
    Vocabulary,
    count_characters,
    read_corpus,
    split,
    split_point,
    survey,
    token_file,
)

LARGE = 50_000_000  # bytes; a larger text is read in pieces, and its tokens stay in a file


class Text(NamedTuple):
    """A corpus as tokens.

    Attributes:
      sha256: the checksum of the text.
      vocabulary: the vocabulary of the training part.
      train: the training part, integers ``[N]``.
      validation: the validation part, integers ``[M]``.
      split: the name of the split in the results.
    """

    sha256: str
    vocabulary: Vocabulary
    train: np.ndarray
    validation: np.ndarray
    split: str


class _Content(NamedTuple):
    """A corpus before it is encoded."""

    sha256: str
    split: str
    vocabulary: Vocabulary  # of the training part
    has_unseen: bool  # whether the validation part has characters that the training part lacks
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
    return Text(content.sha256, vocabulary, train, validation, content.split)


def _is_large(config: Config) -> bool:
    if config.corpus in NAMED_CORPORA or not Path(config.corpus).expanduser().exists():
        return False
    return Pieces(config.corpus, errors=config.errors).size > LARGE


def _in_memory(config: Config) -> _Content:
    corpus = read_corpus(config.corpus, errors=config.errors)
    parts = split(corpus.text, config.validation)
    made = Vocabulary.of(parts.train, min_count=config.min_count)
    has_unseen = bool({*parts.validation} - {*parts.train})

    def encode(vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
        return vocabulary.encode(parts.train), vocabulary.encode(parts.validation)

    return _Content(corpus.sha256, parts.name, made, has_unseen, encode)


def _in_pieces(config: Config) -> _Content:
    pieces = Pieces(config.corpus, errors=config.errors)
    found = survey(pieces)
    end, name = split_point(found.length, config.validation)
    counts = count_characters(pieces, 0, end)
    later = count_characters(pieces, end, found.length)
    made = Vocabulary.of_counts(counts, min_count=config.min_count)

    def encode(vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
        tokens = token_file(pieces, vocabulary, found)
        sizes = (
            n * len(c.encode()) if vocabulary.characters is None else n for c, n in counts.items()
        )
        train = sum(sizes)
        return tokens[:train], tokens[train:]

    return _Content(found.sha256, name, made, bool(later.keys() - counts.keys()), encode)
