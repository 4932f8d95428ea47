"""What all cells around another cell have in common."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from seqjax.types import Array, Cell, Noise, Params, Projected, PyTree, Role, Size, State


@dataclasses.dataclass(frozen=True)
class Wrapper(Cell):
    """A cell around another one, which passes on whatever a subclass does not change.

    `Cell.sequence` is not passed on: by default it runs the `step` of the wrapper. A subclass that
    knows how to do its part for all steps at once runs the `sequence` of the cell inside.

    Args:
      cell: the cell inside.

    Raises:
      ValueError: ``cell`` is not a cell, or cannot step where the wrapper needs its steps.
    """

    cell: Cell

    _steps_cell: ClassVar[bool] = True  # whether the wrapper always runs step by step

    def __post_init__(self) -> None:
        super().__post_init__()
        check_cell(type(self).__name__, self.cell)
        if self._steps_cell:
            check_steps(type(self).__name__, self.cell)

    def inner(self, params: Params) -> Params:
        """The parameters of the cell inside: all of them, for a wrapper that has none."""
        return params

    @property
    def output_size(self) -> Size:
        """Of the cell inside."""
        return self.cell.output_size

    @property
    def is_noisy(self) -> bool:
        """Of the cell inside."""
        return self.cell.is_noisy

    @property
    def can_step(self) -> bool:
        """Of the cell inside."""
        return self.cell.can_step

    @property
    def roles(self) -> State:
        """Of the cell inside."""
        return self.cell.roles

    @property
    def outputs_hidden(self) -> bool:
        """Of the cell inside."""
        return self.cell.outputs_hidden

    @property
    def prefers_scan(self) -> bool:
        """Of the cell inside."""
        return self.cell.prefers_scan

    def init(self, key: Array, input_size: Size, dtype: Any = jnp.float32) -> Params:
        """Of the cell inside."""
        return self.cell.init(key, input_size, dtype)

    def input_size(self, params: Params) -> Size:
        """Of the cell inside."""
        return self.cell.input_size(self.inner(params))

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Of the cell inside."""
        return self.cell.initial_state(batch_shape, dtype)

    def first_state(
        self, params: Params, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> State:
        """Of the cell inside."""
        return self.cell.first_state(self.inner(params), batch_shape, dtype)

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: Size) -> Noise:
        """Of the cell inside."""
        return self.cell.draw_noise(key, leading_shape, input_size)

    def project(self, params: Params, xs: PyTree, noise: Noise = None) -> Projected:
        """Of the cell inside."""
        return self.cell.project(self.inner(params), xs, noise)

    def step(self, params: Params, state: State, z: Projected) -> tuple[State, PyTree]:
        """Of the cell inside."""
        return self.cell.step(self.inner(params), state, z)

    def features(self, xs: PyTree) -> PyTree:
        """Of the cell inside."""
        return self.cell.features(xs)

    def leading_shape(self, params: Params, xs: PyTree) -> tuple[int, ...]:
        """Of the cell inside."""
        return self.cell.leading_shape(self.inner(params), xs)


def check_cell(owner: str, cell: Any) -> None:
    """Raise ``ValueError`` if ``cell`` is not a cell."""
    if not isinstance(cell, Cell):
        raise ValueError(f"{owner}: cell must be a cell, got {cell!r}")


def check_steps(owner: str, cell: Cell) -> None:
    """Raise ``ValueError`` if ``cell`` cannot run step by step."""
    if not cell.can_step:
        raise ValueError(
            f"{owner}: runs the cell step by step, which {cell!r} cannot; put the wrapper around "
            "the cells inside of it"
        )


def check_one_axis(owner: str, cell: Any) -> None:
    """Raise ``ValueError`` if ``cell`` is not a cell whose outputs have one feature axis."""
    check_cell(owner, cell)
    if isinstance(cell.output_size, tuple):
        raise ValueError(
            f"{owner}: the outputs of the cell must have one feature axis, got {cell!r}, whose "
            f"outputs are of shape {cell.output_size}"
        )


def has_hidden(cell: Cell) -> bool:
    """Whether the state of ``cell`` has just one array with `Role.HIDDEN`."""
    return jax.tree.leaves(cell.roles).count(Role.HIDDEN) == 1


def hidden(cell: Cell, state: State) -> Array:
    """The array of ``state`` with `Role.HIDDEN`."""
    place = jax.tree.leaves(cell.roles).index(Role.HIDDEN)
    h: Array = jax.tree.leaves(state)[place]
    return h


def with_hidden(cell: Cell, state: State, h: Array) -> State:
    """``state`` with ``h`` for its array with `Role.HIDDEN`."""
    return jax.tree.map(lambda role, s: h if role is Role.HIDDEN else s, cell.roles, state)
