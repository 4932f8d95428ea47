"""What a model thinks while it reads a text: surprise, alternatives, calibration and units."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax import Cell, Ensemble, WithState, unroll
from seqjax.types import Array, Params, State

CHUNK = 500  # steps per call
ALTERNATIVES = 3
BINS = 10


class Reading(NamedTuple):
    """A model's predictions of N tokens, each from all tokens before it.

    Attributes:
      bits: the surprise of each token, ``float32[N]``.
      likely: the most likely tokens before each token was read, ``int[N, ALTERNATIVES]``.
      chances: their probabilities, ``float32[N, ALTERNATIVES]``.
      units: the state after the token before each token, ``float32[N, U]``: the units of all layers
        that hold one number each.
      names: the name of each unit, ``[U]``.
    """

    bits: np.ndarray
    likely: np.ndarray
    chances: np.ndarray
    units: np.ndarray
    names: list[str]


class Calibration(NamedTuple):
    """How often the most likely token is the right one, by its predicted probability.

    Attributes:
      predicted: the mean probability in each bin that holds a prediction, ``[K]``.
      observed: the fraction of right predictions, ``[K]``.
      counts: the number of predictions, ``[K]``.
    """

    predicted: np.ndarray
    observed: np.ndarray
    counts: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance, weighted by the counts."""
        distance = np.abs(self.predicted - self.observed)
        return float((distance * self.counts).sum() / self.counts.sum())


def read(model: Cell, params: Params, tokens: np.ndarray) -> Reading:
    """Read ``tokens``, ``int[N + 1]``, from the first state and predict all but the first."""
    state = model.first_state(params, (1,))
    parts = []
    count = len(tokens) - 1
    padded = np.pad(tokens, (0, -count % CHUNK)).astype(np.int32)
    for first in range(0, count, CHUNK):
        xs, ys = (jnp.asarray(padded[None, n : n + CHUNK]) for n in (first, first + 1))
        state, part = _predict(model, params, state, xs, ys)
        parts.append(jax.tree.map(np.asarray, part))
    bits, likely, chances, units = (
        np.concatenate(pieces)[:count] for pieces in zip(*parts, strict=True)
    )
    return Reading(bits, likely, chances, units, _names(model))


@functools.partial(jax.jit, static_argnames="model")
def _predict(
    model: Cell, params: Params, state: State, xs: Array, ys: Array
) -> tuple[State, tuple[Array, Array, Array, Array]]:
    reader = WithState(model)
    state, (logits, states) = unroll(reader, params, xs, initial_state=state, deterministic=True)
    log_p = jax.nn.log_softmax(logits[0].astype(jnp.float32))  # [T, V]
    bits = -jnp.take_along_axis(log_p, ys[0][:, None], 1)[:, 0] / jnp.log(jnp.float32(2))
    found, likely = jax.lax.top_k(log_p, min(ALTERNATIVES, log_p.shape[1]))
    units = [leaf[0].astype(jnp.float32) for leaf in jax.tree.leaves(states) if _is_units(leaf)]
    return state, (bits, likely, jnp.exp(found), jnp.concatenate(units, 1))


def _is_units(leaf: Array | jax.ShapeDtypeStruct) -> bool:
    """Whether a leaf of a state, ``[1, ..., H]``, holds one number for each unit."""
    floating: bool = jnp.issubdtype(leaf.dtype, jnp.floating)
    return floating and len(leaf.shape) == 3


def _names(model: Cell) -> list[str]:
    state = jax.eval_shape(lambda: model.initial_state((1, 1)))
    names: list[str] = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if _is_units(leaf):
            words: list[str] = []
            for key in path:
                if isinstance(key, jax.tree_util.SequenceKey):
                    part = "member" if isinstance(model, Ensemble) and not words else "layer"
                    words.append(f"{part} {key.idx + 1}")
                elif isinstance(key, jax.tree_util.GetAttrKey):
                    words.append(key.name)
            names += [" ".join([*words, f"unit {n}"]) for n in range(leaf.shape[-1])]
    return names


def calibration(reading: Reading, tokens: np.ndarray) -> Calibration:
    """Compare the most likely token's probability with how often it is the token read.

    Args:
      reading: the reading of ``tokens``.
      tokens: ``int[N + 1]``.

    >>> reading = Reading(np.zeros(4), np.array([[0], [0], [1], [1]]),
    ...     np.array([[0.45], [0.45], [0.95], [0.95]]), np.zeros((4, 0)), [])
    >>> calibration(reading, np.array([7, 0, 1, 1, 1])).observed.tolist()
    [0.5, 1.0]
    """
    chance, right = reading.chances[:, 0], reading.likely[:, 0] == tokens[1:]
    bins = np.minimum((chance * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    held = counts > 0
    predicted, observed = (
        np.bincount(bins, a, minlength=BINS)[held] / counts[held] for a in (chance, right)
    )
    return Calibration(predicted, observed, counts[held])
