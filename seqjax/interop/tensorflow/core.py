"""TensorFlow's core cells. A kernel holds the rows for the input, then those for the state."""

from collections.abc import Mapping

import jax.numpy as jnp

from seqjax.cells import BasicRNNParams, GRUParams, LSTMParams, Peepholes
from seqjax.interop.layout import (
    check_basic_rnn,
    check_gru,
    check_lstm,
    permute_gates,
    refuse_options,
    writer,
)
from seqjax.interop.tensorflow.variables import (
    Variables,
    check_arrays,
    shift_gate,
    split_dense,
    split_rows,
    take_variables,
)
from seqjax.types import Array

DENSE = {"kernel": 2, "bias": 1}
PEEPHOLES = {"w_i_diag": 1, "w_f_diag": 1, "w_o_diag": 1}
PROJECTION = {"projection/kernel": 2}
IJFO = (0, 2, 1, 3)  # converts i, j, f, o to i, f, g, o, and back


def from_basic_rnn(variables: Variables) -> BasicRNNParams:
    """Convert the variables of a ``BasicRNNCell`` to parameters of `seqjax.BasicRNN`.

    Args:
      variables: ``kernel [D + H, H]`` and ``bias [H]``.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> params = from_basic_rnn({"kernel": jnp.zeros((5, 2)), "bias": jnp.zeros(2)})
    >>> params.input_kernel.shape, params.recurrent_kernel.shape
    ((3, 2), (2, 2))
    """
    arrays = take_variables("BasicRNNCell", variables, DENSE)
    return BasicRNNParams(*split_dense("BasicRNNCell", arrays))


def to_basic_rnn(params: BasicRNNParams) -> dict[str, Array]:
    """Convert parameters of `seqjax.BasicRNN` to the variables of a ``BasicRNNCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.BasicRNN`.

    >>> params = BasicRNNParams(jnp.zeros((3, 2)), jnp.zeros((2, 2)), jnp.zeros(2))
    >>> to_basic_rnn(params)["kernel"].shape
    (5, 2)
    """
    params = check_basic_rnn("BasicRNNCell", params)
    return {
        "kernel": jnp.concatenate([params.input_kernel, params.recurrent_kernel]),
        "bias": params.bias,
    }


def from_lstm(variables: Variables, *, forget_bias: float = 1.0) -> LSTMParams:
    """Convert the variables of an LSTM to parameters of `seqjax.LSTM`.

    ``BasicLSTMCell``, ``LSTMCell``, ``LSTMBlockCell`` and ``LSTMBlockFusedCell`` have the same
    variables. If the cell clips its memory, set ``cell_clip`` of `seqjax.LSTM` too.

    Args:
      variables: ``kernel [D + R, 4H]`` and ``bias [4H]``, gates in the order i, j, f, o. Optional:
        ``w_i_diag``, ``w_f_diag`` and ``w_o_diag [H]`` for peepholes, and ``projection/kernel [H,
        R]``.
      forget_bias: the constant that the cell adds to the forget gate at run time.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> params = from_lstm({"kernel": jnp.zeros((5, 8)), "bias": jnp.zeros(8)})
    >>> print(params.bias)
    [0. 0. 1. 1. 0. 0. 0. 0.]
    """
    arrays = take_variables("LSTMCell", variables, DENSE, PEEPHOLES, PROJECTION)
    return read_lstm("LSTMCell", arrays, forget_bias)


@writer("LSTMCell", LSTMParams, back=from_lstm)
def to_lstm(params: LSTMParams, *, forget_bias: float = 1.0) -> dict[str, Array]:
    """Convert parameters of `seqjax.LSTM` to the variables of an ``LSTMCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.LSTM`, or they have layer normalisation.

    >>> params = LSTMParams(jnp.zeros((3, 8)), jnp.zeros((2, 8)), jnp.zeros(8))
    >>> print(to_lstm(params)["bias"])
    [ 0.  0.  0.  0. -1. -1.  0.  0.]
    """
    params = check_lstm("LSTMCell", params)
    refuse_options("LSTMCell", params, "norm")
    return write_lstm(params, forget_bias)


