"""A cell that starts anew within a row, for rows that hold several sequences."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp

from seqjax.operations.masking import zero_outside
from seqjax.types import Array, Cell, LinearCell, Loop, Noise, Params, Projected, PyTree, State
from seqjax.wrappers.wrapper import Wrapper


class ResetInputs(NamedTuple):
    """Inputs of a cell and where sequences start."""

    starts: Array  # bool[B, T], the steps before which the state is set to zero
    inputs: PyTree  # [B, T, D], of the cell inside


@dataclasses.dataclass(frozen=True)
class Reset(Wrapper):
    """A cell whose state is set to zero before some of the steps::

        s = 0 where the step is a start
        s', y = cell(s, x)

    Inputs are `ResetInputs`. Each sequence of a packed row gets the outputs that it would get in a
    row of its own, and no gradient flows from one to another. With ``reverse=True`` the last step
    of each sequence is where it starts. Parameters and state are those of the cell inside; a stack
    inside runs layer by layer, and a linear cell at once.

    Args:
      cell: the cell inside.

    Raises:
      ValueError: ``cell`` is not a cell; later, if ``starts`` does not fit the inputs.

    Reference: Krell et al., "Efficient sequence packing without cross-contamination", 2021.

    >>> import jax
    >>> from seqjax import GRU, Reset, ResetInputs, unroll
    >>> cell = Reset(GRU(4))
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> starts = jnp.array([[True, False, True, False]])
    >>> _, ys = unroll(cell, params, ResetInputs(starts, jnp.ones((1, 4, 3), jnp.float32)))
    >>> bool((ys[:, 2:] == ys[:, :2]).all())
    True
    """

    def leading_shape(self, params: Params, xs: ResetInputs) -> tuple[int, ...]:
        """The time and batch axes, the same for starts and inputs."""
        if not isinstance(xs, ResetInputs):
            raise ValueError(f"Reset: xs must be ResetInputs, got a {type(xs).__name__}")
        shape = self.cell.leading_shape(params, xs.inputs)
        starts = jnp.asarray(xs.starts)
        if starts.shape != shape or starts.dtype != bool:
            raise ValueError(
                f"Reset: starts must be bool of shape {shape}, the batch and time axes of the "
                f"inputs, got {starts.dtype} of shape {starts.shape}"
            )
        return shape

    def project(
        self, params: Params, xs: ResetInputs, noise: Noise = None
    ) -> tuple[Projected, Array]:
        """Project for the cell inside, and pass on the starts."""
        return self.cell.project(params, xs.inputs, noise), xs.starts

    def step(
        self, params: Params, state: State, z: tuple[Projected, Array]
    ) -> tuple[State, PyTree]:
        """Step the cell inside, from the zero state at a start."""
        inner, start = z
        return self.cell.step(params, zero_outside(~start, state), inner)

    def sequence(
        self, loop: Loop, params: Params, state: State, xs: ResetInputs, noise: Noise = None
    ) -> tuple[State, PyTree]:
        """Run the sequence of the cell inside, with a loop that resets whatever cell it runs."""

        def resetting(
            cell: Cell, params: Params, state: State, inputs: PyTree, noise: Noise
        ) -> tuple[State, PyTree]:
            wrapped = _LinearReset(cell) if isinstance(cell, LinearCell) else Reset(cell)
            return loop(wrapped, params, state, ResetInputs(xs.starts, inputs), noise)

        return self.cell.sequence(resetting, params, state, xs.inputs, noise)


@dataclasses.dataclass(frozen=True)
class _LinearReset(Reset, LinearCell):
    """The recurrence ``s' = a * s + b`` with ``a = 0`` at the starts."""

    cell: LinearCell

    def coefficients(self, params: Params, z: tuple[Projected, Array]) -> tuple[State, State]:
        inner, starts = z
        a, b = self.cell.coefficients(params, inner)
        return zero_outside(~starts, a), b

    def readout(self, params: Params, state: State, z: tuple[Projected, Array]) -> PyTree:
        return self.cell.readout(params, state, z[0])
