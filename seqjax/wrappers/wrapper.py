"""The base class of cells that wrap one other cell, and the checks that wrappers share."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from seqjax.types import Array, Cell, Noise, Params, Projected, PyTree, Role, Size, State


@dataclasses.dataclass(frozen=True)
class Wrapper(Cell):
    """A cell that wraps another cell, and delegates to it by default.

    `Cell.sequence`, `Cell.merge_embedding` and `Cell.cudnn_weights` are not delegated. By default,
    `Cell.sequence` runs `Cell.step` of the wrapper. A subclass that can process all steps at once
    calls `Cell.sequence` of the wrapped cell.

    Args:
      cell: the wrapped cell.

    Raises:
      ValueError: ``cell`` is not a cell, or cannot run step by step although the wrapper requires
        it.
    """

    cell: Cell

    _steps_cell: ClassVar[bool] = True  # whether the wrapper always runs step by step

    def __post_init__(self) -> None:
        super().__post_init__()
        check_cell(type(self).__name__, self.cell)
        if self._steps_cell:
            check_steps(type(self).__name__, self.cell)

    def inner(self, params: Params) -> Params:
        """Return the parameters of the wrapped cell; by default these are all parameters."""
        return params

    def with_inner(self, params: Params, inner: Params) -> Params:
        """Return ``params`` with ``inner`` as the parameters of the wrapped cell."""
        return inner

    @property
    def output_size(self) -> Size:
        """The output size of the wrapped cell."""
        return self.cell.output_size

    @property
    def is_noisy(self) -> bool:
        """Whether the wrapped cell is noisy."""
        return self.cell.is_noisy

    @property
    def can_step(self) -> bool:
        """Whether the wrapped cell can run step by step."""
        return self.cell.can_step

    @property
    def roles(self) -> State:
        """The roles of the wrapped cell."""
        return self.cell.roles

    @property
    def outputs_hidden(self) -> bool:
        """Whether the wrapped cell outputs its hidden vector."""
        return self.cell.outputs_hidden

    @property
    def prefers_scan(self) -> bool:
        """Whether the wrapped cell prefers a scan."""
        return self.cell.prefers_scan

    def init(self, key: Array, input_size: Size, dtype: Any = jnp.float32) -> Params:
        """Initialise the parameters of the wrapped cell."""
        return self.cell.init(key, input_size, dtype)

    def input_size(self, params: Params) -> Size:
        """Return the input size of the wrapped cell."""
        return self.cell.input_size(self.inner(params))

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Return the zero state of the wrapped cell."""
        return self.cell.initial_state(batch_shape, dtype)

    def first_state(
        self, params: Params, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> State:
        """Return the first state of the wrapped cell."""
        return self.cell.first_state(self.inner(params), batch_shape, dtype)

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: Size) -> Noise:
        """Draw the noise of the wrapped cell."""
        return self.cell.draw_noise(key, leading_shape, input_size)

    def project(self, params: Params, xs: PyTree, noise: Noise = None) -> Projected:
        """Project the inputs for the wrapped cell."""
        return self.cell.project(self.inner(params), xs, noise)

    def step(self, params: Params, state: State, z: Projected) -> tuple[State, PyTree]:
        """Step the wrapped cell."""
        return self.cell.step(self.inner(params), state, z)

    def with_context(self, params: Params, memory: Array, mask: Array) -> Params | None:
        """Bind the context to the wrapped cell, or return None if it does not attend."""
        inner = self.cell.with_context(self.inner(params), memory, mask)
        return None if inner is None else self.with_inner(params, inner)

    def features(self, xs: PyTree) -> PyTree:
        """Return the features of the wrapped cell."""
        return self.cell.features(xs)

    def leading_shape(self, params: Params, xs: PyTree) -> tuple[int, ...]:
        """Return the time and batch axes, after the check of the wrapped cell."""
        return self.cell.leading_shape(self.inner(params), xs)


@dataclasses.dataclass(frozen=True)
class ParametrisedWrapper(Wrapper):
    """A wrapper with parameters of its own beside those of the cell, ``params.cell``."""

    def inner(self, params: Params) -> Params:
        """Return the parameters of the wrapped cell."""
        return params.cell

    def with_inner(self, params: Params, inner: Params) -> Params:
        """Return ``params`` with ``inner`` as the parameters of the wrapped cell."""
        return params._replace(cell=inner)


def check_cell(owner: str, cell: Any) -> None:
    """Raise ``ValueError`` if ``cell`` is not a cell."""
    if not isinstance(cell, Cell):
        raise ValueError(f"{owner}: cell must be a cell, got {cell!r}")


def check_steps(owner: str, cell: Cell) -> None:
    """Raise ``ValueError`` if ``cell`` cannot run step by step."""
    if not cell.can_step:
        raise ValueError(
            f"{owner}: the cell must run step by step, which {cell!r} cannot; wrap the cells "
            "inside it instead"
        )


def check_one_axis(owner: str, cell: Any) -> None:
    """Raise ``ValueError`` if ``cell`` is not a cell whose outputs have one feature axis."""
    check_cell(owner, cell)
    if isinstance(cell.output_size, tuple):
        raise ValueError(
            f"{owner}: the outputs of the cell must have one feature axis, got {cell!r}, whose "
            f"outputs are of shape {cell.output_size}"
        )


def check_same_size(owner: str, input_size: int, output_size: int) -> None:
    """Raise ``ValueError`` if the inputs and outputs of a cell differ in size."""
    if input_size != output_size:
        raise ValueError(
            f"{owner}: inputs and outputs must have the same size, got {input_size} input features "
            f"and {output_size} output features; add an InputProjection below, or an "
            "OutputProjection inside"
        )


def has_hidden(cell: Cell) -> bool:
    """Whether the state of ``cell`` has exactly one ``Role.HIDDEN`` array."""
    return jax.tree.leaves(cell.roles).count(Role.HIDDEN) == 1


def hidden(cell: Cell, state: State) -> Array:
    """Return the ``Role.HIDDEN`` array of ``state``."""
    place = jax.tree.leaves(cell.roles).index(Role.HIDDEN)
    h: Array = jax.tree.leaves(state)[place]
    return h


def with_hidden(cell: Cell, state: State, h: Array) -> State:
    """Return ``state`` with ``h`` as its ``Role.HIDDEN`` array."""
    return jax.tree.map(lambda role, s: h if role is Role.HIDDEN else s, cell.roles, state)
