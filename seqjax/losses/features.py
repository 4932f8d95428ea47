"""What the losses of predictions with feature axes have in common."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from seqjax.arrays import given_array
from seqjax.checks import check_count
from seqjax.losses.averaging import Averaging, as_dtype, loss_dtype, masked_average
from seqjax.operations.masking import zero_outside
from seqjax.types import Array


def as_predictions(
    owner: str, name: str, value: Any, feature_axes: Any, quantiles: int | None = None
) -> tuple[Array, int]:
    """Return predictions in the dtype of the loss, and the number of their batch and time axes.

    >>> as_predictions("squared_error", "predictions", np.zeros(3), 1)
    Traceback (most recent call last):
    ...
    ValueError: predictions must be floating [B, T, D] for feature_axes=1, got float64 of shape (3,)
    """
    check_count(owner, "feature_axes", feature_axes)
    array = given_array(name, value)
    rank = array.ndim - feature_axes - (quantiles is not None)
    fits = rank >= 1 and array.shape[-1:] == (quantiles or array.shape[-1],)
    if not (fits and jnp.issubdtype(array.dtype, jnp.floating)):
        features = "" if feature_axes == 0 else ", D" if feature_axes == 1 else ", *D"
        last = "" if quantiles is None else f", {quantiles}"
        raise ValueError(
            f"{name} must be floating [B, T{features}{last}] for feature_axes={feature_axes}"
            f"{'' if quantiles is None else f' and {quantiles} quantiles'}, got {array.dtype} of "
            f"shape {array.shape}"
        )
    if 0 in array.shape[rank:]:
        raise ValueError(f"{name} must have at least one feature, got shape {array.shape}")
    return as_dtype(array, loss_dtype(array)), int(rank)


def as_targets(value: Any, shape: tuple[int, ...], dtype: jnp.dtype, of: str) -> Array:
    """Return targets in the dtype of the loss, or raise ``ValueError`` unless they have ``shape``.

    >>> print(as_targets([[1], [2]], (2, 1), jnp.dtype("float32"), "that of the mean"))
    [[1.]
     [2.]]
    """
    array = given_array("targets", value)
    real = jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)
    if array.shape != shape or not real:
        raise ValueError(
            f"targets must be real numbers of shape {shape}, {of}, got {array.dtype} of shape "
            f"{array.shape}; reshape or broadcast one of them"
        )
    return as_dtype(array, dtype)


def limits(dtype: jnp.dtype) -> tuple[float, float]:
    """Limits of numbers and of logarithms within which no loss and no derivative overflows."""
    largest = float(np.finfo(dtype).max)
    return largest ** (1 / 4), math.log(largest) / 8


def average_features(
    owner: str,
    of: str,
    loss: Callable[..., Array],
    bounded: Sequence[tuple[Array, float]],
    rank: int,
    averaging: Averaging,
    check: Callable[[Array], None] = lambda counts: None,
) -> Array:
    """Average ``loss`` over features, then over steps.

    A step whose weight is 0 enters ``loss`` as zeros if an array is not within its limit. Otherwise
    it enters as it is, so that the derivative with respect to that weight is right. ``check`` is
    called with ``bool[B, T]``, True where the weight is not 0, and may raise an error.
    """
    arrays = [array for array, _ in bounded]
    leading_shape, dtype = arrays[0].shape[:rank], arrays[0].dtype

    def losses_of(counts: Array) -> Array:
        check(counts)
        within = [
            (jnp.abs(array) < limit).all(tuple(range(rank, array.ndim))) for array, limit in bounded
        ]
        usable = counts | jnp.stack(within).all(0)
        losses = loss(*(zero_outside(usable, array) for array in arrays))
        return losses.mean(tuple(range(rank, losses.ndim)))

    return masked_average(owner, of, losses_of, leading_shape, dtype, averaging)
