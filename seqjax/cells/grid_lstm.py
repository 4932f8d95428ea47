"""The grid LSTM, which recurs over time and over frequency, for spectra of sound."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.lstm import LSTMState
from seqjax.checks import (
    check_clip,
    check_fixed_size,
    check_iterable,
    check_number,
    check_pair,
    check_size,
)
from seqjax.operations.affine import affine, split_gates
from seqjax.operations.features import check_features
from seqjax.operations.initializers import gate_biases, glorot_uniform, orthogonal
from seqjax.types import Array, Cell, Noise


class GridLSTMParams(NamedTuple):
    """Parameters of one block of `GridLSTM`.

    Gates are in the order i, f, g, o. Each gate has columns for the time LSTM and then for the
    frequency LSTM: L is 2, or 1 if they share weights. G is 4, or 3 if ``f`` is coupled to ``i``.

    Attributes:
      input_kernel: ``[window, G*L*H]``.
      recurrent_kernel: ``[2H, G*L*H]``; the rows of the time ``h`` come before those of the
        frequency ``h``.
      bias: ``[G*L*H]``, including the forget bias.
      peepholes: ``[G-1, L, 2, H]``, from the time ``c`` and the frequency ``c`` to every gate but
        g; None if there are none.
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array
    peepholes: Array | None = None


