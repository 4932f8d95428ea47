"""Independent units: each sees only its own state, through recurrent kernels that are diagonal."""

import dataclasses
from typing import Any

from seqjax.cells.elman import BasicRNN
from seqjax.cells.gru import GRU
from seqjax.cells.lstm import LSTM
from seqjax.operations.initializers import diagonal
from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class IndRNN(BasicRNN):
    """The independently recurrent network, TensorFlow's contributed ``IndRNNCell``::

        h' = activation(x @ W + u * h + b)

    The output is ``h'``. The recurrent kernel is ``u``, ``[H]``. All else is as in `BasicRNN`.

    Args:
      units: H. This and the activation are those of `BasicRNN`.

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
    """The GRU of independent units; gate order r, u, n (reset, update, candidate)::

        r  = sigmoid(x @ W_r + u_r * h + b_r)
        u  = sigmoid(x @ W_u + u_u * h + b_u)
        n  = activation(x @ W_n + u_n * r * h + b_n)
        h' = u * h + (1 - u) * n

    so ``u`` keeps the old state. The output is ``h'``. It is TensorFlow's contributed
    ``IndyGRUCell``. The recurrent kernels are ``[2H]`` and ``[H]``. All else is as in `GRU`.

    Args:
      units: H. This and all other options are those of `GRU`.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    References: Li et al., "Independently recurrent neural network (IndRNN)", 2018; Cho et al.,
    "Learning phrase representations using RNN encoder-decoder for statistical machine
    translation", 2014.

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
    """The LSTM with diagonal recurrent kernels; gate order i, f, g, o::

        i  = sigmoid(x @ W_i + h * u_i + b_i)
        f  = sigmoid(x @ W_f + h * u_f + b_f)
        g  = activation(x @ W_g + h * u_g + b_g)
        o  = sigmoid(x @ W_o + h * u_o + b_o)
        c' = f * c + i * g
        h' = o * activation(c')

    so that a unit sees of the state only itself. TensorFlow's ``IndyLSTMCell``. The recurrent
    kernel is ``u``, ``[4H]``. All else is as in `LSTM`.

    Args:
      units: H. This and all other options are those of `LSTM`, but for the projection, which a
        diagonal kernel does not fit.

    Raises:
      ValueError: as in `LSTM`, or there is a projection.

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
                f"IndyLSTM: each unit sees its own output, so there is no projection, got "
                f"projection_size={self.projection_size}; put an OutputProjection around the cell"
            )

    def _recurrent_kernel(self, key: Array, dtype: Any) -> Array:
        return diagonal(key, self.units, gates=4, dtype=dtype)
