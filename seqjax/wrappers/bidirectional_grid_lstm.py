"""Two grid LSTMs, one up the frequencies and one down."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.grid_lstm import GridLSTM, GridLSTMParams
from seqjax.cells.lstm import LSTMState
from seqjax.operations.features import check_features
from seqjax.types import Array, Noise
from seqjax.wrappers.wrapper import Wrapper


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
        super().__post_init__()
        if not isinstance(self.cell, GridLSTM):
            raise ValueError(f"BidirectionalGridLSTM: cell must be a GridLSTM, got {self.cell!r}")
        if isinstance(self.backward_offset, bool) or not hasattr(self.backward_offset, "__index__"):
            raise ValueError(
                "BidirectionalGridLSTM: backward_offset must be a whole number, "
                f"got {self.backward_offset!r}"
            )

    @property
    def roles(self) -> BidirectionalGridLSTMState:
        """Of the grid LSTM, twice."""
        return BidirectionalGridLSTMState(self.cell.roles, self.cell.roles)

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

    def first_state(
        self,
        params: BidirectionalGridLSTMParams,
        batch_shape: tuple[int, ...] = (),
        dtype: Any = jnp.float32,
    ) -> BidirectionalGridLSTMState:
        """The zero state."""
        return self.initial_state(batch_shape, dtype)

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
