"""The sLSTM of xLSTM, with exponential gates that a running maximum stabilises."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.exponential import check_xlstm_options, log_forget_gate
from seqjax.checks import check_size
from seqjax.operations.affine import affine, grouped, split_gates
from seqjax.operations.initializers import gate_biases, glorot_uniform, orthogonal
from seqjax.types import Array, Cell, Noise, Role, State, with_roles


class SLSTMParams(NamedTuple):
    """Parameters of `SLSTM`, with gates in the order i, f, z, o and N heads.

    Attributes:
      input_kernel: ``[D, 4H]``.
      recurrent_kernel: ``[H/N, 4H]``, the diagonal blocks of each gate side by side.
      bias: ``[4H]``, including the forget bias.
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array


class SLSTMState(NamedTuple):
    """The state of `SLSTM`; ``c`` and ``n`` are scaled by ``exp(-m)``.

    Attributes:
      c: ``[B, H]``, the memory.
      n: ``[B, H]``, its normaliser.
      m: ``[B, H]``, the stabiliser.
      h: ``[B, H]``, the output of the last step.
    """

    c: Array
    n: Array
    m: Array
    h: Array


@dataclasses.dataclass(frozen=True)
class SLSTM(Cell):
    """The sLSTM: an LSTM with exponential gates and a scalar memory per unit.

    Maps ``[B, T, D]`` to ``[B, T, H]``; the state is ``c``, ``n``, ``m`` and ``h``, each
    ``[B, H]``. The gate order is i, f, z, o (input, forget, candidate, output)::

        i  = exp(i~),  i~ = x @ W_i + h @ R_i + b_i                        (12)
        f  = sigmoid(f~) or exp(f~),  f~ = x @ W_f + h @ R_f + b_f         (13)
        z  = tanh(x @ W_z + h @ R_z + b_z)                                 (11)
        o  = sigmoid(x @ W_o + h @ R_o + b_o)                              (14)
        m' = max(log f + m, i~)                                            (15)
        c' = exp(log f + m - m') * c + exp(i~ - m') * z                    (8), (16), (17)
        n' = exp(log f + m - m') * n + exp(i~ - m')                        (9), (16), (17)
        h' = o * c' / n'                                                   (10)

    The output is ``h'``. Each ``R`` is block-diagonal, so a head reads only its own part of the
    state. ``n = 0`` marks an empty memory, for which (15) becomes ``m' = i~``.

    Args:
      units: H, the width of the state and of the output.
      heads: N, the number of blocks of a recurrent kernel.
      forget_bias: the initial ``b_f``.
      exponential_forget: whether the forget gate is ``exp(f~)``.

    Raises:
      ValueError: ``units`` or ``heads`` is not a whole number of at least 1, ``heads`` does not
        divide ``units``, or ``forget_bias`` is not a finite number.

    Reference: Beck et al., "xLSTM: extended long short-term memory", 2024, section 2.2.

    >>> from seqjax import SLSTM, unroll
    >>> cell = SLSTM(units=4, heads=2)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> params.recurrent_kernel.shape, state.c.shape, ys.shape
    ((2, 16), (2, 4), (2, 7, 4))
    """

    units: int
    _: dataclasses.KW_ONLY
    heads: int = 1
    forget_bias: float = 1.0
    exponential_forget: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_xlstm_options("SLSTM", self.units, self.heads, self.forget_bias)

    @property
    def output_size(self) -> int:
        """The number of output features, H."""
        return self.units

    @property
    def roles(self) -> State:
        """``c``, ``n`` and ``m`` represent one quantity; ``h`` is the hidden vector."""
        return with_roles(SLSTMState, Role.JOINT, Role.JOINT, Role.JOINT, Role.HIDDEN)

    @property
    def outputs_hidden(self) -> bool:
        """True: the output is ``h``."""
        return True

    @property
    def prefers_scan(self) -> bool:
        """True: a step has more coefficients than products."""
        return True

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> SLSTMParams:
        """Initialise Glorot input kernels, orthogonal blocks and the forget bias."""
        check_size("SLSTM", "input_size", input_size)
        input_key, recurrent_key = jax.random.split(key)
        return SLSTMParams(
            glorot_uniform(input_key, (input_size, self.units), gates=4, dtype=dtype),
            orthogonal(recurrent_key, self.units // self.heads, 4 * self.heads, dtype),
            gate_biases([0, self.forget_bias, 0, 0], self.units, dtype),
        )

    def input_size(self, params: SLSTMParams) -> int:
        """Return the number of input features, D."""
        return params.input_kernel.shape[0]

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> SLSTMState:
        """Return ``c = n = m = h = 0``."""
        zeros = jnp.zeros((*batch_shape, self.units), dtype)
        return SLSTMState(zeros, zeros, zeros, zeros)

    def project(self, params: SLSTMParams, xs: Array, noise: Noise = None) -> tuple[Array, ...]:
        """Compute ``x @ W + b`` of i, f, z and o, each ``[..., H]``."""
        return split_gates(affine(xs, params.input_kernel, params.bias), 4)

    def step(
        self, params: SLSTMParams, state: SLSTMState, z: tuple[Array, ...]
    ) -> tuple[SLSTMState, Array]:
        """Compute the next state and ``h'`` from the state and the projected inputs."""
        recurrent = split_gates(grouped(state.h, params.recurrent_kernel, self.heads, gates=4), 4)
        i, f, g, o = (z_x + z_h for z_x, z_h in zip(z, recurrent, strict=True))
        log_f = log_forget_gate(f, self.exponential_forget) + state.m
        m = jnp.maximum(jnp.where(state.n == 0, -jnp.inf, log_f), i)
        # at most 1, except for an empty memory, whose factor must stay finite
        f, i = jnp.exp(jnp.minimum(log_f - m, 40)), jnp.exp(i - m)
        c = f * state.c + i * jnp.tanh(g)
        n = f * state.n + i
        h = jax.nn.sigmoid(o) * c / n
        return SLSTMState(c, n, m, h), h
