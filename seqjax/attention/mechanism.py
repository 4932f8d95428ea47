"""The contract of attention mechanisms, and the softmax over valid positions."""

import abc
import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp

from seqjax.checks import check_flag, check_number
from seqjax.types import Array, Noise, Params, PyTree
from seqjax.values import PlainValue


class Alignment(NamedTuple):
    """The result of one step of attention.

    Attributes:
      weights: ``[B, S]``, the weight of each position; 0 at padding.
      history: what else the next step needs of the steps so far; None for most mechanisms.
    """

    weights: Array
    history: PyTree = None


class Mechanism(PlainValue, abc.ABC):
    """An attention mechanism: an immutable description with pure functions of its parameters.

    `Mechanism.keys` projects the memory once. `Mechanism.align` compares a query with the keys, for
    one step. A concrete mechanism is a frozen dataclass. `seqjax.ContextAttention` adds the heads
    and the weighted sum.
    """

    def __post_init__(self) -> None:
        """Check flags and numbers among the fields, by their declared types."""
        checks = {bool: check_flag, float: check_number}
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            if field.type in checks:
                value = getattr(self, field.name)
                checks[field.type](type(self).__name__, field.name, value)

    @property
    def is_noisy(self) -> bool:
        """Whether the mechanism draws noise during training."""
        return False

    @property
    def uses_history(self) -> bool:
        """Whether the weights of a step depend on those of the steps before it."""
        return False

    @abc.abstractmethod
    def init(
        self, key: Array, query_size: int, memory_size: int, dtype: Any = jnp.float32
    ) -> Params:
        """Initialise the parameters for queries ``[Q]`` and memory vectors ``[M]``."""

    @abc.abstractmethod
    def keys(self, params: Params, memory: Array) -> Array:
        """Compute the keys ``[B, S, K]`` of a memory ``[B, S, M]``."""

    def first(
        self, batch_shape: tuple[int, ...], positions: int, dtype: Any = jnp.float32
    ) -> Alignment:
        """Return the alignment before the first step: zeros, unless the mechanism starts elsewhere.

        The structure does not depend on ``positions``, the number S of positions.
        """
        return Alignment(jnp.zeros((*batch_shape, positions), dtype))

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...]) -> Noise:
        """Draw the noise of all steps, arrays ``[*leading_shape, ...]``, as `Cell.draw_noise`."""
        return None

    @abc.abstractmethod
    def align(
        self,
        params: Params,
        query: Array,
        keys: Array,
        mask: Array,
        before: Alignment,
        noise: Noise = None,
    ) -> Alignment:
        """Return the alignment of a step.

        Args:
          params: from `Mechanism.init`.
          query: ``[B, Q]``.
          keys: ``[B, S, K]``, from `Mechanism.keys`.
          mask: ``bool[B, S]``, True at valid positions.
          before: the alignment of the previous step, or `Mechanism.first`.
          noise: the noise of this step.
        """


class ContentMechanism(Mechanism):
    """A mechanism whose weights are a softmax::

        weights = softmax(scores(query, keys))    over the valid positions

    A subclass defines `Mechanism.init`, `Mechanism.keys` and `ContentMechanism.scores`.
    """

    @abc.abstractmethod
    def scores(self, params: Params, query: Array, keys: Array) -> Array:
        """Return the score ``[B, S]`` of each position."""

    def align(
        self,
        params: Params,
        query: Array,
        keys: Array,
        mask: Array,
        before: Alignment,
        noise: Noise = None,
    ) -> Alignment:
        """Return the softmax of the scores."""
        return Alignment(masked_softmax(self.scores(params, query, keys), mask))


def masked_softmax(scores: Array, mask: Array) -> Array:
    """Return the softmax of ``scores [B, S]`` over the positions where ``mask`` is True.

    A row without such a position has weights of 0.

    >>> scores = jnp.zeros((2, 3), jnp.float32)
    >>> print(masked_softmax(scores, jnp.array([[True, True, False], [False] * 3])))
    [[0.5 0.5 0. ]
     [0.  0.  0. ]]
    """
    top = jnp.max(scores, axis=-1, keepdims=True, initial=-jnp.inf, where=mask)
    top = jnp.where(jnp.isfinite(top), top, jnp.zeros_like(top))
    # masked scores become `top` before exp, so that neither values nor gradients can overflow
    shifted = jnp.where(mask, scores, top) - top
    weights = jnp.where(mask, jnp.exp(shifted), jnp.zeros_like(shifted))
    total = weights.sum(-1, keepdims=True)
    return weights / jnp.where(total == 0, jnp.ones_like(total), total)
