"""Pronunciations of words, by greedy decoding or beam search, and their alignment with letters."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.pronunciation.dictionary import Pronunciation
from experiments.pronunciation.symbols import END, Symbols
from seqjax import Ensemble, WithState, unroll
from seqjax.decoding import Beam, Decoded, beam_search, decode
from seqjax.seq2seq import EncoderDecoder, EncoderDecoderParams
from seqjax.types import Array, Params, Role, State

ROWS = 128  # words per compiled call
MULTIPLE = 4  # lengths are rounded up to it, so that few shapes are compiled
EXTRA = 8  # phonemes beyond the number of letters, which nearly no word has


class Speaker(NamedTuple):
    """Trained models that pronounce words together.

    Attributes:
      models: the models, one or more.
      params: the parameters of each model.
      letters: the tokens of letters.
      phonemes: the tokens of phonemes.
    """

    models: tuple[EncoderDecoder, ...]
    params: tuple[EncoderDecoderParams, ...]
    letters: Symbols
    phonemes: Symbols


class Hypothesis(NamedTuple):
    """A pronunciation of a word.

    Attributes:
      phonemes: the pronunciation.
      score: its log-probability, in nats; for several models, the mean of theirs.
    """

    phonemes: Pronunciation
    score: float


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


def word_batches(words: Sequence[str], letters: Symbols, rows: int) -> Iterator[WordBatch]:
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


def pronounce(
    speaker: Speaker,
    words: Sequence[str],
    beam: int | None = None,
    n_best: int = 1,
    threshold: float | None = None,
) -> dict[str, list[Hypothesis]]:
    """The most likely pronunciations of each word, the best first.

    Args:
      speaker: the models.
      words: words of known letters.
      beam: the width of the beam search; None to take the most likely phoneme at each step.
      n_best: the number of pronunciations; greedy decoding finds one.
      threshold: in nats, how far below the best pronunciation the beam search drops one.

    Raises:
      ValueError: a word is empty or has an unknown letter, ``beam`` is less than ``n_best``, or
        ``threshold`` is negative or given without a beam.
    """
    options = None
    if beam is None and threshold is not None:
        raise ValueError(f"a threshold, {threshold}, needs a beam; give the width of one")
    if beam is not None:
        if not 1 <= n_best <= beam:
            raise ValueError(f"the beam must be at least n_best={n_best} wide, got {beam}")
        options = Beam(beam, n_best, threshold=threshold)
    found: list[list[Hypothesis]] = [[] for _ in words]
    for batch in word_batches(words, speaker.letters, min(ROWS, _power_of_two(len(words)))):
        decoded = _decode(speaker.models, options, speaker.params, batch.letters, batch.counts)
        tokens, scores = np.asarray(decoded.tokens), np.asarray(decoded.scores)
        for index, row, row_scores in zip(batch.indices, tokens, scores, strict=False):
            found[index] = [
                Hypothesis(speaker.phonemes.decode(hypothesis), float(score))
                for hypothesis, score in zip(row, row_scores, strict=True)
                if np.isfinite(score)
            ]
    return dict(zip(words, found, strict=True))


def align(speaker: Speaker, word: str, pronunciation: Pronunciation) -> np.ndarray:
    """The weights with which the last layer of the decoder attends to each letter.

    Args:
      speaker: the models; their weights are averaged.
      word: a word of S letters.
      pronunciation: T phonemes.

    Returns:
      float32 ``[T + 1, S + 1]``, with a row and a column for the end.
    """
    letters, targets = speaker.letters.encode(word), speaker.phonemes.encode(pronunciation)
    inputs = np.concatenate([[END], targets[:-1]]).astype(np.int32)
    return np.asarray(_align(speaker.models, speaker.params, letters[None], inputs[None]))


def _encode(
    models: Sequence[EncoderDecoder],
    params: Sequence[EncoderDecoderParams],
    letters: Array,
    counts: Array,
) -> tuple[Ensemble, tuple[Params, ...], tuple[State, ...]]:
    encoded = [
        model.encode(p, letters, lengths=counts, deterministic=True)
        for model, p in zip(models, params, strict=True)
    ]
    ensemble = Ensemble([model.decoder for model in models])
    return ensemble, tuple(e.params for e in encoded), tuple(e.state for e in encoded)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _decode(
    models: tuple[EncoderDecoder, ...],
    beam: Beam | None,
    params: tuple[EncoderDecoderParams, ...],
    letters: Array,
    counts: Array,
) -> Decoded:
    """Decode words; the arrays have an axis of hypotheses after B."""
    ensemble, bound, state = _encode(models, params, letters, counts)
    start = jnp.full(letters.shape[:1], END, jnp.int32)
    most = letters.shape[1] + EXTRA
    if beam is None:
        decoded = decode(ensemble, bound, start, end=END, max_length=most, state=state)
        return Decoded(*(array[:, None] for array in decoded))
    return beam_search(ensemble, bound, start, beam, end=END, max_length=most, state=state)


@functools.partial(jax.jit, static_argnums=0)
def _align(
    models: tuple[EncoderDecoder, ...],
    params: tuple[EncoderDecoderParams, ...],
    letters: Array,
    inputs: Array,
) -> Array:
    counts = jnp.full(1, letters.shape[1], jnp.int32)
    ensemble, bound, state = _encode(models, params, letters, counts)
    _, (_, states) = unroll(
        WithState(ensemble), bound, inputs, initial_state=state, deterministic=True
    )
    last = []
    for roles, member in zip(ensemble.roles, states, strict=True):
        pairs = zip(jax.tree.leaves(roles), jax.tree.leaves(member), strict=True)
        last.append([array for role, array in pairs if role is Role.ALIGNMENT][-1])
    return jnp.stack(last).mean(0)[0].mean(-2)


def _power_of_two(count: int) -> int:
    return 1 << max(count - 1, 0).bit_length()
