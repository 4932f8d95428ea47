"""Pooling of a sequence into one vector: the last step, the mean, or attention."""

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import given_array
from seqjax.checks import check_flag
from seqjax.operations.affine import accumulation_dtype
from seqjax.operations.masking import resolve_mask, zero_outside
from seqjax.types import Array


def last_valid(
    ys: Array,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    time_major: bool = False,
) -> Array:
    """The output at the last valid step of each row.

    The values of ``ys`` at other steps, even NaN, affect neither the result nor its gradient. A row
    with no valid step gives 0.

    Args:
      ys: floating ``[B, T, H]``, with any number of batch axes.
      lengths: ``int[B]`` in ``[0, T]``, the number of valid steps of each row; defaults to T.
      mask: ``bool[B, T]``, True at valid steps, in any pattern. Give ``lengths`` or ``mask``, not
        both.
      time_major: ``ys`` and ``mask`` have the axes ``[T, B, ...]``.

    Returns:
      ``[B, H]``, in the dtype of ``ys``.

    Raises:
      ValueError: the shapes or dtypes do not fit together, both ``lengths`` and ``mask`` are given,
        or a length is outside of ``[0, T]``. The values of lengths are checked outside of `jax.jit`
        only.

    >>> ys = jnp.array([[[1.0], [2.0], [3.0]], [[4.0], [jnp.nan], [jnp.nan]]])
    >>> print(last_valid(ys, lengths=jnp.array([3, 1])))
    [[3.]
     [4.]]
    """
    ys, counts = _time_first(ys, lengths, mask, time_major)
    later = jnp.cumsum(counts[::-1], axis=0, dtype=jnp.int32)[::-1]  # this step and those after it
    return zero_outside(counts & (later == 1), ys).sum(0)


def mean_valid(
    ys: Array,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    time_major: bool = False,
) -> Array:
    """The mean of the outputs over the valid steps of each row::

        mean = sum_t(mask[t] * ys[t]) / sum_t(mask[t])

    The values of ``ys`` at other steps, even NaN, affect neither the result nor its gradient. A row
    with no valid step gives 0.

    Args:
      ys: floating ``[B, T, H]``, with any number of batch axes.
      lengths: as in `last_valid`.
      mask: as in `last_valid`.
      time_major: as in `last_valid`.

    Returns:
      ``[B, H]``, in the dtype of ``ys``, or float32 for 16-bit dtypes.

    Raises:
      ValueError: as in `last_valid`.

    >>> ys = jnp.array([[[1.0], [2.0], [3.0]], [[4.0], [jnp.nan], [jnp.nan]]])
    >>> print(mean_valid(ys, lengths=jnp.array([3, 1])))
    [[2.]
     [4.]]
    """
    ys, counts = _time_first(ys, lengths, mask, time_major)
    ys = ys.astype(accumulation_dtype(ys.dtype))
    total = counts.sum(0, dtype=ys.dtype)[..., None]
    return zero_outside(counts, ys).sum(0) / jnp.where(total == 0, 1, total)


def attention_pool(
    ys: Array,
    scores: Array,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    time_major: bool = False,
) -> Array:
    """The mean of the outputs over the valid steps, weighted by a softmax of scores::

        weight[t] = exp(scores[t]) / (sum of exp(scores[s]) over valid s)
        pooled    = sum of weight[t] * ys[t] over valid t

    With equal scores the result is that of `mean_valid`. The values of ``ys`` and ``scores`` at
    other steps, even NaN, affect neither the result nor its gradient. A row with no valid step
    gives 0.

    Args:
      ys: floating ``[B, T, H]``, with any number of batch axes.
      scores: floating ``[B, T]``, the score of each step, often a linear function of ``ys``.
      lengths: as in `last_valid`.
      mask: as in `last_valid`.
      time_major: ``ys``, ``scores`` and ``mask`` have the axes ``[T, B, ...]``.

    Returns:
      ``[B, H]``, in the dtype of ``ys``, or float32 for 16-bit dtypes.

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
    ys, counts = _time_first(ys, lengths, mask, time_major)
    ys = ys.astype(accumulation_dtype(ys.dtype))
    scores = jnp.asarray(scores)
    scores = (scores if time_major else jnp.moveaxis(scores, -1, 0)).astype(ys.dtype)
    # not -inf, since a softmax over -inf alone is NaN
    scores = jnp.where(counts, scores, float(np.finfo(ys.dtype).min))
    weights = zero_outside(counts, jax.nn.softmax(scores, axis=0))
    return (weights[..., None] * zero_outside(counts, ys)).sum(0)


def _time_first(
    ys: Array, lengths: Array | None, mask: Array | None, time_major: bool
) -> tuple[Array, Array]:
    """Check the arguments; return ``ys [T, B, H]`` and the mask of valid steps, ``bool[T, B]``."""
    check_flag("pooling", "time_major", time_major)
    ys = jnp.asarray(given_array("ys", ys))
    if not (jnp.issubdtype(ys.dtype, jnp.floating) and ys.ndim >= 2):
        raise ValueError(f"ys must be floating [B, T, H], got {ys.dtype} of shape {ys.shape}")
    leading_shape = ys.shape[:-1]
    time_axis = 0 if time_major else len(leading_shape) - 1
    counts = resolve_mask(lengths, mask, leading_shape, time_axis)
    if counts is None:
        counts = jnp.ones(leading_shape, bool)
    return jnp.moveaxis(ys, time_axis, 0), jnp.moveaxis(counts, time_axis, 0)
