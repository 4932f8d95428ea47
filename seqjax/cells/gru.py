"""The gated recurrent unit, with the reset gate before or after the recurrent product."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.hidden import HiddenCell
from seqjax.checks import check_size
from seqjax.operations.affine import affine, broadcast_like, split_gates
from seqjax.operations.initializers import gate_biases, glorot_uniform, orthogonal
from seqjax.types import Activation, Array, HiddenState, Noise


class GRUParams(NamedTuple):
    """Parameters of `GRU`, with gates in the order r, u, n.

    Attributes:
      input_kernel: ``[D, 3H]``.
      gate_kernel: ``[H, 2H]``, the recurrent kernels of r and u; ``[2H]`` for an `IndyGRU`.
      candidate_kernel: ``[H, H]``, the recurrent kernel of n; ``[H]`` for an `IndyGRU`.
      bias: ``[3H]``.
      candidate_bias: ``[H]``, the recurrent bias of n, ``c_n``; None unless ``reset_after``.
    """

    input_kernel: Array
    gate_kernel: Array
    candidate_kernel: Array
    bias: Array
    candidate_bias: Array | None = None


@dataclasses.dataclass(frozen=True)
class GRU(HiddenCell):
    """The gated recurrent unit (GRU).

    Maps ``[B, T, D]`` to ``[B, T, H]``; the state is ``h``, ``[B, H]``. The gate order is r, u, n
    (reset, update, candidate)::

        r  = sigmoid(x @ W_r + h @ U_r + b_r)
        u  = sigmoid(x @ W_u + h @ U_u + b_u)
        n  = activation(x @ W_n + (r * h) @ U_n + b_n)          reset_after=False
        n  = activation(x @ W_n + r * (h @ U_n + c_n) + b_n)    reset_after=True
        h' = u * h + (1 - u) * n

    The update gate ``u`` keeps the old state. The output is ``h'``. ``reset_after=False`` is the
    paper's variant and TensorFlow's ``GRUCell``. ``reset_after=True`` is the variant of cuDNN and
    PyTorch, and the default of Keras.

    Args:
      units: H, the width of the state and of the output.
      reset_after: whether the reset gate acts after the recurrent product.
      activation: applied to the candidate.
      gate_activation: applied to the gates; Keras's ``recurrent_activation``.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    Reference: Cho et al., "Learning phrase representations using RNN encoder-decoder for
    statistical machine translation", 2014, equations 5 to 8 (its z is our u).

    >>> from seqjax import GRU, unroll
    >>> cell = GRU(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    _: dataclasses.KW_ONLY
    reset_after: bool = False
    activation: Activation = jnp.tanh
    gate_activation: Activation = jax.nn.sigmoid

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> GRUParams:
        """Initialise Glorot input kernels and orthogonal recurrent kernels.

        The biases of r and u are 1, as in TensorFlow, so that the cell initially keeps most of its
        state. The other biases are 0.
        """
        check_size(type(self).__name__, "input_size", input_size)
        input_key, gate_key, candidate_key = jax.random.split(key, 3)
        return GRUParams(
            glorot_uniform(input_key, (input_size, self.units), gates=3, dtype=dtype),
            self._recurrent_kernel(gate_key, 2, dtype),
            self._recurrent_kernel(candidate_key, 1, dtype),
            gate_biases([1, 1, 0], self.units, dtype),
            jnp.zeros(self.units, dtype) if self.reset_after else None,
        )

    def project(self, params: GRUParams, xs: Array, noise: Noise = None) -> tuple[Array, ...]:
        """Compute ``x @ W + b`` of r, u and n, each ``[..., H]``."""
        return split_gates(affine(xs, params.input_kernel, params.bias), 3)

    def step(
        self, params: GRUParams, state: HiddenState, z: tuple[Array, ...]
    ) -> tuple[HiddenState, Array]:
        """Compute ``h'`` from ``h`` and the projected inputs."""
        z_r, z_u, z_n = z
        if self.reset_after:
            kernel = jnp.concatenate([params.gate_kernel, params.candidate_kernel], -1)
            h_r, h_u, h_n = split_gates(affine(state.h, kernel), 3)
            if params.candidate_bias is not None:
                h_n = h_n + broadcast_like(params.candidate_bias, h_n)
            n = z_n + self.gate_activation(z_r + h_r) * h_n
        else:
            h_r, h_u = split_gates(affine(state.h, params.gate_kernel), 2)
            n = z_n + affine(self.gate_activation(z_r + h_r) * state.h, params.candidate_kernel)
        u = self.gate_activation(z_u + h_u)
        h = u * state.h + (1 - u) * self.activation(n)
        return HiddenState(h), h

    # Variants override:

    def _recurrent_kernel(self, key: Array, gates: int, dtype: Any) -> Array:
        return orthogonal(key, self.units, gates, dtype)
