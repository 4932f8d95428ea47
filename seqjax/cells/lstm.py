"""The long short-term memory."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.affine import affine, split_gates
from seqjax.checks import check_size
from seqjax.initializers import glorot_uniform, orthogonal
from seqjax.types import Activation, Array, Cell, Noise


class LSTMParams(NamedTuple):
    """Parameters of `LSTM`; gates in the order i, f, g, o."""

    input_kernel: Array  # [D, 4H]
    recurrent_kernel: Array  # [H, 4H]
    bias: Array  # [4H], the forget bias included


class LSTMState(NamedTuple):
    """The state of an LSTM."""

    c: Array  # [B, H], the memory
    h: Array  # [B, H], the output


@dataclasses.dataclass(frozen=True)
class LSTM(Cell):
    """The LSTM with a forget gate; gate order i, f, g, o (input, forget, candidate, output)::

        i  = sigmoid(x @ W_i + h @ U_i + b_i)
        f  = sigmoid(x @ W_f + h @ U_f + b_f)
        g  = activation(x @ W_g + h @ U_g + b_g)
        o  = sigmoid(x @ W_o + h @ U_o + b_o)
        c' = f * c + i * g
        h' = o * activation(c')

    The output is ``h'``. It is TensorFlow's ``BasicLSTMCell``, but for the forget bias, which is
    here a part of the initial ``b_f`` and not added at run time, and the gate order.

    Args:
      units: H, the width of the state and of the output.
      forget_bias: the initial ``b_f``; a memory that starts out open learns longer dependencies.
      activation: of the candidate and of the memory.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    References: Hochreiter and Schmidhuber, "Long short-term memory", 1997; Gers, Schmidhuber and
    Cummins, "Learning to forget", 2000; Zaremba, Sutskever and Vinyals, "Recurrent neural network
    regularization", 2014.

    >>> from seqjax import LSTM, unroll
    >>> cell = LSTM(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.c.shape, state.h.shape, ys.shape
    ((2, 4), (2, 4), (2, 7, 4))
    """

    units: int
    forget_bias: float = 1.0
    activation: Activation = jnp.tanh

    def __post_init__(self) -> None:
        check_size("LSTM", "units", self.units)

    @property
    def output_size(self) -> int:
        """H."""
        return self.units

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> LSTMParams:
        """Draw Glorot input kernels, orthogonal recurrent kernels and the forget bias."""
        check_size("LSTM", "input_size", input_size)
        input_key, recurrent_key = jax.random.split(key)
        return LSTMParams(
            glorot_uniform(input_key, (input_size, self.units), gates=4, dtype=dtype),
            orthogonal(recurrent_key, self.units, gates=4, dtype=dtype),
            jnp.zeros(4 * self.units, dtype).at[self.units : 2 * self.units].set(self.forget_bias),
        )

    def input_size(self, params: LSTMParams) -> int:
        """D."""
        return params.input_kernel.shape[0]

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> LSTMState:
        """``c = h = 0``."""
        zeros = jnp.zeros((*batch_shape, self.units), dtype)
        return LSTMState(zeros, zeros)

    def project(self, params: LSTMParams, xs: Array, noise: Noise = None) -> tuple[Array, ...]:
        """``x @ W + b`` of i, f, g and o, each ``[..., H]``."""
        return split_gates(affine(xs, params.input_kernel, params.bias), 4)

    def step(
        self, params: LSTMParams, state: LSTMState, z: tuple[Array, ...]
    ) -> tuple[LSTMState, Array]:
        """The equations above, given the four projections."""
        recurrent = split_gates(affine(state.h, params.recurrent_kernel), 4)
        i, f, g, o = (z_x + z_h for z_x, z_h in zip(z, recurrent, strict=True))
        c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * self.activation(g)
        h = jax.nn.sigmoid(o) * self.activation(c)
        return LSTMState(c, h), h
