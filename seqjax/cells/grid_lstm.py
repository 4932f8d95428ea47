"""LSTMs that recur over frequency as well as over time, for spectra of sound."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.group_lstm import GLSTM
from seqjax.cells.lstm import LSTM, LSTMParams, LSTMProjected, LSTMState
from seqjax.checks import check_clip, check_fixed_size, check_number, check_pair, check_size
from seqjax.operations.affine import affine, split_gates
from seqjax.operations.initializers import glorot_uniform, orthogonal
from seqjax.types import Array, Cell, Noise
from seqjax.wrappers.wrapper import Wrapper, check_features


@dataclasses.dataclass(frozen=True)
class TimeFreqLSTM(Cell):
    """An LSTM that slides over the frequencies of its input, TensorFlow's ``TimeFreqLSTMCell``::

        w_q = x[q * stride : q * stride + window]                           for q = 0, 1, ..., Q - 1
        (c_q', h_q') = cell((c_q, h_q), concat(w_q, h_{q-1}'))              h_{-1}' = 0
        y = concat(h_0', ..., h_{Q-1}')

    One set of weights serves all Q windows, and each window keeps a memory of its own over time.
    Frequencies after the last whole window are not read. The parameters are those of the LSTM, gate
    order i, f, g, o, whose input kernel has the rows of the window above those of ``h_{q-1}'``.

    Args:
      cell: the LSTM, with options of its own.
      frequencies: D, the width of the input.
      window: how many frequencies the LSTM sees at once; TensorFlow's ``feature_size``.
      stride: from one window to the next; TensorFlow's ``frequency_skip``.

    Raises:
      ValueError: ``cell`` is not an `LSTM`, a size is not a whole number of at least 1, or the
        window is wider than the input.

    Reference: Li, Mohamed, Zweig and Gong, "LSTM time and frequency recurrence for automatic speech
    recognition", 2015.

    >>> from seqjax import LSTM, TimeFreqLSTM, unroll
    >>> cell = TimeFreqLSTM(LSTM(4), frequencies=8, window=4, stride=2)
    >>> params = cell.init(jax.random.key(0), input_size=8)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 8), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 3, 4), (2, 7, 12))
    """

    cell: LSTM
    frequencies: int
    window: int
    stride: int

    def __post_init__(self) -> None:
        if not isinstance(self.cell, LSTM) or isinstance(self.cell, GLSTM):
            raise ValueError(
                f"TimeFreqLSTM: cell must be an LSTM with whole kernels, got {self.cell!r}"
            )
        check_size("TimeFreqLSTM", "frequencies", self.frequencies)
        _check_windows("TimeFreqLSTM", self.frequencies, self.window, self.stride)

    @property
    def _starts(self) -> range:
        return _window_starts(0, self.frequencies, self.window, self.stride)

    @property
    def output_size(self) -> int:
        """Q times that of the LSTM."""
        return len(self._starts) * self.cell.output_size

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> LSTMParams:
        """Draw those of the LSTM, for a window and the output at the window before it."""
        check_fixed_size("TimeFreqLSTM", "input_size", input_size, self.frequencies)
        return self.cell.init(key, self.window + self.cell.output_size, dtype)

    def input_size(self, params: LSTMParams) -> int:
        """``frequencies``."""
        return self.frequencies

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> LSTMState:
        """``c = h = 0``, ``[B, Q, H]``."""
        return self.cell.initial_state((*batch_shape, len(self._starts)), dtype)

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: int) -> Noise:
        """Of the LSTM, for each window."""
        return self.cell.draw_noise(key, (*leading_shape, len(self._starts)), self.window)

    def project(self, params: LSTMParams, xs: Array, noise: Noise = None) -> LSTMProjected:
        """The LSTM's own of the windows, each array ``[..., Q, H]``."""
        check_features("TimeFreqLSTM", xs)
        rows = params._replace(input_kernel=params.input_kernel[: self.window])
        return self.cell.project(rows, _windows(xs, self._starts, self.window), noise)

    def step(
        self, params: LSTMParams, state: LSTMState, z: LSTMProjected
    ) -> tuple[LSTMState, Array]:
        """Step the LSTM through the windows, the lowest frequencies first."""
        h = jnp.zeros_like(state.h[..., 0, :])
        states = []
        for q in range(len(self._starts)):
            state_q, z_q = jax.tree.map(lambda a: a[..., q, :], (state, z))  # noqa: B023, used now
            below = split_gates(affine(h, params.input_kernel[self.window :]), len(z.gates))
            gates = tuple(z_x + z_h for z_x, z_h in zip(z_q.gates, below, strict=True))
            state_q, h = self.cell.step(params, state_q, z_q._replace(gates=gates))
            states.append(state_q)
        state = jax.tree.map(lambda *s: jnp.stack(s, -2), *states)
        return state, _join(state.h)


