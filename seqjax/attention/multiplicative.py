"""Multiplicative attention, of Luong, Pham and Manning."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax.numpy as jnp

from seqjax.attention.mechanism import ContentMechanism
from seqjax.operations.affine import accumulation_dtype, affine, broadcast_like
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class Dot(ContentMechanism):
    """Attention by the inner product of query and memory, which have the same width::

        score_s = query . memory_s
        score_s = query . memory_s / sqrt(Q)    if scaled

    It has no parameters.

    Args:
      scaled: whether scores are divided by the root of the width (Vaswani et al., "Attention is
        all you need", 2017).

    Reference: Luong, Pham and Manning, "Effective approaches to attention-based neural machine
    translation", 2015.

    >>> Dot().scores((), jnp.array([1.0, 2.0]), jnp.array([[1.0, 1.0], [0.0, 3.0]])).tolist()
    [3.0, 6.0]
    """

    scaled: bool = False

    def init(
        self, key: Array, query_size: int, memory_size: int, dtype: Any = jnp.float32
    ) -> tuple[()]:
        """Return no parameters.

        Raises:
          ValueError: query and memory have different widths.
        """
        if query_size != memory_size:
            raise ValueError(
                f"Dot: query and memory must have one width, got {query_size} and {memory_size}; "
                "use seqjax.attention.General, which projects the memory"
            )
        return ()

    def keys(self, params: tuple[()], memory: Array) -> Array:
        """Return the memory."""
        return memory.astype(accumulation_dtype(memory.dtype))

    def scores(self, params: tuple[()], query: Array, keys: Array) -> Array:
        """Compute the inner products."""
        scores = inner_products(query, keys)
        return scores / math.sqrt(keys.shape[-1]) if self.scaled else scores


class GeneralParams(NamedTuple):
    """Parameters of `General`.

    Attributes:
      memory_kernel: ``[M, Q]``.
      gain: ``[1]``; None unless ``scaled``.
    """

    memory_kernel: Array
    gain: Array | None = None


@dataclasses.dataclass(frozen=True)
class General(ContentMechanism):
    """Attention by the inner product of the query and the projected memory::

        score_s = query . (memory_s @ W_m)
        score_s = g * (query . (memory_s @ W_m))    if scaled

    These are TensorFlow's ``LuongAttention`` and its ``scale``.

    Args:
      scaled: whether the scores have a learned scale, initially 1.

    Reference: Luong, Pham and Manning, "Effective approaches to attention-based neural machine
    translation", 2015.

    >>> import jax
    >>> mechanism = General()
    >>> params = mechanism.init(jax.random.key(0), query_size=3, memory_size=5)
    >>> mechanism.keys(params, jnp.ones((2, 7, 5), jnp.float32)).shape
    (2, 7, 3)
    """

    scaled: bool = False

    def init(
        self, key: Array, query_size: int, memory_size: int, dtype: Any = jnp.float32
    ) -> GeneralParams:
        """Initialise a Glorot kernel and a scale of 1."""
        kernel = glorot_uniform(key, (memory_size, query_size), dtype=dtype)
        return GeneralParams(kernel, jnp.ones(1, dtype) if self.scaled else None)

    def keys(self, params: GeneralParams, memory: Array) -> Array:
        """Compute ``memory @ W_m``."""
        return affine(memory, params.memory_kernel)

    def scores(self, params: GeneralParams, query: Array, keys: Array) -> Array:
        """Compute the inner products and scale them."""
        scores = inner_products(query, keys)
        return scores if params.gain is None else scores * broadcast_like(params.gain[0], scores)


def inner_products(query: Array, keys: Array) -> Array:
    """Return ``[B, S]``, the inner products of ``query [B, K]`` and ``keys [B, S, K]``.

    >>> inner_products(jnp.array([1.0, 2.0]), jnp.array([[1.0, 1.0]])).tolist()
    [3.0]
    """
    return jnp.einsum("...k,...sk->...s", query.astype(keys.dtype), keys)
