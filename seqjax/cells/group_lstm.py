"""The group LSTM, whose units form groups that do not read each other within a layer."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from seqjax.cells.lstm import LSTM, LSTMParams
from seqjax.checks import check_size
from seqjax.operations.affine import grouped
from seqjax.operations.initializers import glorot_uniform, orthogonal
from seqjax.types import Array, PyTree


@dataclasses.dataclass(frozen=True)
class GLSTM(LSTM):
    """The group LSTM (G-LSTM): equal groups of inputs, units and outputs, with one LSTM per group.

    Maps ``[B, T, D]`` to ``[B, T, R]``; the state is ``c``, ``[B, H]``, and ``h``, ``[B, R]``. The
    gate order is i, f, g, o (input, forget, candidate, output)::

        i  = sigmoid(x @ W_i + h @ U_i + b_i)
        f  = sigmoid(x @ W_f + h @ U_f + b_f)
        g  = tanh(x @ W_g + h @ U_g + b_g)
        o  = sigmoid(x @ W_o + h @ U_o + b_o)
        c' = f * c + i * g
        h' = o * activation(c')

    Every ``W`` and ``U`` is block-diagonal. The kernels hold their blocks side by side,
    ``[D / groups, 4H]`` and ``[R / groups, 4H]``, so that each column belongs to one unit of one
    gate. A projection is dense and mixes the groups. Everything else is as in `LSTM`. The cell
    corresponds to TensorFlow's ``GLSTMCell``, whose candidate is tanh for any activation.

    Args:
      units: H. This and the options not listed here are those of `LSTM`.
      activation: applied to the memory.
      groups: the number of groups.

    Raises:
      ValueError: as in `LSTM`, or ``groups`` does not divide the units, the inputs or the outputs.

    Reference: Kuchaiev and Ginsburg, "Factorization tricks for LSTM networks", 2017.

    >>> import jax
    >>> from seqjax import GLSTM, unroll
    >>> cell = GLSTM(units=4, groups=2)
    >>> params = cell.init(jax.random.key(0), input_size=6)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 6), jnp.float32))
    >>> params.input_kernel.shape, params.recurrent_kernel.shape, ys.shape
    ((3, 16), (2, 16), (2, 7, 4))
    """

    groups: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("GLSTM", "groups", self.groups)
        self._check_groups("units", self.units)
        self._check_groups("output_size", self.output_size)

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> LSTMParams:
        """Initialise as `LSTM` does, but the kernels of each group separately."""
        check_size("GLSTM", "input_size", input_size)
        self._check_groups("input_size", input_size)
        return super().init(key, input_size, dtype)

    def input_size(self, params: LSTMParams) -> int:
        """Return the number of input features, D."""
        return self.groups * params.input_kernel.shape[0]

    def leading_shape(self, params: LSTMParams, xs: PyTree) -> tuple[int, ...]:
        """Return the time and batch axes of features, and reject tokens."""
        shape = super().leading_shape(params, xs)
        if jnp.issubdtype(xs.dtype, jnp.integer):
            raise ValueError(
                f"GLSTM: inputs must be features, which are split into groups, got tokens of shape "
                f"{xs.shape}; embed tokens first"
            )
        return shape

    def merge_embedding(self, params: LSTMParams, table: Array) -> None:
        """Return None, because tokens have no features to group."""

    def _check_groups(self, name: str, size: int) -> None:
        if size % self.groups:
            raise ValueError(
                f"GLSTM: {name} must be a multiple of groups={self.groups}, got {size}"
            )

    def _input_kernel(self, key: Array, input_size: int, dtype: Any) -> Array:
        shape = (input_size // self.groups, self.units // self.groups)
        return glorot_uniform(key, shape, 4 * self.groups, dtype)

    def _recurrent_kernel(self, key: Array, dtype: Any) -> Array:
        rows = self.output_size // self.groups
        return orthogonal(key, self.units // self.groups, 4 * self.groups, dtype, rows)

    def _of_input(self, params: LSTMParams, xs: Array) -> Array:
        return grouped(xs, params.input_kernel, self.groups, gates=4)

    def _of_state(self, params: LSTMParams, h: Array) -> Array:
        return grouped(h, params.recurrent_kernel, self.groups, gates=4)

    def _candidate(self, g: Array) -> Array:
        return jnp.tanh(g)
