"""Errors of real-valued targets, and the loss of their quantiles."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from seqjax.checks import describe, is_number
from seqjax.losses.averaging import Averaging
from seqjax.losses.features import as_predictions, as_targets, average_features, limits
from seqjax.types import Array


def squared_error(
    predictions: Array,
    targets: Array,
    *,
    feature_axes: int = 1,
    lengths: Array | None = None,
    weights: Array | None = None,
    average_over_time: bool = True,
    average_over_batch: bool = True,
    time_major: bool = False,
) -> Array:
    """The squared error of real-valued targets::

        error = mean over the features of (predictions - targets) ** 2

    Its minimum is at the mean of the targets. The error of a step is averaged over time and the
    batch by the table in `seqjax.sequence_loss`. If the weights sum to 0 (an empty row), the mean
    is 0. Where the weight is 0, NaN, infinite or huge numbers affect neither the loss nor its
    gradient.

    Args:
      predictions: floating ``[B, T, *D]``, with any number of batch axes.
      targets: real ``[B, T, *D]``, converted to the dtype of the result.
      feature_axes: the number of feature axes ``*D``: 1 for ``[B, T, D]``, 0 for ``[B, T]``.
      lengths: ``int[B]`` in ``[0, T]``, the number of valid steps of each row; defaults to T.
      weights: real ``[B, T]``, the weight of each step. Give ``lengths`` or ``weights``, not both.
      average_over_time: whether to average over time.
      average_over_batch: whether to average over the batch.
      time_major: the arrays and the result have the axes ``[T, B, ...]``.

    Returns:
      The loss, ``[]``, ``[B]``, ``[T]`` or ``[B, T]`` by the table, in the dtype of the
      predictions, or float32 for 16-bit dtypes.

    Raises:
      ValueError: the shapes or dtypes do not fit together, there are no features, a length is
        outside of ``[0, T]``, or both ``lengths`` and ``weights`` are given. Lengths are checked
        outside of `jax.jit` only.

    Reference: Bishop, "Pattern recognition and machine learning", 2006, section 1.5.5.

    >>> predictions = jnp.array([[[1.0, 2.0], [0.0, 0.0]]])
    >>> targets = jnp.array([[[1.0, 5.0], [jnp.nan, 0.0]]])
    >>> print(squared_error(predictions, targets, lengths=jnp.array([1])))  # (0 + 9) / 2
    4.5
    """
    averaging = Averaging(lengths, weights, average_over_time, average_over_batch, time_major)
    return _error("squared_error", jnp.square, predictions, targets, feature_axes, averaging)


def absolute_error(
    predictions: Array,
    targets: Array,
    *,
    feature_axes: int = 1,
    lengths: Array | None = None,
    weights: Array | None = None,
    average_over_time: bool = True,
    average_over_batch: bool = True,
    time_major: bool = False,
) -> Array:
    """The absolute error of real-valued targets::

        error = mean over the features of |predictions - targets|

    Its minimum is at the median of the targets. Where a prediction equals its target, the
    derivative is 0. The error of a step is averaged as in `squared_error`.

    Args:
      predictions: as in `squared_error`.
      targets: as in `squared_error`.
      feature_axes: as in `squared_error`.
      lengths: as in `squared_error`.
      weights: as in `squared_error`.
      average_over_time: as in `squared_error`.
      average_over_batch: as in `squared_error`.
      time_major: as in `squared_error`.

    Returns:
      As in `squared_error`.

    Raises:
      ValueError: as in `squared_error`.

    Reference: Bishop, "Pattern recognition and machine learning", 2006, section 1.5.5, where the
    exponent q is 1.

    >>> predictions = jnp.array([[1.0, 2.0]])
    >>> targets = jnp.array([[1.0, 5.0]])
    >>> print(absolute_error(predictions, targets, feature_axes=0))
    1.5
    """
    averaging = Averaging(lengths, weights, average_over_time, average_over_batch, time_major)
    return _error("absolute_error", jnp.abs, predictions, targets, feature_axes, averaging)


def _error(
    owner: str,
    of_difference: Callable[[Array], Array],
    predictions: Array,
    targets: Array,
    feature_axes: int,
    averaging: Averaging,
) -> Array:
    predictions, rank = as_predictions(owner, "predictions", predictions, feature_axes)
    targets = as_targets(targets, predictions.shape, predictions.dtype, "that of the predictions")
    large, _ = limits(predictions.dtype)
    bounded = ((predictions, large), (targets, large))

    def error(predictions: Array, targets: Array) -> Array:
        return of_difference(predictions - targets)

    return average_features(owner, "predictions", error, bounded, rank, averaging)


def quantile_loss(
    predictions: Array,
    targets: Array,
    quantiles: Sequence[float],
    *,
    feature_axes: int = 1,
    lengths: Array | None = None,
    weights: Array | None = None,
    average_over_time: bool = True,
    average_over_batch: bool = True,
    time_major: bool = False,
) -> Array:
    """The quantile loss (pinball loss) of real-valued targets::

        error[q] = targets - predictions[..., q]
        loss     = mean over the features and q of
                   max(quantiles[q] * error[q], (quantiles[q] - 1) * error[q])

    Its minimum is where ``predictions[..., q]`` is the quantile ``quantiles[q]`` of the targets:
    the targets lie below it with that probability. At the median, 0.5, it is half of the absolute
    error. Where a prediction equals its target, the derivative is the mean of those on both sides.
    Nothing keeps the predictions of a higher quantile above those of a lower one. The loss of a
    step is averaged as in `squared_error`.

    Args:
      predictions: floating ``[B, T, *D, Q]``, with any number of batch axes.
      targets: real ``[B, T, *D]``, converted to the dtype of the result.
      quantiles: Q numbers in (0, 1), each above the one before it.
      feature_axes: the number of feature axes ``*D``, as in `squared_error`.
      lengths: as in `squared_error`.
      weights: as in `squared_error`.
      average_over_time: as in `squared_error`.
      average_over_batch: as in `squared_error`.
      time_major: as in `squared_error`.

    Returns:
      As in `squared_error`.

    Raises:
      ValueError: as in `squared_error`, the quantiles are not ascending numbers in (0, 1), or the
        last axis of the predictions has another size than their number.

    Reference: Koenker and Bassett, "Regression quantiles", 1978.

    >>> predictions = jnp.array([[[[1.0, 2.0]]]])
    >>> print(quantile_loss(predictions, jnp.array([[[3.0]]]), (0.25, 0.5)))  # (0.5 + 0.5) / 2
    0.5
    """
    shares = _quantiles(quantiles)
    predictions, rank = as_predictions(
        "quantile_loss", "predictions", predictions, feature_axes, quantiles=len(shares)
    )
    targets = as_targets(
        targets,
        predictions.shape[:-1],
        predictions.dtype,
        "that of the predictions without the quantiles",
    )
    averaging = Averaging(lengths, weights, average_over_time, average_over_batch, time_major)
    large, _ = limits(predictions.dtype)
    bounded = ((predictions, large), (targets, large))
    share = jnp.array(shares, predictions.dtype).reshape((1,) * targets.ndim + (-1,))

    def loss(predictions: Array, targets: Array) -> Array:
        error = jnp.expand_dims(targets, -1) - predictions
        return jnp.maximum(share * error, (share - 1) * error)

    return average_features("quantile_loss", "predictions", loss, bounded, rank, averaging)


def _quantiles(quantiles: Any) -> tuple[float, ...]:
    listed = isinstance(quantiles, Sequence | np.ndarray) and getattr(quantiles, "ndim", 1) == 1
    numbers = [*quantiles] if listed else []
    ascending = all(map(is_number, numbers)) and all(
        low < high for low, high in zip([0, *numbers], [*numbers, 1], strict=True)
    )
    if not (numbers and ascending):
        raise ValueError(
            "quantiles must be ascending numbers in (0, 1), such as (0.1, 0.5, 0.9), got "
            f"{describe(quantiles)}"
        )
    return tuple(map(float, numbers))
