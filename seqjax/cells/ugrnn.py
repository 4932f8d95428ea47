"""The update gate network: an Elman network with one gate between its old and its new state."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.hidden import HiddenCell
from seqjax.checks import check_size
from seqjax.operations.affine import affine, split_gates
from seqjax.operations.initializers import gate_biases, glorot_uniform, orthogonal
from seqjax.types import Activation, Array, HiddenState, Noise


class UGRNNParams(NamedTuple):
    """Parameters of `UGRNN`, with gates in the order u, n.

    Attributes:
      input_kernel: ``[D, 2H]``.
      recurrent_kernel: ``[H, 2H]``.
      bias: ``[2H]``, including the forget bias.
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array


@dataclasses.dataclass(frozen=True)
class UGRNN(HiddenCell):
    """The update gate recurrent neural network (UGRNN).

    Maps ``[B, T, D]`` to ``[B, T, H]``; the state is ``h``, ``[B, H]``. The gate order is u, n
    (update, candidate)::

        u  = sigmoid(x @ W_u + h @ U_u + b_u)
        n  = activation(x @ W_n + h @ U_n + b_n)
        h' = u * h + (1 - u) * n

    The update gate ``u`` keeps the old state. The output is ``h'``. The cell corresponds to
    TensorFlow's ``UGRNNCell``, except that the forget bias is part of the initial ``b_u``.

    Args:
      units: H, the width of the state and of the output.
      forget_bias: the initial ``b_u``.
      activation: applied to the candidate.
      gate_activation: applied to the gate; Keras's ``recurrent_activation``.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    Reference: Collins, Sohl-Dickstein and Sussillo, "Capacity and trainability in recurrent neural
    networks", 2017 (its g is our u, its c our n).

    >>> from seqjax import UGRNN, unroll
    >>> cell = UGRNN(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    _: dataclasses.KW_ONLY
    forget_bias: float = 1.0
    activation: Activation = jnp.tanh
    gate_activation: Activation = jax.nn.sigmoid

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> UGRNNParams:
        """Initialise Glorot input kernels, orthogonal recurrent kernels and the forget bias."""
        check_size("UGRNN", "input_size", input_size)
        input_key, recurrent_key = jax.random.split(key)
        return UGRNNParams(
            glorot_uniform(input_key, (input_size, self.units), gates=2, dtype=dtype),
            orthogonal(recurrent_key, self.units, gates=2, dtype=dtype),
            gate_biases([self.forget_bias, 0], self.units, dtype),
        )

    def project(self, params: UGRNNParams, xs: Array, noise: Noise = None) -> tuple[Array, ...]:
        """Compute ``x @ W + b`` of u and n, each ``[..., H]``."""
        return split_gates(affine(xs, params.input_kernel, params.bias), 2)

    def step(
        self, params: UGRNNParams, state: HiddenState, z: tuple[Array, ...]
    ) -> tuple[HiddenState, Array]:
        """Compute ``h'`` from ``h`` and the projected inputs."""
        h_u, h_n = split_gates(affine(state.h, params.recurrent_kernel), 2)
        u = self.gate_activation(z[0] + h_u)
        h = u * state.h + (1 - u) * self.activation(z[1] + h_n)
        return HiddenState(h), h
