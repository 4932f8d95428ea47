"""The chaos-free network, whose state decays to zero in the absence of input."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.hidden import HiddenCell
from seqjax.checks import check_size
from seqjax.operations.affine import affine, split_gates
from seqjax.operations.initializers import glorot_uniform, orthogonal
from seqjax.types import Activation, Array, HiddenState, Noise


class CFNParams(NamedTuple):
    """Parameters of `CFN`, with columns in the order theta, eta, n.

    Attributes:
      input_kernel: ``[D, 3H]``.
      recurrent_kernel: ``[H, 2H]``, of theta and eta.
      bias: ``[2H]``, of theta and eta.
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array


@dataclasses.dataclass(frozen=True)
class CFN(HiddenCell):
    """The chaos-free network (CFN).

    Maps ``[B, T, D]`` to ``[B, T, H]``; the state is ``h``, ``[B, H]``. The gate order is theta,
    eta, n (forget, input, candidate)::

        theta = sigmoid(x @ W_theta + h @ U_theta + b_theta)
        eta   = sigmoid(x @ W_eta + h @ U_eta + b_eta)
        h'    = theta * activation(h) + (1 - eta) * activation(x @ W_n)

    The output is ``h'``. The cell corresponds to TensorFlow's ``CFNCell``. The paper has ``eta``
    instead of ``1 - eta``, which is the same model with the parameters of eta negated.

    Args:
      units: H, the width of the state and of the output.
      activation: applied to the state and to the candidate.
      gate_activation: applied to the gates; Keras's ``recurrent_activation``.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    Reference: Laurent and von Brecht, "A recurrent neural network without chaos", 2017.

    >>> from seqjax import CFN, unroll
    >>> cell = CFN(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    activation: Activation = jnp.tanh
    gate_activation: Activation = jax.nn.sigmoid

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> CFNParams:
        """Initialise Glorot input kernels, orthogonal recurrent kernels, and biases of 1.

        With these biases the gates initially keep most of the state.
        """
        check_size("CFN", "input_size", input_size)
        input_key, recurrent_key = jax.random.split(key)
        return CFNParams(
            glorot_uniform(input_key, (input_size, self.units), gates=3, dtype=dtype),
            orthogonal(recurrent_key, self.units, gates=2, dtype=dtype),
            jnp.ones(2 * self.units, dtype),
        )

    def project(self, params: CFNParams, xs: Array, noise: Noise = None) -> tuple[Array, ...]:
        """Compute ``x @ W + b`` of theta and eta and ``activation(x @ W_n)``, each ``[..., H]``."""
        bias = jnp.pad(params.bias, (0, self.units))
        theta, eta, n = split_gates(affine(xs, params.input_kernel, bias), 3)
        return theta, eta, self.activation(n)

    def step(
        self, params: CFNParams, state: HiddenState, z: tuple[Array, ...]
    ) -> tuple[HiddenState, Array]:
        """Compute ``h'`` from ``h`` and the projected inputs."""
        h_theta, h_eta = split_gates(affine(state.h, params.recurrent_kernel), 2)
        theta = self.gate_activation(z[0] + h_theta)
        eta = self.gate_activation(z[1] + h_eta)
        h = theta * self.activation(state.h) + (1 - eta) * z[2]
        return HiddenState(h), h
