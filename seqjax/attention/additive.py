"""Additive attention, of Bahdanau, Cho and Bengio."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.attention.mechanism import ContentMechanism
from seqjax.checks import check_size
from seqjax.operations.affine import affine, broadcast_like
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Array


class AdditiveParams(NamedTuple):
    """Parameters of `Additive`.

    Attributes:
      query_kernel: ``[Q, K]``.
      memory_kernel: ``[M, K]``.
      score_kernel: ``[K, 1]``.
      bias: ``[K]``; None unless ``weight_norm``.
      gain: ``[1]``; None unless ``weight_norm``.
    """

    query_kernel: Array
    memory_kernel: Array
    score_kernel: Array
    bias: Array | None = None
    gain: Array | None = None


@dataclasses.dataclass(frozen=True)
class Additive(ContentMechanism):
    """Additive attention, which compares query and memory in a layer of width K::

        score_s = tanh(query @ W_q + memory_s @ W_m) @ v

    With ``weight_norm`` (Salimans and Kingma, 2016)::

        score_s = tanh(query @ W_q + memory_s @ W_m + b) @ (g * v / |v|)

    These are TensorFlow's ``BahdanauAttention`` and its ``normalize``.

    Args:
      size: K, the width in which query and memory are compared.
      weight_norm: whether ``v`` has a separate length.

    Raises:
      ValueError: ``size`` is not a whole number of at least 1.

    Reference: Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to align
    and translate", 2015.

    >>> mechanism = Additive(size=4)
    >>> params = mechanism.init(jax.random.key(0), query_size=3, memory_size=5)
    >>> mechanism.keys(params, jnp.ones((2, 7, 5), jnp.float32)).shape
    (2, 7, 4)
    """

    size: int
    weight_norm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("Additive", "size", self.size)

    def init(
        self, key: Array, query_size: int, memory_size: int, dtype: Any = jnp.float32
    ) -> AdditiveParams:
        """Initialise Glorot kernels, a bias of 0 and a gain of ``sqrt(1 / K)``."""
        of_query, of_memory, of_score = jax.random.split(key, 3)
        bias = gain = None
        if self.weight_norm:
            bias = jnp.zeros(self.size, dtype)
            gain = jnp.full(1, math.sqrt(1 / self.size), dtype)
        return AdditiveParams(
            glorot_uniform(of_query, (query_size, self.size), dtype=dtype),
            glorot_uniform(of_memory, (memory_size, self.size), dtype=dtype),
            glorot_uniform(of_score, (self.size, 1), dtype=dtype),
            bias,
            gain,
        )

    def keys(self, params: AdditiveParams, memory: Array) -> Array:
        """Compute ``memory @ W_m``, plus the bias if there is one."""
        return affine(memory, params.memory_kernel, params.bias)

    def scores(self, params: AdditiveParams, query: Array, keys: Array) -> Array:
        """Compute ``tanh(query @ W_q + keys) @ v``."""
        compared = jnp.tanh(affine(query, params.query_kernel)[..., None, :] + keys)
        scores = affine(compared, params.score_kernel)[..., 0]
        if params.gain is None:
            return scores
        v = params.score_kernel.astype(scores.dtype)
        scale = params.gain.astype(scores.dtype)[0] / jnp.sqrt(jnp.square(v).sum())
        return scores * broadcast_like(scale, scores)