@dataclasses.dataclass(frozen=True)
class GridLSTM(Cell):
    """The grid LSTM: one LSTM over time and one over frequency, which read each other.

    Maps ``[B, T, D]`` to ``[B, T, Q * 2H]`` for Q windows of frequencies; the state is ``c`` and
    ``h`` of the time LSTM, each ``[B, windows, H]`` per block. The gate order is i, f, g, o (input,
    forget, candidate, output)::

        w_q  = x[start + q * stride : start + q * stride + window]          for q = 0, 1, ...
        i, f = sigmoid(w_q @ W + h @ U + b + p_t * c_t + p_f * c_f)         of both LSTMs
        g    = tanh(w_q @ W + h @ U + b)
        c'   = clip(f * c + i * g)
        o    = sigmoid(w_q @ W + h @ U + b + p_t * c_t' + p_f * c_f')
        h'   = o * tanh(c')

    Here ``h = concat(h_t, h_f)``. The time LSTM takes ``c_t`` and ``h_t`` from the previous step at
    window q. The frequency LSTM takes ``c_f`` and ``h_f`` from this step at window q - 1, and zeros
    at the first window. The output is ``concat(h_t', h_f')`` over all windows. Each block is a
    range of frequencies with separate weights, and blocks do not read each other. Frequencies after
    the last whole window of a block are not read. The cell corresponds to TensorFlow's
    ``GridLSTMCell``, except that the forget bias is part of the initial ``b_f``.

    Args:
      units: H, the width of each LSTM.
      frequencies: D, the number of input features.
      window: the number of frequencies in a window; TensorFlow's ``feature_size``.
      stride: the step from one window to the next; TensorFlow's ``frequency_skip``.
      blocks: ``(start, stop)`` of each block; defaults to one block of all frequencies.
      peepholes: whether gates read the memories, by the weights ``p``.
      coupled: whether ``f = 1 - i``, so that ``f`` has no weights.
      shared: whether both LSTMs have the same weights.
      cell_clip: the largest absolute value of the memories, or None for no limit.
      forget_bias: the initial ``b_f``; unused if ``coupled``.

    Raises:
      ValueError: a size is not a whole number of at least 1, a block lies outside the frequencies
        or is narrower than a window, or ``cell_clip`` is not positive.

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
    _: dataclasses.KW_ONLY
    blocks: Sequence[tuple[int, int]] = ()
    peepholes: bool = False
    coupled: bool = False
    shared: bool = False
    cell_clip: float | None = None
    forget_bias: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("GridLSTM", "units", self.units)
        check_size("GridLSTM", "frequencies", self.frequencies)
        check_iterable("GridLSTM", "blocks", self.blocks, of="pairs of numbers")
        blocks = tuple(check_pair("GridLSTM", "each block", block) for block in self.blocks)
        object.__setattr__(self, "blocks", blocks)
        for start, stop in blocks:
            check_size("GridLSTM", "the stop of a block", stop)
            if not 0 <= start < stop <= self.frequencies:
                raise ValueError(
                    f"GridLSTM: blocks must be ranges (start, stop) within the {self.frequencies} "
                    f"frequencies, got {(start, stop)}"
                )
        narrowest = min(stop - start for start, stop in self._blocks)
        check_windows("GridLSTM", narrowest, self.window, self.stride)
        check_clip("GridLSTM", "cell_clip", self.cell_clip)
        check_number("GridLSTM", "forget_bias", self.forget_bias)

    @property
    def _blocks(self) -> Sequence[tuple[int, int]]:
        return self.blocks or ((0, self.frequencies),)

    @property
    def _starts(self) -> list[range]:
        return [window_starts(*block, self.window, self.stride) for block in self._blocks]

    @property
    def _gates(self) -> int:
        return 3 if self.coupled else 4

    @property
    def output_size(self) -> int:
        """The number of output features, 2H times the number of windows."""
        return 2 * self.units * sum(map(len, self._starts))

    def init(
        self, key: Array, input_size: int, dtype: Any = jnp.float32
    ) -> tuple[GridLSTMParams, ...]:
        """Initialise Glorot input kernels, orthogonal recurrent kernels and the forget bias.

        The other biases and the peepholes are 0.
        """
        check_fixed_size("GridLSTM", "input_size", input_size, self.frequencies)
        lstms = 1 if self.shared else 2
        columns = self._gates * lstms

        def one(key: Array) -> GridLSTMParams:
            input_key, time_key, frequency_key = jax.random.split(key, 3)
            biases = [0.0] * self._gates
            if not self.coupled:
                biases[1] = self.forget_bias
            return GridLSTMParams(
                glorot_uniform(input_key, (self.window, self.units), columns, dtype),
                jnp.concatenate(
                    [orthogonal(k, self.units, columns, dtype) for k in (time_key, frequency_key)]
                ),
                gate_biases(biases, lstms * self.units, dtype),
                jnp.zeros((self._gates - 1, lstms, 2, self.units), dtype)
                if self.peepholes
                else None,
            )

        return tuple(one(block_key) for block_key in jax.random.split(key, len(self._blocks)))

    def input_size(self, params: tuple[GridLSTMParams, ...]) -> int:
        """Return ``frequencies``."""
        return self.frequencies

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> tuple[LSTMState, ...]:
        """Return ``c = h = 0`` of the time LSTM, each ``[B, windows, H]`` per block."""
        zeros = [
            jnp.zeros((*batch_shape, len(starts), self.units), dtype) for starts in self._starts
        ]
        return tuple(LSTMState(z, z) for z in zeros)

    def windows(self, xs: Array) -> tuple[Array, ...]:
        """Slice ``[..., D]`` into the windows of each block, ``[..., windows, window]``."""
        return tuple(windows(xs, starts, self.window) for starts in self._starts)

    def project(
        self, params: tuple[GridLSTMParams, ...], xs: Array, noise: Noise = None
    ) -> tuple[Array, ...]:
        """Compute ``w @ W + b`` of each block, ``[..., windows, G*L*H]``."""
        check_features("GridLSTM", xs)
        return self.project_windows(params, self.windows(xs))

    def project_windows(
        self, params: tuple[GridLSTMParams, ...], windows: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        """Compute `GridLSTM.project` for given windows."""
        return tuple(
            affine(w, p.input_kernel, p.bias) for p, w in zip(params, windows, strict=True)
        )

    def step(
        self,
        params: tuple[GridLSTMParams, ...],
        state: tuple[LSTMState, ...],
        z: tuple[Array, ...],
    ) -> tuple[tuple[LSTMState, ...], Array]:
        """Step through the windows of each block in order."""
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
        return jax.tree.map(lambda p: p[..., 0, :], pairs), join(join(pairs.h))

    def _pair(self, params: GridLSTMParams, state: LSTMState, z: Array) -> LSTMState:
        """Step both LSTMs at one window; ``state`` is ``[B, 2, H]``, time before frequency."""
        z = z + affine(join(state.h), params.recurrent_kernel)
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


def check_windows(owner: str, width: int, window: int, stride: int) -> None:
    """Raise ``ValueError`` unless a window fits into ``width`` frequencies."""
    check_size(owner, "window", window)
    check_size(owner, "stride", stride)
    if window > width:
        raise ValueError(
            f"{owner}: window must be at most the {width} frequencies of its range, got {window}"
        )


def window_starts(start: int, stop: int, window: int, stride: int) -> range:
    """Return the starts of the windows that lie within ``[start, stop)``."""
    return range(start, stop - window + 1, stride)


def windows(xs: Array, starts: range, window: int) -> Array:
    """Slice ``[..., D]`` into ``[..., windows, window]``."""
    return jnp.stack([xs[..., start : start + window] for start in starts], -2)


def join(a: Array) -> Array:
    """Reshape ``[..., M, N]`` to ``[..., M * N]``."""
    return a.reshape(*a.shape[:-2], -1)
