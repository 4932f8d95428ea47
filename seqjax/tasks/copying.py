"""The copying problem: remember some symbols over many steps and output them in order."""

import dataclasses

import jax
import jax.numpy as jnp

from seqjax.checks import check_key, check_size
from seqjax.tasks.memory_task import Example, MemoryTask
from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class Copy(MemoryTask):
    """The copying problem, with V symbols 0 ... V-1, the blank V and the signal V+1::

        step    0 ... K-1  K ... K+length-2  K+length-1  K+length ... 2K+length-1
        input   symbols    blank             signal      blank
        answer                                           the same symbols

    ``length`` steps lie between the last symbol and the first answer. The symbols are drawn
    independently and uniformly. Only the steps with an answer have a weight, so::

        chance = ln V   nats per symbol

    The paper also weights the ``K + length`` steps before the answers, whose target is the blank,
    and states ``K ln V / (2K + length)``.

    Args:
      symbols: V, the number of symbols.
      count: K, the number of symbols to remember.

    Raises:
      ValueError: an argument is not a whole number of at least 1.

    Reference: Hochreiter and Schmidhuber, "Long short-term memory", 1997, in the form of Arjovsky
    et al., "Unitary evolution recurrent neural networks", 2016, section 5.1.

    >>> example = Copy(symbols=4, count=3).sample(jax.random.key(0), length=2)
    >>> print(example.inputs)
    [1 0 0 4 5 4 4 4]
    >>> print(example.targets)
    [0 0 0 0 0 1 0 0]
    >>> print(example.weights)
    [0. 0. 0. 0. 0. 1. 1. 1.]
    """

    symbols: int = 8
    count: int = 10

    def __post_init__(self) -> None:
        check_size("Copy", "symbols", self.symbols)
        check_size("Copy", "count", self.count)

    @property
    def input_size(self) -> int:
        """V + 2, the symbols, the blank and the signal."""
        return self.symbols + 2

    @property
    def output_size(self) -> int:
        """V, the number of symbols."""
        return self.symbols

    def sample(self, key: Array, length: int) -> Example:
        """Draw one example, with ``length`` steps between the last symbol and the first answer.

        Returns:
          Inputs and targets ``int32[T]`` and weights ``float32[T]``, with T = 2 * K + length.

        Raises:
          ValueError: ``length`` is not a whole number of at least 1.
        """
        check_key(key)
        check_size("Copy", "length", length)
        kept = jax.random.randint(key, (self.count,), 0, self.symbols, jnp.int32)
        blanks = jnp.full(length - 1, self.symbols, jnp.int32)
        signal = jnp.array([self.symbols + 1], jnp.int32)
        silence = jnp.full(self.count, self.symbols, jnp.int32)
        before = jnp.zeros(self.count + length, jnp.int32)
        return Example(
            jnp.concatenate([kept, blanks, signal, silence]),
            jnp.concatenate([before, kept]),
            jnp.concatenate([before, jnp.ones_like(kept)]).astype(jnp.float32),
        )
