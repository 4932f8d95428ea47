"""Linear layers around a cell."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.affine import affine
from seqjax.checks import check_size
from seqjax.initializers import glorot_uniform
from seqjax.types import Array, Cell, Loop, Noise, Params, Projected, PyTree, State


class OutputProjectionParams(NamedTuple):
    """Parameters of `OutputProjection`."""

    cell: Params  # of the cell inside
    kernel: Array  # [H, size]
    bias: Array  # [size]


@dataclasses.dataclass(frozen=True)
class OutputProjection(Cell):
    """A cell whose output goes through a linear layer, such as one that gives logits::

        y = output @ W + b

    TensorFlow's ``OutputProjectionWrapper``. The state is that of the cell inside. Over a whole
    sequence the layer is one product for all steps.

    Args:
      cell: the cell inside.
      size: features of the new output.

    Raises:
      ValueError: ``size`` is not a whole number of at least 1.

    >>> from seqjax import GRU, OutputProjection, unroll
    >>> cell = OutputProjection(GRU(4), size=2)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, logits = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, logits.shape
    ((2, 4), (2, 7, 2))
    """

    cell: Cell
    size: int

    def __post_init__(self) -> None:
        check_size("OutputProjection", "size", self.size)

    @property
    def output_size(self) -> int:
        """``size``."""
        return self.size

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> OutputProjectionParams:
        """Draw those of the cell, a Glorot kernel and a zero bias."""
        cell_key, kernel_key = jax.random.split(key)
        return OutputProjectionParams(
            self.cell.init(cell_key, input_size, dtype),
            glorot_uniform(kernel_key, (self.cell.output_size, self.size), dtype=dtype),
            jnp.zeros(self.size, dtype),
        )

    def input_size(self, params: OutputProjectionParams) -> int:
        """Of the cell inside."""
        return self.cell.input_size(params.cell)

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Of the cell inside."""
        return self.cell.initial_state(batch_shape, dtype)

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: int) -> Noise:
        """Of the cell inside."""
        return self.cell.draw_noise(key, leading_shape, input_size)

    def project(self, params: OutputProjectionParams, xs: PyTree, noise: Noise = None) -> Projected:
        """Of the cell inside."""
        return self.cell.project(params.cell, xs, noise)

    def step(
        self, params: OutputProjectionParams, state: State, z: Projected
    ) -> tuple[State, Array]:
        """Step the cell inside and project its output."""
        state, y = self.cell.step(params.cell, state, z)
        return state, affine(y, params.kernel, params.bias)

    def sequence(
        self,
        loop: Loop,
        params: OutputProjectionParams,
        state: State,
        xs: PyTree,
        noise: Noise = None,
    ) -> tuple[State, Array]:
        """Run the cell inside, then project all outputs at once."""
        state, ys = self.cell.sequence(loop, params.cell, state, xs, noise)
        return state, affine(ys, params.kernel, params.bias)
