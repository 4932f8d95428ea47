"""Contributed cells of independent units, whose recurrent kernel has one row."""

import jax.numpy as jnp

from seqjax.cells import BasicRNNParams, GRUParams, LSTMParams
from seqjax.interop.layout import check_params, permute_gates, refuse_options, writer
from seqjax.interop.tensorflow.core import IJFO
from seqjax.interop.tensorflow.variables import (
    Variables,
    check_arrays,
    shift_gate,
    take_variables,
)
from seqjax.types import Array


def from_ind_rnn(variables: Variables) -> BasicRNNParams:
    """Convert the variables of an ``IndRNNCell`` to parameters of `seqjax.IndRNN`.

    Args:
      variables: ``kernel_w [D, H]``, ``kernel_u [1, H]`` and ``bias [H]``.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> kernels = {"kernel_w": jnp.zeros((3, 2)), "kernel_u": jnp.zeros((1, 2))}
    >>> from_ind_rnn(kernels | {"bias": jnp.zeros(2)}).recurrent_kernel.shape
    (2,)
    """
    names = {"kernel_w": 2, "kernel_u": 2, "bias": 1}
    arrays = take_variables("IndRNNCell", variables, names)
    units = arrays["kernel_w"].shape[1]
    check_arrays("IndRNNCell", arrays, {"kernel_u": (1, units), "bias": (units,)})
    return BasicRNNParams(arrays["kernel_w"], arrays["kernel_u"][0], arrays["bias"])


@writer("IndRNNCell", BasicRNNParams, back=from_ind_rnn)
def to_ind_rnn(params: BasicRNNParams) -> dict[str, Array]:
    """Convert parameters of `seqjax.IndRNN` to the variables of an ``IndRNNCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.IndRNN`.

    >>> to_ind_rnn(BasicRNNParams(jnp.zeros((3, 2)), jnp.zeros(2), jnp.zeros(2)))["kernel_u"].shape
    (1, 2)
    """
    units = params.bias.shape
    check_params("IndRNNCell", params, recurrent_kernel=units, bias=units)
    return {
        "kernel_w": params.input_kernel,
        "kernel_u": params.recurrent_kernel[None],
        "bias": params.bias,
    }


def from_indy_gru(variables: Variables) -> GRUParams:
    """Convert the variables of an ``IndyGRUCell`` to parameters of `seqjax.IndyGRU`.

    Args:
      variables: ``gates/kernel_w [D, 2H]``, ``gates/kernel_u [1, 2H]`` and ``gates/bias [2H]`` for
        r and u; ``candidate/kernel [D, H]``, ``candidate/kernel_u [1, H]`` and ``candidate/bias
        [H]``.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> import jax
    >>> from seqjax import IndyGRU
    >>> variables = to_indy_gru(IndyGRU(2).init(jax.random.key(0), 3))
    >>> params = from_indy_gru(variables)
    >>> params.input_kernel.shape, params.gate_kernel.shape, params.candidate_kernel.shape
    ((3, 6), (4,), (2,))
    """
    owner, kernels = "IndyGRUCell", ("gates/kernel_w", "candidate/kernel")
    names = dict.fromkeys((*kernels, "gates/kernel_u", "candidate/kernel_u"), 2)
    arrays = take_variables(owner, variables, names | {"gates/bias": 1, "candidate/bias": 1})
    rows, units = arrays["candidate/kernel"].shape
    shapes = {
        "gates/kernel_w": (rows, 2 * units),
        "gates/kernel_u": (1, 2 * units),
        "gates/bias": (2 * units,),
        "candidate/kernel_u": (1, units),
        "candidate/bias": (units,),
    }
    check_arrays(owner, arrays, shapes)
    return GRUParams(
        jnp.concatenate([arrays[name] for name in kernels], axis=1),
        arrays["gates/kernel_u"][0],
        arrays["candidate/kernel_u"][0],
        jnp.concatenate([arrays["gates/bias"], arrays["candidate/bias"]]),
    )


