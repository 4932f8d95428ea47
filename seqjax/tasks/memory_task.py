"""What the memory tasks have in common: a sequence, and questions about what was in it."""

import abc
import math
from typing import ClassVar, NamedTuple

from seqjax.losses import sequence_loss
from seqjax.types import Array


class Example(NamedTuple):
    """A sequence and the answers to give; a batch of them has axes in front."""

    inputs: Array  # int32[T] tokens, or float32[T, D] features
    targets: Array  # int32[T] classes, or float32[T] values
    weights: Array  # float32[T], 1 at the steps that ask and 0 elsewhere


class MemoryTask(abc.ABC):
    """A task that cannot be solved without remembering.

    A subclass says what an example is. All of them are deterministic, so the least loss that there
    is, the `optimum`, is 0. The most that a model has to accept is `chance`, the exact loss of the
    best one that sees nothing of the sequence.
    """

    optimum: ClassVar[float] = 0.0

    @property
    @abc.abstractmethod
    def input_size(self) -> int:
        """D: how many features the inputs have, or how many tokens there are."""

    @property
    @abc.abstractmethod
    def output_size(self) -> int:
        """V: how many logits to give, or 1 for a value."""

    @property
    def chance(self) -> float:
        """The loss of the best model that sees nothing: ``ln V``, as all answers are as likely."""
        return math.log(self.output_size)

    @abc.abstractmethod
    def sample(self, key: Array, length: int) -> Example:
        """Draw one example; `jax.vmap` over keys draws a batch.

        Args:
          key: a key from `jax.random.key`.
          length: how long there is to remember for; the task says in which unit.

        Raises:
          ValueError: there is no example of this length.
        """

    def loss(self, outputs: Array, example: Example) -> Array:
        """The loss that `chance` is one of: cross-entropy in nats, the mean over all answers.

        Args:
          outputs: ``[..., B, T, V]``.
          example: a batch of examples.

        Returns:
          A scalar.
        """
        return sequence_loss(outputs, example.targets, weights=example.weights)
