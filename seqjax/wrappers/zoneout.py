"""Zoneout around a cell."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.types import Array, Noise, Params, Projected, PyTree, State
from seqjax.wrappers.dropout import draw_kept_state, rates_by_array
from seqjax.wrappers.wrapper import Wrapper, hidden


class ZoneoutNoise(NamedTuple):
    """The masks of `Zoneout`."""

    updated: PyTree  # [T, B, ...] for each array of the state, None where its rate is 0
    cell: Noise  # of the cell inside


@dataclasses.dataclass(frozen=True)
class Zoneout(Wrapper):
    """A cell whose units keep their old state now and then::

        n, y = cell(s, x)
        s'   = update * n + (1 - update) * s,   update ~ Bernoulli(1 - rate) for each unit and step
        s'   = (1 - rate) * n + rate * s        in evaluation: the expectation

    Where the cell puts out a part of its new state (`Cell.outputs_hidden`), as `LSTM` and `GRU` do,
    the output is that part of ``s'``. Any other output, such as one after dropout or the sum of a
    `Residual`, is as the cell computes it. Parameters and state are those of the cell.

    Args:
      cell: the cell inside.
      rate: the probability to keep the old value; one number, or one for each array of the state,
        such as the paper's ``LSTMState(c=0.5, h=0.05)``. The ``c``, ``n`` and ``m`` of an xLSTM are
        always updated.

    Raises:
      ValueError: ``cell`` is not a cell, a rate is outside ``[0, 1)``, or the rates do not have the
        structure of the state.

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
        """With a rate above 0, or a noisy cell inside."""
        return self.cell.is_noisy or any(jax.tree.leaves(self._rates()))

    def _rates(self) -> State:
        return rates_by_array("Zoneout", "rate", self.rate, self.cell)

    def draw_noise(
        self, key: Array, leading_shape: tuple[int, ...], input_size: int
    ) -> ZoneoutNoise:
        """Draw which units take their new value at each step."""
        state_key, cell_key = jax.random.split(key)
        updated = draw_kept_state(state_key, self._rates(), self.cell, leading_shape)
        return ZoneoutNoise(updated, self.cell.draw_noise(cell_key, leading_shape, input_size))

    def project(
        self, params: Params, xs: PyTree, noise: ZoneoutNoise | None = None
    ) -> tuple[Projected, PyTree]:
        """Project for the cell inside, and pass on the masks."""
        updated, inner = noise or (None, None)
        return self.cell.project(params, xs, inner), updated

    def step(
        self, params: Params, state: State, z: tuple[Projected, PyTree]
    ) -> tuple[State, PyTree]:
        """Step the cell inside, and mix its new state with the old one."""
        inner, updated = z
        new, y = self.cell.step(params, state, inner)
        if updated is None:
            mixed = jax.tree.map(lambda n, s, r: (1 - r) * n + r * s, new, state, self._rates())
        else:
            mixed = jax.tree.map(
                lambda n, s, u: n if u is None else jnp.where(u, n, s), new, state, updated
            )
        return mixed, hidden(self.cell, mixed) if self.cell.outputs_hidden else y
