"""Two grid LSTMs that run over the frequencies in opposite directions."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.grid_lstm import GridLSTM, GridLSTMParams
from seqjax.cells.lstm import LSTMState
from seqjax.checks import is_integer
from seqjax.operations.features import check_features
from seqjax.types import Array, Noise
from seqjax.wrappers.wrapper import Wrapper


class BidirectionalGridLSTMParams(NamedTuple):
    """Parameters of `BidirectionalGridLSTM`.

    Attributes:
      forward: one `GridLSTMParams` per block, for rising frequencies.
      backward: likewise, for falling frequencies.
    """

    forward: tuple[GridLSTMParams, ...]
    backward: tuple[GridLSTMParams, ...]


class BidirectionalGridLSTMState(NamedTuple):
    """The state of `BidirectionalGridLSTM`.

    Attributes:
      forward: one `LSTMState` per block.
      backward: likewise, with the windows of each block in reverse order.
    """

    forward: tuple[LSTMState, ...]
    backward: tuple[LSTMState, ...]


@dataclasses.dataclass(frozen=True)
class BidirectionalGridLSTM(Wrapper):
    """Two grid LSTMs, one over rising and one over falling frequencies; time runs forward in both.

    Maps ``[B, T, D]`` to ``[B, T, 2 * N]``, where N is the output width of the grid LSTM. The state
    is a `BidirectionalGridLSTMState`::

        y = concat(forward(w_0, w_1, ..., w_n), backward(w_n, ..., w_1, w_0))

    Each direction has its own parameters, with gates in the order i, f, g, o. The backward outputs
    and states stay in the order of their computation, w_n first. The cell corresponds to
    TensorFlow's ``BidirectionalGridLSTMCell``.

    Args:
      cell: the grid LSTM to run in both directions.
      backward_offset: the number of frequencies by which the backward windows start higher than the
        forward windows, or lower if it is negative. Frequencies beyond the input are 0.

    Raises:
      ValueError: ``cell`` is not a `GridLSTM`, or ``backward_offset`` is not a whole number.

    >>> from seqjax import BidirectionalGridLSTM, GridLSTM, unroll
    >>> cell = BidirectionalGridLSTM(GridLSTM(units=3, frequencies=4, window=2, stride=2))
    >>> params = cell.init(jax.random.key(0), input_size=4)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 4), jnp.float32))
    >>> state.backward[0].h.shape, ys.shape
    ((2, 2, 3), (2, 7, 24))
    """

    cell: GridLSTM
    backward_offset: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.cell, GridLSTM):
            raise ValueError(f"BidirectionalGridLSTM: cell must be a GridLSTM, got {self.cell!r}")
        if not is_integer(self.backward_offset):
            raise ValueError(
                "BidirectionalGridLSTM: backward_offset must be a whole number, "
                f"got {self.backward_offset!r}"
            )

    @property
    def roles(self) -> BidirectionalGridLSTMState:
        """The roles of the grid LSTM, for both directions."""
        return BidirectionalGridLSTMState(self.cell.roles, self.cell.roles)

    @property
    def output_size(self) -> int:
        """Twice the output size of the grid LSTM."""
        return 2 * self.cell.output_size

    def init(
        self, key: Array, input_size: int, dtype: Any = jnp.float32
    ) -> BidirectionalGridLSTMParams:
        """Initialise both directions with separate keys."""
        keys = jax.random.split(key)
        return BidirectionalGridLSTMParams(*(self.cell.init(k, input_size, dtype) for k in keys))

    def inner(self, params: BidirectionalGridLSTMParams) -> tuple[GridLSTMParams, ...]:
        """Return the parameters of the forward direction, which have the shapes of both."""
        return params.forward

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> BidirectionalGridLSTMState:
        """Return the zero state of the grid LSTM, for both directions."""
        zeros = self.cell.initial_state(batch_shape, dtype)
        return BidirectionalGridLSTMState(zeros, zeros)

    def first_state(
        self,
        params: BidirectionalGridLSTMParams,
        batch_shape: tuple[int, ...] = (),
        dtype: Any = jnp.float32,
    ) -> BidirectionalGridLSTMState:
        """Return the zero state."""
        return self.initial_state(batch_shape, dtype)

    def project(
        self, params: BidirectionalGridLSTMParams, xs: Array, noise: Noise = None
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Project the windows, and for the backward direction the shifted windows in reverse."""
        check_features("BidirectionalGridLSTM", xs)
        shift = [(0, 0, 0)] * (xs.ndim - 1) + [(-self.backward_offset, self.backward_offset, 0)]
        shifted = jax.lax.pad(xs, jnp.zeros((), xs.dtype), shift)  # a negative width crops
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
