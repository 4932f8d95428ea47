"""The base class of cells that are made of several cells."""

import abc
import dataclasses
from typing import Any

import jax.numpy as jnp

from seqjax.types import Array, Cell, Params, State


@dataclasses.dataclass(frozen=True)
class Composite(Cell):
    """A cell made of several cells; parameters and state are tuples with one entry per cell."""

    @property
    @abc.abstractmethod
    def cells(self) -> tuple[Cell, ...]:
        """The cells, in the order of their parameters."""

    @property
    def is_noisy(self) -> bool:
        """Whether any cell is noisy."""
        return any(cell.is_noisy for cell in self.cells)

    @property
    def can_step(self) -> bool:
        """Whether all cells can run step by step."""
        return all(cell.can_step for cell in self.cells)

    @property
    def roles(self) -> tuple[State, ...]:
        """The roles of each cell."""
        return tuple(cell.roles for cell in self.cells)

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> tuple[State, ...]:
        """Return the zero state of each cell."""
        return tuple(cell.initial_state(batch_shape, dtype) for cell in self.cells)

    def first_state(
        self,
        params: tuple[Params, ...],
        batch_shape: tuple[int, ...] = (),
        dtype: Any = jnp.float32,
    ) -> tuple[State, ...]:
        """Return the first state of each cell."""
        return tuple(
            cell.first_state(p, batch_shape, dtype)
            for cell, p in zip(self.cells, params, strict=True)
        )

    def with_context(
        self, params: tuple[Params, ...], memory: Array, mask: Array
    ) -> tuple[Params, ...] | None:
        """Bind the context to the cells that attend, or return None if none does."""
        bound = [
            cell.with_context(p, memory, mask) for cell, p in zip(self.cells, params, strict=True)
        ]
        if all(p is None for p in bound):
            return None
        return tuple(p if b is None else b for p, b in zip(params, bound, strict=True))
