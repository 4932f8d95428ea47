"""The phased LSTM, whose units open periodically."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.arrays import given_array
from seqjax.cells.lstm import LSTM, LSTMParams, LSTMProjected, LSTMState
from seqjax.cells.peepholes import Peepholes
from seqjax.checks import check_pair, check_range, check_size, describe_type
from seqjax.operations.affine import broadcast_like
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Array, Cell, Noise, PyTree, Role, State, with_roles


class TimedInputs(NamedTuple):
    """Features with the times at which they were observed.

    Attributes:
      times: ``[B, T]``, in any unit and at any intervals.
      features: ``[B, T, D]``, or integer tokens ``[B, T]``.
    """

    times: Array
    features: Array


class PhasedLSTMParams(NamedTuple):
    """Parameters of `PhasedLSTM`.

    Attributes:
      lstm: `LSTMParams`, with peepholes that are full kernels ``[H, H]``.
      period: ``[H]``.
      phase: ``[H]``, the start of the first period.
      ratio_on: ``[H]``, the fraction of a period in which the unit is open.
    """

    lstm: LSTMParams
    period: Array
    phase: Array
    ratio_on: Array


class PhasedProjection(NamedTuple):
    """The projected inputs of `PhasedLSTM`.

    Attributes:
      lstm: the projected features.
      openness: ``[B, H]``, the time gate k.
    """

    lstm: LSTMProjected
    openness: Array


@dataclasses.dataclass(frozen=True)
class PhasedLSTM(Cell):
    """The phased LSTM, whose time gate k opens once per period.

    Maps `TimedInputs` with features ``[B, T, D]`` to ``[B, T, H]``; the state is ``c`` and ``h``,
    each ``[B, H]``. The gate order is i, f, g, o (input, forget, candidate, output)::

        r  = mod(time - phase, period) / period                     in [0, 1)
        k  = 2 r / ratio_on        if r < ratio_on / 2              opening
             2 - 2 r / ratio_on    else if r < ratio_on             closing
             leak * r              otherwise                        closed
        i, f, o = sigmoid(x @ W + h @ U + b + c @ P)                P only with peepholes
        g  = tanh(x @ W + h @ U + b)
        c~ = f * c + i * g
        h~ = o * tanh(c~)                                           o reads c~ instead of c
        c' = k * c~ + (1 - k) * c
        h' = k * h~ + (1 - k) * h

    The output is ``h'``. Each unit has its own period, phase and ratio. The peephole kernels ``P``
    are full matrices. The ratio ``r`` is computed in the dtype of the times. The cell corresponds
    to TensorFlow's ``PhasedLSTMCell``, including its gradient, which treats ``mod`` as the identity
    of ``time - phase``.

    Args:
      units: H, the width of the state and of the output.
      peepholes: whether i and f read ``c`` and o reads ``c~``.
      leak: the slope of the time gate of a closed unit, which lets the unit learn.
      ratio_on: the initial fraction of a period in which a unit is open.
      trainable_ratio_on: whether ``ratio_on`` gets a gradient.
      period_range: the range of initial periods, which are drawn log-uniformly.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1, ``leak`` is not in [0, 1],
        ``ratio_on`` is not in (0, 1], or ``period_range`` is not two positive numbers, the lower
        one first.

    Reference: Neil, Pfeiffer and Liu, "Phased LSTM: accelerating recurrent network training for
    long or event-based sequences", 2016.

    >>> from seqjax import PhasedLSTM, unroll
    >>> from seqjax.cells import TimedInputs
    >>> cell = PhasedLSTM(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> times = jnp.array([[0.0, 0.1, 1.7], [0.2, 2.0, 9.0]], jnp.float32)
    >>> state, ys = unroll(cell, params, TimedInputs(times, jnp.ones((2, 3, 3), jnp.float32)))
    >>> state.c.shape, state.h.shape, ys.shape
    ((2, 4), (2, 4), (2, 3, 4))
    """

    units: int
    _: dataclasses.KW_ONLY
    peepholes: bool = False
    leak: float = 0.001
    ratio_on: float = 0.1
    trainable_ratio_on: bool = True
    period_range: tuple[float, float] = (1.0, 1000.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("PhasedLSTM", "units", self.units)
        check_range("PhasedLSTM", "leak", self.leak, 0, 1)
        check_range("PhasedLSTM", "ratio_on", self.ratio_on, 0, 1)
        if not self.ratio_on:
            raise ValueError("PhasedLSTM: with ratio_on=0 no unit ever opens; give a positive one")
        low, high = check_pair("PhasedLSTM", "period_range", self.period_range)
        if not 0 < low <= high:
            raise ValueError(
                "PhasedLSTM: period_range must be two positive numbers, the lower one first, got "
                f"{self.period_range}"
            )
        object.__setattr__(self, "period_range", (low, high))

    @property
    def _lstm(self) -> LSTM:
        return LSTM(self.units, forget_bias=0.0)

    @property
    def output_size(self) -> int:
        """The number of output features, H."""
        return self.units

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> PhasedLSTMParams:
        """Initialise an LSTM with biases of 0, log-uniform periods, and phases uniform within them.

        Peephole kernels are Glorot.
        """
        check_size("PhasedLSTM", "input_size", input_size)
        lstm_key, period_key, phase_key, *peephole_keys = jax.random.split(key, 6)
        lstm = self._lstm.init(lstm_key, input_size, dtype)
        if self.peepholes:
            shape = (self.units, self.units)
            kernels = (glorot_uniform(k, shape, dtype=dtype) for k in peephole_keys)
            lstm = lstm._replace(peepholes=Peepholes(*kernels))
        low, high = map(math.log, self.period_range)
        period = jnp.exp(jax.random.uniform(period_key, (self.units,), jnp.float32, low, high))
        phase = jax.random.uniform(phase_key, (self.units,), jnp.float32) * period
        ratio_on = jnp.full(self.units, self.ratio_on, dtype)
        return PhasedLSTMParams(lstm, period.astype(dtype), phase.astype(dtype), ratio_on)

    def input_size(self, params: PhasedLSTMParams) -> int:
        """Return the number of input features, D."""
        return self._lstm.input_size(params.lstm)

    @property
    def roles(self) -> State:
        """``c`` is the memory and ``h`` the hidden vector."""
        return with_roles(LSTMState, Role.MEMORY, Role.HIDDEN)

    @property
    def outputs_hidden(self) -> bool:
        """True: the output is ``h``."""
        return True

    def features(self, xs: TimedInputs) -> PyTree:
        """Return the features; times often need a higher precision."""
        return xs.features

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> LSTMState:
        """Return ``c = h = 0``."""
        return self._lstm.initial_state(batch_shape, dtype)

    def leading_shape(self, params: PhasedLSTMParams, xs: PyTree) -> tuple[int, ...]:
        """Return the time and batch axes, after checking features and times."""
        if not isinstance(xs, TimedInputs):
            raise ValueError(
                f"PhasedLSTM: xs must be TimedInputs(times, features), got {describe_type(xs)}"
            )
        shape = super().leading_shape(params, xs.features)
        times = given_array("PhasedLSTM: times", xs.times)
        if times.shape != shape or not jnp.issubdtype(times.dtype, jnp.floating):
            raise ValueError(
                f"PhasedLSTM: times must be floats of shape {shape}, one for each step of the "
                f"features, got {times.dtype} of shape {times.shape}"
            )
        return shape

    def project(
        self, params: PhasedLSTMParams, xs: TimedInputs, noise: Noise = None
    ) -> PhasedProjection:
        """Compute ``x @ W + b`` of i, f, g and o, and k, each ``[..., H]``."""
        if not isinstance(xs, TimedInputs):
            raise ValueError(
                "PhasedLSTM: inputs must be TimedInputs(times, features), got "
                f"{describe_type(xs)}; other cells do not pass times on, so it must be the lowest "
                "layer"
            )
        z = self._lstm.project(params.lstm, xs.features)
        return PhasedProjection(z, self._openness(params, xs.times).astype(z.gates[0].dtype))

    def _openness(self, params: PhasedLSTMParams, times: Array) -> Array:
        times = jnp.broadcast_to(times[..., None], (*times.shape, self.units))
        period, phase, ratio_on = (
            broadcast_like(p, times) for p in (params.period, params.phase, params.ratio_on)
        )
        if not self.trainable_ratio_on:
            ratio_on = jax.lax.stop_gradient(ratio_on)
        shifted = times - phase
        # the value of mod, which is exact even for large times, with the gradient of the identity
        in_period = jax.lax.stop_gradient(jnp.mod(shifted, period))
        r = (in_period + (shifted - jax.lax.stop_gradient(shifted))) / period
        opening = 2 * r / ratio_on
        half_closed = jnp.where(r < ratio_on, 2 - opening, self.leak * r)
        return jnp.where(r < ratio_on / 2, opening, half_closed)

    def step(
        self, params: PhasedLSTMParams, state: LSTMState, z: PhasedProjection
    ) -> tuple[LSTMState, Array]:
        """Compute ``c'`` and ``h'`` from the state and the projected inputs."""
        (new, _), k = self._lstm.step(params.lstm, state, z.lstm), z.openness
        state = jax.tree.map(lambda n, s: k * n + (1 - k) * s, new, state)
        return state, state.h
