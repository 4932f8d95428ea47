"""Weights of Keras 3's recurrent layers, in the order of ``layer.get_weights()``.

Use ``keras.from_lstm(*layer.get_weights())`` and ``layer.set_weights(keras.to_lstm(params))``. The
weights of a ``Bidirectional`` layer are those of its forward layer, followed by those of its
backward layer.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from seqjax.arrays import given_array
from seqjax.cells import BasicRNNParams, GRUParams, LSTMParams
from seqjax.interop.layout import (
    check_basic_rnn,
    check_gru,
    check_lstm,
    check_shapes,
    permute_gates,
    refuse_options,
    take,
)
from seqjax.types import Array

_ADVICE = "Give what layer.get_weights() returns: from_lstm(*layer.get_weights())."
_ZRH = (1, 0, 2)  # converts z, r, h to r, u, n, and back


def from_simple_rnn(
    kernel: Array, recurrent_kernel: Array, bias: Array | None = None
) -> BasicRNNParams:
    """Convert the weights of a ``SimpleRNN`` to parameters of `seqjax.BasicRNN`.

    Args:
      kernel: ``[D, H]``.
      recurrent_kernel: ``[H, H]``.
      bias: ``[H]``; defaults to zeros, for ``use_bias=False``.

    Raises:
      ValueError: a weight has an unexpected shape.

    >>> from_simple_rnn(jnp.zeros((3, 2)), jnp.zeros((2, 2))).bias.shape
    (2,)
    """
    return BasicRNNParams(*_take("SimpleRNN", 1, kernel, recurrent_kernel, bias))


def to_simple_rnn(params: BasicRNNParams) -> tuple[Array, Array, Array]:
    """Convert parameters of `seqjax.BasicRNN` to the weights of a ``SimpleRNN``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.BasicRNN`.

    >>> params = BasicRNNParams(jnp.zeros((3, 2)), jnp.zeros((2, 2)), jnp.zeros(2))
    >>> [weight.shape for weight in to_simple_rnn(params)]
    [(3, 2), (2, 2), (2,)]
    """
    params = check_basic_rnn("SimpleRNN", params)
    return params.input_kernel, params.recurrent_kernel, params.bias


def from_lstm(kernel: Array, recurrent_kernel: Array, bias: Array | None = None) -> LSTMParams:
    """Convert the weights of an ``LSTM`` to parameters of `seqjax.LSTM`.

    The gate order is the same in both: Keras's i, f, c, o are i, f, g, o in seqjax.

    Args:
      kernel: ``[D, 4H]``.
      recurrent_kernel: ``[H, 4H]``.
      bias: ``[4H]``; defaults to zeros, for ``use_bias=False``.

    Raises:
      ValueError: a weight has an unexpected shape.

    >>> from_lstm(jnp.zeros((3, 8)), jnp.zeros((2, 8))).bias.shape
    (8,)
    """
    return LSTMParams(*_take("LSTM", 4, kernel, recurrent_kernel, bias))


def to_lstm(params: LSTMParams) -> tuple[Array, Array, Array]:
    """Convert parameters of `seqjax.LSTM` to the weights of an ``LSTM``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.LSTM`, or they have peepholes, a projection
        or layer normalisation.

    >>> params = LSTMParams(jnp.zeros((3, 8)), jnp.zeros((2, 8)), jnp.zeros(8))
    >>> [weight.shape for weight in to_lstm(params)]
    [(3, 8), (2, 8), (8,)]
    """
    params = check_lstm("LSTM", params)
    refuse_options("LSTM", params, "peepholes", "projection_kernel", "norm")
    return params.input_kernel, params.recurrent_kernel, params.bias


def from_gru(
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array | None = None,
    *,
    reset_after: bool = True,
) -> GRUParams:
    """Convert the weights of a ``GRU`` to parameters of a `seqjax.GRU` of the same ``reset_after``.

    Keras's gate order is z, r, h, which are u, r, n in seqjax.

    Args:
      kernel: ``[D, 3H]``.
      recurrent_kernel: ``[H, 3H]``.
      bias: ``[2, 3H]`` (for the input and for the state) with ``reset_after``, else ``[3H]``;
        defaults to zeros, for ``use_bias=False``.
      reset_after: the option of the Keras layer, with the same default.

    Raises:
      ValueError: a weight has an unexpected shape.

    >>> params = from_gru(jnp.zeros((3, 6)), jnp.zeros((2, 6)), jnp.ones((2, 6)))
    >>> print(params.bias, params.candidate_bias)
    [2. 2. 2. 2. 1. 1.] [1. 1.]
    """
    owner = f"GRU with reset_after={reset_after}"
    w, u, b = (
        permute_gates(a, _ZRH)
        for a in _take(owner, 3, kernel, recurrent_kernel, bias, of_state=reset_after)
    )
    split = 2 * u.shape[0]
    if not reset_after:
        return GRUParams(w, u[:, :split], u[:, split:], b)
    of_input, of_state = b
    return GRUParams(
        w, u[:, :split], u[:, split:], of_input.at[:split].add(of_state[:split]), of_state[split:]
    )


def to_gru(params: GRUParams) -> tuple[Array, Array, Array]:
    """Convert parameters of a `seqjax.GRU` to the weights of a ``GRU`` of the same ``reset_after``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.GRU`.

    >>> params = GRUParams(jnp.zeros((3, 6)), jnp.zeros((2, 4)), jnp.zeros((2, 2)), jnp.zeros(6))
    >>> [weight.shape for weight in to_gru(params)]
    [(3, 6), (2, 6), (6,)]
    """
    params = check_gru("GRU", params)
    recurrent = jnp.concatenate([params.gate_kernel, params.candidate_kernel], axis=1)
    w, u, b = (permute_gates(a, _ZRH) for a in (params.input_kernel, recurrent, params.bias))
    if params.candidate_bias is None:
        return w, u, b
    of_gates = jnp.zeros(params.gate_kernel.shape[1], b.dtype)
    return w, u, jnp.stack([b, jnp.concatenate([of_gates, params.candidate_bias])])


def _take(
    owner: str,
    gates: int,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array | None,
    *,
    of_state: bool = False,
) -> tuple[Array, Array, Array]:
    """The weights as arrays; with ``of_state`` the bias is ``[2, ...]``, of input and state."""
    given: dict[str, Any] = {"kernel": kernel, "recurrent_kernel": recurrent_kernel}
    given |= {} if bias is None else {"bias": given_array(f"{owner}: bias", bias)}
    axes = {"kernel": 2, "recurrent_kernel": 2}
    arrays = take(
        owner, given, axes, {"bias": 0 if bias is None else np.ndim(bias)}, advice=_ADVICE
    )
    units = arrays["recurrent_kernel"].shape[0]
    shape = (2, gates * units) if of_state else (gates * units,)
    arrays.setdefault("bias", jnp.zeros(shape, arrays["kernel"].dtype))
    shapes = {
        "kernel": (arrays["kernel"].shape[0], gates * units),
        "recurrent_kernel": (units, gates * units),
        "bias": shape,
    }
    check_shapes(owner, {name: (arrays[name], shape) for name, shape in shapes.items()})
    return arrays["kernel"], arrays["recurrent_kernel"], arrays["bias"]
