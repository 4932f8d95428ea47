"""Reversal: output the symbols of a sequence in the opposite order."""

import dataclasses

import jax
import jax.numpy as jnp

from seqjax.checks import check_size
from seqjax.operations.masking import lengths_to_mask
from seqjax.tasks.sequence_pair import SequencePairTask
from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class Reversal(SequencePairTask):
    """Output the symbols of a sequence in the opposite order::

        target[t] = source[length - 1 - t],  t < length

    The V symbols 0 ... V-1 are drawn independently and uniformly. All answers of one length are
    equally probable, so::

        chance(length) = V ** -length

    Args:
      symbols: V, the number of symbols.

    Raises:
      ValueError: ``symbols`` is not a whole number of at least 1.

    Reference: Sutskever, Vinyals and Le, "Sequence to sequence learning with neural networks",
    2014, section 3.3, on the order of the source; Grefenstette et al., "Learning to transduce with
    unbounded memory", 2015, section 4.1, as a task.

    >>> task = Reversal(symbols=8)
    >>> pair = task.sample(jax.random.key(5), max_length=5, length=3)
    >>> print(pair.sources, pair.source_lengths)
    [0 2 7 0 0] 3
    >>> print(pair.targets, pair.target_lengths)
    [7 2 0 9 9 9] 3
    >>> task.start, task.end, task.chance(3)
    (8, 9, 0.001953125)
    """

    symbols: int = 10

    def __post_init__(self) -> None:
        check_size("Reversal", "symbols", self.symbols)

    @property
    def source_size(self) -> int:
        """V, the number of symbols."""
        return self.symbols

    @property
    def answer_size(self) -> int:
        """V, the number of symbols."""
        return self.symbols

    def chance(self, length: int) -> float:
        """``V ** -length``, the probability of each answer."""
        check_size("Reversal", "length", length)
        return float(self.symbols) ** -int(length)

    def _draw(self, key: Array, max_length: int, length: Array) -> tuple[Array, Array]:
        return draw_symbols(key, self.symbols, max_length, length), length

    def _answer(self, source: Array, length: Array) -> tuple[Array, Array]:
        places = length - 1 - jnp.arange(source.shape[0] + 1, dtype=jnp.int32)
        # places past the target are below 0; an index of 0 keeps them in range
        symbols = source.at[jnp.maximum(places, 0)].get(mode="fill", fill_value=0)
        return jnp.where(places >= 0, symbols, self.end), length


def draw_symbols(key: Array, symbols: int, max_length: int, length: Array) -> Array:
    """Draw ``length`` independent, uniform symbols, and 0 past the length, ``int32[max_length]``.

    >>> print(draw_symbols(jax.random.key(0), 8, 5, jnp.int32(3)))
    [5 0 0 0 0]
    """
    drawn = jax.random.randint(key, (max_length,), 0, symbols, jnp.int32)
    return jnp.where(lengths_to_mask(length, max_length), drawn, 0)
