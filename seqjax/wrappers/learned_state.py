"""A state to start from that is learned."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.types import Array, Loop, Noise, Params, PyTree, Size, State
from seqjax.wrappers.wrapper import Wrapper


class LearnedStateParams(NamedTuple):
    """Parameters of `LearnedState`."""

    cell: Params  # of the cell inside
    state: State  # arrays [H], that of one row; the real and imaginary part of complex ones


@dataclasses.dataclass(frozen=True)
class LearnedState(Wrapper):
    """A cell whose first state is a parameter, the same for every row::

        s_0 = state                  in place of 0
        s', y = cell(s, x)

    It is where `seqjax.unroll` starts without an ``initial_state``, `seqjax.step` without a state,
    and a `Reset` starts over. Initially it is 0, as a cell's own.

    Args:
      cell: the cell inside.

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

    def inner(self, params: LearnedStateParams) -> Params:
        """The parameters of the cell inside."""
        return params.cell

    def init(self, key: Array, input_size: Size, dtype: Any = jnp.float32) -> LearnedStateParams:
        """Draw those of the cell, and start from its first state."""
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
        """The learned one, for each row."""

        def one(zeros: Array, learned: Array | tuple[Array, Array]) -> Array:
            if isinstance(learned, tuple):
                real, imag = (part.astype(dtype) for part in learned)
                learned = jax.lax.complex(real, imag)
            return zeros + jnp.broadcast_to(learned.astype(zeros.dtype), zeros.shape)

        return jax.tree.map(one, self.initial_state(batch_shape, dtype), params.state)

    def merge_embedding(
        self, params: LearnedStateParams, table: Array
    ) -> LearnedStateParams | None:
        """Of the cell inside."""
        cell = self.cell.merge_embedding(params.cell, table)
        return None if cell is None else params._replace(cell=cell)

    def sequence(
        self, loop: Loop, params: LearnedStateParams, state: State, xs: PyTree, noise: Noise = None
    ) -> tuple[State, PyTree]:
        """Run the cell inside; step by step where resets need the learned state."""
        if loop.resets:
            return loop.run(self, params, state, xs, noise)
        return self.cell.sequence(loop, params.cell, state, xs, noise)
