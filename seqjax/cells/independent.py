"""Cells of independent units: diagonal recurrent kernels let each unit read only its own state."""

import dataclasses
from typing import Any

from seqjax.cells.elman import BasicRNN
from seqjax.cells.gru import GRU
from seqjax.cells.lstm import LSTM
from seqjax.operations.initializers import diagonal
from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class IndRNN(BasicRNN):
    """The independently recurrent neural network (IndRNN).

    Maps ``[B, T, D]`` to ``[B, T, H]``; the state is ``h``, ``[B, H]``::

        h' = activation(x @ W + u * h + b)

    The output is ``h'``. The recurrent kernel is ``u``, ``[H]``. Everything else is as in
    `BasicRNN`. The cell corresponds to TensorFlow's ``IndRNNCell``.

    Args:
      units: H. This and ``activation`` are those of `BasicRNN`.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    Reference: Li et al., "Independently recurrent neural network (IndRNN): building a longer and
    deeper RNN", 2018, equation 2.

    >>> import jax
    >>> from seqjax import IndRNN, unroll
    >>> cell = IndRNN(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jax.numpy.ones((2, 7, 3), "float32"))
    >>> params.recurrent_kernel.shape, ys.shape
    ((4,), (2, 7, 4))
    """

    def _recurrent_kernel(self, key: Array, dtype: Any) -> Array:
        return diagonal(key, self.units, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class IndyGRU(GRU):
    """The independently recurrent GRU (IndyGRU).

    Maps ``[B, T, D]`` to ``[B, T, H]``; the state is ``h``, ``[B, H]``. The gate order is r, u, n
    (reset, update, candidate)::

        r  = sigmoid(x @ W_r + u_r * h + b_r)
        u  = sigmoid(x @ W_u + u_u * h + b_u)
        n  = activation(x @ W_n + u_n * r * h + b_n)
        h' = u * h + (1 - u) * n

    The update gate ``u`` keeps the old state. The output is ``h'``. The recurrent kernels are
    ``[2H]`` and ``[H]``. Everything else is as in `GRU`. The cell corresponds to TensorFlow's
    ``IndyGRUCell``.

    Args:
      units: H. This and all other options are those of `GRU`.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    References: Li et al., "Independently recurrent neural network (IndRNN)", 2018; Cho et al.,
    "Learning phrase representations using RNN encoder-decoder for statistical machine translation",
    2014.

    >>> import jax
    >>> from seqjax import IndyGRU, unroll
    >>> cell = IndyGRU(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jax.numpy.ones((2, 7, 3), "float32"))
    >>> params.gate_kernel.shape, params.candidate_kernel.shape, ys.shape
    ((8,), (4,), (2, 7, 4))
    """

    def _recurrent_kernel(self, key: Array, gates: int, dtype: Any) -> Array:
        return diagonal(key, self.units, gates, dtype)


@dataclasses.dataclass(frozen=True)
class IndyLSTM(LSTM):
    """The independently recurrent LSTM (IndyLSTM).

    Maps ``[B, T, D]`` to ``[B, T, H]``; the state is ``c`` and ``h``, each ``[B, H]``. The gate
    order is i, f, g, o (input, forget, candidate, output)::

        i  = sigmoid(x @ W_i + h * u_i + b_i)
        f  = sigmoid(x @ W_f + h * u_f + b_f)
        g  = activation(x @ W_g + h * u_g + b_g)
        o  = sigmoid(x @ W_o + h * u_o + b_o)
        c' = f * c + i * g
        h' = o * activation(c')

    The output is ``h'``. The recurrent kernel is ``u``, ``[4H]``. Everything else is as in `LSTM`.
    The cell corresponds to TensorFlow's ``IndyLSTMCell``.

    Args:
      units: H. This and all other options are those of `LSTM`, except ``projection_size``, because
        a diagonal kernel needs outputs of width H.

    Raises:
      ValueError: as in `LSTM`, or ``projection_size`` is given.

    Reference: Gonnet and Deselaers, "IndyLSTMs: independently recurrent LSTMs", 2019.

    >>> import jax
    >>> from seqjax import IndyLSTM, unroll
    >>> cell = IndyLSTM(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jax.numpy.ones((2, 7, 3), "float32"))
    >>> params.recurrent_kernel.shape, ys.shape
    ((16,), (2, 7, 4))
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.projection_size is not None:
            raise ValueError(
                "IndyLSTM: projection_size must be None, since each unit reads its own output, got "
                f"{self.projection_size}; wrap the cell in an OutputProjection"
            )

    def _recurrent_kernel(self, key: Array, dtype: Any) -> Array:
        return diagonal(key, self.units, gates=4, dtype=dtype)
