"""The LSTM whose input gate follows from its forget gate."""

import dataclasses
from typing import ClassVar

from seqjax.cells.lstm import LSTM


@dataclasses.dataclass(frozen=True)
class CoupledInputForgetGateLSTM(LSTM):
    """The LSTM with coupled input and forget gates (CIFG).

    Maps ``[B, T, D]`` to ``[B, T, R]``; the state is ``c``, ``[B, H]``, and ``h``, ``[B, R]``. The
    gate order is f, g, o (forget, candidate, output)::

        f  = sigmoid(x @ W_f + h @ U_f + b_f)
        g  = activation(x @ W_g + h @ U_g + b_g)
        o  = sigmoid(x @ W_o + h @ U_o + b_o)
        c' = f * c + (1 - f) * g
        h' = o * activation(c')

    The output is ``h'``. Kernels and bias are ``[..., 3H]``, and only f and o have peepholes.
    Everything else is as in `LSTM`. The cell corresponds to TensorFlow's
    ``CoupledInputForgetGateLSTMCell``.

    Args:
      units: H. This and all other options are those of `LSTM`.

    Raises:
      ValueError: as in `LSTM`.

    Reference: Greff, Srivastava, Koutnik, Steunebrink and Schmidhuber, "LSTM: a search space
    odyssey", 2017.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from seqjax import CoupledInputForgetGateLSTM, unroll
    >>> cell = CoupledInputForgetGateLSTM(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> params.input_kernel.shape, ys.shape
    ((3, 12), (2, 7, 4))
    """

    _gates: ClassVar[str] = "fgo"
