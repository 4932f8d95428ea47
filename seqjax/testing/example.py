"""A cell with random parameters, state and inputs, which the checks run."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.engine.context import with_context
from seqjax.testing.trees import randomise
from seqjax.types import Array, Cell, Params, PyTree, Size, State

B, T = 3, 4
LENGTHS: Any = np.array([T, 2, 0])
POSITIONS, VALID = 5, np.array([5, 0, 2])  # of the context in each row
HOLES: Any = np.array([[1, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0]], bool)
DrawInputs = Callable[[Array, tuple[int, ...]], PyTree]


class Example(NamedTuple):
    """A cell with random parameters, state and inputs, none of them zero.

    Attributes:
      cell: the cell to check.
      params: its parameters.
      state: a state, arrays ``[B, ...]``.
      xs: inputs, arrays ``[B, T, ...]``.
      input_size: the number of input features.
      draw_inputs: ``(key, leading_shape) -> inputs [*leading_shape, ...]``.
      memory_size: the width of the context that ``params`` hold; None for no context.
    """

    cell: Cell
    params: Params
    state: State
    xs: PyTree
    input_size: Size
    draw_inputs: DrawInputs
    memory_size: int | None = None


def make_example(
    cell: Cell,
    input_size: Size = 3,
    draw_inputs: DrawInputs | None = None,
    memory_size: int | None = None,
) -> Example:
    """Draw an `Example` in float64, which needs ``jax.enable_x64``."""

    def draw_features(key: Array, leading_shape: tuple[int, ...]) -> Array:
        features = input_size if isinstance(input_size, tuple) else (input_size,)
        return jax.random.normal(key, (*leading_shape, *features), jnp.float64)

    draw = draw_inputs or draw_features
    params = randomise(cell.init(jax.random.key(0), input_size, jnp.float64), 1)
    params = bind(cell, params, memory_size, jnp.float64)
    state = randomise(cell.first_state(params, (B,), jnp.float64), 2)
    xs = draw(jax.random.key(3), (B, T))
    return Example(cell, params, state, xs, input_size, draw, memory_size)


def bind(cell: Cell, params: Params, memory_size: int | None, dtype: Any) -> Params:
    """Bind a random context, unless ``memory_size`` is None."""
    if memory_size is None:
        return params
    memory = jax.random.normal(jax.random.key(6), (B, POSITIONS, memory_size), dtype)
    return with_context(cell, params, memory, lengths=jnp.asarray(VALID))
