"""Policies that turn examples into batches: padding, buckets of similar lengths, and packing."""

import dataclasses
import itertools
import operator
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from seqjax.checks import check_flag, check_integers, check_iterable, check_size
from seqjax.data.placement import Placement, one_a_row


@runtime_checkable
class Policy(Protocol):
    """A rule by which examples become batches."""

    def batches(self, order: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """Split ``order``, indices into ``lengths``, into the index arrays of batches."""

    def place(self, lengths: np.ndarray) -> Placement:
        """Place the examples of one batch, given their lengths."""


def check_policy(owner: str, policy: Any) -> None:
    """Raise ``ValueError`` unless ``policy`` is a `Policy`.

    >>> check_policy("Loader", 32)
    Traceback (most recent call last):
    ...
    ValueError: Loader: policy must be a Policy, such as Padded(batch_size=32), got 32
    """
    if isinstance(policy, type) or not isinstance(policy, Policy):
        raise ValueError(
            f"{owner}: policy must be a Policy, such as Padded(batch_size=32), got {policy!r}"
        )


@dataclasses.dataclass(frozen=True)
class Padded:
    """Batches of consecutive examples, padded to the longest example of each batch.

    Args:
      batch_size: the number of examples in a batch.
      multiple: rounds T up to a multiple of this number, so that fewer shapes are compiled.
      drop_remainder: drop the last batch if it is not full.
      fill_remainder: fill the last batch with empty rows, of length 0 and weight 0, if it is not
        full. All batches then have ``batch_size`` rows.

    Raises:
      ValueError: a size is not a whole number of at least 1, or the remainder is to be dropped and
        filled.

    >>> from seqjax.data import plan
    >>> policy = Padded(2, multiple=4)
    >>> plan(np.array([3, 5, 1]), [3], policy)
    [array([0, 1]), array([2])]
    >>> policy.place(np.array([3, 5])).shape
    (2, 8)
    """

    batch_size: int
    multiple: int = 1
    drop_remainder: bool = False
    fill_remainder: bool = False

    def __post_init__(self) -> None:
        _check_remainder("Padded", self.drop_remainder, self.fill_remainder)
        check_size("Padded", "batch_size", self.batch_size)
        check_size("Padded", "multiple", self.multiple)

    def batches(self, order: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """Split ``order`` into batches of ``batch_size`` examples."""
        lengths = check_integers("Padded", "lengths", lengths)
        order = check_integers("Padded", "order", order, high=len(lengths) - 1)
        return _chunks(order, self.batch_size, self.drop_remainder)

    def place(self, lengths: np.ndarray) -> Placement:
        """Give each example its own row."""
        lengths = check_integers("Padded", "lengths", lengths, least=1)
        least = self.batch_size if self.fill_remainder else 0
        return one_a_row(lengths, _round_up(int(lengths.max()), self.multiple), least)


@dataclasses.dataclass(frozen=True)
class Bucketed:
    """Batches of examples of similar length, padded to the boundary of their bucket.

    A bucket holds examples that are longer than the boundary before it and at most as long as its
    own. A full bucket becomes a batch. The examples left in the buckets follow at the end of the
    epoch, shortest bucket first.

    Args:
      boundaries: the maximum length of each bucket, ascending.
      batch_size: the number of examples in a batch, one number or one for each bucket; see
        `Bucketed.of_steps`.
      multiple: pad to the longest example of the batch, rounded up to a multiple of this number,
        but at most to the boundary; defaults to the boundary.
      drop_remainder: drop batches that are not full.
      drop_longer: drop examples that are longer than the last boundary.
      fill_remainder: fill batches that are not full with empty rows, of length 0 and weight 0. The
        number of shapes is then at most the number of buckets, unless ``multiple`` is given.

    Raises:
      ValueError: ``boundaries`` do not ascend, ``batch_size`` does not have one number for each, or
        the remainder is to be dropped and filled; also when batches are made, if an example is
        longer than the last boundary (unless ``drop_longer``).

    >>> from seqjax.data import plan
    >>> policy = Bucketed((2, 5), batch_size=2)
    >>> plan(np.array([5, 1, 3, 4, 2]), [5], policy)
    [array([0, 2]), array([1, 4]), array([3])]
    >>> policy.place(np.array([3, 4])).shape
    (2, 5)
    """

    boundaries: Sequence[int]
    batch_size: int | Sequence[int]
    multiple: int | None = None
    drop_remainder: bool = False
    drop_longer: bool = False
    fill_remainder: bool = False

    def __post_init__(self) -> None:
        _check_remainder("Bucketed", self.drop_remainder, self.fill_remainder)
        check_flag("Bucketed", "drop_longer", self.drop_longer)
        check_boundaries("Bucketed", "boundaries", self.boundaries)
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        if isinstance(self.batch_size, Sequence):
            object.__setattr__(self, "batch_size", tuple(self.batch_size))
        for size in self._sizes:
            check_size("Bucketed", "batch_size", size)
        if self.multiple is not None:
            check_size("Bucketed", "multiple", self.multiple)
        if len(self._sizes) != len(self.boundaries):
            raise ValueError(
                f"Bucketed: batch_size must be one number or one for each of the "
                f"{len(self.boundaries)} boundaries, got {self.batch_size}"
            )

    @classmethod
    def of_steps(cls, boundaries: Sequence[int], steps: int, **options: bool) -> "Bucketed":
        """Make buckets whose batches have at most ``steps`` steps, padding included.

        Args:
          boundaries: see `Bucketed`.
          steps: the maximum of B times T, at least the last boundary.
          options: ``drop_remainder``, ``drop_longer`` and ``fill_remainder`` of `Bucketed`.

        Raises:
          ValueError: ``steps`` is less than the last boundary.

        >>> Bucketed.of_steps((10, 40), 100).batch_size
        (10, 2)
        """
        check_boundaries("Bucketed", "boundaries", boundaries)
        check_size("Bucketed", "steps", steps)
        if steps < max(boundaries):
            raise ValueError(
                f"Bucketed: steps must be at least the last boundary, {max(boundaries)}, got "
                f"{steps}"
            )
        return cls(boundaries, [steps // boundary for boundary in boundaries], **options)

    @property
    def _sizes(self) -> tuple[int, ...]:
        if isinstance(self.batch_size, Sequence):
            return tuple(self.batch_size)
        return (self.batch_size,) * len(self.boundaries)

    def batches(self, order: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """Split ``order`` into the batches of each bucket."""
        lengths = check_integers("Bucketed", "lengths", lengths)
        order = check_integers("Bucketed", "order", order, high=len(lengths) - 1)
        order = _without_longer("Bucketed", order, lengths, self.boundaries[-1], self.drop_longer)
        bucket_of = np.searchsorted(self.boundaries, lengths[order])
        full: list[tuple[int, np.ndarray]] = []  # with the place in the order that fills it
        rest = []
        for bucket, size in enumerate(self._sizes):
            for places in _chunks(np.flatnonzero(bucket_of == bucket), size, False):
                if len(places) == size:
                    full.append((places[-1], order[places]))
                elif not self.drop_remainder:
                    rest.append(order[places])
        return [batch for _, batch in sorted(full, key=operator.itemgetter(0))] + rest

    def place(self, lengths: np.ndarray) -> Placement:
        """Give each example its own row."""
        lengths = check_integers("Bucketed", "lengths", lengths, high=self.boundaries[-1], least=1)
        longest = int(lengths.max())
        bucket = int(np.searchsorted(self.boundaries, longest))
        boundary = self.boundaries[bucket]
        steps = boundary if self.multiple is None else _round_up(longest, self.multiple)
        least = self._sizes[bucket] if self.fill_remainder else 0
        return one_a_row(lengths, min(steps, boundary), least)


@dataclasses.dataclass(frozen=True)
class Packed:
    """Batches of rows of equal length that each hold several examples.

    An example goes into the first row of the batch that has room for it. If no row has room, it
    starts a new row, or a new batch if all rows are in use. `seqjax.Reset` resets the state before
    each example.

    Args:
      batch_size: the number of rows in a batch.
      steps: T, the length of a row.
      drop_remainder: drop the last batch if it has fewer rows.
      drop_longer: drop examples that are longer than a row.
      fill_remainder: fill the last batch with empty rows, of length 0 and weight 0. All batches
        then have ``batch_size`` rows.

    Raises:
      ValueError: a size is not a whole number of at least 1, or the remainder is to be dropped and
        filled; also when batches are made, if an
        example is longer than a row (unless ``drop_longer``).

    >>> from seqjax.data import plan
    >>> policy = Packed(batch_size=1, steps=5)
    >>> plan(np.array([3, 1, 4, 1]), [4], policy)
    [array([0, 1]), array([2, 3])]
    >>> policy.place(np.array([3, 1]))
    Placement(shape=(1, 5), rows=array([0, 0]), at=array([0, 3]), packed=True)
    """

    batch_size: int
    steps: int
    drop_remainder: bool = False
    drop_longer: bool = False
    fill_remainder: bool = False

    def __post_init__(self) -> None:
        _check_remainder("Packed", self.drop_remainder, self.fill_remainder)
        check_flag("Packed", "drop_longer", self.drop_longer)
        check_size("Packed", "batch_size", self.batch_size)
        check_size("Packed", "steps", self.steps)

    def batches(self, order: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """Fill the rows of one batch after another; a batch is its rows, concatenated."""
        lengths = check_integers("Packed", "lengths", lengths)
        order = check_integers("Packed", "order", order, high=len(lengths) - 1)
        order = _without_longer("Packed", order, lengths, self.steps, self.drop_longer)
        batches: list[list[list[int]]] = []
        room: list[int] = []
        for index, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
            row = next((row for row, free in enumerate(room) if free >= length), len(room))
            if row == len(room):
                if row % self.batch_size == 0:
                    batches.append([])
                    room, row = [], 0
                room.append(self.steps)
                batches[-1].append([])
            room[row] -= length
            batches[-1][row].append(index)
        if batches and self.drop_remainder and len(batches[-1]) < self.batch_size:
            batches.pop()
        return [np.array(list(itertools.chain(*rows)), np.int64) for rows in batches]

    def place(self, lengths: np.ndarray) -> Placement:
        """Find the rows that `batches` concatenated.

        The first example of a row had no room in the row before it; otherwise `batches` would have
        placed it there.
        """
        lengths = check_integers("Packed", "lengths", lengths, high=self.steps, least=1)
        rows, at, row, end = [], [], 0, 0
        for length in lengths.tolist():
            if end + length > self.steps:
                row, end = row + 1, 0
            rows.append(row)
            at.append(end)
            end += length
        count = max(row + 1, self.batch_size) if self.fill_remainder else row + 1
        return Placement((count, self.steps), np.array(rows), np.array(at), packed=True)


def _chunks(indices: np.ndarray, size: int, drop_remainder: bool) -> list[np.ndarray]:
    if drop_remainder:
        indices = indices[: len(indices) // size * size]
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def check_boundaries(owner: str, name: str, sizes: Any) -> None:
    """Raise ``ValueError`` unless ``sizes`` are ascending sizes, at least one.

    >>> check_boundaries("Bucketed", "boundaries", (20, 10))
    Traceback (most recent call last):
    ...
    ValueError: Bucketed: boundaries must ascend, got (20, 10)
    """
    check_iterable(owner, name, sizes, of="lengths, such as (10, 20)")
    sizes = tuple(sizes)
    for size in sizes:
        check_size(owner, f"each of {name}", size)
    if not sizes or any(map(operator.ge, sizes, sizes[1:])):
        raise ValueError(f"{owner}: {name} must ascend, got {sizes}")


def _round_up(steps: int, multiple: int) -> int:
    return -(-steps // multiple) * multiple


def _check_remainder(owner: str, drop: bool, fill: bool) -> None:
    check_flag(owner, "drop_remainder", drop)
    check_flag(owner, "fill_remainder", fill)
    if drop and fill:
        raise ValueError(
            f"{owner}: drop_remainder and fill_remainder are both True; drop what does not fill a "
            "batch, or fill it with empty rows"
        )


def _without_longer(
    owner: str, order: np.ndarray, lengths: np.ndarray, limit: int, drop: bool
) -> np.ndarray:
    longer = lengths[order] > limit
    if longer.any() and not drop:
        index = order[longer][0]
        raise ValueError(
            f"{owner}: example {index} has {lengths[index]} steps, more than the limit of {limit}; "
            f"{longer.sum()} of {len(order)} examples are too long; increase the limit, or drop "
            "them with drop_longer=True"
        )
    return order[~longer]