@writer("IndyGRUCell", GRUParams, back=from_indy_gru)
def to_indy_gru(params: GRUParams) -> dict[str, Array]:
    """Convert parameters of `seqjax.IndyGRU` to the variables of an ``IndyGRUCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.IndyGRU` with ``reset_after=False``.

    >>> params = GRUParams(jnp.zeros((3, 6)), jnp.zeros(4), jnp.zeros(2), jnp.zeros(6))
    >>> print(*to_indy_gru(params))
    gates/kernel_w gates/kernel_u gates/bias candidate/kernel candidate/kernel_u candidate/bias
    """
    units = params.candidate_kernel.shape[0]
    shapes = {"candidate_kernel": (units,), "gate_kernel": (2 * units,)}
    check_params("IndyGRUCell", params, **shapes, bias=(3 * units,))
    if params.candidate_bias is not None:
        raise ValueError(
            "TensorFlow's IndyGRUCell resets before the product, got parameters of an IndyGRU that "
            "resets after it; use IndyGRU(units)"
        )
    split = 2 * units
    return {
        "gates/kernel_w": params.input_kernel[:, :split],
        "gates/kernel_u": params.gate_kernel[None],
        "gates/bias": params.bias[:split],
        "candidate/kernel": params.input_kernel[:, split:],
        "candidate/kernel_u": params.candidate_kernel[None],
        "candidate/bias": params.bias[split:],
    }


def from_indy_lstm(variables: Variables, *, forget_bias: float = 1.0) -> LSTMParams:
    """Convert the variables of an ``IndyLSTMCell`` to parameters of `seqjax.IndyLSTM`.

    Args:
      variables: ``kernel_w [D, 4H]``, ``kernel_u [1, 4H]`` and ``bias [4H]``, gates in the order i,
        j, f, o.
      forget_bias: the constant that the cell adds to the forget gate at run time.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> kernels = {"kernel_w": jnp.zeros((3, 8)), "kernel_u": jnp.zeros((1, 8))}
    >>> from_indy_lstm(kernels | {"bias": jnp.zeros(8)}).recurrent_kernel.shape
    (8,)
    """
    owner = "IndyLSTMCell"
    arrays = take_variables(owner, variables, {"kernel_w": 2, "kernel_u": 2, "bias": 1})
    rows, columns = arrays["kernel_w"].shape
    columns = 4 * (columns // 4)
    shapes = {"kernel_w": (rows, columns), "kernel_u": (1, columns), "bias": (columns,)}
    check_arrays(owner, arrays, shapes)
    w, u, b = (permute_gates(arrays[name], IJFO) for name in shapes)
    return LSTMParams(w, u[0], shift_gate(b, 4, 1, forget_bias))


@writer("IndyLSTMCell", LSTMParams, back=from_indy_lstm)
def to_indy_lstm(params: LSTMParams, *, forget_bias: float = 1.0) -> dict[str, Array]:
    """Convert parameters of `seqjax.IndyLSTM` to the variables of an ``IndyLSTMCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.IndyLSTM`, or they have peepholes or layer
        normalisation.

    >>> params = LSTMParams(jnp.zeros((3, 8)), jnp.zeros(8), jnp.zeros(8))
    >>> to_indy_lstm(params)["kernel_u"].shape
    (1, 8)
    """
    columns = params.bias.shape[0]
    check_params("IndyLSTMCell", params, recurrent_kernel=(columns,), bias=(columns,))
    refuse_options("IndyLSTMCell", params, "peepholes", "projection_kernel", "norm")
    bias = shift_gate(params.bias, 4, 1, -forget_bias)
    return {
        "kernel_w": permute_gates(params.input_kernel, IJFO),
        "kernel_u": permute_gates(params.recurrent_kernel[None], IJFO),
        "bias": permute_gates(bias, IJFO),
    }
