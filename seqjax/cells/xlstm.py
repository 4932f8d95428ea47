"""The two cells of xLSTM: LSTMs with exponential gates, stabilised by a running maximum."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.checks import check_number, check_size
from seqjax.operations.affine import affine, grouped, split_gates
from seqjax.operations.initializers import glorot_uniform, orthogonal
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
    heads: int = 1
    forget_bias: float = 1.0
    exponential_forget: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_options("SLSTM", self.units, self.heads, self.forget_bias)

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
            jnp.zeros(4 * self.units, dtype).at[self.units : 2 * self.units].set(self.forget_bias),
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
        log_f = _log_forget(f, self.exponential_forget) + state.m
        m = jnp.maximum(jnp.where(state.n == 0, -jnp.inf, log_f), i)
        # at most 1, except for an empty memory, whose factor must stay finite
        f, i = jnp.exp(jnp.minimum(log_f - m, 40)), jnp.exp(i - m)
        c = f * state.c + i * jnp.tanh(g)
        n = f * state.n + i
        h = jax.nn.sigmoid(o) * c / n
        return SLSTMState(c, n, m, h), h


class MLSTMParams(NamedTuple):
    """Parameters of `MLSTM`, with N heads.

    Attributes:
      input_kernel: ``[D, 4H]``, of q, k, v and o.
      bias: ``[4H]``.
      gate_kernel: ``[D, 2N]``, of i and f.
      gate_bias: ``[2N]``, including the forget bias.
    """

    input_kernel: Array
    bias: Array
    gate_kernel: Array
    gate_bias: Array


class MLSTMState(NamedTuple):
    """The state of `MLSTM`; ``c`` and ``n`` are scaled by ``exp(-m)``.

    Attributes:
      c: ``[B, N, H/N, H/N]``, the memory, with values as rows and keys as columns.
      n: ``[B, N, H/N]``, its normaliser.
      m: ``[B, N]``, the stabiliser.
    """

    c: Array
    n: Array
    m: Array


@dataclasses.dataclass(frozen=True)
class MLSTM(Cell):
    """The mLSTM: an LSTM with exponential gates and a matrix memory of keys and values.

    Maps ``[B, T, D]`` to ``[B, T, H]``; the state is ``C`` (``[B, N, H/N, H/N]``), ``n``
    (``[B, N, H/N]``) and ``m`` (``[B, N]``). Each of the N heads computes::

        q  = x @ W_q + b_q                                                 (22)
        k  = x @ W_k / sqrt(H / N) + b_k                                   (23)
        v  = x @ W_v + b_v                                                 (24)
        i  = exp(i~),  i~ = x @ w_i + b_i                                  (25)
        f  = sigmoid(f~) or exp(f~),  f~ = x @ w_f + b_f                   (26)
        o  = sigmoid(x @ W_o + b_o)                                        (27)
        m' = max(log f + m, i~)                                            (15)
        C' = exp(log f + m - m') * C + exp(i~ - m') * outer(v, k)          (19)
        n' = exp(log f + m - m') * n + exp(i~ - m') * k                    (20)
        y  = o * (C' @ q) / max(|n' @ q|, exp(-m'))                        (21)

    The output concatenates ``y`` of all heads. ``C`` and ``n`` are stored scaled by ``exp(-m)``,
    and so the 1 of the paper's (21) becomes ``exp(-m')``. Gates, queries, keys and values depend on
    the input alone.

    Args:
      units: H, the width of the output.
      heads: N, the number of heads, whose keys and values have H / N features.
      forget_bias: the initial ``b_f``.
      exponential_forget: whether the forget gate is ``exp(f~)``.

    Raises:
      ValueError: ``units`` or ``heads`` is not a whole number of at least 1, ``heads`` does not
        divide ``units``, or ``forget_bias`` is not a finite number.

    Reference: Beck et al., "xLSTM: extended long short-term memory", 2024, section 2.3.

    >>> from seqjax import MLSTM, unroll
    >>> cell = MLSTM(units=4, heads=2)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.c.shape, ys.shape
    ((2, 2, 2, 2), (2, 7, 4))
    """

    units: int
    heads: int = 1
    forget_bias: float = 1.0
    exponential_forget: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_options("MLSTM", self.units, self.heads, self.forget_bias)

    @property
    def output_size(self) -> int:
        """The number of output features, H."""
        return self.units

    @property
    def roles(self) -> State:
        """``c``, ``n`` and ``m`` represent one quantity."""
        return with_roles(MLSTMState, Role.JOINT, Role.JOINT, Role.JOINT)

    @property
    def prefers_scan(self) -> bool:
        """True: the coefficients of a matrix memory are matrices."""
        return True

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> MLSTMParams:
        """Initialise Glorot kernels, the forget bias and other biases of 0."""
        check_size("MLSTM", "input_size", input_size)
        input_key, gate_key = jax.random.split(key)
        return MLSTMParams(
            glorot_uniform(input_key, (input_size, self.units), gates=4, dtype=dtype),
            jnp.zeros(4 * self.units, dtype),
            glorot_uniform(gate_key, (input_size, self.heads), gates=2, dtype=dtype),
            jnp.zeros(2 * self.heads, dtype).at[self.heads :].set(self.forget_bias),
        )

    def input_size(self, params: MLSTMParams) -> int:
        """Return the number of input features, D."""
        return params.input_kernel.shape[0]

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> MLSTMState:
        """Return ``C = n = m = 0``."""
        width = self.units // self.heads
        return MLSTMState(
            jnp.zeros((*batch_shape, self.heads, width, width), dtype),
            jnp.zeros((*batch_shape, self.heads, width), dtype),
            jnp.zeros((*batch_shape, self.heads), dtype),
        )

    def project(self, params: MLSTMParams, xs: Array, noise: Noise = None) -> tuple[Array, ...]:
        """Compute ``i~`` and ``log f``, ``[..., N]``, and q, k, v and o, ``[..., N, H/N]``."""
        scale = math.sqrt(self.units // self.heads)
        k_bias = slice(self.units, 2 * self.units)
        bias = params.bias.at[k_bias].multiply(scale)  # the paper scales k before its bias
        gates = split_gates(affine(xs, params.input_kernel, bias), 4)
        q, k, v, o = (_split_heads(gate, self.heads) for gate in gates)
        i, f = split_gates(affine(xs, params.gate_kernel, params.gate_bias), 2)
        log_f = _log_forget(f, self.exponential_forget)
        return i, log_f, q, k / scale, v, jax.nn.sigmoid(o)

    def step(
        self, params: MLSTMParams, state: MLSTMState, z: tuple[Array, ...]
    ) -> tuple[MLSTMState, Array]:
        """Compute the next state and ``y`` from the state and the projected inputs."""
        i, log_f, q, k, v, o = z
        m = jnp.maximum(log_f + state.m, i)
        f, i = jnp.exp(log_f + state.m - m)[..., None], jnp.exp(i - m)[..., None]
        n = f * state.n + i * k
        c = f[..., None] * state.c + (i * v)[..., :, None] * k[..., None, :]
        # clipped so that its square, in the gradient of the quotient, is finite in float32
        one = jnp.exp(jnp.clip(-m, -40, 40))
        size = jnp.maximum(jnp.abs((n * q).sum(-1)), one)[..., None]
        y = o * (c * q[..., None, :]).sum(-1) / size
        return MLSTMState(c, n, m), y.reshape(*y.shape[:-2], self.units)


def _check_options(owner: str, units: int, heads: int, forget_bias: float) -> None:
    check_size(owner, "units", units)
    check_number(owner, "forget_bias", forget_bias)
    check_size(owner, "heads", heads)
    if units % heads:
        raise ValueError(
            f"{owner}: heads must divide units, got units={units} and heads={heads}; "
            f"give units={-(-units // heads) * heads}"
        )


def _split_heads(x: Array, heads: int) -> Array:
    """Reshape ``[..., H]`` to ``[..., N, H/N]``."""
    return x.reshape(*x.shape[:-1], heads, -1)


def _log_forget(f: Array, exponential: bool) -> Array:
    return f if exponential else jax.nn.log_sigmoid(f)
