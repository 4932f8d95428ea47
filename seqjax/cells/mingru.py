"""The minimal GRU and LSTM, whose gates do not read the state, so all steps can run at once."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.hidden import HiddenCell
from seqjax.checks import check_size
from seqjax.operations.affine import affine, split_gates
from seqjax.operations.initializers import gate_biases, glorot_uniform
from seqjax.types import Activation, Array, HiddenState, LinearCell, Noise


class MinParams(NamedTuple):
    """Parameters of `MinGRU`, with gates in the order z, n, or of `MinLSTM`, in the order i, f, n.

    Attributes:
      input_kernel: ``[D, G*H]``.
      bias: ``[G*H]``.
    """

    input_kernel: Array
    bias: Array


@dataclasses.dataclass(frozen=True)
class MinGRU(HiddenCell, LinearCell):
    """The minimal GRU (minGRU).

    Maps ``[B, T, D]`` to ``[B, T, H]``; the state is ``h``, ``[B, H]``. The gate order is z, n
    (update, candidate)::

        z  = sigmoid(x @ W_z + b_z)
        n  = activation(x @ W_n + b_n)
        h' = (1 - z) * h + z * n

    The update gate ``z`` admits the candidate. The output is ``h'``. The recurrence is linear, so
    all steps can run at once. This is the plain form of section 3.1. The log-space form of appendix
    B has positive candidates: pass ``g(x) = x + 0.5 if x >= 0 else sigmoid(x)`` as the activation.

    Args:
      units: H, the width of the state and of the output.
      activation: applied to the candidate.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    Reference: Feng et al., "Were RNNs all we needed?", 2024, section 3.1.

    >>> from seqjax import MinGRU, unroll
    >>> cell = MinGRU(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    _: dataclasses.KW_ONLY
    activation: Activation = jax.nn.identity

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> MinParams:
        """Initialise Glorot kernels and biases of 0."""
        check_size("MinGRU", "input_size", input_size)
        return MinParams(
            glorot_uniform(key, (input_size, self.units), gates=2, dtype=dtype),
            jnp.zeros(2 * self.units, dtype),
        )

    def project(self, params: MinParams, xs: Array, noise: Noise = None) -> tuple[Array, Array]:
        """Compute ``1 - z`` and ``z * n``, each ``[..., H]``."""
        z, n = split_gates(affine(xs, params.input_kernel, params.bias), 2)
        return jax.nn.sigmoid(-z), jax.nn.sigmoid(z) * self.activation(n)

    def coefficients(
        self, params: MinParams, z: tuple[Array, Array]
    ) -> tuple[HiddenState, HiddenState]:
        """Return the coefficients of ``h' = (1 - z) * h + z * n``."""
        return HiddenState(z[0]), HiddenState(z[1])

    def readout(self, params: MinParams, state: HiddenState, z: tuple[Array, Array]) -> Array:
        """Return ``h'``."""
        return state.h


@dataclasses.dataclass(frozen=True)
class MinLSTM(HiddenCell, LinearCell):
    """The minimal LSTM (minLSTM).

    Maps ``[B, T, D]`` to ``[B, T, H]``; the state is ``h``, ``[B, H]``. The gate order is i, f, n
    (input, forget, candidate)::

        i  = sigmoid(x @ W_i + b_i)
        f  = sigmoid(x @ W_f + b_f)
        n  = activation(x @ W_n + b_n)
        h' = f / (f + i) * h + i / (f + i) * n

    The output is ``h'``. The recurrence is linear, so all steps can run at once. Both quotients are
    computed from the logarithms of ``i`` and ``f``, so they are finite even if both gates underflow
    to 0. See `MinGRU` for the activation of positive candidates.

    Args:
      units: H, the width of the state and of the output.
      forget_bias: the initial ``b_f``.
      activation: applied to the candidate.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    Reference: Feng et al., "Were RNNs all we needed?", 2024, section 3.2.

    >>> from seqjax import MinLSTM, unroll
    >>> cell = MinLSTM(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    _: dataclasses.KW_ONLY
    forget_bias: float = 1.0
    activation: Activation = jax.nn.identity

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> MinParams:
        """Initialise Glorot kernels, the forget bias and other biases of 0."""
        check_size("MinLSTM", "input_size", input_size)
        return MinParams(
            glorot_uniform(key, (input_size, self.units), gates=3, dtype=dtype),
            gate_biases([0, self.forget_bias, 0], self.units, dtype),
        )

    def project(self, params: MinParams, xs: Array, noise: Noise = None) -> tuple[Array, Array]:
        """Compute ``f / (f + i)`` and ``i / (f + i) * n``, each ``[..., H]``."""
        i, f, n = split_gates(affine(xs, params.input_kernel, params.bias), 3)
        ratio = jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i)  # log(f / i)
        return jax.nn.sigmoid(ratio), jax.nn.sigmoid(-ratio) * self.activation(n)

    def coefficients(
        self, params: MinParams, z: tuple[Array, Array]
    ) -> tuple[HiddenState, HiddenState]:
        """Return the coefficients of ``h' = f / (f + i) * h + i / (f + i) * n``."""
        return HiddenState(z[0]), HiddenState(z[1])

    def readout(self, params: MinParams, state: HiddenState, z: tuple[Array, Array]) -> Array:
        """Return ``h'``."""
        return state.h
