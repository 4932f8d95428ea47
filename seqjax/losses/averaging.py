"""Averages of the losses of steps, over time and the batch, masked by lengths or weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import given_array
from seqjax.checks import check_flag
from seqjax.operations.affine import accumulation_dtype
from seqjax.operations.masking import resolve_mask, zero_outside
from seqjax.types import Array


class Averaging(NamedTuple):
    """The arguments that all losses have in common, as in `masked_mean`.

    Attributes:
      lengths: ``int[B]``, or None.
      weights: floating ``[B, T]``, or None.
      average_over_time: whether to average over time.
      average_over_batch: whether to average over the batch.
      time_major: whether time is the first axis.
    """

    lengths: Array | None
    weights: Array | None
    average_over_time: bool
    average_over_batch: bool
    time_major: bool


def masked_average(
    owner: str,
    of: str,
    losses_of: Callable[[Array], Array],
    leading_shape: tuple[int, ...],
    dtype: jnp.dtype,
    averaging: Averaging,
) -> Array:
    """Average the losses of steps by the table in `seqjax.sequence_loss`.

    Args:
      owner: the name of the loss in messages.
      of: the name of the array with ``leading_shape`` in messages.
      losses_of: a function from ``bool[*leading_shape]``, True where the weight is not 0, to the
        losses of the steps, ``[*leading_shape]``, which must be finite where it is False.
      leading_shape: the batch and time axes, in their order.
      dtype: the dtype of the weights and the result.
      averaging: the arguments of the caller.

    Raises:
      ValueError: lengths, weights or a flag are not as `masked_mean` says.

    >>> averaging = Averaging(jnp.array([1]), None, True, True, False)
    >>> losses = lambda counts: zero_outside(counts, jnp.array([[2.0, jnp.nan]], jnp.float32))
    >>> print(masked_average("a loss", "xs", losses, (1, 2), jnp.dtype("float32"), averaging))
    2.0
    """
    lengths, weights, over_time, over_batch, time_major = averaging
    check_flag(owner, "average_over_time", over_time)
    check_flag(owner, "average_over_batch", over_batch)
    check_flag(owner, "time_major", time_major)
    time_axis = 0 if time_major else len(leading_shape) - 1
    batch_axes = tuple(axis for axis in range(len(leading_shape)) if axis != time_axis)
    if weights is None:
        mask = resolve_mask(lengths, None, leading_shape, time_axis)
        weights = jnp.ones(leading_shape, dtype) if mask is None else mask
    elif lengths is not None:
        raise ValueError("lengths and weights were both given; give only one of them")
    weights = given_array("weights", weights)
    if weights.shape != leading_shape or jnp.issubdtype(weights.dtype, jnp.complexfloating):
        raise ValueError(
            f"weights must have shape {leading_shape}, the batch and time axes of the {of}, and "
            f"be real, got {weights.dtype} of shape {weights.shape}"
        )
    weights = jnp.asarray(weights, dtype)
    losses = weights * losses_of(weights != 0)
    if not (over_time or over_batch):
        return losses
    axes = (time_axis,) * over_time + batch_axes * over_batch
    total = weights.sum(axes)
    return jnp.where(total == 0, 0, losses.sum(axes) / jnp.where(total == 0, 1, total))


def masked_mean(
    values: Array,
    *,
    lengths: Array | None = None,
    weights: Array | None = None,
    average_over_time: bool = True,
    average_over_batch: bool = True,
    time_major: bool = False,
) -> Array:
    """The mean of a value of each step, such as a loss or a metric of your own::

        mean = sum_bt(w[b, t] * values[b, t]) / sum_bt(w[b, t])

    The weight ``w`` of a step is 1 within the length of its row and 0 past it, unless ``weights``
    are given. The table in `seqjax.sequence_loss` gives the result without one or both averages. If
    the weights sum to 0 (an empty row), the mean is 0.

    Where the weight is 0, NaN in the values affects neither the mean nor the gradient with respect
    to the values. But if a function returns NaN, its own derivative may turn that gradient of 0
    back into NaN, as that of ``jnp.sqrt`` at -1 does. Make the inputs of such a function valid with
    `seqjax.operations.masking.zero_outside`.

    Args:
      values: floating ``[B, T]``, with any number of batch axes.
      lengths: ``int[B]`` in ``[0, T]``, the number of valid steps of each row; defaults to T.
      weights: real ``[B, T]``, the weight of each step. Give ``lengths`` or ``weights``, not both.
      average_over_time: whether to average over time.
      average_over_batch: whether to average over the batch.
      time_major: the arrays and the result have the axes ``[T, B]``.

    Returns:
      The mean, of the shape in the table of `seqjax.sequence_loss`, in the dtype of the values, or
      float32 for 16-bit dtypes.

    Raises:
      ValueError: the values are not floating, the shapes do not fit together, a length is outside
        of ``[0, T]``, or both ``lengths`` and ``weights`` are given. Lengths are checked outside of
        `jax.jit` only.

    >>> right = jnp.array([[True, False, True], [True, True, True]])
    >>> print(masked_mean(right.astype(jnp.float32), lengths=jnp.array([2, 0])))  # an accuracy
    0.5
    """
    values = given_array("values", values)
    if not (jnp.issubdtype(values.dtype, jnp.floating) and values.ndim):
        raise ValueError(
            f"values must be floating [B, T], got {values.dtype} of shape {values.shape}; convert "
            "other numbers with values.astype(jnp.float32)"
        )
    values = as_dtype(values, loss_dtype(values))

    def losses_of(counts: Array) -> Array:
        return zero_outside(counts | jnp.isfinite(values), values)

    averaging = Averaging(lengths, weights, average_over_time, average_over_batch, time_major)
    return masked_average("masked_mean", "values", losses_of, values.shape, values.dtype, averaging)


def loss_dtype(array: Any) -> Any:
    """Return the dtype of a loss of ``array``, which is float32 for 16-bit floats.

    >>> loss_dtype(np.zeros(2, np.float16)).name
    'float32'
    """
    return accumulation_dtype(jax.dtypes.canonicalize_dtype(array.dtype))


def as_dtype(array: Any, dtype: jnp.dtype) -> Array:
    """Convert to ``dtype``; what is too large, such as padding, becomes infinite without a warning.

    >>> print(as_dtype(np.array([1.0, 1e300]), jnp.dtype("float32")))
    [ 1. inf]
    """
    with np.errstate(over="ignore"):  # of padding that is huge
        return jnp.asarray(array, dtype)
