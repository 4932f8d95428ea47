"""A cell that also outputs its state."""

import dataclasses
from typing import NamedTuple

from seqjax.types import Params, Projected, PyTree, State
from seqjax.wrappers.wrapper import Wrapper


class OutputAndState(NamedTuple):
    """The output of `WithState`.

    Attributes:
      output: the output of the wrapped cell, ``[B, T, H]``.
      state: the state after each step, arrays ``[B, T, ...]``.
    """

    output: PyTree
    state: State


@dataclasses.dataclass(frozen=True)
class WithState(Wrapper):
    """A cell that outputs its state after each step beside its output.

    Parameters and state are those of the wrapped cell; the output is an `OutputAndState`::

        s', y  = cell(s, x)
        output = (y, s')

    `seqjax.unroll` then returns the state after every step instead of only the last one. Past the
    length of a row these states are 0, like all outputs. The wrapped cell runs step by step, even
    if it is a `Stack`. This wrapper must be the outermost one, because other cells take only an
    output. TensorFlow's ``dynamic_rnn`` returns only the last state; its ``scan`` returns the
    states of all steps.

    Args:
      cell: the wrapped cell.

    Raises:
      ValueError: ``cell`` is not a cell, or cannot run step by step.

    >>> import jax, jax.numpy as jnp
    >>> from seqjax import LSTM, WithState, unroll
    >>> cell = WithState(LSTM(4))
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> final, (ys, states) = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> states.c.shape, bool((states.c[:, -1] == final.c).all())
    ((2, 7, 4), True)
    """

    @property
    def outputs_hidden(self) -> bool:
        """False: the output includes the whole state."""
        return False

    def step(self, params: Params, state: State, z: Projected) -> tuple[State, OutputAndState]:
        """Step the wrapped cell, and return its output with its state."""
        state, y = self.cell.step(params, state, z)
        return state, OutputAndState(y, state)
