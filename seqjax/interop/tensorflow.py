"""Weights of TensorFlow's recurrent cells, by the names of their variables below the cell's scope.

One kernel holds the input rows over the recurrent ones.
"""

from collections.abc import Mapping

import jax.numpy as jnp

from seqjax.cells import BasicRNNParams, GRUParams, LSTMParams, Peepholes
from seqjax.interop.layout import (
    check_basic_rnn,
    check_gru,
    check_lstm,
    check_shapes,
    permute_gates,
    refuse_options,
)
from seqjax.types import Array

Variables = Mapping[str, Array]
_PEEPHOLES = ("w_i_diag", "w_f_diag", "w_o_diag")
_IJFO = (0, 2, 1, 3)  # i, j, f, o to i, f, g, o and back


def from_basic_rnn(variables: Variables) -> BasicRNNParams:
    """Take the variables of a ``BasicRNNCell``: ``kernel [D + H, H]`` and ``bias [H]``.

    >>> params = from_basic_rnn({"kernel": jnp.zeros((5, 2)), "bias": jnp.zeros(2)})
    >>> params.input_kernel.shape, params.recurrent_kernel.shape
    ((3, 2), (2, 2))
    """
    kernel, bias = _take("BasicRNNCell", variables, "kernel", "bias")
    units = kernel.shape[1]
    check_shapes("BasicRNNCell", {"bias": (bias, (units,))})
    return BasicRNNParams(*_split_rows("BasicRNNCell", kernel, units), bias)


def to_basic_rnn(params: BasicRNNParams) -> dict[str, Array]:
    """Give the variables of a ``BasicRNNCell``."""
    check_basic_rnn("BasicRNNCell", params)
    return {
        "kernel": jnp.concatenate([params.input_kernel, params.recurrent_kernel]),
        "bias": params.bias,
    }


def from_lstm(variables: Variables, *, forget_bias: float = 1.0) -> LSTMParams:
    """Take the variables of a ``BasicLSTMCell`` or ``LSTMCell``.

    Args:
      variables: ``kernel [D + R, 4H]`` and ``bias [4H]``, gates in the order i, j, f, o; where the
        cell has them, ``w_i_diag``, ``w_f_diag`` and ``w_o_diag [H]`` for its peepholes, and
        ``projection/kernel [H, R]``.
      forget_bias: what the cell adds to the forget gate at run time.

    >>> params = from_lstm({"kernel": jnp.zeros((5, 8)), "bias": jnp.zeros(8)})
    >>> print(params.bias)
    [0. 0. 1. 1. 0. 0. 0. 0.]
    """
    peepholes = _PEEPHOLES if "w_i_diag" in variables else ()
    projection = ("projection/kernel",) if "projection/kernel" in variables else ()
    kernel, bias, *options = _take("LSTMCell", variables, "kernel", "bias", *peepholes, *projection)
    units = kernel.shape[1] // 4
    check_shapes(
        "LSTMCell",
        {
            "kernel": (kernel, (kernel.shape[0], 4 * units)),
            "bias": (bias, (4 * units,)),
            **{name: (hole, (units,)) for name, hole in zip(peepholes, options, strict=False)},
        },
    )
    projection_kernel = options.pop() if projection else None
    width = units
    if projection_kernel is not None:
        width = projection_kernel.shape[1]
        check_shapes("LSTMCell", {"projection/kernel": (projection_kernel, (units, width))})
    w, u = _split_rows("LSTMCell", permute_gates(kernel, _IJFO), width)
    return LSTMParams(
        w,
        u,
        permute_gates(bias, _IJFO).at[units : 2 * units].add(forget_bias),
        Peepholes(*options),
        projection_kernel,
    )


def to_lstm(params: LSTMParams, *, forget_bias: float = 1.0) -> dict[str, Array]:
    """Give the variables of an ``LSTMCell`` of this ``forget_bias``.

    Raises:
      ValueError: the parameters hold layer norm.
    """
    check_lstm("LSTMCell", params)
    refuse_options("LSTMCell", params, "norm")
    units = params.bias.shape[0] // 4
    kernel = jnp.concatenate([params.input_kernel, params.recurrent_kernel])
    bias = params.bias.at[units : 2 * units].add(-forget_bias)
    variables = {
        "kernel": permute_gates(kernel, _IJFO),
        "bias": permute_gates(bias, _IJFO),
        **dict(zip(_PEEPHOLES, params.peepholes, strict=True)),
        "projection/kernel": params.projection_kernel,
    }
    return {name: array for name, array in variables.items() if array is not None}


def from_gru(variables: Variables) -> GRUParams:
    """Take the variables of a ``GRUCell``, for a `seqjax.GRU` as it is by default.

    Args:
      variables: ``gates/kernel [D + H, 2H]`` and ``gates/bias [2H]`` of r and u,
        ``candidate/kernel [D + H, H]`` and ``candidate/bias [H]``.

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
    names = "gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias"
    gates, gates_bias, candidate, candidate_bias = _take("GRUCell", variables, *names)
    rows, units = candidate.shape
    check_shapes(
        "GRUCell",
        {
            "gates/kernel": (gates, (rows, 2 * units)),
            "gates/bias": (gates_bias, (2 * units,)),
            "candidate/bias": (candidate_bias, (units,)),
        },
    )
    w, u = _split_rows("GRUCell", gates, units)
    w_n, u_n = _split_rows("GRUCell", candidate, units)
    bias = jnp.concatenate([gates_bias, candidate_bias])
    return GRUParams(jnp.concatenate([w, w_n], axis=1), u, u_n, bias)


def to_gru(params: GRUParams) -> dict[str, Array]:
    """Give the variables of a ``GRUCell``.

    Raises:
      ValueError: the parameters are of a GRU with ``reset_after``.
    """
    check_gru("GRUCell", params)
    if params.candidate_bias is not None:
        raise ValueError("TensorFlow's GRUCell resets before the product: use GRU(units)")
    split = params.gate_kernel.shape[1]
    w, w_n = jnp.split(params.input_kernel, [split], axis=1)
    return {
        "gates/kernel": jnp.concatenate([w, params.gate_kernel]),
        "gates/bias": params.bias[:split],
        "candidate/kernel": jnp.concatenate([w_n, params.candidate_kernel]),
        "candidate/bias": params.bias[split:],
    }


def _take(owner: str, variables: Variables, *names: str) -> list[Array]:
    if {*variables} != {*names}:
        raise ValueError(
            f"{owner}: expected the variables {', '.join(names)}, got "
            f"{', '.join(variables) or 'none'}"
        )
    return [jnp.asarray(variables[name]) for name in names]


def _split_rows(owner: str, kernel: Array, recurrent: int) -> tuple[Array, Array]:
    """Split the input rows from the recurrent ones, which come last."""
    if kernel.shape[0] <= recurrent:
        raise ValueError(
            f"{owner}: a kernel for {recurrent} units must have more than {recurrent} rows, the "
            f"input's over the state's, got {kernel.shape}"
        )
    return kernel[:-recurrent], kernel[-recurrent:]
