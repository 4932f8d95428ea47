"""Independent units: each sees only its own state."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.affine import affine, broadcast_like, split_gates
from seqjax.cells.hidden import HiddenCell
from seqjax.checks import check_size
from seqjax.initializers import glorot_uniform
from seqjax.types import Activation, Array, HiddenState, Noise


class IndRNNParams(NamedTuple):
    """Parameters of `IndRNN`."""

    input_kernel: Array  # [D, H]
    recurrent_kernel: Array  # [H], the diagonal
    bias: Array  # [H]


@dataclasses.dataclass(frozen=True)
class IndRNN(HiddenCell):
    """The independently recurrent network, TensorFlow's contributed ``IndRNNCell``::

        h' = activation(x @ W + u * h + b)

    The output is ``h'``.

    Args:
      units: H, the width of the state and of the output.
      activation: applied to each unit.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    Reference: Li et al., "Independently recurrent neural network (IndRNN): building a longer and
    deeper RNN", 2018.

    >>> from seqjax import IndRNN, unroll
    >>> cell = IndRNN(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    activation: Activation = jnp.tanh

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> IndRNNParams:
        """Draw a Glorot input kernel, a recurrent one uniform in [-1, 1], and a zero bias."""
        check_size("IndRNN", "input_size", input_size)
        input_key, recurrent_key = jax.random.split(key)
        return IndRNNParams(
            glorot_uniform(input_key, (input_size, self.units), dtype=dtype),
            _uniform(recurrent_key, self.units, dtype),
            jnp.zeros(self.units, dtype),
        )

    def project(self, params: IndRNNParams, xs: Array, noise: Noise = None) -> Array:
        """``x @ W + b``, ``[..., H]``."""
        return affine(xs, params.input_kernel, params.bias)

    def step(self, params: IndRNNParams, state: HiddenState, z: Array) -> tuple[HiddenState, Array]:
        """``h' = activation(z + u * h)``."""
        h = self.activation(z + state.h * broadcast_like(params.recurrent_kernel, z))
        return HiddenState(h), h


class IndyGRUParams(NamedTuple):
    """Parameters of `IndyGRU`; gates in the order r, u, n."""

    input_kernel: Array  # [D, 3H]
    recurrent_kernel: Array  # [3H], the diagonals
    bias: Array  # [3H]


@dataclasses.dataclass(frozen=True)
class IndyGRU(HiddenCell):
    """The GRU of independent units; gate order r, u, n (reset, update, candidate)::

        r  = sigmoid(x @ W_r + u_r * h + b_r)
        u  = sigmoid(x @ W_u + u_u * h + b_u)
        n  = activation(x @ W_n + u_n * r * h + b_n)
        h' = u * h + (1 - u) * n

    so ``u`` keeps the old state. The output is ``h'``. It is TensorFlow's contributed
    ``IndyGRUCell``.

    Args:
      units: H, the width of the state and of the output.
      activation: of the candidate.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    References: Li et al., "Independently recurrent neural network (IndRNN)", 2018; Cho et al.,
    "Learning phrase representations using RNN encoder-decoder for statistical machine
    translation", 2014.

    >>> from seqjax import IndyGRU, unroll
    >>> cell = IndyGRU(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    activation: Activation = jnp.tanh

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> IndyGRUParams:
        """Draw Glorot input kernels, recurrent ones uniform in [-1, 1]; r and u start open."""
        check_size("IndyGRU", "input_size", input_size)
        input_key, recurrent_key = jax.random.split(key)
        return IndyGRUParams(
            glorot_uniform(input_key, (input_size, self.units), gates=3, dtype=dtype),
            _uniform(recurrent_key, 3 * self.units, dtype),
            jnp.zeros(3 * self.units, dtype).at[: 2 * self.units].set(1),
        )

    def project(self, params: IndyGRUParams, xs: Array, noise: Noise = None) -> tuple[Array, ...]:
        """``x @ W + b`` of r, u and n, each ``[..., H]``."""
        return split_gates(affine(xs, params.input_kernel, params.bias), 3)

    def step(
        self, params: IndyGRUParams, state: HiddenState, z: tuple[Array, ...]
    ) -> tuple[HiddenState, Array]:
        """The equations above, given the three projections."""
        diagonals = split_gates(params.recurrent_kernel, 3)
        u_r, u_u, u_n = (broadcast_like(diagonal, state.h) for diagonal in diagonals)
        r = jax.nn.sigmoid(z[0] + u_r * state.h)
        u = jax.nn.sigmoid(z[1] + u_u * state.h)
        n = self.activation(z[2] + u_n * r * state.h)
        h = u * state.h + (1 - u) * n
        return HiddenState(h), h


def _uniform(key: Array, size: int, dtype: Any) -> Array:
    return jax.random.uniform(key, (size,), jnp.float32, -1, 1).astype(dtype)
