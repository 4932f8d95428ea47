"""The text of a run as tokens, split for training and validation."""

import dataclasses
from typing import NamedTuple

import numpy as np

from experiments.char_model.config import Config
from experiments.char_model.resume import TrainedOn
from experiments.char_model.train import span
from seqjax.data.text import Corpus, Vocabulary, read_corpus, split


class Text(NamedTuple):
    """A corpus as tokens.

    Attributes:
      corpus: the text and its checksum.
      vocabulary: the vocabulary of the training part.
      train: the training part, ``int32[N]``.
      validation: the validation part, ``int32[M]``.
      split: the name of the split in the results.
    """

    corpus: Corpus
    vocabulary: Vocabulary
    train: np.ndarray
    validation: np.ndarray
    split: str


def read_text(config: Config, trained: TrainedOn | None = None) -> Text:
    """Read the corpus and build a vocabulary from its training part.

    Args:
      config: the options of the run.
      trained: the text of a trained model, which the corpus and its vocabulary must match.

    Raises:
      ValueError: the corpus cannot be read, is too short, or does not match ``trained``.
    """
    corpus = read_corpus(config.corpus, errors=config.errors)
    parts = split(corpus.text, config.validation)
    if config.bytes:
        vocabulary = Vocabulary(None)
    else:
        vocabulary = Vocabulary.of(parts.train, min_count=config.min_count)
        unseen = {*parts.validation} - {*parts.train}
        if unseen and not vocabulary.unknown:
            vocabulary = dataclasses.replace(vocabulary, unknown=True)
    if trained is not None:
        vocabulary = trained.vocabulary_of(config, corpus, vocabulary)
    train, validation = map(vocabulary.encode, (parts.train, parts.validation))
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
    return Text(corpus, vocabulary, train, validation, parts.name)
