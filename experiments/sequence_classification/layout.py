"""Where seeds and rows are trained and tested: on the devices of one process, or of several."""

import contextlib
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.processes import place
from seqjax.devices import data_mesh
from seqjax.types import PyTree


class Layout(NamedTuple):
    """Where the arrays of training are.

    One process splits the seeds over its devices, which then exchange nothing. Several split the
    rows of each batch, and each device trains all seeds on its rows.

    Attributes:
      mesh: the devices.
      splits_rows: whether rows are split, and not seeds.
    """

    mesh: Mesh
    splits_rows: bool

    @classmethod
    def of(cls, seeds: int, batch_size: int) -> "Layout":
        """The layout for the processes that there are.

        Raises:
          ValueError: the rows of a batch cannot be split between the processes.

        >>> Layout.of(seeds=1, batch_size=50).splits_rows
        False
        """
        if jax.process_count() == 1:
            return cls(data_mesh(seeds), False)
        return cls(data_mesh(batch_size), True)

    @property
    def whole(self) -> NamedSharding:
        """Every device has all of an array."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def seeds(self) -> NamedSharding:
        """The sharding of arrays ``[seeds, ...]``."""
        return self.whole if self.splits_rows else NamedSharding(self.mesh, PartitionSpec("data"))

    @property
    def batches(self) -> NamedSharding:
        """The sharding of the rows ``[seeds, K, B]`` of K batches."""
        if self.splits_rows:
            return NamedSharding(self.mesh, PartitionSpec(None, None, "data"))
        return self.seeds

    def within(self) -> contextlib.AbstractContextManager[None]:
        """The context in which `seqjax.unroll` runs each row on the device that holds it."""
        if self.splits_rows:
            return jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh)
        return contextlib.nullcontext()

    def rows(self, tree: PyTree) -> PyTree:
        """Split NumPy arrays ``[N, ...]`` by rows; the last one is repeated for equal parts."""
        if not self.splits_rows:
            return tree
        rows = NamedSharding(self.mesh, PartitionSpec("data"))

        def split(array: np.ndarray) -> jax.Array:
            missing = -len(array) % self.mesh.size
            padded = np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1), mode="edge")
            found: jax.Array = place(padded, rows)
            return found

        return jax.tree.map(split, tree)
