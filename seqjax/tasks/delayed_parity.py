"""Parity: was there an even or an odd number of ones? One bit to keep, and to flip at each one."""

import dataclasses
import operator

import jax
import jax.numpy as jnp

from seqjax.checks import check_size
from seqjax.tasks.memory_task import Example, MemoryTask
from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class DelayedParity(MemoryTask):
    """The parity of fair coins, asked for some steps after the last one::

        x[t] = a coin, 0 or 1,  for t < length;  2, a blank, for the ``delay`` steps after it
        y[t] = (sum of the coins up to step t) mod 2

    The last step asks; with ``every_step`` all do, for the parity so far. Any coin that is not
    known leaves the parity a fair coin, so

        chance = ln 2

    also for a model that has forgotten nothing but one of the coins. One bit of state solves it at
    any length, if the input can flip the bit. A linear recurrence whose factors lie in (0, 1) can
    only let it fade, and no such recurrence of finite precision, however deep, knows the parity of
    sequences of any length (Grazzi et al., theorem 1).

    Args:
      delay: blank steps before the question.
      every_step: whether every step asks, which is much easier to learn from.

    Raises:
      ValueError: ``delay`` is not a whole number of at least 0.

    References: Grazzi et al., "Unlocking state-tracking in linear RNNs through negative
    eigenvalues", 2024; Sarrof et al., "The expressive capacity of state space models: a formal
    language perspective", 2024.

    >>> example = DelayedParity(delay=2).sample(jax.random.key(1), length=5)
    >>> print(example.inputs)
    [0 1 0 1 0 2 2]
    >>> print(example.targets)
    [0 1 1 0 0 0 0]
    >>> print(example.weights)
    [0. 0. 0. 0. 0. 0. 1.]
    """

    delay: int = 4
    every_step: bool = False

    def __post_init__(self) -> None:
        try:
            ok = not isinstance(self.delay, bool) and operator.index(self.delay) >= 0
        except TypeError:
            ok = False
        if not ok:
            raise ValueError(
                f"DelayedParity: delay must be a whole number of at least 0, got {self.delay!r}"
            )

    @property
    def input_size(self) -> int:
        """3: the two sides of the coin, and the blank."""
        return 3

    @property
    def output_size(self) -> int:
        """2: even and odd."""
        return 2

    def sample(self, key: Array, length: int) -> Example:
        """Draw one example of ``length`` coins.

        Returns:
          Inputs and targets int32 ``[T]`` and weights float32 ``[T]``, with T = length + delay.

        Raises:
          ValueError: ``length`` is not a whole number of at least 1.
        """
        check_size("DelayedParity", "length", length)
        coins = jax.random.randint(key, (length,), 0, 2, jnp.int32)
        parity = jnp.cumsum(jnp.pad(coins, (0, self.delay)), dtype=jnp.int32) % 2
        asks = self.every_step | (jnp.arange(length + self.delay) == length + self.delay - 1)
        return Example(
            jnp.pad(coins, (0, self.delay), constant_values=2), parity, asks.astype(jnp.float32)
        )
