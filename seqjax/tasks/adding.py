"""The adding problem: the sum of two marked numbers in a sequence."""

import dataclasses

import jax
import jax.numpy as jnp

from seqjax.arrays import given_array
from seqjax.checks import check_key, check_size
from seqjax.tasks.memory_task import Example, MemoryTask, check_example
from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class Adding(MemoryTask):
    """The adding problem: output the sum of two marked numbers at the last step::

        x[t] = (u[t], m[t]),  u[t] uniform in [0, 1),  m[t] = 1 at two steps, else 0
        y[T-1] = sum over t of u[t] * m[t]

    One step of the first half and one step of the second half are marked, both drawn uniformly. The
    loss is the mean squared error. A model that ignores its inputs predicts the mean, 1, and its
    loss is the variance::

        chance = 2 * Var(u) = 2 / 12 = 1/6

    Reference: Hochreiter and Schmidhuber, "Long short-term memory", 1997, section 5.4, in the form
    of Arjovsky et al., "Unitary evolution recurrent neural networks", 2016, section 5.2.

    >>> example = Adding().sample(jax.random.key(0), length=6)
    >>> print(example.inputs[:, 1], example.weights)
    [0. 0. 1. 1. 0. 0.] [0. 0. 0. 0. 0. 1.]
    >>> print(f"{Adding().chance:.6f}")
    0.166667
    """

    @property
    def input_size(self) -> int:
        """2, the value and the mark."""
        return 2

    @property
    def output_size(self) -> int:
        """1, the sum."""
        return 1

    @property
    def chance(self) -> float:
        """1/6, the variance of the sum."""
        return 1 / 6

    def sample(self, key: Array, length: int) -> Example:
        """Draw one example of ``length`` steps.

        Returns:
          Inputs ``float32[T, 2]``; targets and weights ``float32[T]``, 0 before the last step.

        Raises:
          ValueError: ``length`` is less than 2.
        """
        check_key(key)
        check_size("Adding", "length", length)
        if length < 2:
            raise ValueError(f"Adding: length must be at least 2, for two marks, got {length}")
        value_key, *mark_keys = jax.random.split(key, 3)
        values = jax.random.uniform(value_key, (length,), jnp.float32)
        half = length // 2
        first = jax.random.randint(mark_keys[0], (), 0, half, jnp.int32)
        second = jax.random.randint(mark_keys[1], (), half, length, jnp.int32)
        steps = jnp.arange(length, dtype=jnp.int32)
        marks = ((steps == first) | (steps == second)).astype(jnp.float32)
        last = (steps == length - 1).astype(jnp.float32)
        return Example(jnp.stack([values, marks], -1), last * (values * marks).sum(), last)

    def loss(self, outputs: Array, example: Example) -> Array:
        """The mean squared error of the answers.

        Args:
          outputs: ``[B, T, 1]``.
          example: a batch of examples.

        Returns:
          A scalar.
        """
        check_example("Adding", example)
        outputs = jnp.asarray(given_array("outputs", outputs))
        targets, weights = (
            jnp.asarray(given_array(name, getattr(example, name)))
            for name in ("targets", "weights")
        )
        wanted = targets.shape
        if outputs.shape != (*wanted, 1) or not jnp.issubdtype(outputs.dtype, jnp.floating):
            raise ValueError(
                f"Adding: outputs must be floating of shape {(*wanted, 1)}, one for each target, "
                f"got {outputs.dtype} of shape {outputs.shape}"
            )
        if weights.shape != wanted or not all(
            jnp.issubdtype(a.dtype, jnp.floating) for a in (targets, weights)
        ):
            raise ValueError(
                f"Adding: targets and weights must be floating and of one shape, got "
                f"{targets.dtype} of shape {wanted} and {weights.dtype} of shape {weights.shape}"
            )
        targets, weights = targets.astype(outputs.dtype), weights.astype(outputs.dtype)
        return (weights * (outputs[..., 0] - targets) ** 2).sum() / weights.sum()
