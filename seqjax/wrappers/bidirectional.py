"""Two cells that run over one sequence in opposite directions."""

import dataclasses
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp

from seqjax.types import Array, Cell, Loop, Noise, Params, PyTree, Size, State
from seqjax.wrappers.wrapper import check_cell


class Directions(NamedTuple):
    """The parameters, states or noise of a `Bidirectional`.

    Attributes:
      forward: those of the forward cell.
      backward: those of the backward cell.
    """

    forward: Any
    backward: Any


@dataclasses.dataclass(frozen=True)
class Bidirectional(Cell):
    """A bidirectional layer: a cell that reads the past and a cell that reads the future.

    Maps ``[B, T, D]`` to ``[B, T, H_f + H_b]``, the output widths of both cells::

        s_f', f_t = forward(s_f, x_t)       t = 0, 1, ...
        s_b', b_t = backward(s_b, x_t)      t = length - 1, length - 2, ...
        y_t       = concat(f_t, b_t)

    The backward cell starts at the last step of each row. Inside a `Reset` it also restarts at the
    last step of each sequence in the row. Parameters and states are `Directions`; the final
    backward state is the one after step 0. The layer runs with `seqjax.unroll` and stacks with
    other cells. It has no `Cell.step`, because a single step has no future. The layer corresponds
    to TensorFlow's ``bidirectional_dynamic_rnn`` with concatenated outputs. A `Stack` of such
    layers corresponds to TensorFlow's ``stack_bidirectional_dynamic_rnn`` and PyTorch's
    ``bidirectional=True``.

    Args:
      forward: the cell that reads the past.
      backward: the cell that reads the future.

    Raises:
      ValueError: ``forward`` or ``backward`` is not a cell, or their output shapes differ before
        the last axis.

    Reference: Schuster and Paliwal, "Bidirectional recurrent neural networks", 1997.

    >>> from seqjax import GRU, LSTM, Bidirectional, Stack, unroll
    >>> cell = Stack([Bidirectional(GRU(4), GRU(4)), LSTM(2)])
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> xs = jnp.ones((2, 5, 3), jnp.float32)
    >>> state, ys = unroll(cell, params, xs, lengths=jnp.array([5, 2]))
    >>> state[0].backward.h.shape, params[1].input_kernel.shape, ys.shape
    ((2, 4), (8, 8), (2, 5, 2))
    """

    forward: Cell
    backward: Cell

    def __post_init__(self) -> None:
        super().__post_init__()
        check_cell("Bidirectional", self.forward)
        check_cell("Bidirectional", self.backward)
        if self._axes(self.forward) != self._axes(self.backward):
            raise ValueError(
                "Bidirectional: the outputs of both cells must agree in all axes but the last, "
                f"got {self.forward.output_size} and {self.backward.output_size}"
            )

    @staticmethod
    def _axes(cell: Cell) -> tuple[int, ...]:
        return cell.output_size[:-1] if isinstance(cell.output_size, tuple) else ()

    @property
    def output_size(self) -> Size:
        """The sum of the output sizes of both cells."""
        forward, backward = self.forward.output_size, self.backward.output_size
        if isinstance(forward, tuple):
            return (*forward[:-1], forward[-1] + backward[-1])
        return forward + backward

    @property
    def is_noisy(self) -> bool:
        """Whether either cell is noisy."""
        return self.forward.is_noisy or self.backward.is_noisy

    @property
    def can_step(self) -> bool:
        """False: a single step has no future."""
        return False

    @property
    def roles(self) -> Directions:
        """The roles of both cells."""
        return Directions(self.forward.roles, self.backward.roles)

    def init(self, key: Array, input_size: Size, dtype: Any = jnp.float32) -> Directions:
        """Initialise both cells with separate keys."""
        keys = jax.random.split(key)
        return Directions(
            self.forward.init(keys[0], input_size, dtype),
            self.backward.init(keys[1], input_size, dtype),
        )

    def input_size(self, params: Directions) -> Size:
        """Return the input size of the forward cell, which is that of both cells."""
        return self.forward.input_size(params.forward)

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> Directions:
        """Return the zero states of both cells."""
        return Directions(
            self.forward.initial_state(batch_shape, dtype),
            self.backward.initial_state(batch_shape, dtype),
        )

    def first_state(
        self, params: Directions, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> Directions:
        """Return the first states of both cells."""
        return Directions(
            self.forward.first_state(params.forward, batch_shape, dtype),
            self.backward.first_state(params.backward, batch_shape, dtype),
        )

    def draw_noise(
        self, key: Array, leading_shape: tuple[int, ...], input_size: Size
    ) -> Directions:
        """Draw the noise of both cells with separate keys."""
        keys = jax.random.split(key)
        return Directions(
            self.forward.draw_noise(keys[0], leading_shape, input_size),
            self.backward.draw_noise(keys[1], leading_shape, input_size),
        )

    def features(self, xs: PyTree) -> PyTree:
        """Return the features of the forward cell."""
        return self.forward.features(xs)

    def merge_embedding(self, params: Directions, table: Array) -> Directions | None:
        """Merge the table into both cells, or return None unless both can."""
        merged = Directions(
            self.forward.merge_embedding(params.forward, table),
            self.backward.merge_embedding(params.backward, table),
        )
        return None if None in (merged.forward, merged.backward) else merged

    def with_context(self, params: Directions, memory: Array, mask: Array) -> Directions | None:
        """Bind the context to the cells that attend, or return None if neither does."""
        forward = self.forward.with_context(params.forward, memory, mask)
        backward = self.backward.with_context(params.backward, memory, mask)
        if forward is None and backward is None:
            return None
        return Directions(
            params.forward if forward is None else forward,
            params.backward if backward is None else backward,
        )

    def leading_shape(self, params: Directions, xs: PyTree) -> tuple[int, ...]:
        """Return the time and batch axes, after the checks of both cells."""
        self.backward.leading_shape(params.backward, xs)
        return self.forward.leading_shape(params.forward, xs)

    def sequence(
        self, loop: Loop, params: Directions, state: Directions, xs: PyTree, noise: Noise = None
    ) -> tuple[Directions, PyTree]:
        """Run each cell in its direction and concatenate their outputs."""
        noise = noise or Directions(None, None)
        forward_state, forward_ys = self.forward.sequence(
            loop, params.forward, state.forward, xs, noise.forward
        )
        loop, xs = loop.reversed(xs)
        backward_state, backward_ys = self.backward.sequence(
            loop, params.backward, state.backward, xs, noise.backward
        )
        ys = jax.tree.map(lambda *y: jnp.concatenate(y, axis=-1), forward_ys, backward_ys)
        return Directions(forward_state, backward_state), ys

    def project(self, params: Params, xs: PyTree, noise: Noise = None) -> NoReturn:
        """Raise ``ValueError``, as `Bidirectional.step` does."""
        self.step(params, None, xs)

    def step(self, params: Params, state: State, z: PyTree) -> NoReturn:
        """Raise ``ValueError``, because a single step has no future."""
        raise ValueError(
            f"{self} reads a sequence from both ends, so it cannot run step by step; run it over "
            "the whole sequence with seqjax.unroll"
        )
