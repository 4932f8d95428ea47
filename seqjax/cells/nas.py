"""The recurrent cell that neural architecture search found."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.lstm import LSTMState
from seqjax.checks import check_size
from seqjax.operations.affine import affine, split_gates
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Array, Cell, Noise, Role, State, with_roles


class NASParams(NamedTuple):
    """Parameters of `NAS`, with its eight gates in the order of the equations.

    R is the width of the output: ``projection_size``, or H.

    Attributes:
      input_kernel: ``[D, 8H]``.
      recurrent_kernel: ``[R, 8H]``.
      bias: ``[8H]``; None if ``use_bias`` is false.
      projection_kernel: ``[H, R]``; None if there is no projection.
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    projection_kernel: Array | None


@dataclasses.dataclass(frozen=True)
class NAS(Cell):
    """The recurrent cell of neural architecture search (NAS).

    Maps ``[B, T, D]`` to ``[B, T, R]``; the state is ``c``, ``[B, H]``, and ``h``, ``[B, R]``.
    ``X`` and ``M`` each hold eight gates::

        X  = x @ W,   M = h @ U + b
        l0 = tanh(sigmoid(X_0 + M_0) * relu(X_1 + M_1))
        l1 = tanh(sigmoid(X_2 + M_2) + relu(X_3 * M_3))
        l2 = tanh(tanh(X_4 + M_4) * sigmoid(X_5 + M_5))
        l3 = sigmoid(tanh(X_6 + M_6) + sigmoid(X_7 + M_7))
        c' = tanh(l0 + c) * l1
        h' = tanh(c' * tanh(l2 + l3)) @ P

    Gate 3 multiplies ``X_3`` by ``M_3``, which includes the bias. The output is ``h'``. The cell
    corresponds to TensorFlow's ``NASCell``.

    Args:
      units: H, the width of the memory.
      projection_size: R, the width of ``h`` and of the output, or None for R = H and no ``P``.
      use_bias: whether there is a bias ``b``.

    Raises:
      ValueError: ``units`` or ``projection_size`` is not a whole number of at least 1.

    Reference: Zoph and Le, "Neural architecture search with reinforcement learning", 2017.

    >>> from seqjax import NAS, unroll
    >>> cell = NAS(units=4, projection_size=2)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.c.shape, state.h.shape, ys.shape
    ((2, 4), (2, 2), (2, 7, 2))
    """

    units: int
    projection_size: int | None = None
    use_bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("NAS", "units", self.units)
        if self.projection_size is not None:
            check_size("NAS", "projection_size", self.projection_size)

    @property
    def output_size(self) -> int:
        """The number of output features, R."""
        return self.units if self.projection_size is None else self.projection_size

    @property
    def roles(self) -> State:
        """``c`` is the memory and ``h`` the hidden vector."""
        return with_roles(LSTMState, Role.MEMORY, Role.HIDDEN)

    @property
    def outputs_hidden(self) -> bool:
        """True: the output is ``h``."""
        return True

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> NASParams:
        """Initialise Glorot kernels and a bias of 0."""
        check_size("NAS", "input_size", input_size)
        keys = jax.random.split(key, 3)
        return NASParams(
            glorot_uniform(keys[0], (input_size, self.units), gates=8, dtype=dtype),
            glorot_uniform(keys[1], (self.output_size, self.units), gates=8, dtype=dtype),
            jnp.zeros(8 * self.units, dtype) if self.use_bias else None,
            None
            if self.projection_size is None
            else glorot_uniform(keys[2], (self.units, self.projection_size), dtype=dtype),
        )

    def input_size(self, params: NASParams) -> int:
        """Return the number of input features, D."""
        return params.input_kernel.shape[0]

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> LSTMState:
        """Return ``c = h = 0``."""
        return LSTMState(
            jnp.zeros((*batch_shape, self.units), dtype),
            jnp.zeros((*batch_shape, self.output_size), dtype),
        )

    def project(self, params: NASParams, xs: Array, noise: Noise = None) -> tuple[Array, ...]:
        """Compute ``x @ W`` of the eight gates, each ``[..., H]``."""
        return split_gates(affine(xs, params.input_kernel), 8)

    def step(
        self, params: NASParams, state: LSTMState, z: tuple[Array, ...]
    ) -> tuple[LSTMState, Array]:
        """Compute ``c'`` and ``h'`` from the state and ``X``."""
        m = split_gates(affine(state.h, params.recurrent_kernel, params.bias), 8)
        sigmoid, tanh, relu = jax.nn.sigmoid, jnp.tanh, jax.nn.relu
        l0 = tanh(sigmoid(z[0] + m[0]) * relu(z[1] + m[1]))
        l1 = tanh(sigmoid(z[2] + m[2]) + relu(z[3] * m[3]))
        l2 = tanh(tanh(z[4] + m[4]) * sigmoid(z[5] + m[5]))
        l3 = sigmoid(tanh(z[6] + m[6]) + sigmoid(z[7] + m[7]))
        c = tanh(l0 + state.c) * l1
        h = tanh(c * tanh(l2 + l3))
        if params.projection_kernel is not None:
            h = affine(h, params.projection_kernel)
        return LSTMState(c, h), h
