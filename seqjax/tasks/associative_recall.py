"""Associative recall: pairs of a key and a value, then a query for the value of one key."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from seqjax.checks import check_key, check_size
from seqjax.tasks.memory_task import Example, MemoryTask
from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class AssociativeRecall(MemoryTask):
    """Associative recall: output the value that followed a key, among ``length`` pairs::

        input   k v  k v  ...  k v  k'        k' is one of the earlier keys
        answer                      v'        v' is the value that followed it

    The tokens 0 ... V-1 are values, and those from V on are keys. The keys of an example differ,
    values are drawn independently and uniformly, and the query k' is uniform over the keys of the
    example. So::

        chance = ln V

    Args:
      keys: the number of keys to draw from.
      values: V, the number of values.

    Raises:
      ValueError: an argument is not a whole number of at least 1.

    Reference: Ba et al., "Using fast weights to attend to the recent past", 2016, section 4.1. The
    paper draws from 26 letters and 10 digits, and has two more steps before the query.

    >>> task = AssociativeRecall(keys=4, values=3)
    >>> example = task.sample(jax.random.key(0), length=2)
    >>> print(example.inputs, example.targets[-1])
    [3 2 5 1 5] 1
    """

    keys: int = 26
    values: int = 10

    def __post_init__(self) -> None:
        check_size("AssociativeRecall", "keys", self.keys)
        check_size("AssociativeRecall", "values", self.values)

    @property
    def input_size(self) -> int:
        """The number of tokens, keys and values together."""
        return self.keys + self.values

    @property
    def output_size(self) -> int:
        """V, the number of values."""
        return self.values

    def values_alone(self, length: int) -> float:
        """The loss of the best model that knows the values of an example, but not their keys.

        If k of the n values are v, the model predicts v with probability k / n. The loss is the
        mean entropy of this prediction over all examples::

            -V sum over k of P(k) (k / n) ln(k / n),  k from the binomial of n trials of 1 / V

        Raises:
          ValueError: ``length`` is not a whole number in ``[1, keys]``.

        >>> print(f"{AssociativeRecall().values_alone(3):.4f}")
        0.9629
        """
        self._check_length(length)
        n, p = length, 1 / self.values
        return -self.values * math.fsum(
            math.comb(n, k) * p**k * (1 - p) ** (n - k) * (k / n) * math.log(k / n)
            for k in range(1, n + 1)
        )

    def sample(self, key: Array, length: int) -> Example:
        """Draw one example of ``length`` pairs.

        Returns:
          Inputs and targets ``int32[T]`` and weights ``float32[T]``, with T = 2 * length + 1.

        Raises:
          ValueError: ``length`` is not a whole number in ``[1, keys]``.
        """
        check_key(key)
        self._check_length(length)
        key_key, value_key, query_key = jax.random.split(key, 3)
        all_keys = self.values + jnp.arange(self.keys, dtype=jnp.int32)
        keys = jax.random.permutation(key_key, all_keys)[:length]
        values = jax.random.randint(value_key, (length,), 0, self.values, jnp.int32)
        asked = jax.random.randint(query_key, (), 0, length, jnp.int32)
        pairs = jnp.stack([keys, values], -1).reshape(-1)
        last = jnp.arange(2 * length + 1) == 2 * length
        return Example(
            jnp.append(pairs, keys[asked]),
            jnp.where(last, values[asked], 0),
            last.astype(jnp.float32),
        )

    def _check_length(self, length: int) -> None:
        check_size("AssociativeRecall", "length", length)
        if length > self.keys:
            raise ValueError(
                f"AssociativeRecall: length must be at most keys={self.keys}, since the keys of an "
                f"example differ, got {length}"
            )
