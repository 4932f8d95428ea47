"""The simple recurrent unit, whose gates read only the input."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.checks import check_activation, check_size
from seqjax.operations.affine import affine, split_gates
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Activation, Array, LinearCell, Noise


class SRUParams(NamedTuple):
    """Parameters of `SRU`, with columns in the order f, r, n, s.

    Attributes:
      input_kernel: ``[D, 4H]``.
      bias: ``[2H]``, of f and r.
    """

    input_kernel: Array
    bias: Array


class SRUState(NamedTuple):
    """The state of `SRU`.

    Attributes:
      c: ``[B, H]``, the memory.
    """

    c: Array


@dataclasses.dataclass(frozen=True)
class SRU(LinearCell):
    """The simple recurrent unit (SRU).

    Maps ``[B, T, D]`` to ``[B, T, H]``; the state is ``c``, ``[B, H]``. The gate order is f, r, n,
    s (forget, reset, candidate, skip)::

        f  = sigmoid(x @ W_f + b_f)
        r  = sigmoid(x @ W_r + b_r)
        c' = f * c + (1 - f) * (x @ W_n)
        y  = r * activation(c') + (1 - r) * (x @ W_s)

    The output is ``y``. The recurrence is linear, so all steps can run at once. The cell
    corresponds to TensorFlow's ``SRUCell``, whose column order is n, f, r, s.

    Args:
      units: H, the width of the state and of the output.
      activation: applied to the memory.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    Reference: Lei, Zhang and Artzi, "Training RNNs as fast as CNNs", 2017, where the skip is the
    input itself.

    >>> from seqjax import SRU, unroll
    >>> cell = SRU(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.c.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    units: int
    activation: Activation = jnp.tanh

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("SRU", "units", self.units)
        check_activation("SRU", self.activation)

    @property
    def output_size(self) -> int:
        """The number of output features, H."""
        return self.units

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> SRUParams:
        """Initialise Glorot kernels and biases of 0."""
        check_size("SRU", "input_size", input_size)
        return SRUParams(
            glorot_uniform(key, (input_size, self.units), gates=4, dtype=dtype),
            jnp.zeros(2 * self.units, dtype),
        )

    def input_size(self, params: SRUParams) -> int:
        """Return the number of input features, D."""
        return params.input_kernel.shape[0]

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> SRUState:
        """Return ``c = 0``."""
        return SRUState(jnp.zeros((*batch_shape, self.units), dtype))

    def project(self, params: SRUParams, xs: Array, noise: Noise = None) -> tuple[Array, ...]:
        """Compute ``f``, ``(1 - f) * n``, ``r`` and ``(1 - r) * s``, each ``[..., H]``."""
        bias = jnp.pad(params.bias, (0, 2 * self.units))
        f, r, n, s = split_gates(affine(xs, params.input_kernel, bias), 4)
        f, r = jax.nn.sigmoid(f), jax.nn.sigmoid(r)
        return f, (1 - f) * n, r, (1 - r) * s

    def coefficients(self, params: SRUParams, z: tuple[Array, ...]) -> tuple[SRUState, SRUState]:
        """Return the coefficients of ``c' = f * c + (1 - f) * n``."""
        return SRUState(z[0]), SRUState(z[1])

    def readout(self, params: SRUParams, state: SRUState, z: tuple[Array, ...]) -> Array:
        """Compute ``y = r * activation(c') + (1 - r) * s``."""
        return z[2] * self.activation(state.c) + z[3]
