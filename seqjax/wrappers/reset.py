"""Resets of the state within a row, for rows that hold several sequences."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.checks import describe_type
from seqjax.operations.masking import select, zero_outside
from seqjax.types import (
    Array,
    Cell,
    ChunkwiseCell,
    LinearCell,
    Loop,
    Noise,
    Params,
    Projected,
    PyTree,
    State,
)
from seqjax.wrappers.wrapper import Wrapper


class ResetInputs(NamedTuple):
    """The inputs of a cell and the steps at which sequences start.

    Attributes:
      starts: ``bool[B, T]``, the steps before which the state is reset.
      inputs: the inputs of the wrapped cell, ``[B, T, D]``.
    """

    starts: Array
    inputs: PyTree


@dataclasses.dataclass(frozen=True)
class Reset(Wrapper):
    """A cell whose state is reset before some of the steps.

    Maps `ResetInputs` to the outputs of the wrapped cell; parameters and state are those of the
    wrapped cell::

        s     = first state    if the step is a start
        s', y = cell(s, x)

    The first state is zero, or the learned state of a `LearnedState`. Each sequence of a packed row
    gets the outputs that it would get in a row of its own, and no gradient flows between sequences.
    With ``reverse=True`` a sequence starts at its last step, so ``starts`` must mark the last
    steps. A `Bidirectional` layer derives the starts of its backward cell from ``starts``. A
    wrapped `Stack` runs layer by layer, and a wrapped linear cell can run all steps at once.

    Args:
      cell: the wrapped cell.

    Raises:
      ValueError: ``cell`` is not a cell, or, at run time, ``starts`` does not match the inputs.

    Reference: Krell et al., "Efficient sequence packing without cross-contamination", 2021.

    >>> import jax
    >>> from seqjax import GRU, Reset, unroll
    >>> from seqjax.wrappers import ResetInputs
    >>> cell = Reset(GRU(4))
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> starts = jnp.array([[True, False, True, False]])
    >>> _, ys = unroll(cell, params, ResetInputs(starts, jnp.ones((1, 4, 3), jnp.float32)))
    >>> bool((ys[:, 2:] == ys[:, :2]).all())
    True
    """

    _steps_cell: ClassVar[bool] = False

    def leading_shape(self, params: Params, xs: ResetInputs) -> tuple[int, ...]:
        """Return the time and batch axes, which starts and inputs must share."""
        _check_inputs(xs)
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
        """Project for the wrapped cell, and pass on the starts."""
        _check_inputs(xs)
        return self.cell.project(params, xs.inputs, noise), xs.starts

    def step(
        self, params: Params, state: State, z: tuple[Projected, Array]
    ) -> tuple[State, PyTree]:
        """Step the wrapped cell, from its first state at a start."""
        inner, start = z
        batch_shape, dtype = start.shape, _real_dtype(state)
        first = self.cell.first_state(self.inner(params), batch_shape, dtype)
        return self.cell.step(params, select(start, first, state), inner)

    def features(self, xs: ResetInputs) -> PyTree:
        """Return the features of the wrapped cell."""
        return self.cell.features(xs.inputs)

    def sequence(
        self, loop: Loop, params: Params, state: State, xs: ResetInputs, noise: Noise = None
    ) -> tuple[State, PyTree]:
        """Run the wrapped cell with a loop that resets every cell that it runs."""
        _check_inputs(xs)
        return self.cell.sequence(loop.resetting(xs.starts), params, state, xs.inputs, noise)


def reset(cell: Cell) -> Reset:
    """Wrap ``cell`` in a `Reset` that is linear or runs in chunks if the cell does."""
    if isinstance(cell, LinearCell):
        return _LinearReset(cell)
    return _ChunkwiseReset(cell) if isinstance(cell, ChunkwiseCell) else Reset(cell)


def _check_inputs(xs: PyTree) -> None:
    if not isinstance(xs, ResetInputs):
        raise ValueError(
            f"Reset: inputs must be ResetInputs(starts, inputs), got {describe_type(xs)}; other "
            "cells do not pass starts on, so wrap a whole stack, Reset(Stack(...))"
        )


def _real_dtype(state: State) -> Any:
    """Return the real dtype for which a state was made; complex arrays have twice its bits."""
    leaf = jax.tree.leaves(state)[0]
    return jnp.zeros((), leaf.dtype).real.dtype


@dataclasses.dataclass(frozen=True)
class _LinearReset(Reset, LinearCell):
    """The recurrence ``s' = a * s + b``, with ``a = 0`` at the starts."""

    cell: LinearCell

    def coefficients(self, params: Params, z: tuple[Projected, Array]) -> tuple[State, State]:
        inner, starts = z
        a, b = self.cell.coefficients(params, inner)
        first = self.cell.first_state(params, starts.shape, _real_dtype(b))
        restarted = jax.tree.map(lambda a, s, b: a * s + b, a, first, b)
        return zero_outside(~starts, a), select(starts, restarted, b)

    def readout(self, params: Params, state: State, z: tuple[Projected, Array]) -> PyTree:
        return self.cell.readout(params, state, z[0])


@dataclasses.dataclass(frozen=True)
class _ChunkwiseReset(Reset, ChunkwiseCell):
    """A cell that runs in chunks with starts inside."""

    cell: ChunkwiseCell

    @property
    def chunk_size(self) -> int:  # type: ignore[override]
        return self.cell.chunk_size

    def run_chunk(
        self,
        params: Params,
        state: State,
        zs: tuple[Projected, Array],
        mask: Array | None = None,
        starts: Array | None = None,
    ) -> tuple[State, PyTree]:
        inner, own = zs
        return self.cell.run_chunk(
            params, state, inner, mask, own if starts is None else own | starts
        )
