"""The contracts of cells that need not run one step after the other."""

import abc

import jax

from seqjax.types.arrays import Array, Params, Projected, PyTree, State
from seqjax.types.cell import Cell


class LinearCell(Cell):
    """A cell whose recurrence is linear and elementwise::

        s' = a * s + b

    ``a`` and ``b`` depend on the inputs alone, so `seqjax.unroll` can compute all steps at once
    with ``jax.lax.associative_scan``, at a depth that grows with log T.
    """

    @abc.abstractmethod
    def coefficients(self, params: Params, z: Projected) -> tuple[State, State]:
        """Return ``(a, b)``, each with the structure and shapes of the state."""

    @abc.abstractmethod
    def readout(self, params: Params, state: State, z: Projected) -> PyTree:
        """Compute the output from the new state, for one step or for all steps."""

    def step(self, params: Params, state: State, z: Projected) -> tuple[State, PyTree]:
        """Compute ``a * s + b`` and its readout."""
        a, b = self.coefficients(params, z)
        state = jax.tree.map(lambda a, s, b: a * s + b, a, state, b)
        return state, self.readout(params, state, z)


class ChunkwiseCell(Cell):
    """A cell that can compute many steps at once from the state before them.

    `seqjax.unroll` then runs chunks of ``chunk_size`` steps one after another, with the method
    ``"auto"``. `Cell.step` remains the definition of the cell, and gives the same values up to
    rounding.
    """

    chunk_size: int

    @abc.abstractmethod
    def run_chunk(
        self,
        params: Params,
        state: State,
        zs: Projected,
        mask: Array | None = None,
        starts: Array | None = None,
    ) -> tuple[State, PyTree]:
        """Take all steps of a chunk, which may be shorter than ``chunk_size``.

        Args:
          params: the parameters of the cell.
          state: the state before the first step, arrays ``[B, ...]``.
          zs: the projected inputs, arrays ``[T, B, ...]``.
          mask: ``bool[T, B]``; a step where it is False does not change the state, and may have any
            output. Defaults to all True.
          starts: ``bool[T, B]``; the state is `Cell.initial_state` before a step where it is True.
            Defaults to all False.

        Returns:
          The state after the last step, and the outputs ``[T, B, H]``.
        """
