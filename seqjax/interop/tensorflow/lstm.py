"""Contributed LSTMs with coupled gates, layer normalisation or weight normalisation.

One kernel holds the rows for the input, followed by those for the state. TensorFlow's gates i, j,
f, o are i, g, f, o in seqjax, in the order i, f, g, o.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from seqjax.cells import (
    LSTMNormParams,
    LSTMParams,
    Peepholes,
)
from seqjax.interop.layout import (
    check_lstm,
    check_params,
    given_names,
    permute_gates,
    refuse_options,
    writer,
)
from seqjax.interop.tensorflow.core import DENSE, IJFO, PEEPHOLES, PROJECTION, read_lstm, write_lstm
from seqjax.interop.tensorflow.variables import (
    Variables,
    check_arrays,
    shift_gate,
    split_rows,
    take_variables,
)
from seqjax.operations.affine import split_gates
from seqjax.types import Array
from seqjax.wrappers import WeightNormParams

_JFO = (1, 0, 2)  # converts j, f, o to f, g, o, and back
_SCOPES = {"i": "input", "f": "forget", "g": "transform", "o": "output"}  # of layer normalisation


def from_coupled_input_forget_gate_lstm(
    variables: Variables, *, forget_bias: float = 1.0
) -> LSTMParams:
    """Convert the variables of a ``CoupledInputForgetGateLSTMCell`` to parameters.

    The parameters are those of a `seqjax.CoupledInputForgetGateLSTM`.

    Args:
      variables: ``W_0 [D + R, 3H]`` and ``B [3H]``, gates in the order j, f, o. Optional:
        ``W_F_diag`` and ``W_O_diag [H]`` for peepholes, ``W_P_0 [H, R]`` for a projection, and
        for layer normalisation ``gamma`` and ``beta [H]`` in the scopes ``transform``,
        ``forget``, ``output`` and ``state``. With layer normalisation ``B`` is not used.
        If a kernel is split into shards ``W_0``, ``W_1`` and so on, concatenate them first.
      forget_bias: the constant that the cell adds to the forget gate at run time.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> params = from_coupled_input_forget_gate_lstm({"W_0": jnp.zeros((5, 6)), "B": jnp.zeros(6)})
    >>> print(params.bias)
    [1. 1. 0. 0. 0. 0.]
    """
    owner = "CoupledInputForgetGateLSTMCell"
    options = {"W_F_diag": 1, "W_O_diag": 1}, {"W_P_0": 2}, _norm_names("fgo")
    arrays = take_variables(owner, variables, {"W_0": 2, "B": 1}, *options)
    kernel, projection = arrays["W_0"], arrays.get("W_P_0")
    units = kernel.shape[1] // 3
    width = units if projection is None else projection.shape[1]
    shapes = {
        "W_0": (kernel.shape[0], 3 * units),
        "B": (3 * units,),
        **dict.fromkeys(("W_F_diag", "W_O_diag"), (units,)),
        "W_P_0": (units, width),
    }
    check_arrays(owner, arrays, shapes)
    bias, norm = _read_norm(owner, arrays, "fgo", permute_gates(arrays["B"], _JFO))
    return LSTMParams(
        *split_rows(owner, permute_gates(kernel, _JFO), width),
        shift_gate(bias, 3, 0, forget_bias),
        Peepholes(None, arrays.get("W_F_diag"), arrays.get("W_O_diag")),
        projection,
        norm,
    )


@writer("CoupledInputForgetGateLSTMCell", LSTMParams, back=from_coupled_input_forget_gate_lstm)
def to_coupled_input_forget_gate_lstm(
    params: LSTMParams, *, forget_bias: float = 1.0
) -> dict[str, Array]:
    """Convert parameters to the variables of a ``CoupledInputForgetGateLSTMCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.CoupledInputForgetGateLSTM`.

    >>> params = LSTMParams(jnp.zeros((3, 6)), jnp.zeros((2, 6)), jnp.zeros(6))
    >>> print(to_coupled_input_forget_gate_lstm(params)["B"])
    [ 0.  0. -1. -1.  0.  0.]
    """
    owner = "CoupledInputForgetGateLSTMCell"
    width = params.recurrent_kernel.shape[0]
    units = width if params.projection_kernel is None else params.projection_kernel.shape[0]
    check_params(owner, params, recurrent_kernel=(width, 3 * units), bias=(3 * units,))
    kernel = jnp.concatenate([params.input_kernel, params.recurrent_kernel])
    bias, norms = _write_norm(params.norm, shift_gate(params.bias, 3, 0, -forget_bias), "fgo")
    variables = {
        "W_0": permute_gates(kernel, _JFO),
        "B": permute_gates(bias, _JFO),
        "W_F_diag": params.peepholes.f,
        "W_O_diag": params.peepholes.o,
        "W_P_0": params.projection_kernel,
        **norms,
    }
    return {name: array for name, array in variables.items() if array is not None}


def from_layer_norm_lstm(variables: Variables, *, forget_bias: float = 1.0) -> LSTMParams:
    """Convert the variables of a ``LayerNormLSTMCell`` to parameters of `seqjax.LSTM`.

    Args:
      variables: those of `from_lstm`; with ``layer_norm=True`` also ``gamma`` and ``beta [H]`` in
        the scopes ``input``, ``transform``, ``forget``, ``output`` and ``state``, and ``bias`` is
        not used.
      forget_bias: the constant that the cell adds to the forget gate at run time.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> scopes = "input", "transform", "forget", "output", "state"
    >>> norms = {f"{scope}/{name}": jnp.zeros(1) for scope in scopes for name in ("gamma", "beta")}
    >>> kernels = {"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)}
    >>> params = from_layer_norm_lstm(kernels | norms)
    >>> print(params.bias, params.norm.gate_gain)
    [0. 1. 0. 0.] [0. 0. 0. 0.]
    """
    owner, norms = "LayerNormLSTMCell", _norm_names("ifgo")
    arrays = take_variables(owner, variables, DENSE, PEEPHOLES, PROJECTION, norms)
    params = read_lstm(owner, arrays, 0.0)
    bias, norm = _read_norm(owner, arrays, "ifgo", params.bias)
    return params._replace(bias=shift_gate(bias, 4, 1, forget_bias), norm=norm)


@writer("LayerNormLSTMCell", LSTMParams, back=from_layer_norm_lstm)
def to_layer_norm_lstm(params: LSTMParams, *, forget_bias: float = 1.0) -> dict[str, Array]:
    """Convert parameters of `seqjax.LSTM` to the variables of a ``LayerNormLSTMCell``.

    With layer normalisation its ``bias``, which the cell does not use, is 0.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.LSTM`.

    >>> norm = LSTMNormParams(jnp.ones(8), jnp.ones(2), jnp.zeros(2))
    >>> params = LSTMParams(jnp.zeros((3, 8)), jnp.zeros((2, 8)), jnp.zeros(8), norm=norm)
    >>> print(to_layer_norm_lstm(params)["forget/beta"])
    [-1. -1.]
    """
    params = check_lstm("LayerNormLSTMCell", params)
    bias, norms = _write_norm(params.norm, shift_gate(params.bias, 4, 1, -forget_bias), "ifgo")
    return write_lstm(params._replace(bias=bias), 0.0) | norms


def from_layer_norm_basic_lstm(variables: Variables, *, forget_bias: float = 1.0) -> LSTMParams:
    """Convert the variables of a ``LayerNormBasicLSTMCell`` to parameters of `seqjax.LSTM`.

    Args:
      variables: with layer normalisation, those of `from_layer_norm_lstm` except ``bias``; else
        those of a ``BasicLSTMCell``.
      forget_bias: the constant that the cell adds to the forget gate at run time.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> params = from_layer_norm_basic_lstm({"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)})
    >>> print(params.bias, params.norm)
    [0. 1. 0. 0.] None
    """
    owner, norms = "LayerNormBasicLSTMCell", _norm_names("ifgo")
    if norms.keys().isdisjoint(given_names(variables)):
        return read_lstm(owner, take_variables(owner, variables, DENSE), forget_bias)
    arrays = take_variables(owner, variables, {"kernel": 2}, norms)
    unused = jnp.zeros(arrays["kernel"].shape[1], arrays["kernel"].dtype)
    return from_layer_norm_lstm({**arrays, "bias": unused}, forget_bias=forget_bias)


@writer("LayerNormBasicLSTMCell", LSTMParams, back=from_layer_norm_basic_lstm)
def to_layer_norm_basic_lstm(params: LSTMParams, *, forget_bias: float = 1.0) -> dict[str, Array]:
    """Convert parameters of `seqjax.LSTM` to the variables of a ``LayerNormBasicLSTMCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.LSTM`, or they have peepholes or a
        projection.

    >>> norm = LSTMNormParams(jnp.ones(8), jnp.ones(2), jnp.zeros(2))
    >>> params = LSTMParams(jnp.zeros((3, 8)), jnp.zeros((2, 8)), jnp.zeros(8), norm=norm)
    >>> "bias" in to_layer_norm_basic_lstm(params)
    False
    """
    params = check_lstm("LayerNormBasicLSTMCell", params)
    refuse_options("LayerNormBasicLSTMCell", params, "peepholes", "projection_kernel")
    variables = to_layer_norm_lstm(params, forget_bias=forget_bias)
    if params.norm is not None:
        del variables["bias"]
    return variables


def from_weight_norm_lstm(variables: Variables, *, forget_bias: float = 1.0) -> WeightNormParams:
    """Convert the variables of a ``WeightNormLSTMCell`` to parameters of `seqjax.WeightNorm`.

    The parameters are those of ``WeightNorm(LSTM(H))``. Use `from_lstm` for a cell with
    ``norm=False``.

    Args:
      variables: those of `from_lstm`, with ``norm_0 [4H]`` for the input rows of the kernel and
        ``norm_1 [4H]`` for the recurrent rows, gates in the order i, j, f, o; with a projection
        also ``projection/norm_0 [R]``. Their scope is ``wn_lstm_cell`` in the scope of the cell.
      forget_bias: the constant that the cell adds to the forget gate at run time.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> arrays = {name: jnp.zeros(8) for name in ("bias", "norm_0", "norm_1")}
    >>> params = from_weight_norm_lstm({"kernel": jnp.zeros((5, 8))} | arrays)
    >>> params.cell.input_kernel.shape, params.gains.input_kernel.shape
    ((3, 8), (8,))
    """
    owner = "WeightNormLSTMCell"
    names = {**DENSE, "norm_0": 1, "norm_1": 1}
    projection = {**PROJECTION, "projection/norm_0": 1}
    arrays = take_variables(owner, variables, names, PEEPHOLES, projection)
    params = read_lstm(owner, arrays, forget_bias)
    columns = params.bias.shape
    shapes = {"norm_0": columns, "norm_1": columns}
    if params.projection_kernel is not None:
        shapes["projection/norm_0"] = params.projection_kernel.shape[1:]
    check_arrays(owner, arrays, shapes)
    gains: tuple[Any, ...] = (  # None for arrays without weight normalisation
        permute_gates(arrays["norm_0"], IJFO),
        permute_gates(arrays["norm_1"], IJFO),
        None,
        Peepholes(),
        arrays.get("projection/norm_0"),
    )
    return WeightNormParams(params, LSTMParams(*gains))


@writer("WeightNormLSTMCell", WeightNormParams, back=from_weight_norm_lstm)
def to_weight_norm_lstm(params: WeightNormParams, *, forget_bias: float = 1.0) -> dict[str, Array]:
    """Convert parameters of `seqjax.WeightNorm` to the variables of a ``WeightNormLSTMCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.WeightNorm` of a `seqjax.LSTM`, or they have
        layer normalisation.

    >>> import jax
    >>> from seqjax import LSTM, WeightNorm
    >>> print(*to_weight_norm_lstm(WeightNorm(LSTM(2)).init(jax.random.key(0), 3)))
    kernel bias norm_0 norm_1
    """
    owner = "WeightNormLSTMCell"
    check_lstm(owner, params.cell)
    refuse_options(owner, params.cell, "norm")
    variables = write_lstm(params.cell, forget_bias) | {
        "norm_0": permute_gates(params.gains.input_kernel, IJFO),
        "norm_1": permute_gates(params.gains.recurrent_kernel, IJFO),
    }
    if params.gains.projection_kernel is not None:
        variables["projection/norm_0"] = params.gains.projection_kernel
    return variables


def _norm_names(gates: str) -> dict[str, int]:
    scopes = [*(_SCOPES[gate] for gate in gates), "state"]
    return {f"{scope}/{name}": 1 for scope in scopes for name in ("gamma", "beta")}


def _read_norm(
    owner: str, arrays: Mapping[str, Array], gates: str, bias: Array
) -> tuple[Array, LSTMNormParams | None]:
    """The bias (with layer normalisation, the shifts of the gates) and the other parameters."""
    if "state/gamma" not in arrays:
        return bias, None
    units = bias.shape[0] // len(gates)
    check_arrays(owner, arrays, dict.fromkeys(_norm_names(gates), (units,)))
    shifts = jnp.concatenate([arrays[f"{_SCOPES[gate]}/beta"] for gate in gates])
    gains = jnp.concatenate([arrays[f"{_SCOPES[gate]}/gamma"] for gate in gates])
    return shifts, LSTMNormParams(gains, arrays["state/gamma"], arrays["state/beta"])


def _write_norm(
    norm: LSTMNormParams | None, bias: Array, gates: str
) -> tuple[Array, dict[str, Array]]:
    """The bias (0 with layer normalisation) and the variables of the layer normalisation."""
    if norm is None:
        return bias, {}
    parts = zip(
        gates, split_gates(norm.gate_gain, len(gates)), split_gates(bias, len(gates)), strict=True
    )
    variables = {"state/gamma": norm.memory_gain, "state/beta": norm.memory_shift}
    for gate, gain, shift in parts:
        variables |= {f"{_SCOPES[gate]}/gamma": gain, f"{_SCOPES[gate]}/beta": shift}
    return jnp.zeros_like(bias), variables