def read_lstm(owner: str, arrays: Mapping[str, Array], forget_bias: float) -> LSTMParams:
    """Convert checked arrays, which may hold other arrays too, as `from_lstm` does.

    >>> read_lstm("LSTMCell", {"kernel": jnp.zeros((5, 8)), "bias": jnp.zeros(8)}, 0.0).bias.shape
    (8,)
    """
    kernel, projection = arrays["kernel"], arrays.get("projection/kernel")
    units = kernel.shape[1] // 4
    width = units if projection is None else projection.shape[1]
    shapes = {
        "kernel": (kernel.shape[0], 4 * units),
        "bias": (4 * units,),
        **dict.fromkeys(PEEPHOLES, (units,)),
        "projection/kernel": (units, width),
    }
    check_arrays(owner, arrays, shapes)
    return LSTMParams(
        *split_rows(owner, permute_gates(kernel, IJFO), width),
        shift_gate(permute_gates(arrays["bias"], IJFO), 4, 1, forget_bias),
        Peepholes(*map(arrays.get, PEEPHOLES)),
        projection,
    )


def write_lstm(params: LSTMParams, forget_bias: float) -> dict[str, Array]:
    """Convert checked parameters, which may hold other parameters too, as `to_lstm` does.

    >>> params = LSTMParams(jnp.zeros((3, 8)), jnp.zeros((2, 8)), jnp.zeros(8))
    >>> print(*write_lstm(params, 0.0))
    kernel bias
    """
    kernel = jnp.concatenate([params.input_kernel, params.recurrent_kernel])
    variables = {
        "kernel": permute_gates(kernel, IJFO),
        "bias": permute_gates(shift_gate(params.bias, 4, 1, -forget_bias), IJFO),
        **dict(zip(PEEPHOLES, params.peepholes, strict=True)),
        "projection/kernel": params.projection_kernel,
    }
    return {name: array for name, array in variables.items() if array is not None}


def from_gru(variables: Variables) -> GRUParams:
    """Convert the variables of a ``GRUCell`` or ``GRUBlockCellV2`` to parameters of `seqjax.GRU`.

    The parameters are those of a ``GRU(H)``, with the default ``reset_after=False``.

    Args:
      variables: ``gates/kernel [D + H, 2H]`` and ``gates/bias [2H]`` for r and u;
        ``candidate/kernel [D + H, H]`` and ``candidate/bias [H]``.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> params = from_gru(
    ...     {
    ...         "gates/kernel": jnp.zeros((5, 4)),
    ...         "gates/bias": jnp.ones(4),
    ...         "candidate/kernel": jnp.zeros((5, 2)),
    ...         "candidate/bias": jnp.zeros(2),
    ...     }
    ... )
    >>> params.input_kernel.shape, params.gate_kernel.shape, params.candidate_kernel.shape
    ((3, 6), (2, 4), (2, 2))
    """
    layers = "gates", "candidate"
    names = {f"{layer}/{name}": axes for layer in layers for name, axes in DENSE.items()}
    arrays = take_variables("GRUCell", variables, names)
    rows, units = arrays["candidate/kernel"].shape
    shapes = {
        "gates/kernel": (rows, 2 * units),
        "gates/bias": (2 * units,),
        "candidate/bias": (units,),
    }
    check_arrays("GRUCell", arrays, shapes)
    w, u = split_rows("GRUCell", arrays["gates/kernel"], units)
    w_n, u_n = split_rows("GRUCell", arrays["candidate/kernel"], units)
    bias = jnp.concatenate([arrays["gates/bias"], arrays["candidate/bias"]])
    return GRUParams(jnp.concatenate([w, w_n], axis=1), u, u_n, bias)


def to_gru(params: GRUParams) -> dict[str, Array]:
    """Convert parameters of `seqjax.GRU` to the variables of a ``GRUCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.GRU` with ``reset_after=False``.

    >>> params = GRUParams(jnp.zeros((3, 6)), jnp.zeros((2, 4)), jnp.zeros((2, 2)), jnp.zeros(6))
    >>> print(*to_gru(params))
    gates/kernel gates/bias candidate/kernel candidate/bias
    """
    params = check_gru("GRUCell", params)
    if params.candidate_bias is not None:
        raise ValueError(
            "TensorFlow's GRUCell resets before the product, got parameters of a GRU that resets "
            "after it; use GRU(units)"
        )
    split = params.gate_kernel.shape[1]
    w, w_n = jnp.split(params.input_kernel, [split], axis=1)
    return {
        "gates/kernel": jnp.concatenate([w, params.gate_kernel]),
        "gates/bias": params.bias[:split],
        "candidate/kernel": jnp.concatenate([w_n, params.candidate_kernel]),
        "candidate/bias": params.bias[split:],
    }
