"""Scores of a character model on held-out text: streaming and windowed."""

import functools
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax import Cell, sequence_loss, unroll
from seqjax.data.text import windows
from seqjax.types import Array, Params, State

CHUNK = 1024  # steps of a stream per call
WINDOWS = 64  # windows per call
READ_AS_ONE = 2_000_000  # characters; a longer text is read in parts too
PARTS = 32
Track = Callable[[range], Iterable[int]]
"""Yields the values of a range, and may show the progress."""


class Score(NamedTuple):
    """The mean cross-entropy of the next character.

    Attributes:
      nats: in nats per character.
    """

    nats: float

    @property
    def bits(self) -> float:
        """The mean cross-entropy in bits per character."""
        return self.nats / math.log(2)


@functools.partial(jax.jit, static_argnames="model")
def _losses(
    model: Cell, params: Params, state: State, xs: Array, ys: Array, mask: Array
) -> tuple[State, Array]:
    state, logits = unroll(model, params, xs, mask=mask, initial_state=state, deterministic=True)
    losses = sequence_loss(
        logits, ys, weights=mask.astype(logits.dtype),
        average_over_time=False, average_over_batch=False,
    )  # fmt: skip
    return state, losses


def mean_score(losses: np.ndarray) -> Score:
    """The score of the losses of single tokens.

    >>> mean_score(np.array([1.0, 2.0], np.float32))
    Score(nats=1.5)
    """
    return Score(float(losses.mean(dtype=np.float64)))


def token_losses(
    model: Cell, params: Params, tokens: np.ndarray, rows: int = 1, track: Track = iter
) -> np.ndarray:
    """The loss of each token after the first, given all tokens before it.

    Several ``rows`` split the text into as many parts, which are read as one batch. Each part
    starts with the first state 500 characters early. This is much faster, and approximates the
    losses.

    Args:
      model: a cell from tokens to logits.
      params: the parameters of the model.
      tokens: ``int[N + 1]``.
      rows: the number of parts.
      track: shows the progress.

    Returns:
      ``float32[N]``, in nats.
    """
    return _stream(model, params, tokens, rows, 500 if rows > 1 else 0, track)


def streaming(
    model: Cell, params: Params, tokens: np.ndarray, rows: int = 1, track: Track = iter
) -> Score:
    """The mean of `token_losses`: the text is read with the state carried."""
    return mean_score(token_losses(model, params, tokens, rows, track))


def rows_for(tokens: np.ndarray) -> int:
    """The number of parts in which a text is scored.

    >>> rows_for(np.zeros(1000)), rows_for(np.zeros(3_000_000))
    (1, 32)
    """
    return 1 if len(tokens) <= READ_AS_ONE else PARTS


def windowed(
    model: Cell, params: Params, tokens: np.ndarray, window: int, track: Track = iter
) -> Score:
    """The score of independent windows, each from the first state, as nanoGPT evaluates."""
    inputs, targets, lengths = windows(tokens, window)
    filling = -len(lengths) % WINDOWS  # gives all batches one shape
    inputs, targets = (
        np.pad(a, [(0, filling), (0, 0)]).astype(np.int32) for a in (inputs, targets)
    )
    mask = np.arange(window) < np.pad(lengths, (0, filling))[:, None]
    state, total = model.first_state(params, (WINDOWS,)), 0.0
    for first in track(range(0, len(inputs), WINDOWS)):
        rows = np.s_[first : first + WINDOWS]
        _, losses = _losses(
            model, params, state, jnp.asarray(inputs[rows]), targets[rows], mask[rows]
        )
        total += float(np.asarray(losses).sum(dtype=np.float64))
    return Score(total / (len(tokens) - 1))


def _stream(
    model: Cell,
    params: Params,
    tokens: np.ndarray,
    rows: int,
    warm_up: int,
    track: Track = iter,
) -> np.ndarray:
    count = len(tokens) - 1
    length = -(-count // rows)
    result = np.zeros(count, np.float32)
    state = model.first_state(params, (rows,))
    for first in track(range(0, warm_up + length, CHUNK)):
        steps = first + np.arange(CHUNK)
        at = np.arange(rows)[:, None] * length - warm_up + steps  # the places of the inputs
        valid = (at >= 0) & (at < count)
        at = np.where(valid, at, 0)
        xs, ys = (tokens[places].astype(np.int32) for places in (at, at + 1))
        state, losses = _losses(model, params, state, jnp.asarray(xs), ys, valid)
        counted = valid & (steps >= warm_up) & (steps < warm_up + length)
        result[at[counted]] = np.asarray(losses)[counted]
    return result
