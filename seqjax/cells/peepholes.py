"""Peepholes: gates that read the memory."""

from typing import NamedTuple

from seqjax.operations.affine import affine
from seqjax.types import Array


class Peepholes(NamedTuple):
    """The peephole kernels of an LSTM, from its memory to its gates.

    A kernel is diagonal, ``[H]``, or a full matrix, ``[H, H]``, in a `PhasedLSTM`. It is None for a
    gate that has no peephole.

    Attributes:
      i: the kernel of the input gate.
      f: the kernel of the forget gate.
      o: the kernel of the output gate.
    """

    i: Array | None = None
    f: Array | None = None
    o: Array | None = None


def peep(gate: Array, kernel: Array | None, c: Array) -> Array:
    """Add the peephole of the memory ``c`` to a gate, if there is one.

    >>> import jax.numpy as jnp
    >>> print(peep(jnp.ones(2), jnp.array([0.5, 1.0]), jnp.full(2, 4.0)))
    [3. 5.]
    """
    return gate if kernel is None else gate + affine(c, kernel)
