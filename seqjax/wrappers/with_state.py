"""A cell that puts its state out too, for those who want to look into it."""

import dataclasses
from typing import NamedTuple

from seqjax.types import Params, Projected, PyTree, State
from seqjax.wrappers.wrapper import Wrapper


class OutputAndState(NamedTuple):
    """What `WithState` puts out."""

    output: PyTree  # [B, T, H], of the cell inside
    state: State  # of arrays [B, T, ...], after each step


@dataclasses.dataclass(frozen=True)
class WithState(Wrapper):
    """A cell that puts out the state after each step beside its output::

        s', y = cell(s, x)
        output = (y, s')

    So one `seqjax.unroll` gives every state of a sequence and not only its last one; past a row's
    length they are 0 like all outputs. Parameters and state are those of the cell inside, which
    runs step by step, layers of a stack as well. It goes outermost: what another cell takes is an
    output alone.

    Args:
      cell: the cell inside.

    Raises:
      ValueError: ``cell`` is not a cell.

    TensorFlow's ``dynamic_rnn`` gives the last state only, and its ``scan`` those of all steps.

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
        """No: the output holds the whole state."""
        return False

    def step(self, params: Params, state: State, z: Projected) -> tuple[State, OutputAndState]:
        """Step the cell inside, and put out both."""
        state, y = self.cell.step(params, state, z)
        return state, OutputAndState(y, state)
