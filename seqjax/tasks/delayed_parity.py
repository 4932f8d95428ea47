"""Parity: whether a sequence of coins has an even or an odd number of ones."""

import dataclasses

import jax
import jax.numpy as jnp

from seqjax.checks import check_count, check_flag, check_key, check_size
from seqjax.tasks.memory_task import Example, MemoryTask
from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class DelayedParity(MemoryTask):
    """The parity of fair coins, some steps after the last coin::

        x[t] = a coin, 0 or 1, for t < length;  then 2, a blank, for ``delay`` steps
        y[t] = (sum of the coins up to step t) mod 2

    The answer is due at the last step or, with ``every_step``, at every step, for the coins so far.
    If a single coin is unknown, the parity is a fair coin. So::

        chance = ln 2

    even for a model that forgets only one of the coins. One bit of state solves the task at any
    length, if the input can flip the bit. A linear recurrence with coefficients in (0, 1) can only
    let the state decay: in finite precision and at any depth, it cannot compute the parity of
    sequences of arbitrary length (Grazzi et al., theorem 1).

    Args:
      delay: the number of blank steps after the last coin.
      every_step: whether every step has an answer, which is much easier to learn.

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
        check_count("DelayedParity", "delay", self.delay)
        check_flag("DelayedParity", "every_step", self.every_step)

    @property
    def input_size(self) -> int:
        """3, the two sides of the coin and the blank."""
        return 3

    @property
    def output_size(self) -> int:
        """2, even and odd."""
        return 2

    def sample(self, key: Array, length: int) -> Example:
        """Draw one example of ``length`` coins.

        Returns:
          Inputs and targets ``int32[T]`` and weights ``float32[T]``, with T = length + delay.

        Raises:
          ValueError: ``length`` is not a whole number of at least 1.
        """
        check_key(key)
        check_size("DelayedParity", "length", length)
        coins = jax.random.randint(key, (length,), 0, 2, jnp.int32)
        parity = jnp.cumsum(jnp.pad(coins, (0, self.delay)), dtype=jnp.int32) % 2
        asks = self.every_step | (jnp.arange(length + self.delay) == length + self.delay - 1)
        return Example(
            jnp.pad(coins, (0, self.delay), constant_values=2), parity, asks.astype(jnp.float32)
        )
