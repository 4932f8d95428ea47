"""Grids of cells of ``tensorflow.contrib.grid_rnn``."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from seqjax.cells import LSTMState
from seqjax.engine.validation import check_params
from seqjax.interop.layout import check_type
from seqjax.interop.tensorflow.variables import (
    Variables,
    check_arrays,
    join_scope,
    split_scope,
    take_variables,
)
from seqjax.types import Array, HiddenState, Params, State
from seqjax.wrappers import GridDenseParams, GridRNN, GridRNNParams


def from_grid_rnn(
    variables: Variables, grid: GridRNN, scope: str, from_cell: Callable[[Variables], Params]
) -> GridRNNParams:
    """Convert the variables of a cell of ``contrib.grid_rnn`` to parameters of `seqjax.GridRNN`.

    Args:
      variables: the variables of the cell, such as a ``Grid2LSTMCell``. For each input dimension,
        here 0: ``project_m_0 [D, H]`` and, around LSTMs, ``project_c_0 [D, H]``. For each dimension
        with a cell: its variables, in the scope ``recurrent/cell_0`` and the scope of the cell. For
        each dimension with no cell: ``non_recurrent/cell_0/fully_connected/weights [N * H, H]`` and
        ``biases [H]``. Tied dimensions share one scope, with no ``cell_0`` in its name.
      grid: the `seqjax.GridRNN` for the parameters.
      scope: the scope of the cells, such as ``"lstm_cell"``.
      from_cell: the function that converts the variables of a cell. In a grid of one dimension,
        TensorFlow's cell has no input, and seqjax's cell reads a zero through a row of zeros.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape, or the state of the
        cell is not that of an LSTM, a GRU or a basic RNN.

    >>> import jax
    >>> from seqjax import GRU
    >>> from seqjax.interop.tensorflow import from_gru, to_gru
    >>> grid = GridRNN(GRU(4), dims=2)
    >>> variables = to_grid_rnn(grid.init(jax.random.key(0), 3), grid, "gru_cell", to_gru)
    >>> params = from_grid_rnn(variables, grid, "gru_cell", from_gru)
    >>> [cell.input_kernel.shape for cell in params.cells]
    [(4, 12), (4, 12)]
    """
    _check(grid, scope, from_cell)
    memory, dense = _has_memory(grid), _dense(grid)
    cells, rest = [], variables
    for place in _recurrent(grid):
        below, rest = split_scope(rest, f"{place}/{scope}")
        if grid.dims == 1:
            below = {name: _add_input(array) for name, array in below.items()}
        cells.append(from_cell(below))
    names = {f"project_m_{d}": 2 for d in grid.inputs}
    names |= {f"project_c_{d}": 2 for d in grid.inputs if memory}
    names |= {f"{place}/weights": 2 for place in dense} | {f"{place}/biases": 1 for place in dense}
    arrays = take_variables("GridRNNCell", rest, names)
    rows, units = arrays[f"project_m_{grid.inputs[0]}"].shape
    shapes: dict[str, tuple[int, ...]] = {f"project_m_{d}": (rows, units) for d in grid.inputs}
    shapes |= {f"project_c_{d}": (rows, units) for d in grid.inputs}
    shapes |= {f"{place}/weights": (grid.dims * units, units) for place in dense}
    shapes |= {f"{place}/biases": (units,) for place in dense}
    check_arrays("GridRNNCell", arrays, shapes)

    def state_kernels(d: int) -> State:
        if not memory or d in grid.non_recurrent:
            return HiddenState(arrays[f"project_m_{d}"])
        return LSTMState(arrays[f"project_c_{d}"], arrays[f"project_m_{d}"])

    params = GridRNNParams(
        tuple(map(state_kernels, grid.inputs)),
        tuple(cells),
        tuple(GridDenseParams(arrays[f"{p}/weights"], arrays[f"{p}/biases"]) for p in dense),
    )
    check_params(grid, params)
    return params


def to_grid_rnn(
    params: GridRNNParams, grid: GridRNN, scope: str, to_cell: Callable[[Params], Variables]
) -> dict[str, Array]:
    """Convert parameters of `seqjax.GridRNN` to the variables of a cell of ``contrib.grid_rnn``.

    In a grid of one dimension, the row for the input is dropped, since the input is 0. Around
    LSTMs, ``project_c`` of a dimension with no cell has no effect and is 0.

    Args:
      params: the parameters of ``grid``.
      grid: the `seqjax.GridRNN`.
      scope: the scope of the cells, such as ``"lstm_cell"``.
      to_cell: the function that converts the parameters of a cell.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.GridRNN`, or the state of the cell is not
        that of an LSTM, a GRU or a basic RNN.

    >>> import jax
    >>> from seqjax import BasicRNN
    >>> from seqjax.interop.tensorflow import to_basic_rnn
    >>> grid = GridRNN(BasicRNN(4), dims=1)
    >>> variables = to_grid_rnn(grid.init(jax.random.key(0), 3), grid, "cell", to_basic_rnn)
    >>> print(*variables)
    project_m_0 recurrent/cell_0/cell/kernel recurrent/cell_0/cell/bias
    """
    params = check_type("GridRNNCell", params, GridRNNParams)
    _check(grid, scope, to_cell)
    check_params(grid, params)
    variables, memory = {}, _has_memory(grid)
    for d, kernels in zip(grid.inputs, params.input_kernels, strict=True):
        variables[f"project_m_{d}"] = kernels.h
        if memory:
            variables[f"project_c_{d}"] = (
                kernels.c if isinstance(kernels, LSTMState) else jnp.zeros_like(kernels.h)
            )
    for place, cell in zip(_recurrent(grid), params.cells, strict=True):
        below = to_cell(cell)
        if grid.dims == 1:
            below = {name: array[1:] if array.ndim == 2 else array for name, array in below.items()}
        variables |= join_scope(f"{place}/{scope}", below)
    for place, dense in zip(_dense(grid), params.dense, strict=True):
        variables |= {f"{place}/weights": dense.kernel, f"{place}/biases": dense.bias}
    return variables


def _check(grid: Any, scope: Any, convert: Any) -> None:
    if not isinstance(grid, GridRNN):
        raise ValueError(f"GridRNNCell: grid must be a seqjax.GridRNN, got {grid!r}")
    if not isinstance(scope, str):
        raise ValueError(f'GridRNNCell: scope must be a name such as "lstm_cell", got {scope!r}')
    if not callable(convert):
        raise ValueError(
            "GridRNNCell: expected the function that converts a cell, such as from_lstm or "
            f"to_lstm, got {convert!r}"
        )


def _has_memory(grid: GridRNN) -> bool:
    state = grid.cell.initial_state()
    if not isinstance(state, LSTMState | HiddenState):
        raise ValueError(
            "GridRNNCell: contrib.grid_rnn projects the input to the c and h of an LSTM or to the "
            f"h of a GRU or a basic RNN, got {grid.cell!r}, whose state is a "
            f"{type(state).__name__}"
        )
    return isinstance(state, LSTMState)


def _recurrent(grid: GridRNN) -> list[str]:
    dims = [d for d in range(grid.dims) if d not in grid.non_recurrent]
    return ["recurrent"][: len(dims)] if grid.tied else [f"recurrent/cell_{d}" for d in dims]


def _dense(grid: GridRNN) -> list[str]:
    scopes = (
        ["non_recurrent"] if grid.tied else [f"non_recurrent/cell_{d}" for d in grid.non_recurrent]
    )
    return [f"{scope}/fully_connected" for scope in scopes[: len(grid.non_recurrent)]]


def _add_input(array: Array) -> Array:
    return jnp.pad(array, [(1, 0), (0, 0)]) if array.ndim == 2 else array
