"""A learned initial state."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.types import Array, Loop, Noise, Params, PyTree, Size, State
from seqjax.wrappers.wrapper import ParametrisedWrapper


class LearnedStateParams(NamedTuple):
    """Parameters of `LearnedState`.

    Attributes:
      cell: the parameters of the wrapped cell.
      state: the state of one row, arrays ``[H]``; a complex array is a pair of its real and
        imaginary parts.
    """

    cell: Params
    state: State


@dataclasses.dataclass(frozen=True)
class LearnedState(ParametrisedWrapper):
    """A cell whose first state is a parameter, shared by all rows.

    State and shapes are those of the wrapped cell::

        s_0   = state
        s', y = cell(s, x)

    `seqjax.unroll` without an ``initial_state`` and `seqjax.step` without a state start from the
    learned state, and a `Reset` around the cell resets to it. Initially it is the first state of
    the wrapped cell, which is zero in most cells.

    Args:
      cell: the wrapped cell.

    Raises:
      ValueError: ``cell`` is not a cell.

    Reference: Forcada and Carrasco, "Learning the initial state of a second-order recurrent neural
    network during regular-language inference", 1995.

    >>> from seqjax import GRU, LearnedState, unroll
    >>> cell = LearnedState(GRU(4))
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> xs = jnp.ones((2, 7, 3), jnp.float32)
    >>> grads = jax.grad(lambda params: unroll(cell, params, xs)[1].sum())(params)
    >>> bool((grads.state.h != 0).all())
    True
    """

    _steps_cell: ClassVar[bool] = False

    def init(self, key: Array, input_size: Size, dtype: Any = jnp.float32) -> LearnedStateParams:
        """Initialise the wrapped cell, and the learned state to its first state."""
        params = self.cell.init(key, input_size, dtype)
        first = self.cell.first_state(params, (), jnp.float32)

        def parts(s: Array) -> Array | tuple[Array, Array]:
            if jnp.iscomplexobj(s):
                return s.real.astype(dtype), s.imag.astype(dtype)
            return s.astype(dtype)

        return LearnedStateParams(params, jax.tree.map(parts, first))

    def first_state(
        self,
        params: LearnedStateParams,
        batch_shape: tuple[int, ...] = (),
        dtype: Any = jnp.float32,
    ) -> State:
        """Return the learned state for each row."""

        def one(zeros: Array, learned: Array | tuple[Array, Array]) -> Array:
            if isinstance(learned, tuple):
                real, imag = (part.astype(dtype) for part in learned)
                learned = jax.lax.complex(real, imag)
            return zeros + jnp.broadcast_to(learned.astype(zeros.dtype), zeros.shape)

        return jax.tree.map(one, self.initial_state(batch_shape, dtype), params.state)

    def merge_embedding(
        self, params: LearnedStateParams, table: Array
    ) -> LearnedStateParams | None:
        """Merge the table into the wrapped cell, or return None if it cannot."""
        cell = self.cell.merge_embedding(params.cell, table)
        return None if cell is None else params._replace(cell=cell)

    def sequence(
        self, loop: Loop, params: LearnedStateParams, state: State, xs: PyTree, noise: Noise = None
    ) -> tuple[State, PyTree]:
        """Run the wrapped cell, step by step if resets need the learned state."""
        if loop.resets:
            return loop.run(self, params, state, xs, noise)
        return self.cell.sequence(loop, params.cell, state, xs, noise)
