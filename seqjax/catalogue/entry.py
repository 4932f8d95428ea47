"""One row of the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import seqjax  # loads its modules on first use, so that importing the catalogue is fast

if TYPE_CHECKING:
    from seqjax.types import Array, Cell, PyTree, Size


class Entry(NamedTuple):
    """One row of ``CATALOGUE``: a cell, how to build it and how it is tested.

    Attributes:
      name: the name of the class.
      make: builds the cell from its number of units.
      source: the paper.
      tested_against: the reference for values and gradients, such as files in ``tests/golden/``.
      short: the name for ``--cell``; None if the inputs are not features of any size.
      input_size: the required input size; ``"any"`` for any number of features, ``"units"`` for as
        many features as units.
      wrap: makes the inputs from a key and features; None if the features are the inputs.
      variant: whether this is a second entry for a class, with options.

    >>> import jax
    >>> from seqjax.catalogue import CATALOGUE
    >>> entry = next(entry for entry in CATALOGUE if entry.name == "GRU")
    >>> entry.make(4), entry.short, entry.source
    (GRU(4), 'gru', 'Cho et al. 2014')
    >>> entry.draw_inputs(jax.random.key(0), (2, 5), entry.size(units=4, features=3)).shape
    (2, 5, 3)
    """

    name: str
    make: Callable[[int], Cell]
    source: str
    tested_against: str
    short: str | None = None
    input_size: Size | Literal["any", "units"] = "any"
    wrap: Callable[[Array, Array], PyTree] | None = None
    variant: bool = False

    def size(self, units: int, features: int) -> Size:
        """Return the input size of the cell, which is ``features`` if the cell takes any size."""
        return {"any": features, "units": units}.get(self.input_size, self.input_size)

    def draw_inputs(
        self, key: Array, leading_shape: tuple[int, ...], size: Size, dtype: Any = "float32"
    ) -> PyTree:
        """Draw inputs ``[*leading_shape, ...]`` of ``size``; the last leading axis is time."""
        import jax

        features = size if isinstance(size, tuple) else (size,)
        xs = jax.random.normal(key, (*leading_shape, *features), dtype)
        return self.wrap(key, xs) if self.wrap else xs

    def bind(self, cell: Cell, params: PyTree, key: Array, batch: int, units: int) -> PyTree:
        """Bind a random context ``[batch, 20, units]`` to ``params`` if the cell attends."""
        import jax

        if not cell.attends:
            return params
        memory = jax.random.normal(key, (batch, 20, units), "float32")
        return seqjax.with_context(cell, params, memory)


def timed(key: Array, xs: Array) -> seqjax.cells.TimedInputs:
    """Pair features with random, increasing times."""
    import jax

    waits = jax.random.uniform(key, xs.shape[:-1], xs.dtype, maxval=2)
    return seqjax.cells.TimedInputs(waits.cumsum(-1), xs)


def with_starts(key: Array, xs: Array) -> seqjax.wrappers.ResetInputs:
    """Pair features with random starts, at a quarter of the steps."""
    import jax

    return seqjax.wrappers.ResetInputs(jax.random.bernoulli(key, 0.25, xs.shape[:-1]), xs)
