"""Sorting: output the symbols of a sequence in ascending order."""

import dataclasses
import math

import jax.numpy as jnp

from seqjax.checks import check_size
from seqjax.operations.masking import lengths_to_mask
from seqjax.tasks.reversal import draw_symbols
from seqjax.tasks.sequence_pair import SequencePairTask
from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class Sorting(SequencePairTask):
    """Output the symbols of a sequence in ascending order, as often as they occur::

        target[0] <= target[1] <= ... <= target[length - 1]

    The V symbols 0 ... V-1 are drawn independently and uniformly. The most probable answer holds
    all symbols equally often, or nearly so. If ``n_v`` is how often it holds symbol v::

        chance(length) = length! / (n_0! * ... * n_{V-1}!) * V ** -length

    Args:
      symbols: V, the number of symbols.

    Raises:
      ValueError: ``symbols`` is not a whole number of at least 1.

    Reference: Vinyals, Bengio and Kudlur, "Order matters: sequence to sequence for sets", 2016,
    section 5.1, which sorts real numbers.

    >>> import jax
    >>> task = Sorting(symbols=8)
    >>> pair = task.sample(jax.random.key(2), max_length=5, length=4)
    >>> print(pair.sources, pair.source_lengths)
    [3 5 0 2 0] 4
    >>> print(pair.targets, pair.target_lengths)
    [0 2 3 5 9 9] 4
    >>> task.end, f"{task.chance(2):.5f}"
    (9, '0.03125')
    """

    symbols: int = 10

    def __post_init__(self) -> None:
        check_size("Sorting", "symbols", self.symbols)

    @property
    def source_size(self) -> int:
        """V, the number of symbols."""
        return self.symbols

    @property
    def answer_size(self) -> int:
        """V, the number of symbols."""
        return self.symbols

    def chance(self, length: int) -> float:
        """The probability of the most probable answer."""
        check_size("Sorting", "length", length)
        length = int(length)
        each, more = divmod(length, self.symbols)
        log_orders = math.fsum(
            (
                math.lgamma(length + 1),
                -(self.symbols - more) * math.lgamma(each + 1),
                -more * math.lgamma(each + 2),
            )
        )
        return math.exp(log_orders - length * math.log(self.symbols))

    def _draw(self, key: Array, max_length: int, length: Array) -> tuple[Array, Array]:
        return draw_symbols(key, self.symbols, max_length, length), length

    def _answer(self, source: Array, length: Array) -> tuple[Array, Array]:
        # the end symbol is the largest, so that it comes last
        ended = jnp.where(lengths_to_mask(length, source.shape[0]), source, self.end)
        return jnp.sort(jnp.append(ended, jnp.int32(self.end))), length
