"""Pronunciations of words: batches of words, and greedy decoding."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.pronunciation.dictionary import Pronunciation
from experiments.pronunciation.symbols import END, Symbols
from seqjax import unroll
from seqjax.sampling import Generation, Sampling, generate
from seqjax.seq2seq import EncoderDecoder, EncoderDecoderParams
from seqjax.types import Array

ROWS = 256  # words per compiled call
MULTIPLE = 4  # lengths are rounded up to it, so that few shapes are compiled


class WordBatch(NamedTuple):
    """Words of similar length, filled up with rows that hold only the end.

    Attributes:
      indices: ``int64[n]``, the place of each word among those that were given.
      letters: ``int32[B, S]``, the tokens of letters.
      counts: ``int32[B]``, the number of tokens of each word.
    """

    indices: np.ndarray
    letters: np.ndarray
    counts: np.ndarray

    @property
    def most_phonemes(self) -> int:
        """The number of steps to decode, above the number of phonemes of nearly all words."""
        return self.letters.shape[1] + 8


def word_batches(
    words: Sequence[str], letters: Symbols, rows: int = ROWS
) -> Iterator[WordBatch]:
    """Yield batches of words, sorted by length.

    Raises:
      ValueError: a word is empty, or has a letter that no training word has.
    """
    if not all(words):
        raise ValueError("a word must have at least one letter, got ''")
    tokens = [letters.encode(word) for word in words]
    order = sorted(range(len(words)), key=lambda n: len(tokens[n]))
    for start in range(0, len(words), rows):
        indices = np.array(order[start : start + rows])
        longest = -(-len(tokens[indices[-1]]) // MULTIPLE) * MULTIPLE
        batch = np.full((rows, longest), END, np.int32)
        counts = np.ones(rows, np.int32)
        for row, index in enumerate(indices):
            batch[row, : len(tokens[index])] = tokens[index]
            counts[row] = len(tokens[index])
        yield WordBatch(indices, batch, counts)


def greedy(
    model: EncoderDecoder,
    params: EncoderDecoderParams,
    words: Sequence[str],
    letters: Symbols,
    phonemes: Symbols,
    rows: int = ROWS,
) -> dict[str, Pronunciation]:
    """The pronunciation of each word that takes the most likely phoneme at each step."""
    found: list[Pronunciation] = [()] * len(words)
    for batch in word_batches(words, letters, rows):
        tokens = np.asarray(
            _greedy(model, batch.most_phonemes, params, batch.letters, batch.counts)
        )
        for index, row in zip(batch.indices, tokens, strict=False):
            found[index] = phonemes.decode(row)
    return dict(zip(words, found, strict=True))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _greedy(model: EncoderDecoder, steps: int, params: EncoderDecoderParams, letters: Array, counts: Array) -> Array:
    bound, state = model.encode(params, letters, lengths=counts, deterministic=True)
    start = jnp.full((letters.shape[0], 1), END, jnp.int32)
    state, logits = unroll(model.decoder, bound, start, initial_state=state, deterministic=True)
    generation = Generation(state, logits[:, -1], jnp.zeros((), jnp.int32))
    key = jax.random.key(0)  # the most likely token needs no chance
    _, tokens = generate(model.decoder, bound, generation, key, steps, Sampling(temperature=0.0))
    return tokens
