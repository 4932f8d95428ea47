"""Two cells over one sequence, one in each direction."""

import dataclasses
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp

from seqjax.types import Array, Cell, Loop, Noise, Params, PyTree, Size, State
from seqjax.wrappers.wrapper import check_cell


class Directions(NamedTuple):
    """The parameters, states or noise of both directions of a `Bidirectional`."""

    forward: Any
    backward: Any


@dataclasses.dataclass(frozen=True)
class Bidirectional(Cell):
    """A cell that sees the past beside one that sees the future::

        s_f', f_t = forward(s_f, x_t)       t = 0, 1, ...
        s_b', b_t = backward(s_b, x_t)      t = length - 1, length - 2, ...
        y_t       = concat(f_t, b_t)

    TensorFlow's ``bidirectional_dynamic_rnn`` with its outputs joined. The backward cell starts at
    each row's own last step. Inside a `Reset` it also starts over at the last step of each sequence
    of the row. Parameters and states are `Directions`; the final backward state is the one after
    step 0. The layer runs by `seqjax.unroll` and stacks with cells, but has no `step`: a single
    step has no future. A `Stack` of such layers is TensorFlow's
    ``stack_bidirectional_dynamic_rnn`` and PyTorch's ``bidirectional=True``.

    Args:
      forward: the cell that sees the past.
      backward: the cell that sees the future.

    Raises:
      ValueError: ``forward`` or ``backward`` is not a cell, or their outputs have other axes.

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
                "Bidirectional: the outputs of both cells must have the same axes but for the last "
                f"one, got {self.forward.output_size} and {self.backward.output_size} features"
            )

    @staticmethod
    def _axes(cell: Cell) -> tuple[int, ...]:
        return cell.output_size[:-1] if isinstance(cell.output_size, tuple) else ()

    @property
    def output_size(self) -> Size:
        """Those of both cells together."""
        forward, backward = self.forward.output_size, self.backward.output_size
        if isinstance(forward, tuple):
            return (*forward[:-1], forward[-1] + backward[-1])
        return forward + backward

    @property
    def is_noisy(self) -> bool:
        """Whether one of the cells is."""
        return self.forward.is_noisy or self.backward.is_noisy

    @property
    def can_step(self) -> bool:
        """No."""
        return False

    @property
    def roles(self) -> Directions:
        """Of both cells."""
        return Directions(self.forward.roles, self.backward.roles)

    def init(self, key: Array, input_size: Size, dtype: Any = jnp.float32) -> Directions:
        """Draw those of both cells, from keys of their own."""
        keys = jax.random.split(key)
        return Directions(
            self.forward.init(keys[0], input_size, dtype),
            self.backward.init(keys[1], input_size, dtype),
        )

    def input_size(self, params: Directions) -> Size:
        """Of the forward cell; the backward one has the same inputs."""
        return self.forward.input_size(params.forward)

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> Directions:
        """Of both cells."""
        return Directions(
            self.forward.initial_state(batch_shape, dtype),
            self.backward.initial_state(batch_shape, dtype),
        )

    def first_state(
        self, params: Directions, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> Directions:
        """Of both cells."""
        return Directions(
            self.forward.first_state(params.forward, batch_shape, dtype),
            self.backward.first_state(params.backward, batch_shape, dtype),
        )

    def draw_noise(
        self, key: Array, leading_shape: tuple[int, ...], input_size: Size
    ) -> Directions:
        """Draw that of both cells, from keys of their own."""
        keys = jax.random.split(key)
        return Directions(
            self.forward.draw_noise(keys[0], leading_shape, input_size),
            self.backward.draw_noise(keys[1], leading_shape, input_size),
        )

    def features(self, xs: PyTree) -> PyTree:
        """Of the forward cell."""
        return self.forward.features(xs)

    def merge_embedding(self, params: Directions, table: Array) -> Directions | None:
        """Of both cells, if both can."""
        merged = Directions(
            self.forward.merge_embedding(params.forward, table),
            self.backward.merge_embedding(params.backward, table),
        )
        return None if None in (merged.forward, merged.backward) else merged

    def leading_shape(self, params: Directions, xs: PyTree) -> tuple[int, ...]:
        """The time and batch axes, after a check for both cells."""
        self.backward.leading_shape(params.backward, xs)
        return self.forward.leading_shape(params.forward, xs)

    def sequence(
        self, loop: Loop, params: Directions, state: Directions, xs: PyTree, noise: Noise = None
    ) -> tuple[Directions, PyTree]:
        """Run one cell each way, and join their outputs."""
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
        """Raise ``ValueError``: see `step`."""
        self.step(params, None, xs)

    def step(self, params: Params, state: State, z: PyTree) -> NoReturn:
        """Raise ``ValueError``: a single step has no future."""
        raise ValueError(
            f"{self} reads a sequence from both ends, so it cannot run step by step; run it over "
            "the whole sequence with seqjax.unroll"
        )
