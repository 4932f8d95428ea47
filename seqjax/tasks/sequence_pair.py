"""The base class of tasks whose target is another sequence, computed from a source sequence."""

import abc
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import as_int32, given_array
from seqjax.checks import check_count, check_key, check_size, describe
from seqjax.operations.masking import check_tokens, lengths_to_mask, resolve_mask
from seqjax.types import Array


class SequencePair(NamedTuple):
    """A source sequence and its target; a batch has leading axes.

    Attributes:
      sources: tokens ``int32[S]``, 0 past the length.
      source_lengths: the number of source tokens, ``int32[]``.
      targets: tokens ``int32[T]``, the end symbol at the length and past it; T is larger than every
        length, so the end symbol always has a place.
      target_lengths: the number of target tokens before the end symbol, ``int32[]``.
    """

    sources: Array
    source_lengths: Array
    targets: Array
    target_lengths: Array


class SequencePairTask(abc.ABC):
    """A task that maps a source sequence to a target sequence of another length or order.

    A subclass defines the sources and the exact answers. The target vocabulary is the symbols of
    the answers, then the `start` symbol and the `end` symbol. To train a decoder, the end symbol is
    one more target::

        inputs  = seqjax.seq2seq.shift_right(pair.targets, task.start)
        loss    = seqjax.sequence_loss(logits, pair.targets, lengths=pair.target_lengths + 1)

    Lengths of decoded tokens do not count the end symbol, as in `seqjax.decoding`.
    """

    @property
    @abc.abstractmethod
    def source_size(self) -> int:
        """The number of different source tokens."""

    @property
    @abc.abstractmethod
    def answer_size(self) -> int:
        """The number of different tokens of answers."""

    @property
    def target_size(self) -> int:
        """The number of different target tokens, with the start symbol and the end symbol."""
        return self.answer_size + 2

    @property
    def start(self) -> int:
        """The symbol that a decoder reads first; it is in no answer."""
        return self.answer_size

    @property
    def end(self) -> int:
        """The symbol that ends a target; it is in no answer."""
        return self.answer_size + 1

    @abc.abstractmethod
    def chance(self, length: int) -> float:
        """The success of the best model that ignores its source, for one length of `sample`.

        Such a model gives one answer to every source, at best the most probable one.

        Raises:
          ValueError: ``length`` is not a whole number of at least 1.
        """

    def sample(
        self, key: Array, max_length: int, length: int | Array | None = None
    ) -> SequencePair:
        """Draw one pair; use `jax.vmap` over keys to draw a batch.

        The shapes depend only on ``max_length``. So pairs of different lengths fit in one batch.

        Args:
          key: a key from `jax.random.key`.
          max_length: the largest length; each task defines its unit.
          length: the length, in ``[1, max_length]``, an integer or ``int[]``; None to draw it
            uniformly.

        Returns:
          A `SequencePair`.

        Raises:
          ValueError: ``max_length`` is not a whole number of at least 1, or ``length`` is not in
            ``[1, max_length]``. The value of ``length`` is checked outside of `jax.jit` only.
        """
        owner = type(self).__name__
        check_key(key)
        check_size(owner, "max_length", max_length)
        length_key, source_key = jax.random.split(key)
        if length is None:
            length = jax.random.randint(length_key, (), 1, max_length + 1, jnp.int32)
        if isinstance(length, jax.Array | np.ndarray):
            if length.shape or not jnp.issubdtype(length.dtype, jnp.integer):
                raise ValueError(f"{owner}: length must be one integer, got {describe(length)}")
            if not isinstance(length, jax.core.Tracer):
                length = int(length)
        if not isinstance(length, jax.core.Tracer):
            check_count(owner, "length", length, low=1, high=max_length)
        sources, lengths = self._draw(source_key, max_length, jnp.asarray(length, jnp.int32))
        targets, target_lengths = self._answer(sources, lengths)
        return SequencePair(
            sources, lengths, targets[: self._longest_answer(max_length) + 1], target_lengths
        )

    def answer(self, sources: Array, lengths: Array) -> tuple[Array, Array]:
        """Compute the exact answers of sources.

        Args:
          sources: integers ``[B, S]`` in ``[0, source_size)``, with any number of batch axes.
          lengths: ``int[B]`` in ``[0, S]``. Tokens past the length do not matter.

        Returns:
          ``(targets, target_lengths)``: ``int32[B, S + 1]``, with the end symbol at the length and
          past it, and ``int32[B]``.

        Raises:
          ValueError: the arguments do not fit together, or a source is not one of this task. Values
            are checked outside of `jax.jit` only.
        """
        owner = type(self).__name__
        sources, lengths = given_array("sources", sources), given_array("lengths", lengths)
        if not sources.ndim or not jnp.issubdtype(sources.dtype, jnp.integer):
            raise ValueError(
                f"{owner}: sources must be integers [B, S], got {sources.dtype} of shape "
                f"{sources.shape}"
            )
        mask = resolve_mask(lengths, None, sources.shape, sources.ndim - 1)
        check_tokens("sources", sources, self.source_size, mask)
        self._check_sources(sources, lengths)
        answers = jnp.vectorize(self._answer, signature="(s),()->(t),()")
        return answers(as_int32(sources), as_int32(lengths))

    def success(self, tokens: Array, lengths: Array, pair: SequencePair) -> Array:
        """The share of rows that equal their target exactly.

        Args:
          tokens: decoded tokens, integers ``[B, L]``, with the batch axes of the pair. L may differ
            from T.
          lengths: the number of decoded tokens before the end symbol, ``int[B]`` in ``[0, L]``.
          pair: a batch of pairs.

        Returns:
          ``float32[]``.

        Raises:
          ValueError: the arguments do not fit together.
        """
        return self.matches(tokens, lengths, pair).mean(dtype=jnp.float32)

    def matches(self, tokens: Array, lengths: Array, pair: SequencePair) -> Array:
        """Whether each row equals its target exactly, ``bool[B]``; arguments as in `success`."""
        owner = type(self).__name__
        if not isinstance(pair, SequencePair):
            raise ValueError(
                f"{owner}: pair must be a SequencePair from sample, got {describe(pair)}"
            )
        tokens, targets = given_array("tokens", tokens), given_array("targets", pair.targets)
        for name, given in (("tokens", tokens), ("targets", targets)):
            if not given.ndim or not jnp.issubdtype(given.dtype, jnp.integer):
                raise ValueError(
                    f"{owner}: {name} must be integers [B, T], got {given.dtype} of shape "
                    f"{given.shape}"
                )
        if tokens.shape[:-1] != targets.shape[:-1]:
            raise ValueError(
                f"{owner}: tokens must have the batch axes {targets.shape[:-1]} of the targets, "
                f"got shape {tokens.shape}"
            )
        resolve_mask(lengths, None, tokens.shape, tokens.ndim - 1)
        resolve_mask(pair.target_lengths, None, targets.shape, targets.ndim - 1)
        size = max(tokens.shape[-1], targets.shape[-1])
        lengths = as_int32(given_array("lengths", lengths))
        wanted = as_int32(given_array("target_lengths", pair.target_lengths))
        same = _padded(tokens, size) == _padded(targets, size)
        inside = lengths_to_mask(wanted, size)
        return (lengths == wanted) & (same | ~inside).all(-1)

    def _check_sources(self, sources: Any, lengths: Any) -> None:  # noqa: B027, most take all
        """Raise ``ValueError`` unless each source is one of this task."""

    @abc.abstractmethod
    def _draw(self, key: Array, max_length: int, length: Array) -> tuple[Array, Array]:
        """Draw a source ``int32[S]`` and its number of tokens ``int32[]``."""

    @abc.abstractmethod
    def _answer(self, source: Array, length: Array) -> tuple[Array, Array]:
        """The answer ``int32[S + 1]`` to a source ``int32[S]``, and its length ``int32[]``."""

    def _longest_answer(self, max_length: int) -> int:
        """The largest number of tokens in an answer to a source of `sample`."""
        return max_length


def _padded(tokens: Array, size: int) -> Array:
    """Int32 tokens with ``size`` places; the last ones do not matter."""
    missing = size - tokens.shape[-1]
    return jnp.pad(as_int32(tokens), [(0, 0)] * (tokens.ndim - 1) + [(0, missing)])
