"""The phased LSTM, whose units open in rhythms of their own."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.affine import affine, broadcast_like, split_gates
from seqjax.cells.lstm import LSTMState
from seqjax.checks import check_size
from seqjax.initializers import glorot_uniform, orthogonal
from seqjax.types import Array, Cell, Noise, PyTree


class TimedInputs(NamedTuple):
    """Features and when they were seen."""

    times: Array  # [B, T], in any unit, at any intervals
    features: Array  # [B, T, D], or integer tokens [B, T]


class PhasedLSTMParams(NamedTuple):
    """Parameters of `PhasedLSTM`; gates in the order i, f, g, o."""

    input_kernel: Array  # [D, 4H]
    recurrent_kernel: Array  # [H, 4H]
    bias: Array  # [4H]
    period: Array  # [H]
    phase: Array  # [H], when the first period starts
    ratio_on: Array  # [H], the part of a period in which the unit is open
    peephole_kernel: Array | None = None  # [H, 3H], from c to i, f and o


class PhasedProjection(NamedTuple):
    """What a step of `PhasedLSTM` needs of its inputs."""

    gates: tuple[Array, ...]  # 4 of [B, H]
    openness: Array  # [B, H]


@dataclasses.dataclass(frozen=True)
class PhasedLSTM(Cell):
    """An LSTM with a gate k that opens once a period; gate order i, f, g, o::

        r  = mod(time - phase, period) / period                     in [0, 1)
        k  = 2 r / ratio_on        while r < ratio_on / 2           opening
             2 - 2 r / ratio_on    while r < ratio_on               closing
             leak * r              after that                       closed
        i, f, o = sigmoid(x @ W + h @ U + b + c @ P)                P only with peepholes
        g  = tanh(x @ W + h @ U + b)
        c~ = f * c + i * g
        h~ = o * tanh(c~)                                           o sees c~ in place of c
        c' = k * c~ + (1 - k) * c
        h' = k * h~ + (1 - k) * h

    The output is ``h'``. Inputs are `TimedInputs`. Each unit has a period, a phase and a ratio; the
    peephole kernels ``P`` are whole matrices. It is TensorFlow's ``PhasedLSTMCell``, also in its
    gradient: that of ``mod`` goes to ``time - phase`` alone, as if it were the identity. The ratio
    ``r`` is computed in the precision of the times.

    Args:
      units: H, the width of the state and of the output.
      peepholes: whether i and f see ``c`` and o sees ``c~``.
      leak: how far a closed unit stays open, so that it still learns.
      ratio_on: the initial part of its period in which a unit is open.
      trainable_ratio_on: without, ``ratio_on`` gets no gradient.
      period_range: initial periods are drawn from it, uniformly in their logarithm.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1, ``leak`` or ``ratio_on`` is outside
        of [0, 1], or ``period_range`` is not two positive numbers, the lower one first.

    Reference: Neil, Pfeiffer and Liu, "Phased LSTM: accelerating recurrent network training for
    long or event-based sequences", 2016.

    >>> from seqjax import PhasedLSTM, TimedInputs, unroll
    >>> cell = PhasedLSTM(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> times = jnp.array([[0.0, 0.1, 1.7], [0.2, 2.0, 9.0]], jnp.float32)
    >>> state, ys = unroll(cell, params, TimedInputs(times, jnp.ones((2, 3, 3), jnp.float32)))
    >>> state.c.shape, state.h.shape, ys.shape
    ((2, 4), (2, 4), (2, 3, 4))
    """

    units: int
    peepholes: bool = False
    leak: float = 0.001
    ratio_on: float = 0.1
    trainable_ratio_on: bool = True
    period_range: tuple[float, float] = (1.0, 1000.0)

    def __post_init__(self) -> None:
        check_size("PhasedLSTM", "units", self.units)
        for name in ("leak", "ratio_on"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"PhasedLSTM: {name} must lie in [0, 1], got {getattr(self, name)}"
                )
        low, high = self.period_range
        if not 0 < low <= high:
            raise ValueError(
                "PhasedLSTM: period_range must be two positive numbers, the lower one first, got "
                f"{self.period_range}"
            )

    @property
    def output_size(self) -> int:
        """H."""
        return self.units

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> PhasedLSTMParams:
        """Draw Glorot and orthogonal kernels, zero biases, and periods with phases within them."""
        check_size("PhasedLSTM", "input_size", input_size)
        keys = jax.random.split(key, 5)
        low, high = map(math.log, self.period_range)
        period = jnp.exp(jax.random.uniform(keys[2], (self.units,), jnp.float32, low, high))
        phase = jax.random.uniform(keys[3], (self.units,), jnp.float32) * period
        return PhasedLSTMParams(
            glorot_uniform(keys[0], (input_size, self.units), gates=4, dtype=dtype),
            orthogonal(keys[1], self.units, gates=4, dtype=dtype),
            jnp.zeros(4 * self.units, dtype),
            period.astype(dtype),
            phase.astype(dtype),
            jnp.full(self.units, self.ratio_on, dtype),
            glorot_uniform(keys[4], (self.units, self.units), gates=3, dtype=dtype)
            if self.peepholes
            else None,
        )

    def input_size(self, params: PhasedLSTMParams) -> int:
        """D."""
        return params.input_kernel.shape[0]

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> LSTMState:
        """``c = h = 0``."""
        zeros = jnp.zeros((*batch_shape, self.units), dtype)
        return LSTMState(zeros, zeros)

    def leading_shape(self, params: PhasedLSTMParams, xs: PyTree) -> tuple[int, ...]:
        """The time and batch axes, after a check of features and times."""
        if not isinstance(xs, TimedInputs):
            raise ValueError(
                f"PhasedLSTM: xs must be TimedInputs(times, features), got a {type(xs).__name__}"
            )
        shape = super().leading_shape(params, xs.features)
        times = jnp.asarray(xs.times)
        if times.shape != shape or not jnp.issubdtype(times.dtype, jnp.floating):
            raise ValueError(
                f"PhasedLSTM: times must be floats of shape {shape}, one for each step of the "
                f"features, got {times.dtype} of shape {times.shape}"
            )
        return shape

    def project(
        self, params: PhasedLSTMParams, xs: TimedInputs, noise: Noise = None
    ) -> PhasedProjection:
        """``x @ W + b`` of i, f, g and o, and k, each ``[..., H]``."""
        gates = split_gates(affine(xs.features, params.input_kernel, params.bias), 4)
        return PhasedProjection(gates, self._openness(params, xs.times).astype(gates[0].dtype))

    def _openness(self, params: PhasedLSTMParams, times: Array) -> Array:
        times = jnp.broadcast_to(times[..., None], (*times.shape, self.units))
        period, phase, ratio_on = (
            broadcast_like(p, times) for p in (params.period, params.phase, params.ratio_on)
        )
        if not self.trainable_ratio_on:
            ratio_on = jax.lax.stop_gradient(ratio_on)
        shifted = times - phase
        r = (shifted + jax.lax.stop_gradient(jnp.mod(shifted, period) - shifted)) / period
        opening = 2 * r / ratio_on
        half_closed = jnp.where(r < ratio_on, 2 - opening, self.leak * r)
        return jnp.where(r < ratio_on / 2, opening, half_closed)

    def step(
        self, params: PhasedLSTMParams, state: LSTMState, z: PhasedProjection
    ) -> tuple[LSTMState, Array]:
        """The equations above, given the projections and k."""
        recurrent = split_gates(affine(state.h, params.recurrent_kernel), 4)
        i, f, g, o = (z_x + z_h for z_x, z_h in zip(z.gates, recurrent, strict=True))
        if params.peephole_kernel is not None:
            of_old, of_new = jnp.split(params.peephole_kernel, [2 * self.units], axis=1)
            see_i, see_f = split_gates(affine(state.c, of_old), 2)
            i, f = i + see_i, f + see_f
        c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        if params.peephole_kernel is not None:
            o = o + affine(c, of_new)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        new, k = LSTMState(c, h), z.openness
        state = jax.tree.map(lambda n, s: k * n + (1 - k) * s, new, state)
        return state, state.h
