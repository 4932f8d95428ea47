"""Attention with several heads, each of which has its own parameters of one mechanism."""

import jax
import jax.numpy as jnp

from seqjax.attention.mechanism import Alignment, Mechanism
from seqjax.operations.affine import accumulation_dtype, affine
from seqjax.types import Array, Context, Noise, Params


def project_memory(
    mechanism: Mechanism,
    params: Params,
    value_kernel: Array | None,
    heads: int,
    memory: Array,
    mask: Array,
) -> Context:
    """Project a memory to the keys and values of N heads.

    Args:
      mechanism: how a query weighs positions.
      params: its parameters, arrays ``[N, ...]``.
      value_kernel: ``[M, N * size]``, or None if the memory is the values of all heads.
      heads: N.
      memory: ``[B, S, M]``.
      mask: ``bool[B, S]``, the valid positions.
    """
    of_heads = jax.vmap(mechanism.keys, (0, None), -3, axis_size=heads)
    values = memory.astype(accumulation_dtype(memory.dtype))
    if value_kernel is not None:
        values = affine(memory, value_kernel)
        values = values.reshape(*values.shape[:-1], heads, -1)
        values = jnp.moveaxis(values, -2, -3)
    return Context(of_heads(params, memory), values, mask.astype(values.dtype))


def attend(
    mechanism: Mechanism,
    params: Params,
    context: Context,
    query: Array,
    before: Alignment,
    noise: Noise,
) -> tuple[Array, Alignment]:
    """The weighted values of all heads, ``[B, N * M]``, and their alignment.

    Args:
      mechanism: how a query weighs positions.
      params: its parameters, arrays ``[N, ...]``.
      context: the keys and values of `project_memory`.
      query: ``[B, H]``.
      before: the alignment of the last step.
      noise: the noise of the mechanism, arrays ``[B, N, ...]``, or None.
    """

    def one_head(params: Params, keys: Array, before: Alignment, noise: Noise) -> Alignment:
        return mechanism.align(params, query, keys, context.mask > 0, before, noise)

    axes = 0, -3, -2, None if noise is None else -2
    alignment = jax.vmap(one_head, axes, out_axes=-2)(params, context.keys, before, noise)
    weights = alignment.weights.astype(context.values.dtype)
    is_shared = context.values.ndim < context.keys.ndim
    equation = "...ns,...sm->...nm" if is_shared else "...ns,...nsm->...nm"
    found = jnp.einsum(equation, weights, context.values)
    return found.reshape(*found.shape[:-2], -1), alignment
