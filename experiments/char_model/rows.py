"""The rows of the training text, with soft targets where they can be counted."""

import time

import numpy as np
from rich.console import Console

from experiments.char_model.config import Config
from experiments.char_model.text import Text
from experiments.char_model.train import Rows
from seqjax.data.ngram_targets import SoftTargets, ngram_targets
from seqjax.data.text import streams

LARGEST = 400_000_000  # characters times vocabulary; counting takes about 10 s for 65 million
KEPT = 16  # most likely characters of a distribution


def make_rows(config: Config, text: Text, console: Console) -> Rows:
    """Cut the training text into rows, and count the n-grams that the options ask for."""
    rows = Rows(*streams(text.train, config.batch_size))
    if not config.ngram_targets:
        return rows
    size = text.vocabulary.size
    if len(text.train) * size > LARGEST:
        console.print(
            f"{len(text.train):,} characters of {size:,} kinds are too many for n-gram targets; "
            "the model learns from the characters alone",
            highlight=False,
        )
        return rows
    began = time.perf_counter()
    with console.status(f"counting {config.ngram_order}-grams"):
        found = ngram_targets(text.train, config.ngram_order, size, KEPT)
    seconds = time.perf_counter() - began
    console.print(f"counted {config.ngram_order}-grams in {seconds:.1f} s", highlight=False)

    def cut(a: np.ndarray) -> np.ndarray:
        used = a[1 : 1 + rows.targets.size]
        return used.reshape(*rows.targets.shape, -1)

    tokens = found.tokens.astype(np.min_scalar_type(size))  # half or a quarter of the memory
    return rows._replace(soft=SoftTargets(cut(tokens), cut(found.probabilities)))
