"""Gradients of micro-batches, one after another in one program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.arrays import check_leading_axes
from seqjax.engine.layout import lay_out_like_next
from seqjax.operations.affine import accumulation_dtype
from seqjax.types import Array, Params, PyTree, State


def over_micro_batches(gradient: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Compute a gradient of ``count`` micro-batches one after another, and average.

    Row ``b`` of the batch is in micro-batch ``b % count``. If a batch is split over devices, so is
    each of its micro-batches, and no row moves.

    Args:
      gradient: ``(params, carry, batch, *keys) -> ((loss, next carry, *metrics), gradients)``.
      count: the number of micro-batches.

    Returns:
      A function with the arguments and results of ``gradient``. Gradients of 16-bit parameters are
      summed in float32.

    >>> def gradient(w, carry, x):
    ...     return (w * x.mean(), carry), x.mean()
    >>> (loss, carry), slope = over_micro_batches(gradient, 2)(
    ...     jnp.float32(2.0), jnp.arange(4), jnp.arange(4.0, dtype=jnp.float32)
    ... )
    >>> print(loss, carry, slope)
    3.0 [0 1 2 3] 1.5
    """

    def mean_gradient(
        params: Params, carry: State, batch: PyTree, *keys: Array
    ) -> tuple[tuple[Any, ...], Params]:
        rows = (carry, batch)
        (B,) = check_leading_axes("with accumulate, the carry and the batch", rows, "B")
        if B % count:
            raise ValueError(
                f"accumulate must divide the rows of a batch, got accumulate={count} and {B} rows"
            )

        def body(total: Params, values: tuple[Any, Array]) -> tuple[Params, Any]:
            rows, n = values
            own = (jax.random.fold_in(key, n) for key in keys)
            measured, grads = gradient(params, *rows, *own)
            return jax.tree.map(lambda t, g: t + g.astype(t.dtype), total, grads), measured

        parts = jax.tree.map(lambda a: _split(a, count), rows), jnp.arange(count, dtype=jnp.int32)
        zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, accumulation_dtype(p.dtype)), params)
        total, measured = jax.lax.scan(body, lay_out_like_next(body, zeros, parts), parts)
        loss, carry, *metrics = measured
        loss, metrics = jax.tree.map(lambda a: a.mean(0), (loss, metrics))
        grads = jax.tree.map(lambda t, p: (t / count).astype(p.dtype), total, params)
        return (loss, jax.tree.map(_join, carry), *metrics), grads

    return mean_gradient


def _split(rows: Array, count: int) -> Array:
    """``[B, ...]`` to ``[count, B / count, ...]``."""
    return jnp.moveaxis(rows.reshape(-1, count, *rows.shape[1:]), 1, 0)


def _join(parts: Array) -> Array:
    """``[count, B / count, ...]`` to ``[B, ...]``."""
    return jnp.moveaxis(parts, 0, 1).reshape(-1, *parts.shape[2:])
