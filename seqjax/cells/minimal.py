"""The minimal recurrent network: one gate between the state and the embedded input."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.hidden import HiddenCell
from seqjax.checks import check_size
from seqjax.operations.affine import affine
from seqjax.operations.initializers import glorot_uniform, orthogonal
from seqjax.types import Activation, Array, HiddenState, Noise


class MinimalRNNParams(NamedTuple):
    """Parameters of `MinimalRNN`.

    Attributes:
      input_kernel: ``[D, H]``.
      gate_kernel: ``[H, H]``, from the embedded input to the gate.
      recurrent_kernel: ``[H, H]``, from the state to the gate.
      bias: ``[H]``, of the gate.
    """

    input_kernel: Array
    gate_kernel: Array
    recurrent_kernel: Array
    bias: Array


@dataclasses.dataclass(frozen=True)
class MinimalRNN(HiddenCell):
    """The minimal recurrent neural network (minimalRNN).

    Maps ``[B, T, D]`` to ``[B, T, H]``; the state is ``h``, ``[B, H]``::

        n  = activation(x @ W)
        u  = sigmoid(n @ V + h @ U + b)
        h' = u * h + (1 - u) * n

    The update gate ``u`` keeps the old state. The output is ``h'``. The cell corresponds to
    TensorFlow's ``MinimalRNNCell``.

    Args:
      units: H, the width of the state and of the output.
      activation: applied to the embedded input.
      gate_activation: applied to the gate; Keras's ``recurrent_activation``.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    Reference: Chen, Pennington and Schoenholz, "Dynamical isometry and a mean field theory of RNNs:
    gating enables signal propagation in recurrent neural networks", 2018.

    >>> from seqjax import MinimalRNN, unroll
    >>> cell = MinimalRNN(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    activation: Activation = jnp.tanh
    gate_activation: Activation = jax.nn.sigmoid

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> MinimalRNNParams:
        """Initialise Glorot kernels, an orthogonal recurrent kernel and a bias of 1.

        With this bias the gate initially keeps most of the state.
        """
        check_size("MinimalRNN", "input_size", input_size)
        input_key, gate_key, recurrent_key = jax.random.split(key, 3)
        return MinimalRNNParams(
            glorot_uniform(input_key, (input_size, self.units), dtype=dtype),
            glorot_uniform(gate_key, (self.units, self.units), dtype=dtype),
            orthogonal(recurrent_key, self.units, dtype=dtype),
            jnp.ones(self.units, dtype),
        )

    def project(
        self, params: MinimalRNNParams, xs: Array, noise: Noise = None
    ) -> tuple[Array, Array]:
        """Compute ``n`` and ``n @ V + b``, each ``[..., H]``."""
        n = self.activation(affine(xs, params.input_kernel))
        return n, affine(n, params.gate_kernel, params.bias)

    def step(
        self, params: MinimalRNNParams, state: HiddenState, z: tuple[Array, Array]
    ) -> tuple[HiddenState, Array]:
        """Compute ``h'`` from ``h`` and the projected inputs."""
        n, z_u = z
        u = self.gate_activation(z_u + affine(state.h, params.recurrent_kernel))
        h = u * state.h + (1 - u) * n
        return HiddenState(h), h
