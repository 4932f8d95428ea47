"""One vector for a whole sequence of outputs: the last step, the mean, or a weighted mean."""

import jax
import jax.numpy as jnp
import numpy as np

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
    """Pick the output of each row's last step that counts.

    Whatever ``ys`` holds at other steps (NaN as well) changes neither the result nor its gradient.
    A row in which no step counts gives 0, as does one of length 0 in `seqjax.unroll`.

    Args:
      ys: floating ``[B, T, H]``, with any number of batch axes.
      lengths: ``int[B]`` in ``[0, T]``, the number of steps of each row; all T without.
      mask: ``bool[B, T]``, the steps that count; in place of lengths, holes allowed.
      time_major: ``ys`` is ``[T, B, H]`` and ``mask`` ``[T, B]``.

    Returns:
      ``[B, H]``, in the dtype of ``ys``.

    Raises:
      ValueError: shapes or dtypes do not fit, both lengths and mask are given, or a length is
        outside ``[0, T]`` (which can only be seen outside of `jax.jit`).

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
    """Average the outputs over the steps that count::

        mean = sum_t(mask[t] * ys[t]) / sum_t(mask[t])

    Padding is inert and an empty row gives 0, as in `last_valid`, whose arguments and errors these
    are.

    Returns:
      ``[B, H]``, in the dtype of ``ys``, or in float32 where that has 16 bits.

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
    """Average the outputs with weights that come from scores::

        weight[t] = exp(scores[t]) / sum over the s that count of exp(scores[s])
        pooled    = sum over the t that count of weight[t] * ys[t]

    Equal scores make it `mean_valid`. Padding is inert and an empty row gives 0, as in
    `last_valid`, whose other arguments and errors these are.

    Args:
      ys: floating ``[B, T, H]``.
      scores: floating ``[B, T]``, how much each step matters; mostly a linear function of ``ys``.
      lengths: see `last_valid`.
      mask: see `last_valid`.
      time_major: ``scores`` is ``[T, B]``, too.

    Returns:
      ``[B, H]``, in the dtype of ``ys``, or in float32 where that has 16 bits.

    Reference: Yang et al., "Hierarchical attention networks for document classification", 2016,
    equations 6 and 7, given the scores.

    >>> ys = jnp.array([[[1.0], [2.0], [jnp.nan]]])
    >>> scores = jnp.log(jnp.array([[3.0, 1.0, 9.0]]))
    >>> print(attention_pool(ys, scores, lengths=jnp.array([2])))
    [[1.25]]
    """
    scores = jnp.asarray(scores)
    wanted = jnp.shape(ys)[:-1]
    if scores.shape != wanted or not jnp.issubdtype(scores.dtype, jnp.floating):
        raise ValueError(
            f"scores must be floating of shape {wanted}, the batch and time axes of ys, got "
            f"{scores.dtype} of shape {scores.shape}"
        )
    ys, counts = _time_first(ys, lengths, mask, time_major)
    ys = ys.astype(accumulation_dtype(ys.dtype))
    scores = (scores if time_major else jnp.moveaxis(scores, -1, 0)).astype(ys.dtype)
    # not -inf: a row of that alone has no softmax
    scores = jnp.where(counts, scores, float(np.finfo(ys.dtype).min))
    weights = zero_outside(counts, jax.nn.softmax(scores, axis=0))
    return (weights[..., None] * zero_outside(counts, ys)).sum(0)


def _time_first(
    ys: Array, lengths: Array | None, mask: Array | None, time_major: bool
) -> tuple[Array, Array]:
    """Check the arguments; return ``ys [T, B, H]`` and which of its steps count, ``bool[T, B]``."""
    ys = jnp.asarray(ys)
    if not (jnp.issubdtype(ys.dtype, jnp.floating) and ys.ndim >= 2):
        raise ValueError(f"ys must be floating [B, T, H], got {ys.dtype} of shape {ys.shape}")
    leading_shape = ys.shape[:-1]
    time_axis = 0 if time_major else len(leading_shape) - 1
    counts = resolve_mask(lengths, mask, leading_shape, time_axis)
    if counts is None:
        counts = jnp.ones(leading_shape, bool)
    return jnp.moveaxis(ys, time_axis, 0), jnp.moveaxis(counts, time_axis, 0)
