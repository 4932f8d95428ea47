"""What all cells around another cell have in common."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.types import Array, Cell, Noise, Params, Projected, PyTree, State


@dataclasses.dataclass(frozen=True)
class Wrapper(Cell):
    """A cell around another one, which passes on whatever a subclass does not change.

    `Cell.sequence` is not passed on: it runs the `step` of the wrapper, until a subclass knows how
    to do its part for all steps at once around the `sequence` of the cell inside.

    Args:
      cell: the cell inside.

    Raises:
      ValueError: ``cell`` is not a cell.
    """

    cell: Cell

    def __post_init__(self) -> None:
        if not isinstance(self.cell, Cell):
            raise ValueError(f"{type(self).__name__}: cell must be a cell, got {self.cell!r}")

    def inner(self, params: Params) -> Params:
        """The parameters of the cell inside: all of them, for a wrapper that has none."""
        return params

    @property
    def output_size(self) -> int:
        """Of the cell inside."""
        return self.cell.output_size

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> Params:
        """Of the cell inside."""
        return self.cell.init(key, input_size, dtype)

    def input_size(self, params: Params) -> int:
        """Of the cell inside."""
        return self.cell.input_size(self.inner(params))

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Of the cell inside."""
        return self.cell.initial_state(batch_shape, dtype)

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: int) -> Noise:
        """Of the cell inside."""
        return self.cell.draw_noise(key, leading_shape, input_size)

    def project(self, params: Params, xs: PyTree, noise: Noise = None) -> Projected:
        """Of the cell inside."""
        return self.cell.project(self.inner(params), xs, noise)

    def step(self, params: Params, state: State, z: Projected) -> tuple[State, PyTree]:
        """Of the cell inside."""
        return self.cell.step(self.inner(params), state, z)

    def leading_shape(self, params: Params, xs: PyTree) -> tuple[int, ...]:
        """Of the cell inside."""
        return self.cell.leading_shape(self.inner(params), xs)


def check_features(owner: str, xs: PyTree) -> None:
    """Raise ``ValueError`` if ``xs`` is not one array of floats: tokens have no features."""
    if not isinstance(xs, Array) or jnp.issubdtype(xs.dtype, jnp.integer):
        given = f"tokens of shape {xs.shape}" if isinstance(xs, Array) else f"a {type(xs).__name__}"
        raise ValueError(
            f"{owner}: works on one array of input features, got {given}; embed tokens first, "
            "for instance by a Stack with an InputProjection below"
        )


def outputs_h(cell: Cell, input_size: int) -> bool:
    """Whether the output of ``cell`` is the ``h`` of its new state, the very same array."""
    found = []

    def step() -> None:
        params, state = cell.init(jax.random.key(0), input_size), cell.initial_state((1,))
        z = cell.project(params, jnp.zeros((1, input_size), jnp.float32))
        state, y = cell.step(params, state, z)
        found.append(y is getattr(state, "h", None))

    jax.eval_shape(step)
    return found[0]


def check_one_axis(owner: str, cell: Any) -> None:
    """Raise ``ValueError`` if ``cell`` is not a cell whose outputs have one feature axis."""
    if not isinstance(cell, Cell):
        raise ValueError(f"{owner}: cell must be a cell, got {cell!r}")
    if isinstance(cell.output_size, tuple):
        raise ValueError(
            f"{owner}: the outputs of the cell must have one feature axis, got {cell!r}, whose "
            f"outputs are of shape {cell.output_size}"
        )
