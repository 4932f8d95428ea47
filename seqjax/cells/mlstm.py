"""The mLSTM of xLSTM, with exponential gates and a matrix memory, step by step or in chunks."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.exponential import check_xlstm_options, log_forget_gate
from seqjax.checks import check_size
from seqjax.operations.affine import affine, split_gates
from seqjax.operations.initializers import gate_biases, glorot_uniform
from seqjax.types import Array, ChunkwiseCell, Noise, Role, State, with_roles


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
class MLSTM(ChunkwiseCell):
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
    the input alone, so `seqjax.unroll` computes chunks of ``chunk_size`` steps at once. With
    ``F_t = log f_1 + ... + log f_t`` of the steps of a chunk, and the state before it::

        m_t     = max(F_t + m, max over s <= t of F_t - F_s + i~_s)
        S_ts    = (q_t @ k_s) * exp(F_t - F_s + i~_s - m_t)    for s <= t
        C_t q_t = exp(F_t + m - m_t) * C @ q_t + sum over s of S_ts * v_s
        n_t q_t = exp(F_t + m - m_t) * n @ q_t + sum over s of S_ts

    These are the values of the equations above, up to rounding. The memory is then stored once per
    chunk instead of once per step.

    Args:
      units: H, the width of the output.
      heads: N, the number of heads, whose keys and values have H / N features.
      forget_bias: the initial ``b_f``.
      exponential_forget: whether the forget gate is ``exp(f~)``.
      chunk_size: the number of steps that are computed at once. It changes the time and the memory
        of a run, but not its values.

    Raises:
      ValueError: ``units``, ``heads`` or ``chunk_size`` is not a whole number of at least 1,
        ``heads`` does not divide ``units``, or ``forget_bias`` is not a finite number.

    References: Beck et al., "xLSTM: extended long short-term memory", 2024, section 2.3; Beck et
    al., "Tiled flash linear attention: more efficient linear RNN and xLSTM kernels", 2025 (chunks).

    >>> from seqjax import MLSTM, unroll
    >>> cell = MLSTM(units=4, heads=2)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.c.shape, ys.shape
    ((2, 2, 2, 2), (2, 7, 4))
    """

    units: int
    _: dataclasses.KW_ONLY
    heads: int = 1
    forget_bias: float = 1.0
    exponential_forget: bool = False
    chunk_size: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_xlstm_options("MLSTM", self.units, self.heads, self.forget_bias)
        check_size("MLSTM", "chunk_size", self.chunk_size)

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
            gate_biases([0, self.forget_bias], self.heads, dtype),
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
        log_f = log_forget_gate(f, self.exponential_forget)
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
        y = o * _normalised((c * q[..., None, :]).sum(-1), (n * q).sum(-1), m)
        return MLSTMState(c, n, m), y.reshape(*y.shape[:-2], self.units)

    def run_chunk(
        self,
        params: MLSTMParams,
        state: MLSTMState,
        zs: tuple[Array, ...],
        mask: Array | None = None,
        starts: Array | None = None,
    ) -> tuple[MLSTMState, Array]:
        """Compute all steps of a chunk from the state before it."""
        i, log_f, *_, o = zs
        q, k, v = (jnp.moveaxis(a, 0, -2) for a in zs[2:5])  # [B, N, T, H/N]
        i, log_f = jnp.moveaxis(i, 0, -1), jnp.moveaxis(log_f, 0, -1)  # [B, N, T]
        valid, sequence = None, None
        if mask is not None:
            valid = jnp.moveaxis(mask, 0, -1)[..., None, :]
            i, log_f = jnp.where(valid, i, -jnp.inf), jnp.where(valid, log_f, 0)
        kept, written = log_f, i
        if starts is not None:
            starts = jnp.moveaxis(starts if mask is None else starts & mask, 0, -1)[..., None, :]
            # the empty memory before a start has m = 0
            kept = jnp.where(starts, -jnp.inf, log_f)
            written = jnp.where(starts, jnp.maximum(log_f, i), i)
            sequence = jnp.cumsum(starts, axis=-1, dtype=jnp.int32)
        since, recent = jax.lax.associative_scan(_later, (kept, written), axis=-1)
        before = since + state.m[..., None]
        m = jnp.maximum(before, recent)  # (15) of all steps
        weights = _log_weights(log_f, i, sequence) - m[..., None]
        weights, decay = jnp.exp(weights), jnp.exp(before - m)[..., None]
        scores = (q @ k.mT) * weights
        memory = scores @ v + decay * (q @ state.c.mT)
        size = scores.sum(-1) + (decay * q * state.n[..., None, :]).sum(-1)
        y = o * jnp.moveaxis(_normalised(memory, size, m), -2, 0)
        last, decay = weights[..., -1, :, None] * k, decay[..., -1, :]
        state = MLSTMState(
            decay[..., None] * state.c + v.mT @ last, decay * state.n + last.sum(-2), m[..., -1]
        )
        return state, y.reshape(*y.shape[:-2], self.units)


def _normalised(memory: Array, size: Array, m: Array) -> Array:
    """Divide ``C' @ q``, ``[..., H/N]``, by ``max(|n' @ q|, exp(-m'))``, ``[...]``."""
    # clipped so that its square, in the gradient of the quotient, is finite in float32
    one = jnp.exp(jnp.clip(-m, -40, 40))
    return memory / jnp.maximum(jnp.abs(size), one)[..., None]


def _later(first: tuple[Array, Array], then: tuple[Array, Array]) -> tuple[Array, Array]:
    """Compose two maps ``m -> max(a + m, b)``, each given as ``(a, b)``."""
    (a1, b1), (a2, b2) = first, then
    return a1 + a2, jnp.maximum(a2 + b1, b2)


def _log_weights(log_f: Array, i: Array, sequence: Array | None) -> Array:
    """Compute how much of each step s each step t remembers, ``[..., t, s]``.

    This is ``i~_s + log f_{s+1} + ... + log f_t``, or -inf if s is later or of another sequence.
    """
    upto = jnp.tri(log_f.shape[-1], dtype=log_f.dtype)
    # differences of sums over the whole chunk would round small sums to the precision of large ones
    after = log_f[..., :, None] * jnp.broadcast_to(1 - upto.T, (*log_f.shape, log_f.shape[-1]))
    sums = jnp.matmul(upto, after, precision="highest")
    visible = jnp.broadcast_to(upto > 0, sums.shape)
    if sequence is not None:
        visible = visible & (sequence[..., :, None] == sequence[..., None, :])
    return jnp.where(visible, sums + i[..., None, :], -jnp.inf)


def _split_heads(x: Array, heads: int) -> Array:
    """Reshape ``[..., H]`` to ``[..., N, H/N]``."""
    return x.reshape(*x.shape[:-1], heads, -1)
