"""Location-sensitive attention, of Chorowski and others."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.attention.mechanism import Alignment, Mechanism, masked_softmax
from seqjax.checks import check_size
from seqjax.operations.affine import affine
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Array, Noise


class LocationSensitiveParams(NamedTuple):
    """Parameters of `LocationSensitive`.

    Attributes:
      query_kernel: ``[Q, K]``.
      memory_kernel: ``[M, K]``.
      bias: ``[K]``.
      filter_kernel: ``[W, F]``, F filters of width W.
      location_kernel: ``[F, K]``.
      score_kernel: ``[K, 1]``.
    """

    query_kernel: Array
    memory_kernel: Array
    bias: Array
    filter_kernel: Array
    location_kernel: Array
    score_kernel: Array


@dataclasses.dataclass(frozen=True)
class LocationSensitive(Mechanism):
    """Additive attention that also reads where the previous steps attended::

        a        = the weights of the previous step, or their sum over all steps if cumulative
        f_s      = (a_{s-w}, ..., a_s, ..., a_{s+w}) @ U        with W = 2 * w + 1, zeros outside
        score_s  = tanh(query @ W_q + memory_s @ W_m + f_s @ W_f + b) @ v
        weights  = softmax(score)                               over the valid positions

    Args:
      size: K, the width in which query, memory and location are compared.
      filters: F, the number of filters.
      width: W, the width of a filter, odd.
      cumulative: whether the filters read the sum of all previous weights, as in Tacotron 2.

    Raises:
      ValueError: a size is not a whole number of at least 1, or ``width`` is even.

    Reference: Chorowski, Bahdanau, Serdyuk, Cho and Bengio, "Attention-based models for speech
    recognition", 2015. ``cumulative``: Shen et al., "Natural TTS synthesis by conditioning WaveNet
    on mel spectrogram predictions", 2018.

    >>> LocationSensitive(size=8, filters=2, width=3).cumulative
    False
    """

    size: int
    filters: int = 32
    width: int = 31
    cumulative: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("size", "filters", "width"):
            check_size("LocationSensitive", name, getattr(self, name))
        if self.width % 2 == 0:
            raise ValueError(f"LocationSensitive: width must be odd, got {self.width}")

    @property
    def uses_history(self) -> bool:
        """True: the filters read the previous weights."""
        return True

    def init(
        self, key: Array, query_size: int, memory_size: int, dtype: Any = jnp.float32
    ) -> LocationSensitiveParams:
        """Initialise Glorot kernels and a bias of 0."""
        keys = jax.random.split(key, 5)
        return LocationSensitiveParams(
            glorot_uniform(keys[0], (query_size, self.size), dtype=dtype),
            glorot_uniform(keys[1], (memory_size, self.size), dtype=dtype),
            jnp.zeros(self.size, dtype),
            glorot_uniform(keys[2], (self.width, self.filters), dtype=dtype),
            glorot_uniform(keys[3], (self.filters, self.size), dtype=dtype),
            glorot_uniform(keys[4], (self.size, 1), dtype=dtype),
        )

    def keys(self, params: LocationSensitiveParams, memory: Array) -> Array:
        """Compute ``memory @ W_m + b``."""
        return affine(memory, params.memory_kernel, params.bias)

    def first(
        self, batch_shape: tuple[int, ...], positions: int, dtype: Any = jnp.float32
    ) -> Alignment:
        """Return weights of 0, and a sum of 0 if cumulative."""
        zeros = jnp.zeros((*batch_shape, positions), dtype)
        return Alignment(zeros, zeros if self.cumulative else None)

    def align(
        self,
        params: LocationSensitiveParams,
        query: Array,
        keys: Array,
        mask: Array,
        before: Alignment,
        noise: Noise = None,
    ) -> Alignment:
        """Return the softmax of the scores."""
        read = before.history if self.cumulative else before.weights
        side = self.width // 2
        padded = jnp.pad(read, [(0, 0)] * (read.ndim - 1) + [(side, side)])
        positions = read.shape[-1]
        windows = jnp.stack([padded[..., n : n + positions] for n in range(self.width)], -1)
        located = affine(affine(windows, params.filter_kernel), params.location_kernel)
        compared = jnp.tanh(affine(query, params.query_kernel)[..., None, :] + keys + located)
        weights = masked_softmax(affine(compared, params.score_kernel)[..., 0], mask)
        return Alignment(weights, before.history + weights if self.cumulative else None)
