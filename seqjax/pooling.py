"""Pooling of a sequence into one vector: the last step, the mean, or attention.

Each function pools the rows of a batch, or the examples within packed rows if ``segments`` are
given, as `seqjax.data.Batch` has them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import as_int32, given_array
from seqjax.checks import check_flag, check_size
from seqjax.operations.affine import accumulation_dtype
from seqjax.operations.masking import check_range, resolve_mask, zero_outside
from seqjax.types import Array


def last_valid(
    ys: Array,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    segments: Array | None = None,
    num_segments: int | None = None,
    time_major: bool = False,
) -> Array:
    """The output at the last valid step of each row, or of each segment.

    The values of ``ys`` at other steps, even NaN, affect neither the result nor its gradient. A row
    or a segment with no valid step gives 0.

    Args:
      ys: floating ``[B, T, H]``, with any number of batch axes.
      lengths: ``int[B]`` in ``[0, T]``, the number of valid steps of each row; defaults to T.
      mask: ``bool[B, T]``, True at valid steps, in any pattern. Give ``lengths``, ``mask`` or
        ``segments``.
      segments: ``int[B, T]`` in ``[-1, num_segments)``, the segment of each step, within one row,
        or -1 at steps that are not valid. Packed batches have them, see `seqjax.data.Batch`.
      num_segments: N, the number of segments, at least that of each batch.
      time_major: ``ys``, ``mask`` and ``segments`` have the axes ``[T, B, ...]``.

    Returns:
      ``[B, H]``, or ``[N, H]`` for segments, in the dtype of ``ys``.

    Raises:
      ValueError: the shapes or dtypes do not fit together, more than one of ``lengths``, ``mask``
        and ``segments`` is given, ``segments`` are given without ``num_segments``, or a length or a
        segment is out of range. The values are checked outside of `jax.jit` only.

    >>> ys = jnp.array([[[1.0], [2.0], [3.0]], [[4.0], [jnp.nan], [jnp.nan]]])
    >>> print(last_valid(ys, lengths=jnp.array([3, 1])))
    [[3.]
     [4.]]
    >>> packed = jnp.array([[0, 0, 1, -1], [2, 2, 2, 2]])  # three examples in two rows
    >>> ys = jnp.arange(8.0).reshape(2, 4, 1)
    >>> print(last_valid(ys, segments=packed, num_segments=3))
    [[1.]
     [2.]
     [7.]]
    """
    groups = _Groups.of(ys, lengths, mask, segments, num_segments, time_major)
    last = groups.max(jnp.where(groups.valid, groups.steps, -1), -1)
    is_last = groups.valid & (groups.steps == groups.spread(last))
    return groups.sum(zero_outside(is_last, groups.ys))


def mean_valid(
    ys: Array,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    segments: Array | None = None,
    num_segments: int | None = None,
    time_major: bool = False,
) -> Array:
    """The mean of the outputs over the valid steps of each row, or of each segment::

        mean = sum_t(mask[t] * ys[t]) / sum_t(mask[t])

    The values of ``ys`` at other steps, even NaN, affect neither the result nor its gradient. A row
    or a segment with no valid step gives 0.

    Args:
      ys: floating ``[B, T, H]``, with any number of batch axes.
      lengths: as in `last_valid`.
      mask: as in `last_valid`.
      segments: as in `last_valid`.
      num_segments: as in `last_valid`.
      time_major: as in `last_valid`.

    Returns:
      ``[B, H]``, or ``[N, H]`` for segments, in the dtype of ``ys``, or float32 for 16-bit dtypes.

    Raises:
      ValueError: as in `last_valid`.

    >>> ys = jnp.array([[[1.0], [2.0], [3.0]], [[4.0], [jnp.nan], [jnp.nan]]])
    >>> print(mean_valid(ys, lengths=jnp.array([3, 1])))
    [[2.]
     [4.]]
    """
    groups = _Groups.of(ys, lengths, mask, segments, num_segments, time_major)
    ys = groups.ys.astype(accumulation_dtype(groups.ys.dtype))
    return groups.sum(zero_outside(groups.valid, ys)) / _not_0(groups.sum(groups.valid, ys.dtype))


def attention_pool(
    ys: Array,
    scores: Array,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    segments: Array | None = None,
    num_segments: int | None = None,
    time_major: bool = False,
) -> Array:
    """The mean of the outputs over the valid steps, weighted by a softmax of scores::

        weight[t] = exp(scores[t]) / (sum of exp(scores[s]) over valid s)
        pooled    = sum of weight[t] * ys[t] over valid t

    With equal scores the result is that of `mean_valid`. The values of ``ys`` and ``scores`` at
    other steps, even NaN, affect neither the result nor its gradient. A row or a segment with no
    valid step gives 0.

    Args:
      ys: floating ``[B, T, H]``, with any number of batch axes.
      scores: floating ``[B, T]``, the score of each step, often a linear function of ``ys``.
      lengths: as in `last_valid`.
      mask: as in `last_valid`.
      segments: as in `last_valid`.
      num_segments: as in `last_valid`.
      time_major: ``ys``, ``scores``, ``mask`` and ``segments`` have the axes ``[T, B, ...]``.

    Returns:
      ``[B, H]``, or ``[N, H]`` for segments, in the dtype of ``ys``, or float32 for 16-bit dtypes.

    Raises:
      ValueError: as in `last_valid`, or ``scores`` is not floating ``[B, T]``.

    Reference: Yang et al., "Hierarchical attention networks for document classification", 2016,
    equations 6 and 7, given the scores.

    >>> ys = jnp.array([[[1.0], [2.0], [jnp.nan]]])
    >>> scores = jnp.log(jnp.array([[3.0, 1.0, 9.0]]))
    >>> print(attention_pool(ys, scores, lengths=jnp.array([2])))
    [[1.25]]
    """
    scores, ys = given_array("scores", scores), given_array("ys", ys)
    wanted = ys.shape[:-1]
    if scores.shape != wanted or not jnp.issubdtype(scores.dtype, jnp.floating):
        raise ValueError(
            f"scores must be floating of shape {wanted}, the batch and time axes of ys, got "
            f"{scores.dtype} of shape {scores.shape}"
        )
    groups = _Groups.of(ys, lengths, mask, segments, num_segments, time_major)
    ys = groups.ys.astype(accumulation_dtype(groups.ys.dtype))
    scores = groups.in_order(scores).astype(ys.dtype)
    # not -inf, since a difference of -inf and -inf is NaN
    lowest = float(np.finfo(ys.dtype).min)
    scores = jnp.where(groups.valid, scores, lowest)
    largest = groups.spread(groups.max(jax.lax.stop_gradient(scores), lowest))
    weights = zero_outside(groups.valid, jnp.exp(scores - largest))
    weighted = weights[..., None] * zero_outside(groups.valid, ys)
    return groups.sum(weighted) / _not_0(groups.sum(weights))


class _Groups(NamedTuple):
    """The steps that are pooled together: those of a row, or of a segment.

    The arrays have the axes ``[T, *batch]`` for rows, and ``[T * B]`` for segments.
    """

    ys: Array
    valid: Array  # bool
    steps: Array  # int32, the time of each step
    time_axis: int  # of the arrays that were given
    segments: Array | None  # int32, the segment of each step
    num_segments: int

    @classmethod
    def of(
        cls,
        ys: Array,
        lengths: Array | None,
        mask: Array | None,
        segments: Array | None,
        num_segments: int | None,
        time_major: bool,
    ) -> "_Groups":
        check_flag("pooling", "time_major", time_major)
        ys = jnp.asarray(given_array("ys", ys))
        if not (jnp.issubdtype(ys.dtype, jnp.floating) and ys.ndim >= 2):
            raise ValueError(f"ys must be floating [B, T, H], got {ys.dtype} of shape {ys.shape}")
        leading_shape = ys.shape[:-1]
        time_axis = 0 if time_major else len(leading_shape) - 1
        steps = jax.lax.broadcasted_iota(jnp.int32, leading_shape, time_axis)
        if segments is not None:
            if lengths is not None or mask is not None:
                raise ValueError(
                    "segments were given with lengths or a mask; segments alone say which steps "
                    "are valid, so give only them"
                )
            ids = _checked_segments(segments, num_segments, leading_shape)
            flat = ys.reshape(steps.size, ys.shape[-1])
            owners = jnp.maximum(ids, 0)
            return cls(flat, ids >= 0, steps.reshape(-1), time_axis, owners, num_segments or 0)
        if num_segments is not None:
            raise ValueError(f"num_segments={num_segments} was given without segments; give both")
        valid = resolve_mask(lengths, mask, leading_shape, time_axis)
        if valid is None:
            valid = jnp.ones(leading_shape, bool)
        ys, valid, steps = (jnp.moveaxis(array, time_axis, 0) for array in (ys, valid, steps))
        return cls(ys, valid, steps, time_axis, None, 0)

    def in_order(self, array: Array) -> Array:
        """Bring an array with the axes of the arguments into the order of ``valid``."""
        array = jnp.asarray(array)
        if self.segments is None:
            return jnp.moveaxis(array, self.time_axis, 0)
        return array.reshape(-1)

    def sum(self, values: Array, dtype: np.dtype | None = None) -> Array:
        values = values.astype(dtype or values.dtype)
        if self.segments is None:
            return values.sum(0)
        return jax.ops.segment_sum(values, self.segments, self.num_segments)

    def max(self, values: Array, lowest: float) -> Array:
        """The maximum, or ``lowest`` of a row of no steps."""
        if self.segments is None:
            return values.max(0, initial=lowest)
        return jax.ops.segment_max(values, self.segments, self.num_segments)

    def spread(self, values: Array) -> Array:
        """Give each step the value of its row or segment."""
        if self.segments is None:
            return jnp.broadcast_to(values[None], self.valid.shape)
        return values[self.segments]


def _checked_segments(
    segments: Array, num_segments: int | None, leading_shape: tuple[int, ...]
) -> Array:
    """Check segments, and return them in one axis."""
    if num_segments is None:
        raise ValueError(
            "segments were given without num_segments, the number of rows of the result; give the "
            "largest number of examples in a batch"
        )
    check_size("pooling", "num_segments", num_segments)
    ids = given_array("segments", segments)
    if ids.shape != leading_shape or not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(
            f"segments must be integers of shape {leading_shape}, the batch and time axes of ys, "
            f"got {ids.dtype} of shape {ids.shape}"
        )
    check_range("segments", ids, -1, num_segments - 1, ", below num_segments")
    return as_int32(ids).reshape(-1)


def _not_0(total: Array) -> Array:
    """``[..., 1]``, and 1 where the total is 0."""
    return jnp.where(total == 0, 1, total)[..., None]
