"""The GRU and the LSTM without the state in their gates, so that all steps can run at once."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.hidden import HiddenCell
from seqjax.checks import check_size
from seqjax.operations.affine import affine, split_gates
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Activation, Array, HiddenState, LinearCell, Noise


class MinParams(NamedTuple):
    """Parameters of `MinGRU`, gates in the order z, n, and of `MinLSTM`, in the order i, f, n."""

    input_kernel: Array  # [D, G*H]
    bias: Array  # [G*H]


@dataclasses.dataclass(frozen=True)
class MinGRU(HiddenCell, LinearCell):
    """The minimal GRU; gate order z, n (update, candidate)::

        z  = sigmoid(x @ W_z + b_z)
        n  = activation(x @ W_n + b_n)
        h' = (1 - z) * h + z * n

    so ``z`` lets the candidate in. The output is ``h'``. This is the plain recurrence of the
    paper's section 3.1; its log-space form (appendix B) needs positive candidates, which come from
    the activation ``g(x) = x + 0.5 if x >= 0 else sigmoid(x)`` given here.

    Args:
      units: H, the width of the state and of the output.
      activation: of the candidate.

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

    activation: Activation = jax.nn.identity

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> MinParams:
        """Draw Glorot kernels and zero biases."""
        check_size("MinGRU", "input_size", input_size)
        return MinParams(
            glorot_uniform(key, (input_size, self.units), gates=2, dtype=dtype),
            jnp.zeros(2 * self.units, dtype),
        )

    def project(self, params: MinParams, xs: Array, noise: Noise = None) -> tuple[Array, Array]:
        """``1 - z`` and ``z * n``, each ``[..., H]``."""
        z, n = split_gates(affine(xs, params.input_kernel, params.bias), 2)
        return jax.nn.sigmoid(-z), jax.nn.sigmoid(z) * self.activation(n)

    def coefficients(
        self, params: MinParams, z: tuple[Array, Array]
    ) -> tuple[HiddenState, HiddenState]:
        """``h' = (1 - z) * h + z * n``."""
        return HiddenState(z[0]), HiddenState(z[1])

    def readout(self, params: MinParams, state: HiddenState, z: tuple[Array, Array]) -> Array:
        """``h'``."""
        return state.h


@dataclasses.dataclass(frozen=True)
class MinLSTM(HiddenCell, LinearCell):
    """The minimal LSTM; gate order i, f, n (input, forget, candidate)::

        i  = sigmoid(x @ W_i + b_i)
        f  = sigmoid(x @ W_f + b_f)
        n  = activation(x @ W_n + b_n)
        h' = f / (f + i) * h + i / (f + i) * n

    The output is ``h'``. The two shares are computed from the logarithms of ``i`` and ``f``, so
    that gates which are both shut divide no zero by zero. For the paper's positive candidates see
    `MinGRU`.

    Args:
      units: H, the width of the state and of the output.
      forget_bias: the initial ``b_f``.
      activation: of the candidate.

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

    forget_bias: float = 1.0
    activation: Activation = jax.nn.identity

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> MinParams:
        """Draw Glorot kernels and the forget bias."""
        check_size("MinLSTM", "input_size", input_size)
        return MinParams(
            glorot_uniform(key, (input_size, self.units), gates=3, dtype=dtype),
            jnp.zeros(3 * self.units, dtype).at[self.units : 2 * self.units].set(self.forget_bias),
        )

    def project(self, params: MinParams, xs: Array, noise: Noise = None) -> tuple[Array, Array]:
        """``f / (f + i)`` and ``i / (f + i) * n``, each ``[..., H]``."""
        i, f, n = split_gates(affine(xs, params.input_kernel, params.bias), 3)
        ratio = jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i)  # log(f / i)
        return jax.nn.sigmoid(ratio), jax.nn.sigmoid(-ratio) * self.activation(n)

    def coefficients(
        self, params: MinParams, z: tuple[Array, Array]
    ) -> tuple[HiddenState, HiddenState]:
        """The two shares of ``h'``."""
        return HiddenState(z[0]), HiddenState(z[1])

    def readout(self, params: MinParams, state: HiddenState, z: tuple[Array, Array]) -> Array:
        """``h'``."""
        return state.h
