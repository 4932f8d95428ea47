"""The base class of memory tasks: a sequence, then questions about its content."""

import abc
import math
from typing import Any, ClassVar, NamedTuple

from seqjax.arrays import given_array
from seqjax.checks import describe
from seqjax.losses import sequence_loss
from seqjax.types import Array


class Example(NamedTuple):
    """A sequence with its targets; a batch has leading axes.

    Attributes:
      inputs: tokens ``int32[T]`` or features ``float32[T, D]``.
      targets: classes ``int32[T]`` or values ``float32[T]``.
      weights: ``float32[T]``, 1 at the steps with an answer and 0 at others.
    """

    inputs: Array
    targets: Array
    weights: Array


class MemoryTask(abc.ABC):
    """A task that cannot be solved without memory.

    A subclass defines the examples. The answers are determined by the inputs, so the lowest
    possible loss, ``optimum``, is 0. `chance` is the exact loss of the best model that ignores its
    inputs.
    """

    optimum: ClassVar[float] = 0.0

    @property
    @abc.abstractmethod
    def input_size(self) -> int:
        """D, the number of input features, or the number of tokens in the vocabulary."""

    @property
    @abc.abstractmethod
    def output_size(self) -> int:
        """V, the number of classes, or 1 for a value."""

    @property
    def chance(self) -> float:
        """The loss of the best model that ignores its inputs, ``ln V`` for uniform answers."""
        return math.log(self.output_size)

    @abc.abstractmethod
    def sample(self, key: Array, length: int) -> Example:
        """Draw one example; use `jax.vmap` over keys to draw a batch.

        Args:
          key: a key from `jax.random.key`.
          length: the length of the dependency; each task defines its unit.

        Raises:
          ValueError: the task has no example of this length.
        """

    def loss(self, outputs: Array, example: Example) -> Array:
        """The mean cross-entropy of the answers in nats, comparable with `chance`.

        Args:
          outputs: logits ``[B, T, V]``.
          example: a batch of examples.

        Returns:
          A scalar.
        """
        check_example(type(self).__name__, example)
        outputs = given_array("outputs", outputs)
        if outputs.shape[-1:] != (self.output_size,):
            raise ValueError(
                f"{type(self).__name__}: outputs must be logits [B, T, {self.output_size}], got "
                f"shape {outputs.shape}"
            )
        return sequence_loss(outputs, example.targets, weights=example.weights)


def check_example(owner: str, example: Any) -> None:
    """Raise ``ValueError`` unless ``example`` is an `Example`."""
    if not isinstance(example, Example):
        raise ValueError(
            f"{owner}: example must be an Example from sample, got {describe(example)}"
        )
    for name in ("targets", "weights"):
        given_array(f"{owner}: {name}", getattr(example, name))
