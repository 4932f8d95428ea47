"""Weights of TensorFlow's recurrent cells: one kernel, input rows over recurrent ones.

Arguments and results are in the order of the cell's variables.
"""

import jax.numpy as jnp

from seqjax.cells import BasicRNNParams, GRUParams, LSTMParams
from seqjax.interop.layout import check_shapes, permute_gates
from seqjax.types import Array

_IJFO = (0, 2, 1, 3)  # i, j, f, o to i, f, g, o and back


def from_basic_rnn(kernel: Array, bias: Array) -> BasicRNNParams:
    """Take the weights of a ``BasicRNNCell``.

    Args:
      kernel: ``[D + H, H]``.
      bias: ``[H]``.

    >>> params = from_basic_rnn(jnp.zeros((5, 2)), jnp.zeros(2))
    >>> params.input_kernel.shape, params.recurrent_kernel.shape
    ((3, 2), (2, 2))
    """
    return BasicRNNParams(*_split_rows("BasicRNNCell", kernel, bias, 1), jnp.asarray(bias))


def to_basic_rnn(params: BasicRNNParams) -> tuple[Array, Array]:
    """Give the ``kernel`` and ``bias`` of a ``BasicRNNCell``."""
    return jnp.concatenate([params.input_kernel, params.recurrent_kernel]), params.bias


def from_lstm(kernel: Array, bias: Array, *, forget_bias: float = 1.0) -> LSTMParams:
    """Take the weights of a ``BasicLSTMCell`` or ``LSTMCell``.

    Args:
      kernel: ``[D + H, 4H]``, gates in the order i, j, f, o.
      bias: ``[4H]``.
      forget_bias: what the cell adds to the forget gate at run time.

    >>> params = from_lstm(jnp.zeros((5, 8)), jnp.zeros(8))
    >>> print(params.bias)
    [0. 0. 1. 1. 0. 0. 0. 0.]
    """
    w, u = _split_rows("LSTMCell", kernel, bias, 4)
    units = u.shape[0]
    return LSTMParams(
        permute_gates(w, _IJFO),
        permute_gates(u, _IJFO),
        permute_gates(bias, _IJFO).at[units : 2 * units].add(forget_bias),
    )


def to_lstm(params: LSTMParams, *, forget_bias: float = 1.0) -> tuple[Array, Array]:
    """Give the ``kernel`` and ``bias`` of an ``LSTMCell`` of this ``forget_bias``."""
    units = params.recurrent_kernel.shape[0]
    kernel = jnp.concatenate([params.input_kernel, params.recurrent_kernel])
    bias = params.bias.at[units : 2 * units].add(-forget_bias)
    return permute_gates(kernel, _IJFO), permute_gates(bias, _IJFO)


def from_gru(
    gates_kernel: Array, gates_bias: Array, candidate_kernel: Array, candidate_bias: Array
) -> GRUParams:
    """Take the weights of a ``GRUCell``, for a `seqjax.GRU` as it is by default.

    Args:
      gates_kernel: ``[D + H, 2H]``, of r and u.
      gates_bias: ``[2H]``.
      candidate_kernel: ``[D + H, H]``.
      candidate_bias: ``[H]``.

    >>> params = from_gru(jnp.zeros((5, 4)), jnp.ones(4), jnp.zeros((5, 2)), jnp.zeros(2))
    >>> params.input_kernel.shape, params.gate_kernel.shape, params.candidate_kernel.shape
    ((3, 6), (2, 4), (2, 2))
    """
    rows, columns = gates_kernel.shape
    check_shapes("GRUCell", {"candidate_kernel": (candidate_kernel, (rows, columns // 2))})
    w, u = _split_rows("GRUCell", gates_kernel, gates_bias, 2)
    w_n, u_n = _split_rows("GRUCell", candidate_kernel, candidate_bias, 1)
    bias = jnp.concatenate([gates_bias, candidate_bias])
    return GRUParams(jnp.concatenate([w, w_n], axis=1), u, u_n, bias)


def to_gru(params: GRUParams) -> tuple[Array, Array, Array, Array]:
    """Give the four weights of a ``GRUCell``, in the order of `from_gru`.

    Raises:
      ValueError: the parameters are of a GRU with ``reset_after``.
    """
    if params.candidate_bias is not None:
        raise ValueError("TensorFlow's GRUCell has no reset_after; draw parameters of GRU(units)")
    split = params.gate_kernel.shape[1]
    w, w_n = jnp.split(params.input_kernel, [split], axis=1)
    return (
        jnp.concatenate([w, params.gate_kernel]),
        params.bias[:split],
        jnp.concatenate([w_n, params.candidate_kernel]),
        params.bias[split:],
    )


def _split_rows(owner: str, kernel: Array, bias: Array, gates: int) -> tuple[Array, Array]:
    """Split the input rows ``[D, G * H]`` from the recurrent ones ``[H, G * H]``."""
    rows, columns = kernel.shape
    units = columns // gates
    check_shapes(
        owner,
        {"bias": (bias, (columns,)), "kernel": (kernel, (max(rows, units + 1), gates * units))},
    )
    return jnp.asarray(kernel[:-units]), jnp.asarray(kernel[-units:])
