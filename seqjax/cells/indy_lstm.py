"""The LSTM whose units are independent of each other within a layer."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.affine import broadcast_like
from seqjax.cells.lstm import LSTM, LSTMParams
from seqjax.types import Array


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

    >>> from seqjax import IndyLSTM, unroll
    >>> cell = IndyLSTM(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
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
        return jax.random.uniform(key, (4 * self.units,), minval=-1, maxval=1).astype(dtype)

    def _of_state(self, params: LSTMParams, h: Array) -> Array:
        h = jnp.concatenate([h] * 4, axis=-1)
        return h * broadcast_like(params.recurrent_kernel, h)