class GridLSTMParams(NamedTuple):
    """Parameters of one block of `GridLSTM`.

    Gates are in the order i, f, g, o, each of the time LSTM and then of the frequency LSTM: L = 2,
    or 1 where they share weights. G is 4, or 3 without f.
    """

    input_kernel: Array  # [window, G*L*H]
    recurrent_kernel: Array  # [2H, G*L*H], of h of time over h of frequency
    bias: Array  # [G*L*H], the forget bias included
    peepholes: Array | None = None  # [G-1, L, 2, H], of c of time and c of frequency; none to g


@dataclasses.dataclass(frozen=True)
class GridLSTM(Cell):
    """One LSTM over time and one over frequency, which read each other; gate order i, f, g, o::

        w_q  = x[start + q * stride : start + q * stride + window]          for q = 0, 1, ...
        i, f = sigmoid(w_q @ W + h @ U + b + p_t * c_t + p_f * c_f)         of both LSTMs
        g    = tanh(w_q @ W + h @ U + b)
        c'   = clip(f * c + i * g)
        o    = sigmoid(w_q @ W + h @ U + b + p_t * c_t' + p_f * c_f')
        h'   = o * tanh(c')

    where ``h = concat(h_t, h_f)``; ``c_t``, ``h_t`` are the time LSTM's at window q and the step
    before, ``c_f``, ``h_f`` the frequency LSTM's at this step and the window below, zero at the
    first. The output is ``concat(h_t', h_f')`` of all windows. Blocks, each a range of frequencies
    with weights of its own, do not see each other; frequencies after a block's last whole window
    are not read. TensorFlow's ``GridLSTMCell``; the forget bias is part of the initial bias.

    Args:
      units: H, of either LSTM.
      frequencies: D, the width of the input.
      window: how many frequencies are seen at once; TensorFlow's ``feature_size``.
      stride: from one window to the next; TensorFlow's ``frequency_skip``.
      blocks: ``(start, stop)`` of each block; without any, one over all frequencies.
      peepholes: whether gates see the memories, the ``p`` above.
      coupled: ``f = 1 - i``, without weights of its own.
      shared: whether both LSTMs have the same weights.
      cell_clip: memories are cut to ``[-cell_clip, cell_clip]``; None for no limit.
      forget_bias: the initial ``b_f``; without effect where ``coupled``.

    Raises:
      ValueError: a size is not a whole number of at least 1, a block lies outside of the
        frequencies or holds no window, or ``cell_clip`` is not positive.

    References: Kalchbrenner, Danihelka and Graves, "Grid long short-term memory", 2016; Sainath and
    Li, "Modeling time-frequency patterns with LSTM vs. convolutional architectures for LVCSR
    tasks", 2016.

    >>> from seqjax import GridLSTM, unroll
    >>> cell = GridLSTM(units=3, frequencies=9, window=2, stride=2, blocks=[(0, 4), (3, 9)])
    >>> params = cell.init(jax.random.key(0), input_size=9)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 9), jnp.float32))
    >>> [block.h.shape for block in state], ys.shape
    ([(2, 2, 3), (2, 3, 3)], (2, 7, 30))
    """

    units: int
    frequencies: int
    window: int
    stride: int
    blocks: Sequence[tuple[int, int]] = ()
    peepholes: bool = False
    coupled: bool = False
    shared: bool = False
    cell_clip: float | None = None
    forget_bias: float = 1.0

    def __post_init__(self) -> None:
        check_size("GridLSTM", "units", self.units)
        check_size("GridLSTM", "frequencies", self.frequencies)
        blocks = tuple(check_pair("GridLSTM", "blocks", block) for block in self.blocks)
        object.__setattr__(self, "blocks", blocks)
        for start, stop in blocks:
            check_size("GridLSTM", "the stop of a block", stop)
            if not 0 <= start < stop <= self.frequencies:
                raise ValueError(
                    f"GridLSTM: blocks must be ranges (start, stop) within the {self.frequencies} "
                    f"frequencies, got {(start, stop)}"
                )
        narrowest = min(stop - start for start, stop in self._blocks)
        _check_windows("GridLSTM", narrowest, self.window, self.stride)
        check_clip("GridLSTM", "cell_clip", self.cell_clip)
        check_number("GridLSTM", "forget_bias", self.forget_bias)

    @property
    def _blocks(self) -> Sequence[tuple[int, int]]:
        return self.blocks or ((0, self.frequencies),)

    @property
    def _starts(self) -> list[range]:
        return [_window_starts(*block, self.window, self.stride) for block in self._blocks]

    @property
    def _gates(self) -> int:
        return 3 if self.coupled else 4

    @property
    def output_size(self) -> int:
        """2H times the number of all windows."""
        return 2 * self.units * sum(map(len, self._starts))

    def init(
        self, key: Array, input_size: int, dtype: Any = jnp.float32
    ) -> tuple[GridLSTMParams, ...]:
        """Draw Glorot input kernels, orthogonal recurrent ones, the forget bias, no peepholes."""
        check_fixed_size("GridLSTM", "input_size", input_size, self.frequencies)
        lstms = 1 if self.shared else 2
        columns = self._gates * lstms

        def one(key: Array) -> GridLSTMParams:
            input_key, time_key, frequency_key = jax.random.split(key, 3)
            bias = jnp.zeros((self._gates, lstms * self.units), dtype)
            return GridLSTMParams(
                glorot_uniform(input_key, (self.window, self.units), columns, dtype),
                jnp.concatenate(
                    [orthogonal(k, self.units, columns, dtype) for k in (time_key, frequency_key)]
                ),
                (bias if self.coupled else bias.at[1].set(self.forget_bias)).reshape(-1),
                jnp.zeros((self._gates - 1, lstms, 2, self.units), dtype)
                if self.peepholes
                else None,
            )

        return tuple(one(block_key) for block_key in jax.random.split(key, len(self._blocks)))

    def input_size(self, params: tuple[GridLSTMParams, ...]) -> int:
        """``frequencies``."""
        return self.frequencies

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> tuple[LSTMState, ...]:
        """``c = h = 0`` of the time LSTM: for each block ``[B, windows, H]``."""
        zeros = [
            jnp.zeros((*batch_shape, len(starts), self.units), dtype) for starts in self._starts
        ]
        return tuple(LSTMState(z, z) for z in zeros)

    def windows(self, xs: Array) -> tuple[Array, ...]:
        """Cut ``[..., D]`` into the windows of each block, ``[..., windows, window]``."""
        return tuple(_windows(xs, starts, self.window) for starts in self._starts)

    def project(
        self, params: tuple[GridLSTMParams, ...], xs: Array, noise: Noise = None
    ) -> tuple[Array, ...]:
        """``w @ W + b`` of each block, ``[..., windows, G*L*H]``."""
        check_features("GridLSTM", xs)
        return self.project_windows(params, self.windows(xs))

    def project_windows(
        self, params: tuple[GridLSTMParams, ...], windows: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        """`project`, of windows that are cut already."""
        return tuple(
            affine(w, p.input_kernel, p.bias) for p, w in zip(params, windows, strict=True)
        )

    def step(
        self,
        params: tuple[GridLSTMParams, ...],
        state: tuple[LSTMState, ...],
        z: tuple[Array, ...],
    ) -> tuple[tuple[LSTMState, ...], Array]:
        """Go through the windows of each block, the first one first."""
        blocks = [self._block(*block) for block in zip(params, state, z, strict=True)]
        return tuple(s for s, _ in blocks), jnp.concatenate([y for _, y in blocks], -1)

    def _block(self, params: GridLSTMParams, state: LSTMState, z: Array) -> tuple[LSTMState, Array]:
        frequency = jax.tree.map(lambda s: jnp.zeros_like(s[..., 0, :]), state)
        pairs = []
        for q in range(z.shape[-2]):
            time = jax.tree.map(lambda s: s[..., q, :], state)  # noqa: B023, used at once
            pair = jax.tree.map(lambda t, f: jnp.stack([t, f], -2), time, frequency)
            pair = self._pair(params, pair, z[..., q, :])
            frequency = jax.tree.map(lambda p: p[..., 1, :], pair)
            pairs.append(pair)
        pairs = jax.tree.map(lambda *p: jnp.stack(p, -3), *pairs)  # [B, windows, 2, H]
        return jax.tree.map(lambda p: p[..., 0, :], pairs), _join(_join(pairs.h))

    def _pair(self, params: GridLSTMParams, state: LSTMState, z: Array) -> LSTMState:
        """One step of both LSTMs at one window: ``state`` is ``[B, 2, H]``, time and frequency."""
        z = z + affine(_join(state.h), params.recurrent_kernel)
        *z_if, z_g, z_o = (
            gate.reshape(*gate.shape[:-1], -1, self.units) for gate in split_gates(z, self._gates)
        )

        def gate(n: int, z: Array, c: Array) -> Array:  # [B, L, H]
            if params.peepholes is not None:
                z = z + jnp.einsum("lmh,...mh->...lh", params.peepholes[n].astype(c.dtype), c)
            return jax.nn.sigmoid(z)

        i, *f = (gate(n, z_n, state.c) for n, z_n in enumerate(z_if))
        c = (1 - i if self.coupled else f[0]) * state.c + i * jnp.tanh(z_g)
        if self.cell_clip is not None:
            c = jnp.clip(c, -self.cell_clip, self.cell_clip)
        return LSTMState(c, gate(-1, z_o, c) * jnp.tanh(c))


class BidirectionalGridLSTMParams(NamedTuple):
    """Parameters of `BidirectionalGridLSTM`."""

    forward: tuple[GridLSTMParams, ...]
    backward: tuple[GridLSTMParams, ...]


class BidirectionalGridLSTMState(NamedTuple):
    """The state of `BidirectionalGridLSTM`."""

    forward: tuple[LSTMState, ...]
    backward: tuple[LSTMState, ...]  # the windows of each block in reverse


@dataclasses.dataclass(frozen=True)
class BidirectionalGridLSTM(Wrapper):
    """Two grid LSTMs, one up the frequencies and one down; time runs forward in both::

        y = concat(forward(w_0, w_1, ..., w_n), backward(w_n, ..., w_1, w_0))

    each with parameters of its own, and gate order i, f, g, o. The backward outputs and states stay
    in the order in which they were computed, w_n first. TensorFlow's ``BidirectionalGridLSTMCell``.

    Args:
      cell: the grid LSTM to run in both directions.
      backward_offset: the backward windows start so many frequencies higher (or lower, if it is
        negative) than the forward ones; beyond the input there are zeros.

    Raises:
      ValueError: ``cell`` is not a `GridLSTM`, or ``backward_offset`` is not a whole number.

    >>> from seqjax import BidirectionalGridLSTM, GridLSTM, unroll
    >>> cell = BidirectionalGridLSTM(GridLSTM(units=3, frequencies=8, window=4, stride=2))
    >>> params = cell.init(jax.random.key(0), input_size=8)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 8), jnp.float32))
    >>> state.backward[0].h.shape, ys.shape
    ((2, 3, 3), (2, 7, 36))
    """

    cell: GridLSTM
    backward_offset: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.cell, GridLSTM):
            raise ValueError(f"BidirectionalGridLSTM: cell must be a GridLSTM, got {self.cell!r}")
        if isinstance(self.backward_offset, bool) or not hasattr(self.backward_offset, "__index__"):
            raise ValueError(
                "BidirectionalGridLSTM: backward_offset must be a whole number, "
                f"got {self.backward_offset!r}"
            )

    @property
    def output_size(self) -> int:
        """Twice that of the grid LSTM."""
        return 2 * self.cell.output_size

    def init(
        self, key: Array, input_size: int, dtype: Any = jnp.float32
    ) -> BidirectionalGridLSTMParams:
        """Draw those of both directions, from keys of their own."""
        keys = jax.random.split(key)
        return BidirectionalGridLSTMParams(*(self.cell.init(k, input_size, dtype) for k in keys))

    def inner(self, params: BidirectionalGridLSTMParams) -> tuple[GridLSTMParams, ...]:
        """Those of the forward direction; the backward ones are like them."""
        return params.forward

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> BidirectionalGridLSTMState:
        """That of the grid LSTM, twice."""
        zeros = self.cell.initial_state(batch_shape, dtype)
        return BidirectionalGridLSTMState(zeros, zeros)

    def project(
        self, params: BidirectionalGridLSTMParams, xs: Array, noise: Noise = None
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The grid LSTM's own of the windows, and of the shifted windows in reverse."""
        check_features("BidirectionalGridLSTM", xs)
        shift = [(0, 0, 0)] * (xs.ndim - 1) + [(-self.backward_offset, self.backward_offset, 0)]
        shifted = jax.lax.pad(xs, jnp.zeros((), xs.dtype), shift)  # a negative edge is cut off
        reverse = tuple(jnp.flip(w, -2) for w in self.cell.windows(shifted))
        return (
            self.cell.project(params.forward, xs),
            self.cell.project_windows(params.backward, reverse),
        )

    def step(
        self,
        params: BidirectionalGridLSTMParams,
        state: BidirectionalGridLSTMState,
        z: tuple[tuple[Array, ...], tuple[Array, ...]],
    ) -> tuple[BidirectionalGridLSTMState, Array]:
        """Step the grid LSTM in both directions."""
        forward, up = self.cell.step(params.forward, state.forward, z[0])
        backward, down = self.cell.step(params.backward, state.backward, z[1])
        return BidirectionalGridLSTMState(forward, backward), jnp.concatenate([up, down], -1)


def _check_windows(owner: str, width: int, window: int, stride: int) -> None:
    check_size(owner, "window", window)
    check_size(owner, "stride", stride)
    if window > width:
        raise ValueError(
            f"{owner}: window must fit into the {width} frequencies it moves over, got {window}"
        )


def _window_starts(start: int, stop: int, window: int, stride: int) -> range:
    return range(start, stop - window + 1, stride)


def _windows(xs: Array, starts: range, window: int) -> Array:
    """``[..., D]`` to ``[..., windows, window]``."""
    return jnp.stack([xs[..., start : start + window] for start in starts], -2)


def _join(a: Array) -> Array:
    """``[..., M, N]`` to ``[..., M * N]``."""
    return a.reshape(*a.shape[:-2], -1)
