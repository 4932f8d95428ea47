"""N-gram models of the training text, whose losses are baselines."""

import os
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from seqjax.data.ngram import ngram_losses, ngram_token_losses

Ngrams = Literal["sample", "all", "none"]
ORDERS = (3, 5)
MIXED = 7  # order of the n-grams that a model is mixed with
COUNTED = 5_000_000  # characters of a sample
SCORED = 1_000_000
BYTES = 130  # of memory per character, at most, to count n-grams


class Baselines(NamedTuple):
    """The losses of n-gram models.

    Attributes:
      nats: the mean cross-entropy of each order, in nats per character.
      counted: the number of training characters that were counted.
      scored: the number of validation characters that were scored.
    """

    nats: Mapping[int, float]
    counted: int
    scored: int


def check_memory(characters: int, ngrams: Ngrams) -> None:
    """Raise ``ValueError`` if the machine cannot count the n-grams of so many characters.

    >>> check_memory(10**12, "sample")
    """
    if ngrams != "all" or not hasattr(os, "sysconf"):  # Windows does not tell its memory so
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if characters * BYTES > memory:
        raise ValueError(
            f"--ngrams all needs about {characters * BYTES / 1e9:.0f} GB of memory to count "
            f"{characters:,} characters, and this machine has {memory / 1e9:.0f} GB; use --ngrams "
            f"sample, which counts {COUNTED:,} characters"
        )


def baselines(train: np.ndarray, validation: np.ndarray, size: int, ngrams: Ngrams) -> Baselines:
    """Count n-grams in ``train`` and score ``validation``.

    A sample is the end of ``train`` and the start of ``validation``, which are adjacent.

    >>> tokens = np.arange(12) % 3
    >>> baselines(tokens, tokens, 3, "none")
    Baselines(nats={}, counted=0, scored=0)
    """
    if ngrams == "none":
        return Baselines({}, 0, 0)
    if ngrams == "sample":
        train, validation = train[-COUNTED:], validation[:SCORED]
    return Baselines(ngram_losses(train, validation, ORDERS, size), len(train), len(validation))


def ngrams_mixed(train: np.ndarray, tokens: np.ndarray, size: int) -> np.ndarray:
    """The losses of the 7-grams that a model is mixed with, for each token after the first.

    They count at most the last 5 million characters of ``train``.
    """
    return ngram_token_losses(train[-COUNTED:], tokens, MIXED, size)[1:]


def mixed(losses: np.ndarray, of_ngrams: np.ndarray, weight: float) -> np.ndarray:
    """The losses of a mixture of two models, in which ``of_ngrams`` has a weight in (0, 1).

    >>> nats = mixed(-np.log(np.array([0.5])), -np.log(np.array([0.1])), 0.25)
    >>> print(np.exp(-nats))
    [0.4]
    """
    both: np.ndarray = -np.logaddexp(np.log(1 - weight) - losses, np.log(weight) - of_ngrams)
    return both
