"""Lists of different lengths, one for each step of a sequence."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from seqjax.checks import check_integers, check_iterable


@dataclasses.dataclass(frozen=True, eq=False)
class Ragged:
    """The lists of the steps of a sequence, joined into one array.

    Iterating gives the list of each step, ``[n, *entry_shape]``. ``len`` is T.

    Args:
      values: ``[N, *entry_shape]``, the entries of all lists.
      lengths: ``int64[T]``, the number of entries of each step; their sum is N.

    Raises:
      ValueError: the lengths are not whole numbers ``[T]`` that sum to N.

    >>> words = Ragged.of([[1, 2, 3], [2], []])
    >>> words.values, words.lengths
    (array([1, 2, 3, 2]), array([3, 1, 0]))
    >>> print(words)
    [[1 2 3], [2], []]
    """

    values: np.ndarray
    lengths: np.ndarray

    def __post_init__(self) -> None:
        values = _array("values", self.values)
        lengths = check_integers("Ragged", "lengths", self.lengths)
        if values.ndim == 0 or lengths.sum() != len(values):
            raise ValueError(
                "Ragged: lengths must be int[T], the number of entries of each step, and sum to "
                f"the number of values, got {np.array2string(lengths, threshold=10)} for values of "
                f"shape {list(values.shape)}"
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "lengths", lengths.astype(np.int64))

    @classmethod
    def of(cls, lists: Iterable[Any]) -> "Ragged":
        """Join the lists of the steps, each ``[n, *entry_shape]``.

        Raises:
          ValueError: a step is no list, or entries differ in shape.
        """
        check_iterable("Ragged.of", "lists", lists, of="lists, one for each step")
        arrays = [_array(f"step {step}", entries) for step, entries in enumerate(lists)]
        for step, array in enumerate(arrays):
            if array.ndim == 0:
                raise ValueError(f"Ragged: step {step} must be a list of entries, got {array}")
        filled = [array for array in arrays if len(array)]
        try:
            values = np.concatenate(filled or arrays or [np.zeros(0)])
        except ValueError:
            shapes = sorted({array.shape for array in filled})
            raise ValueError(
                f"Ragged: each step must be a list of entries of one shape, got {shapes[:5]}"
            ) from None
        return cls(values, np.array([len(array) for array in arrays], np.int64))

    @classmethod
    def unchecked(cls, values: np.ndarray, lengths: np.ndarray) -> "Ragged":
        """Make one of arrays that are known to fit, as a parser does for each example."""
        ragged = object.__new__(cls)
        object.__setattr__(ragged, "values", values)
        object.__setattr__(ragged, "lengths", lengths)
        return ragged

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[np.ndarray]:
        ends = np.cumsum(self.lengths).tolist()
        for start, stop in zip([0, *ends], ends, strict=False):
            yield self.values[start:stop]

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self))}]"


def _array(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        array = np.array(None)
    if array.dtype.kind == "S":  # NumPy's own dtype of bytes drops trailing zeros
        array = np.asarray(value, object)
    if array.dtype.hasobject and not all(isinstance(item, bytes) for item in array.flat):
        raise ValueError(
            f"Ragged: {name} must be entries of one shape, numbers or bytes, got {value!r:.80}"
        )
    return array
