"""Zoneout."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.types import Array, Noise, Params, Projected, PyTree, State
from seqjax.wrappers.dropout import draw_kept_state, rates_by_array
from seqjax.wrappers.wrapper import Wrapper, hidden


class ZoneoutNoise(NamedTuple):
    """The masks of `Zoneout`.

    Attributes:
      updated: ``bool[T, B, ...]`` for each array of the state; None if its rate is 0.
      cell: the noise of the wrapped cell.
    """

    updated: PyTree
    cell: Noise


@dataclasses.dataclass(frozen=True)
class Zoneout(Wrapper):
    """Zoneout: a cell whose units randomly keep their old state.

    Parameters, state and shapes are those of the wrapped cell::

        n, y = cell(s, x)
        s'   = update * n + (1 - update) * s,   update ~ Bernoulli(1 - rate) for each unit and step
        s'   = (1 - rate) * n + rate * s        in evaluation: the expectation

    If the wrapped cell outputs its hidden vector (`Cell.outputs_hidden`), as `LSTM` and `GRU` do,
    the output is that vector of ``s'``. Any other output, such as the sum of a `Residual`, is
    ``y``.

    Args:
      cell: the wrapped cell.
      rate: the probability of keeping the old value: one number, or one for each array of the
        state, such as the paper's ``LSTMState(c=0.5, h=0.05)``. The ``c``, ``n`` and ``m`` of
        `SLSTM` and `MLSTM` are always updated.

    Raises:
      ValueError: ``cell`` is not a cell or cannot run step by step, a rate is not in ``[0, 1)``, or
        the rates do not match the structure of the state.

    Reference: Krueger et al., "Zoneout: regularizing RNNs by randomly preserving hidden
    activations", 2017.

    >>> from seqjax import LSTM, Zoneout, unroll
    >>> from seqjax.cells import LSTMState
    >>> cell = Zoneout(LSTM(4), rate=LSTMState(c=0.5, h=0.05))
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32), key=jax.random.key(1))
    >>> bool((state.h == ys[:, -1]).all())
    True
    """

    rate: float | State

    def __post_init__(self) -> None:
        super().__post_init__()
        self._rates()

    @property
    def is_noisy(self) -> bool:
        """Whether a rate is above 0 or the wrapped cell is noisy."""
        return self.cell.is_noisy or any(jax.tree.leaves(self._rates()))

    def _rates(self) -> State:
        return rates_by_array("Zoneout", "rate", self.rate, self.cell)

    def draw_noise(
        self, key: Array, leading_shape: tuple[int, ...], input_size: int
    ) -> ZoneoutNoise:
        """Draw which units are updated at each step."""
        state_key, cell_key = jax.random.split(key)
        updated = draw_kept_state(state_key, self._rates(), self.cell, leading_shape)
        return ZoneoutNoise(updated, self.cell.draw_noise(cell_key, leading_shape, input_size))

    def project(
        self, params: Params, xs: PyTree, noise: ZoneoutNoise | None = None
    ) -> tuple[Projected, PyTree]:
        """Project for the wrapped cell, and pass on the masks."""
        updated, inner = noise or (None, None)
        return self.cell.project(params, xs, inner), updated

    def step(
        self, params: Params, state: State, z: tuple[Projected, PyTree]
    ) -> tuple[State, PyTree]:
        """Step the wrapped cell, and mix its new state with the old one."""
        inner, updated = z
        new, y = self.cell.step(params, state, inner)
        if updated is None:
            mixed = jax.tree.map(lambda n, s, r: (1 - r) * n + r * s, new, state, self._rates())
        else:
            mixed = jax.tree.map(
                lambda n, s, u: n if u is None else jnp.where(u, n, s), new, state, updated
            )
        return mixed, hidden(self.cell, mixed) if self.cell.outputs_hidden else y
