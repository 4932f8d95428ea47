"""Addition: the sum of two decimal numbers that are written as text."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import given_array
from seqjax.checks import check_size, describe
from seqjax.operations.masking import lengths_to_mask
from seqjax.tasks.sequence_pair import SequencePairTask
from seqjax.types import Array

_TEXT = "0123456789+"
_PLUS = _TEXT.index("+")


@dataclasses.dataclass(frozen=True)
class Addition(SequencePairTask):
    """Add two decimal numbers that are written as text, such as ``12+345`` to ``357``.

    Tokens 0 ... 9 are the digits and token 10 is the plus sign. The length is the number of digits
    of the longer number. The other number has 1 ... length digits, drawn uniformly, and is the
    first or the second with equal probability. All numbers with as many digits are equally
    probable; 0 is the number of one digit that starts with 0. The answer is computed digit by
    digit, so numbers may be longer than an integer dtype holds.

    Of the answers to one length, ``10 ** length - 1`` is the most probable::

        chance(1)      = 1 / 10
        chance(length) = (length - 1/9) / (length * 9 * 10 ** (length - 1))

    Reference: Zaremba and Sutskever, "Learning to execute", 2014, section 4.2.

    >>> task = Addition()
    >>> pair = task.sample(jax.random.key(3), max_length=5, length=3)
    >>> task.text(pair.sources, pair.source_lengths), task.text(pair.targets, pair.target_lengths)
    ('26+563', '589')
    >>> source = task.tokens("12+345")
    >>> task.text(*task.answer(source, len(source)))
    '357'
    """

    @property
    def source_size(self) -> int:
        """11, the digits and the plus sign."""
        return len(_TEXT)

    @property
    def answer_size(self) -> int:
        """10, the digits."""
        return _PLUS

    def chance(self, length: int) -> float:
        """The probability of the most probable sum."""
        check_size("Addition", "length", length)
        if length == 1:
            return 1 / 10
        length = int(length)
        # The longer number takes 9 * 10 ** (length - 1) values. If the other one has fewer digits,
        # one of these values completes it to 10 ** length - 1. If it has as many digits, the same
        # holds for 8 of its 9 first digits. A larger or smaller sum is less probable.
        return (length - 1 / 9) / (9 * length) * 10.0 ** (1 - length)

    def tokens(self, text: str) -> np.ndarray:
        """Return the tokens of a text, ``int32[S]``.

        Raises:
          ValueError: ``text`` is not two numbers with a plus sign between them.

        >>> print(Addition().tokens("12+345"))
        [ 1  2 10  3  4  5]
        """
        parts = text.split("+") if isinstance(text, str) else []
        if len(parts) != 2 or not all(part and set(part) <= set(_TEXT) for part in parts):
            raise ValueError(f"text must be two decimal numbers, such as '12+345', got {text!r}")
        return np.array([_TEXT.index(character) for character in text], np.int32)

    def text(self, tokens: Array, length: int | Array) -> str:
        """Return the text of the first ``length`` tokens of one row; other symbols become ``?``.

        Raises:
          ValueError: ``tokens`` are not integers ``[S]``, or ``length`` is not in ``[0, S]``.

        >>> Addition().text(np.array([1, 2, 10, 3, 0, 0]), 4)
        '12+3'
        """
        row, count = given_array("tokens", tokens), given_array("length", length)
        whole = all(jnp.issubdtype(array.dtype, jnp.integer) for array in (row, count))
        if not whole or (row.ndim, count.ndim) != (1, 0) or not 0 <= int(count) <= len(row):
            raise ValueError(
                "tokens must be integers [S] and length an integer in [0, S], got "
                f"{describe(tokens)} and {describe(length)}"
            )
        inside = (int(token) for token in np.asarray(row)[: int(count)])
        return "".join(_TEXT[token] if 0 <= token < len(_TEXT) else "?" for token in inside)

    def _draw(self, key: Array, max_length: int, length: Array) -> tuple[Array, Array]:
        size_key, order_key, *number_keys = jax.random.split(key, 4)
        other = jax.random.randint(size_key, (), 1, length + 1, jnp.int32)
        swap = jax.random.bernoulli(order_key)
        sizes = jnp.where(swap, other, length), jnp.where(swap, length, other)
        first, second = (
            _draw_number(key, max_length, size)
            for key, size in zip(number_keys, sizes, strict=True)
        )
        steps = jnp.arange(2 * max_length + 1, dtype=jnp.int32)
        total = sizes[0] + 1 + sizes[1]
        source = jnp.where(
            steps < sizes[0],
            first.at[steps].get(mode="clip"),
            second.at[jnp.maximum(steps - sizes[0] - 1, 0)].get(mode="clip"),
        )
        source = jnp.where(steps == sizes[0], _PLUS, source)
        return jnp.where(lengths_to_mask(total, steps.shape[0]), source, 0), total

    def _answer(self, source: Array, length: Array) -> tuple[Array, Array]:
        columns = jnp.arange(source.shape[0], dtype=jnp.int32)  # from the last digit to the first
        plus = jnp.argmax(source == _PLUS).astype(jnp.int32)

        def digits(first: Array | int, after: Array) -> Array:  # of the number in [first, after)
            places = after - 1 - columns
            symbols = source.at[jnp.maximum(places, 0)].get(mode="fill", fill_value=0)
            return jnp.where(places >= first, symbols, 0)

        def add(carry: Array, column: Array) -> tuple[Array, Array]:
            total = carry + column
            return total // 10, total % 10

        pairs = digits(0, plus) + digits(plus + 1, length)
        _, sums = jax.lax.scan(add, jnp.zeros_like(length), pairs)
        size = jnp.max(jnp.where(sums > 0, columns + 1, 1), initial=1)
        places = size - 1 - jnp.arange(source.shape[0] + 1, dtype=jnp.int32)
        answer = sums.at[jnp.maximum(places, 0)].get(mode="fill", fill_value=0)
        return jnp.where(places >= 0, answer, self.end), size

    def _longest_answer(self, max_length: int) -> int:
        return max_length + 1

    def _check_sources(self, sources: Any, lengths: Any) -> None:
        if any(isinstance(array, jax.core.Tracer) for array in (sources, lengths)):
            return
        sources, lengths = np.asarray(sources), np.asarray(lengths)
        for row in np.ndindex(lengths.shape):
            text = self.text(sources[row], lengths[row])
            try:
                self.tokens(text)
            except ValueError:
                raise ValueError(
                    "Addition: each source must be two decimal numbers with a plus sign (token "
                    f"{_PLUS}) between them, got {text!r}{f' in row {row}' if row else ''}"
                ) from None


def _draw_number(key: Array, max_length: int, size: Array) -> Array:
    """Draw a number of ``size`` digits, without a leading 0 if there are several."""
    first_key, rest_key = jax.random.split(key)
    least = (size > 1).astype(jnp.int32)
    first = jax.random.randint(first_key, (1,), least, 10, jnp.int32)
    rest = jax.random.randint(rest_key, (max_length - 1,), 0, 10, jnp.int32)
    return jnp.concatenate([first, rest])
