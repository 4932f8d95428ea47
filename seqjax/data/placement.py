"""The positions of examples in the rows and steps of a batch."""

from typing import NamedTuple

import numpy as np


class Placement(NamedTuple):
    """The positions of examples in a batch: example i is in ``rows[i]``, from step ``at[i]`` on.

    Attributes:
      shape: ``(B, T)``, the rows and the steps of the batch.
      rows: ``int[n]``, the row of each example.
      at: ``int[n]``, the step at which each example starts.
      packed: whether a row may hold several examples.
    """

    shape: tuple[int, int]
    rows: np.ndarray
    at: np.ndarray
    packed: bool = False

    def part(self, index: int, parts: int) -> tuple[np.ndarray, "Placement"]:
        """Split the rows into equal parts, and return one of them.

        Args:
          index: the part to return, in ``[0, parts)``.
          parts: the number of parts; it must divide B.

        Returns:
          ``bool[n]``, whether each example is in the part, and the positions of those that are.

        >>> whole = Placement((4, 5), np.array([0, 1, 3]), np.array([0, 0, 2]))
        >>> whole.part(1, 2)
        (array([False, False,  True]), Placement(shape=(2, 5), rows=array([1]), ...
        """
        size = self.shape[0] // parts
        inside = self.rows // size == index
        rows = self.rows[inside] - index * size
        return inside, Placement((size, self.shape[1]), rows, self.at[inside], self.packed)


def one_a_row(lengths: np.ndarray, steps: int, least_rows: int) -> Placement:
    """Place each example at the start of a row of its own.

    >>> one_a_row(np.array([3, 1]), steps=3, least_rows=4).shape
    (4, 3)
    """
    rows = np.arange(len(lengths))
    return Placement((max(len(rows), least_rows), steps), rows, np.zeros_like(rows))
