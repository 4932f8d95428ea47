"""Attention with several heads, each of which has its own parameters of one mechanism."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.attention.mechanism import Alignment, Mechanism
from seqjax.operations.affine import accumulation_dtype, affine
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Array, Context, Noise, Params


@dataclasses.dataclass(frozen=True)
class Heads:
    """N heads over a memory ``[B, S, M]``, each with its own parameters of one mechanism.

    Args:
      mechanism: how a query weighs positions.
      number: N.
      memory_size: M.
      value_size: the width of the values of each head, which are then projected from the memory;
        None if the memory is the values of all heads.
    """

    mechanism: Mechanism
    number: int
    memory_size: int
    value_size: int | None

    @property
    def output_size(self) -> int:
        """The width of the weighted values of all heads."""
        return self.number * (self.memory_size if self.value_size is None else self.value_size)

    def init_mechanisms(self, key: Array, query_size: int, dtype: Any) -> Params:
        """Initialise a mechanism for each head: arrays ``[N, ...]``."""

        def one_head(key: Array) -> Params:
            return self.mechanism.init(key, query_size, self.memory_size, dtype)

        return jax.vmap(one_head)(jax.random.split(key, self.number))

    def init_values(self, key: Array, dtype: Any) -> Array | None:
        """A Glorot kernel ``[M, N * size]``, or None if the values are the memory."""
        if self.value_size is None:
            return None
        return glorot_uniform(key, (self.memory_size, self.output_size), dtype=dtype)

    def project(
        self, params: Params, value_kernel: Array | None, memory: Array, mask: Array
    ) -> Context:
        """Project a memory, with the valid positions ``bool[B, S]``, to keys and values."""
        if memory.shape[-1] != self.memory_size:
            raise ValueError(
                f"ContextAttention: memory must be [B, S, {self.memory_size}] for "
                f"memory_size={self.memory_size}, got shape {memory.shape}"
            )
        of_heads = jax.vmap(self.mechanism.keys, (0, None), -3, axis_size=self.number)
        values = memory.astype(accumulation_dtype(memory.dtype))
        if value_kernel is not None:
            values = affine(memory, value_kernel)
            values = values.reshape(*values.shape[:-1], self.number, -1)
            values = jnp.moveaxis(values, -2, -3)
        return Context(of_heads(params, memory), values, mask.astype(values.dtype))

    def check(self, params: Params, value_kernel: Array | None, context: Context) -> None:
        """Raise ValueError if a context has other shapes than `project` gives it."""
        shape = context.mask.shape
        memory = jax.ShapeDtypeStruct((*shape, self.memory_size), context.values.dtype)
        expected = jax.eval_shape(self.project, params, value_kernel, memory, context.mask)
        for name, want, have in zip(Context._fields, expected, context, strict=True):
            if have.shape != want.shape:
                raise ValueError(
                    f"ContextAttention: the {name} of the context must have shape {want.shape} for "
                    f"{shape[-1]} positions, got {have.shape}; bind it with seqjax.with_context"
                )

    def attend(
        self, params: Params, context: Context, query: Array, before: Alignment, noise: Noise
    ) -> tuple[Array, Alignment]:
        """The weighted values of all heads, ``[B, N * size]``, and their alignment.

        Args:
          params: the parameters of the mechanisms.
          context: the keys and values of `project`.
          query: ``[B, H]``.
          before: the alignment of the last step.
          noise: the noise of the mechanism, arrays ``[B, N, ...]``, or None.
        """

        def one_head(params: Params, keys: Array, before: Alignment, noise: Noise) -> Alignment:
            return self.mechanism.align(params, query, keys, context.mask > 0, before, noise)

        axes = 0, -3, -2, None if noise is None else -2
        alignment = jax.vmap(one_head, axes, out_axes=-2)(params, context.keys, before, noise)
        weights = alignment.weights.astype(context.values.dtype)
        is_shared = context.values.ndim < context.keys.ndim
        equation = "...ns,...sm->...nm" if is_shared else "...ns,...nsm->...nm"
        found = jnp.einsum(equation, weights, context.values)
        return found.reshape(*found.shape[:-2], -1), alignment
