"""Rows of tokens: their split, and the streams and windows made from them."""

from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from seqjax.checks import check_size

TextOrTokens = TypeVar("TextOrTokens", str, np.ndarray)


def check_token_row(tokens: Any, size: int | None = None) -> np.ndarray:
    """Return ``tokens`` as an array of integers ``[N]``, in ``[0, size)`` if ``size`` is given.

    Raises:
      ValueError: the tokens are not such integers.

    >>> check_token_row([0, 2, 1], size=2)
    Traceback (most recent call last):
    ...
    ValueError: tokens must lie in [0, 2), the vocabulary, got 2 at 1
    """
    tokens = np.asarray(tokens)
    if not tokens.size:
        tokens = tokens.astype(np.int32)  # NumPy converts an empty list to floats
    if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(f"tokens must be integers [N], got {tokens.dtype} of shape {tokens.shape}")
    if size is not None:
        outside = np.flatnonzero((tokens < 0) | (tokens >= size))
        if outside.size:
            raise ValueError(
                f"tokens must lie in [0, {size}), the vocabulary, got {tokens[outside[0]]} "
                f"at {outside[0]}"
            )
    return tokens


class Split(NamedTuple, Generic[TextOrTokens]):
    """A split of a text or tokens ``[N]`` into ``train`` and ``validation``, with its ``name``."""

    train: TextOrTokens
    validation: TextOrTokens
    name: str


def split(text: TextOrTokens, validation: float = 0.1) -> Split[TextOrTokens]:
    """Split a text or tokens ``[N]``; the last fraction ``validation`` is for validation.

    Raises:
      ValueError: a part would be empty.

    >>> split("0123456789")
    Split(train='012345678', validation='9', name='first 90% / last 10%')
    """
    end, name = split_point(len(text), validation)
    return Split(text[:end], text[end:], name)


def split_point(length: int, validation: float) -> tuple[int, str]:
    """The end of the training part of `split`, and the name of the split.

    Raises:
      ValueError: a part would be empty.

    >>> split_point(10, 0.1)
    (9, 'first 90% / last 10%')
    """
    end = int(length * (1 - validation)) if 0 < validation < 1 else 0
    if not 0 < end < length:
        raise ValueError(
            f"split: validation must be a fraction in (0, 1) that leaves neither part of a text of "
            f"length {length} empty, got {validation}"
        )
    return end, f"first {100 * (1 - validation):g}% / last {100 * validation:g}%"


def streams(tokens: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Split tokens into rows for a model that carries its state from chunk to chunk.

    Each row continues where the row before it ends. `seqjax.truncation.chunks` splits the rows into
    chunks.

    Args:
      tokens: integers ``[L]``.
      rows: B, the number of rows.

    Returns:
      ``(inputs, targets)``, both ``[B, N]`` with ``N = (L - 1) // B``. A target is the token after
      its input. Fewer than B tokens at the end are dropped.

    Raises:
      ValueError: the tokens are not integers ``[L]``, or there are fewer than B + 1.

    >>> streams(np.arange(8), 2)
    (array([[0, 1, 2],
           [3, 4, 5]]), array([[1, 2, 3],
           [4, 5, 6]]))
    """
    check_size("streams", "rows", rows)
    tokens = check_token_row(tokens)
    length = (len(tokens) - 1) // rows
    if length < 1:
        raise ValueError(
            f"{len(tokens)} tokens are too few for {rows} rows, which need {rows + 1} or more; "
            "give a longer text or fewer rows"
        )
    used = rows * length
    return tokens[:used].reshape(rows, -1), tokens[1 : used + 1].reshape(rows, -1)


def windows(tokens: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split tokens into windows that a model reads one by one, each from its initial state.

    Args:
      tokens: integers ``[L]``.
      size: T, the length of a window.

    Returns:
      ``(inputs, targets, lengths)``, of shapes ``[W, T]``, ``[W, T]`` and ``int32[W]``. W is the
      least number of windows in which every token but the first is a target. The last window is
      padded with zeros.

    Raises:
      ValueError: the tokens are not integers ``[L]``, or there are fewer than 2.

    >>> inputs, targets, lengths = windows(np.arange(6), 3)
    >>> print(inputs, targets, lengths, sep=", ")
    [[0 1 2]
     [3 4 0]], [[1 2 3]
     [4 5 0]], [3 2]
    """
    check_size("windows", "size", size)
    tokens = check_token_row(tokens)
    total = len(tokens) - 1
    if total < 1:
        raise ValueError(
            f"{len(tokens)} tokens are too few for a window; give 2 or more, an input and a target"
        )
    starts = np.arange(0, total, size)
    padding = (0, len(starts) * size - total)
    inputs, targets = (np.pad(t, padding).reshape(-1, size) for t in (tokens[:-1], tokens[1:]))
    return inputs, targets, np.minimum(total - starts, size).astype(np.int32)
