"""The minimal gated unit: a GRU whose one gate both resets and updates."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.hidden import HiddenCell
from seqjax.checks import check_size
from seqjax.operations.affine import affine, split_gates
from seqjax.operations.initializers import glorot_uniform, orthogonal
from seqjax.types import Activation, Array, HiddenState, Noise


class MGUParams(NamedTuple):
    """Parameters of `MGU`, with gates in the order f, n.

    Attributes:
      input_kernel: ``[D, 2H]``.
      gate_kernel: ``[H, H]``, the recurrent kernel of f.
      candidate_kernel: ``[H, H]``, the recurrent kernel of n.
      bias: ``[2H]``.
    """

    input_kernel: Array
    gate_kernel: Array
    candidate_kernel: Array
    bias: Array


@dataclasses.dataclass(frozen=True)
class MGU(HiddenCell):
    """The minimal gated unit (MGU).

    Maps ``[B, T, D]`` to ``[B, T, H]``; the state is ``h``, ``[B, H]``. The gate order is f, n
    (forget, candidate)::

        f  = sigmoid(x @ W_f + h @ U_f + b_f)
        n  = activation(x @ W_n + (f * h) @ U_n + b_n)
        h' = (1 - f) * h + f * n

    The gate ``f`` admits the candidate. The output is ``h'``.

    Args:
      units: H, the width of the state and of the output.
      activation: applied to the candidate.
      gate_activation: applied to the gates; Keras's ``recurrent_activation``.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    Reference: Zhou, Wu, Zhang and Zhou, "Minimal gated unit for recurrent neural networks", 2016.

    >>> from seqjax import MGU, unroll
    >>> cell = MGU(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    activation: Activation = jnp.tanh
    gate_activation: Activation = jax.nn.sigmoid

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> MGUParams:
        """Initialise Glorot input kernels, orthogonal recurrent kernels and biases of 0."""
        check_size("MGU", "input_size", input_size)
        input_key, gate_key, candidate_key = jax.random.split(key, 3)
        return MGUParams(
            glorot_uniform(input_key, (input_size, self.units), gates=2, dtype=dtype),
            orthogonal(gate_key, self.units, dtype=dtype),
            orthogonal(candidate_key, self.units, dtype=dtype),
            jnp.zeros(2 * self.units, dtype),
        )

    def project(self, params: MGUParams, xs: Array, noise: Noise = None) -> tuple[Array, ...]:
        """Compute ``x @ W + b`` of f and n, each ``[..., H]``."""
        return split_gates(affine(xs, params.input_kernel, params.bias), 2)

    def step(
        self, params: MGUParams, state: HiddenState, z: tuple[Array, ...]
    ) -> tuple[HiddenState, Array]:
        """Compute ``h'`` from ``h`` and the projected inputs."""
        z_f, z_n = z
        f = self.gate_activation(z_f + affine(state.h, params.gate_kernel))
        n = self.activation(z_n + affine(f * state.h, params.candidate_kernel))
        h = (1 - f) * state.h + f * n
        return HiddenState(h), h
