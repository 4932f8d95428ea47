"""Monotonic attention, of Raffel and others."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.attention.mechanism import Alignment, ContentMechanism, Mechanism
from seqjax.operations.affine import broadcast_like
from seqjax.types import Array, Noise, Params


class MonotonicParams(NamedTuple):
    """Parameters of `Monotonic`.

    Attributes:
      mechanism: the parameters of the mechanism that computes the scores.
      score_bias: ``[1]``.
    """

    mechanism: Params
    score_bias: Array


@dataclasses.dataclass(frozen=True)
class Monotonic(Mechanism):
    """Attention that moves through the context in one direction.

    Each step starts at the position of the previous step, stops at position s with probability
    ``p_s`` and otherwise moves on. The weights are the probabilities to stop at each position::

        p_s       = sigmoid(score_s + r + noise * n_s),  n_s ~ normal(0, 1)
        q_s       = (1 - p_{s-1}) * q_{s-1} + before_s,  q_{-1} = 0
        weights_s = p_s * q_s

    Before the first step, all weight is on position 0. The weights sum to at most 1: the rest is
    the probability to move past the last position. With ``hard``, ``p_s`` is 1 if
    ``score_s + r > 0`` and 0 otherwise, so a step attends to one position or to none. Train with
    expected weights, and decode with ``hard=True`` and the same parameters. A hard step has no
    derivative. These are TensorFlow's ``BahdanauMonotonicAttention`` and
    ``LuongMonotonicAttention``. The recurrence over positions runs as a parallel scan.

    Args:
      mechanism: computes the scores, such as `Additive`.
      noise: the standard deviation of the noise in training, which teaches scores far from 0.
      score_bias: the initial value of ``r``. A negative bias makes early steps move on.
      hard: whether each step makes a hard decision.

    Raises:
      ValueError: ``mechanism`` is not a content mechanism, or ``noise`` is not a number of at least
        0.

    Reference: Raffel, Luong, Liu, Weiss and Eck, "Online and linear-time attention by enforcing
    monotonic alignments", 2017.

    >>> from seqjax.attention import Additive
    >>> Monotonic(Additive(4), noise=1.0, score_bias=-4.0).is_noisy
    True
    """

    mechanism: ContentMechanism
    noise: float = 0.0
    score_bias: float = 0.0
    hard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.mechanism, ContentMechanism):
            raise ValueError(
                "Monotonic: mechanism must be a content mechanism, such as "
                f"seqjax.attention.Additive(64), got {self.mechanism!r}"
            )
        if self.noise < 0:
            raise ValueError(f"Monotonic: noise must be at least 0, got {self.noise}")

    @property
    def is_noisy(self) -> bool:
        """Whether scores have noise in training."""
        return self.noise > 0 and not self.hard

    @property
    def uses_history(self) -> bool:
        """True: each step starts where the previous one stopped."""
        return True

    def init(
        self, key: Array, query_size: int, memory_size: int, dtype: Any = jnp.float32
    ) -> MonotonicParams:
        """Initialise the parameters of the scores and the bias."""
        inner = self.mechanism.init(key, query_size, memory_size, dtype)
        return MonotonicParams(inner, jnp.full(1, self.score_bias, dtype))

    def keys(self, params: MonotonicParams, memory: Array) -> Array:
        """Return the keys of the mechanism that computes the scores."""
        return self.mechanism.keys(params.mechanism, memory)

    def first(
        self, batch_shape: tuple[int, ...], positions: int, dtype: Any = jnp.float32
    ) -> Alignment:
        """Return a weight of 1 at position 0."""
        one_hot = (jnp.arange(positions, dtype=jnp.int32) == 0).astype(dtype)
        return Alignment(jnp.broadcast_to(one_hot, (*batch_shape, positions)))

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...]) -> Noise:
        """Draw ``uint32[*leading_shape, 2]``, from which `align` draws noise for each position."""
        return jax.random.bits(key, (*leading_shape, 2), jnp.uint32) if self.is_noisy else None

    def align(
        self,
        params: MonotonicParams,
        query: Array,
        keys: Array,
        mask: Array,
        before: Alignment,
        noise: Noise = None,
    ) -> Alignment:
        """Return the probabilities to stop at each position."""
        scores = self.mechanism.scores(params.mechanism, query, keys)
        scores = scores + broadcast_like(params.score_bias[0], scores)
        if self.hard:
            stop = (scores > 0).astype(scores.dtype)
        else:
            if noise is not None:
                scores = scores + self.noise * _normal(noise, scores)
            stop = jax.nn.sigmoid(scores)
        stop = jnp.where(mask, stop, jnp.zeros_like(stop))
        arrived = _accumulate(1 - stop, before.weights.astype(stop.dtype))
        return Alignment(stop * arrived)


def _normal(seeds: Array, like: Array) -> Array:
    """Normal noise ``[B, S]`` from ``seeds uint32[B, 2]``."""

    def one(seed: Array) -> Array:
        key = jax.random.wrap_key_data(seed, impl="threefry2x32")
        return jax.random.normal(key, like.shape[-1:], like.dtype)

    return jax.vmap(one)(seeds.reshape(-1, 2)).reshape(like.shape)


def _accumulate(go_on: Array, start: Array) -> Array:
    """Compute ``q_s = go_on_{s-1} * q_{s-1} + start_s`` for all positions, ``[B, S]``."""
    num_positions: Any = go_on.shape[-1]
    if not isinstance(num_positions, int):  # an associative scan needs a fixed size

        def body(q: Array, position: tuple[Array, Array]) -> tuple[Array, Array]:
            factor, own = position
            q = q + own
            return factor * q, q

        positions = jnp.moveaxis(go_on, -1, 0), jnp.moveaxis(start, -1, 0)
        _, arrived = jax.lax.scan(body, jnp.zeros_like(start[..., 0]), positions)
        return jnp.moveaxis(arrived, 0, -1)
    # the first factor has no effect
    factors = jnp.concatenate([jnp.ones_like(go_on[..., :1]), go_on[..., :-1]], -1)

    def compose(first: tuple[Array, Array], then: tuple[Array, Array]) -> tuple[Array, Array]:
        (a1, b1), (a2, b2) = first, then
        return a1 * a2, a2 * b1 + b2

    _, arrived = jax.lax.associative_scan(compose, (factors, start), axis=start.ndim - 1)
    return arrived
