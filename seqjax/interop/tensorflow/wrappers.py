"""TensorFlow's cells around other cells.

The functions for a wrapper of one cell take the variables of the wrapper and the parameters of the
inner cell: ``from_highway(own, from_gru(inner))``. `split_scope` separates the two.
``ResidualWrapper``, ``DropoutWrapper`` and ``DeviceWrapper`` have no variables: use the parameters
of the inner cell.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from seqjax.interop.layout import check_layers, writer
from seqjax.interop.tensorflow.core import DENSE
from seqjax.interop.tensorflow.variables import (
    Variables,
    check_arrays,
    join_scope,
    split_rows,
    split_scope,
    take_variables,
)
from seqjax.types import Array, Params
from seqjax.wrappers import AttentionCellParams, HighwayParams, ProjectionParams


def from_multi_rnn(
    variables: Variables, cells: Sequence[tuple[str, Callable[[Variables], Params]]]
) -> tuple[Params, ...]:
    """Convert the variables of a ``MultiRNNCell`` to parameters of `seqjax.Stack`.

    Args:
      variables: the variables of each cell, in the scopes ``cell_0``, ``cell_1``, ... and the scope
        of the cell, such as ``cell_0/gru_cell/gates/kernel``.
      cells: for each cell its scope ("" for a wrapper with no scope) and the function that converts
        its variables.

    Raises:
      ValueError: variables are missing or unknown, or have unexpected shapes, or ``cells`` are not
        pairs of a scope and a function.

    >>> from seqjax.interop.tensorflow import from_basic_rnn
    >>> kernels = {"kernel": jnp.zeros((4, 2)), "bias": jnp.zeros(2)}
    >>> variables = {f"cell_{n}/basic_rnn_cell/{k}": v for k, v in kernels.items() for n in (0, 1)}
    >>> params = from_multi_rnn(variables, [("basic_rnn_cell", from_basic_rnn)] * 2)
    >>> [layer.input_kernel.shape for layer in params]
    [(2, 2), (2, 2)]
    """
    _check_cells(cells)
    params, rest = [], variables
    for n, (scope, from_cell) in enumerate(cells):
        below, rest = split_scope(rest, f"cell_{n}/{scope}".rstrip("/"))
        params.append(from_cell(below))
    take_variables(f"MultiRNNCell of {len(cells)} cells", rest, {})
    return tuple(params)


def to_multi_rnn(
    params: Sequence[Params], cells: Sequence[tuple[str, Callable[[Params], Variables]]]
) -> dict[str, Array]:
    """Convert parameters of `seqjax.Stack` to the variables of a ``MultiRNNCell``.

    Args:
      params: the parameters of each layer of a `seqjax.Stack`.
      cells: for each layer the scope of its cell and the function that converts its parameters.

    Raises:
      ValueError: the numbers of layers and cells differ, or ``cells`` are not pairs of a scope
        and a function.

    >>> from seqjax.cells import BasicRNNParams
    >>> from seqjax.interop.tensorflow import to_basic_rnn
    >>> layer = BasicRNNParams(jnp.zeros((2, 2)), jnp.zeros((2, 2)), jnp.zeros(2))
    >>> print(*to_multi_rnn([layer], [("basic_rnn_cell", to_basic_rnn)]))
    cell_0/basic_rnn_cell/kernel cell_0/basic_rnn_cell/bias
    """
    _check_cells(cells)
    check_layers("MultiRNNCell", params)
    if len(params) != len(cells):
        raise ValueError(
            f"MultiRNNCell: expected the parameters of {len(cells)} layers, one for each cell, "
            f"got {len(params)}"
        )
    variables: dict[str, Array] = {}
    for n, (layer, (scope, to_cell)) in enumerate(zip(params, cells, strict=True)):
        variables |= join_scope(f"cell_{n}/{scope}".rstrip("/"), to_cell(layer))
    return variables


def from_highway(variables: Variables, cell: Params) -> HighwayParams:
    """Convert the variables of a ``HighwayWrapper`` to parameters of `seqjax.Highway`.

    Args:
      variables: ``carry_w [D, D]`` and ``carry_b [D]``; for a `seqjax.Highway` with
        ``coupled=False`` also ``transform_w [D, D]`` and ``transform_b [D]``.
      cell: the parameters of the inner cell.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> from_highway({"carry_w": jnp.zeros((3, 3)), "carry_b": jnp.zeros(3)}, cell=()).kernel.shape
    (3, 3)
    """
    owner, transform = "HighwayWrapper", {"transform_w": 2, "transform_b": 1}
    arrays = take_variables(owner, variables, {"carry_w": 2, "carry_b": 1}, transform)
    size = arrays["carry_b"].shape[0]
    kernels, biases = ([a for a in arrays.values() if a.ndim == axes] for axes in (2, 1))
    shapes = {name: (size,) * a.ndim for name, a in arrays.items()}
    check_arrays(owner, arrays, shapes)
    return HighwayParams(cell, jnp.concatenate(kernels, axis=1), jnp.concatenate(biases))


@writer("HighwayWrapper", HighwayParams, back=from_highway)
def to_highway(params: HighwayParams) -> tuple[dict[str, Array], Params]:
    """Convert parameters of `seqjax.Highway` to the variables of a ``HighwayWrapper``.

    Returns:
      ``(variables, cell)``, with the parameters of the inner cell.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.Highway`.

    >>> variables, cell = to_highway(HighwayParams((), jnp.zeros((3, 6)), jnp.zeros(6)))
    >>> print(*variables)
    carry_w carry_b transform_w transform_b
    """
    size = params.kernel.shape[0]
    variables = {"carry_w": params.kernel[:, :size], "carry_b": params.bias[:size]}
    if params.bias.shape[0] > size:
        variables |= {"transform_w": params.kernel[:, size:], "transform_b": params.bias[size:]}
    return variables, params.cell


def from_projection(variables: Variables, cell: Params) -> ProjectionParams:
    """Convert the variables of an ``InputProjectionWrapper`` or ``OutputProjectionWrapper``.

    The parameters are those of a `seqjax.InputProjection` or `seqjax.OutputProjection`.

    Args:
      variables: ``kernel [D, size]`` and ``bias [size]``.
      cell: the parameters of the inner cell.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> from_projection({"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}, cell=()).kernel.shape
    (3, 2)
    """
    arrays = take_variables("ProjectionWrapper", variables, DENSE)
    check_arrays("ProjectionWrapper", arrays, {"bias": arrays["kernel"].shape[1:]})
    return ProjectionParams(cell, arrays["kernel"], arrays["bias"])


@writer("ProjectionWrapper", ProjectionParams, back=from_projection)
def to_projection(params: ProjectionParams) -> tuple[dict[str, Array], Params]:
    """Convert parameters to the variables of a projection wrapper.

    Returns:
      ``(variables, cell)``, with the parameters of the inner cell.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.InputProjection` or a
        `seqjax.OutputProjection`.

    >>> variables, cell = to_projection(ProjectionParams((), jnp.zeros((3, 2)), jnp.zeros(2)))
    >>> print(*variables)
    kernel bias
    """
    return {"kernel": params.kernel, "bias": params.bias}, params.cell


def from_attention_cell(variables: Variables, cell: Params) -> AttentionCellParams:
    """Convert the variables of an ``AttentionCellWrapper`` to parameters of `seqjax.AttentionCell`.

    Args:
      variables: ``kernel [D + A, I]`` and ``bias [I]`` for the input of the cell;
        ``attention/kernel [S, V]`` and ``attention/bias [V]`` for the query; ``attention/attn_w [1,
        1, A, V]`` and ``attention/attn_v [V]`` for the scores; ``attn_output_projection/kernel [H +
        A, A]`` and ``attn_output_projection/bias [A]`` for the output. I is the input size of the
        cell, A the size of an output, S the size of the flattened state and V the size of the
        attention vectors.
      cell: the parameters of the inner cell.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> import jax
    >>> from seqjax import GRU, AttentionCell
    >>> params = AttentionCell(GRU(4), length=3).init(jax.random.key(0), 5)
    >>> from_attention_cell(*to_attention_cell(params)).memory_kernel.shape
    (4, 4)
    """
    owner = "AttentionCellWrapper"
    scopes = "", "attention/", "attn_output_projection/"
    names = {f"{scope}{name}": axes for scope in scopes for name, axes in DENSE.items()}
    names |= {"attention/attn_w": 4, "attention/attn_v": 1}
    arrays = take_variables(owner, variables, names)
    size, width = arrays["attention/attn_w"].shape[2:]
    shapes = {
        "bias": arrays["kernel"].shape[1:],
        "attention/attn_w": (1, 1, size, width),
        "attention/attn_v": (width,),
        "attention/kernel": (arrays["attention/kernel"].shape[0], width),
        "attention/bias": (width,),
        "attn_output_projection/kernel": (arrays["attn_output_projection/kernel"].shape[0], size),
        "attn_output_projection/bias": (size,),
    }
    check_arrays(owner, arrays, shapes)
    return AttentionCellParams(
        cell,
        *split_rows(owner, arrays["kernel"], size),
        arrays["bias"],
        arrays["attention/kernel"],
        arrays["attention/bias"],
        arrays["attention/attn_w"][0, 0],
        arrays["attention/attn_v"][:, None],
        arrays["attn_output_projection/kernel"],
        arrays["attn_output_projection/bias"],
    )


@writer("AttentionCellWrapper", AttentionCellParams, back=from_attention_cell)
def to_attention_cell(params: AttentionCellParams) -> tuple[dict[str, Array], Params]:
    """Convert parameters of `seqjax.AttentionCell` to the variables of an ``AttentionCellWrapper``.

    Returns:
      ``(variables, cell)``, with the parameters of the inner cell.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.AttentionCell`.

    >>> import jax
    >>> from seqjax import GRU, AttentionCell
    >>> params = AttentionCell(GRU(4), length=3).init(jax.random.key(0), 5)
    >>> variables, cell = to_attention_cell(params)
    >>> variables["kernel"].shape, variables["attention/attn_w"].shape
    ((9, 5), (1, 1, 4, 4))
    """
    variables = {
        "kernel": jnp.concatenate([params.input_kernel, params.attention_kernel]),
        "bias": params.bias,
        "attention/kernel": params.query_kernel,
        "attention/bias": params.query_bias,
        "attention/attn_w": params.memory_kernel[None, None],
        "attention/attn_v": params.score_kernel[:, 0],
        "attn_output_projection/kernel": params.output_kernel,
        "attn_output_projection/bias": params.output_bias,
    }
    return variables, params.cell


def _check_cells(cells: Any) -> None:
    if (
        not isinstance(cells, list | tuple)
        or not cells
        or not all(isinstance(cell, list | tuple) and len(cell) == 2 for cell in cells)
        or not all(isinstance(scope, str) and callable(convert) for scope, convert in cells)
    ):
        raise ValueError(
            'MultiRNNCell: cells must be a list of pairs, one for each cell, such as ("gru_cell", '
            f"from_gru), got {cells!r}"
        )
