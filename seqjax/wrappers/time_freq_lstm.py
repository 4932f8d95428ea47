"""An LSTM that also recurs over the frequencies of its input."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.cells.grid_lstm import check_windows, join, window_starts, windows
from seqjax.cells.group_lstm import GLSTM
from seqjax.cells.lstm import LSTM, LSTMParams, LSTMProjected, LSTMState
from seqjax.checks import check_fixed_size, check_size
from seqjax.operations.affine import affine, split_gates
from seqjax.operations.features import check_features
from seqjax.types import Array, Cell, Noise, Role, State, with_roles


@dataclasses.dataclass(frozen=True)
class TimeFreqLSTM(Cell):
    """The time-frequency LSTM, which slides an LSTM over the frequencies of its input.

    Maps ``[B, T, D]`` to ``[B, T, Q*R]`` for Q windows and an LSTM of output width R; the state is
    ``c``, ``[B, Q, H]``, and ``h``, ``[B, Q, R]``::

        w_q = x[q * stride : q * stride + window]                           for q = 0, 1, ..., Q - 1
        (c_q', h_q') = cell((c_q, h_q), concat(w_q, h_{q-1}'))              h_{-1}' = 0
        y = concat(h_0', ..., h_{Q-1}')

    All windows share one set of weights, and each window has its own state over time. Frequencies
    after the last whole window are not read. The parameters are those of the LSTM, with gates in
    the order i, f, g, o; its input kernel has the rows of the window above those of ``h_{q-1}'``.
    The cell corresponds to TensorFlow's ``TimeFreqLSTMCell``.

    Args:
      cell: the LSTM.
      frequencies: D, the number of input features.
      window: the number of frequencies in a window; TensorFlow's ``feature_size``.
      stride: the step from one window to the next; TensorFlow's ``frequency_skip``.

    Raises:
      ValueError: ``cell`` is not an `LSTM` with a dense input kernel, a size is not a whole number
        of at least 1, or the window is wider than the input.

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
        super().__post_init__()
        if not isinstance(self.cell, LSTM) or isinstance(self.cell, GLSTM):
            raise ValueError(
                f"TimeFreqLSTM: cell must be an LSTM with a dense input kernel, got {self.cell!r}"
            )
        check_size("TimeFreqLSTM", "frequencies", self.frequencies)
        check_windows("TimeFreqLSTM", self.frequencies, self.window, self.stride)

    @property
    def _starts(self) -> range:
        return window_starts(0, self.frequencies, self.window, self.stride)

    @property
    def output_size(self) -> int:
        """The number of output features, Q times those of the LSTM."""
        return len(self._starts) * self.cell.output_size

    @property
    def is_noisy(self) -> bool:
        """Whether the LSTM is noisy."""
        return self.cell.is_noisy

    @property
    def roles(self) -> State:
        """``c`` holds the memories and ``h`` the hidden vectors of the windows."""
        return with_roles(LSTMState, Role.MEMORY, Role.HIDDEN)

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> LSTMParams:
        """Initialise the LSTM for a window and the output at the window below."""
        check_fixed_size("TimeFreqLSTM", "input_size", input_size, self.frequencies)
        return self.cell.init(key, self.window + self.cell.output_size, dtype)

    def input_size(self, params: LSTMParams) -> int:
        """Return ``frequencies``."""
        return self.frequencies

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> LSTMState:
        """Return ``c = h = 0``, ``[B, Q, ...]``."""
        return self.cell.initial_state((*batch_shape, len(self._starts)), dtype)

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: int) -> Noise:
        """Draw the noise of the LSTM for each window."""
        return self.cell.draw_noise(key, (*leading_shape, len(self._starts)), self.window)

    def project(self, params: LSTMParams, xs: Array, noise: Noise = None) -> LSTMProjected:
        """Project each window for the LSTM, arrays ``[..., Q, H]``."""
        check_features("TimeFreqLSTM", xs)
        rows = params._replace(input_kernel=params.input_kernel[: self.window])
        return self.cell.project(rows, windows(xs, self._starts, self.window), noise)

    def step(
        self, params: LSTMParams, state: LSTMState, z: LSTMProjected
    ) -> tuple[LSTMState, Array]:
        """Step the LSTM through the windows, lowest frequencies first."""
        h = jnp.zeros_like(state.h[..., 0, :])
        states = []
        for q in range(len(self._starts)):
            state_q, z_q = jax.tree.map(lambda a: a[..., q, :], (state, z))  # noqa: B023, used now
            below = split_gates(affine(h, params.input_kernel[self.window :]), len(z.gates))
            gates = tuple(z_x + z_h for z_x, z_h in zip(z_q.gates, below, strict=True))
            state_q, h = self.cell.step(params, state_q, z_q._replace(gates=gates))
            states.append(state_q)
        state = jax.tree.map(lambda *s: jnp.stack(s, -2), *states)
        return state, join(state.h)
