"""Which examples make up which batch, known before anything is read.

The lengths of all examples are known, so the batches of an epoch are a pure function of them, of a
policy, a seed and the epoch: a list of index arrays. A place in the data is then a pair of numbers,
processes share the batches out by counting, and shapes and padding can be reported in advance.
"""

import dataclasses
import itertools
import operator
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from seqjax.checks import check_size

Example = dict[str, np.ndarray]  # context features [*shape], sequence features [T, *step_shape]

_MIXED_SHARDS = 16  # few enough to be held in memory where they are compressed


class Source(Protocol):
    """Examples that can be read in any order, and whose lengths are known."""

    @property
    def lengths(self) -> np.ndarray:
        """``int64[N]``, the steps of each example."""

    @property
    def shards(self) -> Sequence[int]:
        """The number of examples in each shard, in their order; they sum to N."""

    @property
    def sequence_features(self) -> frozenset[str]:
        """The features that have a time axis."""

    def read(self, indices: np.ndarray) -> list[Example]:
        """Read the examples at ``indices``, ``int64[B]``; two threads may do so at once."""


class ListSource:
    """Examples in memory.

    Args:
      examples: dictionaries of arrays, all with the same features in the same dtypes.
      sequence_features: the names of those with a time axis in front, at least one; all sequence
        features of an example are equally long.
      shards: the number of examples in each shard; one shard without.

    Raises:
      ValueError: an example has other features, dtypes or shapes than the first, or sequence
        features of different lengths (the example is named); the shards do not sum to N.

    >>> source = ListSource([{"x": np.arange(3)}, {"x": np.arange(1)}], {"x"})
    >>> print(source.lengths)
    [3 1]
    """

    def __init__(
        self,
        examples: Iterable[Example],
        sequence_features: Collection[str],
        shards: Sequence[int] | None = None,
    ) -> None:
        self._examples = [
            {name: np.asarray(value) for name, value in example.items()} for example in examples
        ]
        self.sequence_features = frozenset(sequence_features)
        if not self.sequence_features:
            raise ValueError("sequence_features must name at least one feature with a time axis")
        lengths = [self._length(index) for index in range(len(self._examples))]
        self.lengths = np.array(lengths, np.int64)
        self.shards = _check_shards([len(lengths)] if shards is None else shards, len(lengths))

    def read(self, indices: np.ndarray) -> list[Example]:
        """Return the examples at ``indices``, ``int64[B]``."""
        return [self._examples[index] for index in indices]

    def _length(self, index: int) -> int:
        """The number of steps of an example, which has to be of the kind of the first one."""
        example, names = self._examples[index], sorted(self.sequence_features)
        for name in names:
            if name not in example or not example[name].ndim:
                raise ValueError(
                    f"example {index} must have a sequence feature {name!r} with a time axis in "
                    f"front, got {example}"
                )
        first, own = self._signature(0), self._signature(index)
        if own != first:
            raise ValueError(
                f"all examples must have the features of the first, {first}, but example {index} "
                f"has {own}"
            )
        lengths = {name: len(example[name]) for name in names}
        if len({*lengths.values()}) != 1:
            raise ValueError(
                f"the sequence features of example {index} must be equally long, got {lengths}"
            )
        return lengths[names[0]]

    def _signature(self, index: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Dtype and shape, that of one step, of each feature."""
        return {
            name: (str(value.dtype), value.shape[name in self.sequence_features :])
            for name, value in self._examples[index].items()
        }


class Placement(NamedTuple):
    """Where the examples of a batch go: example i to ``row[i]``, from step ``at[i]`` on."""

    shape: tuple[int, int]  # rows and steps of the batch
    rows: np.ndarray  # int[B]
    at: np.ndarray  # int[B]
    packed: bool = False  # whether rows may hold several examples


class Policy(Protocol):
    """How examples become batches."""

    def batches(self, order: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """Cut ``order``, indices into ``lengths``, into the index arrays of batches."""

    def place(self, lengths: np.ndarray) -> Placement:
        """Place the examples of one batch, of these lengths."""


@dataclasses.dataclass(frozen=True)
class Padded:
    """Batches of examples as they come, padded to the longest of each batch or a little more.

    Args:
      batch_size: examples in a batch.
      multiple: steps are rounded up to a multiple of it, so that few shapes are compiled.
      drop_remainder: leave out a last batch that is not full.

    Raises:
      ValueError: a size is not a whole number of at least 1.

    >>> policy = Padded(2, multiple=4)
    >>> plan(np.array([3, 5, 1]), [3], policy)
    [array([0, 1]), array([2])]
    >>> policy.place(np.array([3, 5])).shape
    (2, 8)
    """

    batch_size: int
    multiple: int = 1
    drop_remainder: bool = False

    def __post_init__(self) -> None:
        check_size("Padded", "batch_size", self.batch_size)
        check_size("Padded", "multiple", self.multiple)

    def batches(self, order: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """Cut ``order`` into batches of one size."""
        return _chunks(order, self.batch_size, self.drop_remainder)

    def place(self, lengths: np.ndarray) -> Placement:
        """Give each example a row of its own."""
        return _one_a_row(lengths, _round_up(int(lengths.max()), self.multiple))


@dataclasses.dataclass(frozen=True)
class Bucketed:
    """Batches of examples of similar length, padded to the boundary of their bucket.

    A bucket holds the lengths above the boundary before it, up to and with its own. A batch comes
    when its bucket is full; what is left in the buckets comes at the end, shortest first.

    Args:
      boundaries: the longest length of each bucket, ascending.
      batch_size: examples in a batch; one number, or one for each bucket, see `Bucketed.of_steps`.
      multiple: pad to a multiple of it that holds the batch's longest, and not to the boundary; 1
        pads to the longest.
      drop_remainder: leave out the batches that are not full.
      drop_longer: leave out examples that are longer than the last boundary.

    Raises:
      ValueError: boundaries do not ascend, or are not as many as the batch sizes; later, if an
        example is longer than the last boundary (unless ``drop_longer``).

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        if isinstance(self.batch_size, Sequence):
            object.__setattr__(self, "batch_size", tuple(self.batch_size))
        for boundary in self.boundaries:
            check_size("Bucketed", "a boundary", boundary)
        for size in self._sizes:
            check_size("Bucketed", "batch_size", size)
        if self.multiple is not None:
            check_size("Bucketed", "multiple", self.multiple)
        if not self.boundaries or any(map(operator.ge, self.boundaries, self.boundaries[1:])):
            raise ValueError(f"Bucketed: boundaries must ascend, got {self.boundaries}")
        if len(self._sizes) != len(self.boundaries):
            raise ValueError(
                f"Bucketed: batch_size must be one number or one for each of the "
                f"{len(self.boundaries)} boundaries, got {self.batch_size}"
            )

    @classmethod
    def of_steps(cls, boundaries: Sequence[int], steps: int, **options: bool) -> "Bucketed":
        """Batches of ``steps`` steps at most, padding included, whatever their bucket.

        Args:
          boundaries: as above.
          steps: B times T of a batch, at least the last boundary.
          options: ``drop_remainder`` and ``drop_longer``, as above.

        Raises:
          ValueError: not one example of the last bucket has room.

        >>> Bucketed.of_steps((10, 40), 100).batch_size
        (10, 2)
        """
        if steps < max(boundaries, default=0):
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
        """Cut ``order`` into the batches of each bucket."""
        order = _without_longer("Bucketed", order, lengths, self.boundaries[-1], self.drop_longer)
        bucket_of = np.searchsorted(self.boundaries, lengths[order])
        full: list[tuple[int, np.ndarray]] = []  # with the place in the order that filled it
        rest = []
        for bucket, size in enumerate(self._sizes):
            for places in _chunks(np.flatnonzero(bucket_of == bucket), size, False):
                if len(places) == size:
                    full.append((places[-1], order[places]))
                elif not self.drop_remainder:
                    rest.append(order[places])
        return [batch for _, batch in sorted(full, key=operator.itemgetter(0))] + rest

    def place(self, lengths: np.ndarray) -> Placement:
        """Give each example a row of its own."""
        longest = int(lengths.max())
        boundary = self.boundaries[int(np.searchsorted(self.boundaries, longest))]
        steps = boundary if self.multiple is None else _round_up(longest, self.multiple)
        return _one_a_row(lengths, min(steps, boundary))


@dataclasses.dataclass(frozen=True)
class Packed:
    """Several examples one after the other in rows of one length: one shape, hardly any padding.

    An example goes into the first row of the batch that has room for it; when none has, the next
    batch begins. `seqjax.Reset` starts each example from the zero state.

    Args:
      batch_size: rows in a batch.
      steps: T, of each row.
      drop_remainder: leave out a last batch with fewer rows.
      drop_longer: leave out examples that are longer than a row.

    Raises:
      ValueError: a size is not a whole number of at least 1; later, if an example is longer than a
        row (unless ``drop_longer``).

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

    def __post_init__(self) -> None:
        check_size("Packed", "batch_size", self.batch_size)
        check_size("Packed", "steps", self.steps)

    def batches(self, order: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """Fill the rows of one batch after the other; a batch has its rows joined."""
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
        """Find the rows that were joined: the first example of a row had no room in the one before.

        Had it had room, `batches` would have put it there.
        """
        rows, at, row, end = [], [], 0, 0
        for length in lengths.tolist():
            if end + length > self.steps:
                row, end = row + 1, 0
            rows.append(row)
            at.append(end)
            end += length
        return Placement((row + 1, self.steps), np.array(rows), np.array(at), packed=True)


def plan(
    lengths: np.ndarray,
    shards: Sequence[int],
    policy: Policy,
    *,
    seed: int | None = None,
    epoch: int = 0,
    interleave: int | None = None,
) -> list[np.ndarray]:
    """List the batches of one epoch.

    Args:
      lengths: ``int[N]``, the steps of each example.
      shards: the number of examples in each shard.
      policy: how examples become batches.
      seed: for the order of the examples, which is another one each epoch; without, they come in
        the order of the source.
      epoch: which epoch.
      interleave: how many shards are open at a time. With a seed, the shards are drawn at random,
        and the examples of that many are shuffled together; 16 without. Without a seed, that many
        shards take turns; one without, so that the order stays as it is.

    Returns:
      For each batch the indices of its examples, ``int64[B]``.

    Raises:
      ValueError: the shards do not sum to N, or an argument is out of range.

    >>> plan(np.ones(5, int), [3, 2], Padded(2), interleave=2)
    [array([0, 3]), array([1, 4]), array([2])]
    >>> plan(np.ones(5, int), [3, 2], Padded(2), seed=0, epoch=2)
    [array([2, 4]), array([1, 3]), array([0])]
    """
    shards = _check_shards(shards, len(lengths))
    if interleave is not None:
        check_size("plan", "interleave", interleave)
    ends = np.cumsum(shards)
    examples = [np.arange(end - size, end) for end, size in zip(ends, shards, strict=True)]
    if seed is None:
        group_size = interleave or 1
    else:
        if not isinstance(seed, int | np.integer) or seed < 0 or epoch < 0:
            raise ValueError(
                f"seed and epoch must be whole numbers of at least 0, got {seed} and {epoch}"
            )
        bits = np.random.PCG64([seed, epoch])
        group_size = interleave or _MIXED_SHARDS
        examples = [examples[shard] for shard in _permutation(bits, len(shards))]
    order = [np.empty(0, np.int64)]
    for start in range(0, len(examples), group_size):
        group = examples[start : start + group_size]
        members = np.concatenate(group)
        if seed is None:
            turns = np.concatenate([np.arange(len(shard)) for shard in group])
            order.append(members[np.argsort(turns, kind="stable")])
        else:
            order.append(members[_permutation(bits, len(members))])
    return policy.batches(np.concatenate(order), lengths)


@dataclasses.dataclass(frozen=True)
class Report:
    """What batches consist of; reports of different batches add up.

    >>> lengths = np.array([1, 9, 2, 8])
    >>> print(Report.of_plan([np.array([0, 2]), np.array([1, 3])], lengths, Padded(2)))
    2 batches of 2 shapes hold 4 examples, 0 dropped; 9.1% padding, 44.4% with one length for all
    """

    batches: int = 0
    examples: int = 0
    dropped: int = 0  # examples that no batch holds
    steps: int = 0  # of the examples
    slots: int = 0  # steps and padding
    longest: int = 0  # the most steps of an example
    shapes: frozenset[tuple[int, int]] = frozenset()  # [B, T], each of which is compiled once

    @classmethod
    def of_plan(cls, plan: Iterable[np.ndarray], lengths: np.ndarray, policy: Policy) -> "Report":
        """Report on the batches of an epoch; ``lengths`` are those of all examples, ``int[N]``."""
        total = sum((cls.of_batch(lengths[batch], policy) for batch in plan), cls())
        return dataclasses.replace(total, dropped=len(lengths) - total.examples)

    @classmethod
    def of_batch(cls, lengths: np.ndarray, policy: Policy) -> "Report":
        """Report on one batch, of examples of these lengths, ``int[B]``."""
        shape = policy.place(lengths).shape
        return cls(
            batches=1,
            examples=len(lengths),
            steps=int(lengths.sum()),
            slots=shape[0] * shape[1],
            longest=int(lengths.max()),
            shapes=frozenset([shape]),
        )

    def __add__(self, other: "Report") -> "Report":
        return Report(
            self.batches + other.batches,
            self.examples + other.examples,
            self.dropped + other.dropped,
            self.steps + other.steps,
            self.slots + other.slots,
            max(self.longest, other.longest),
            self.shapes | other.shapes,
        )

    @property
    def padding(self) -> float:
        """The share of all steps that is padding."""
        return 1 - self.steps / self.slots if self.slots else 0.0

    @property
    def fixed_padding(self) -> float:
        """The share, were all examples padded to the longest of them."""
        return 1 - self.steps / (self.examples * self.longest) if self.longest else 0.0

    def __str__(self) -> str:
        return (
            f"{self.batches} batches of {len(self.shapes)} shapes hold {self.examples} examples, "
            f"{self.dropped} dropped; {self.padding:.1%} padding, {self.fixed_padding:.1%} with "
            "one length for all"
        )


def _permutation(bits: np.random.PCG64, size: int) -> np.ndarray:
    # NumPy promises that this raw stream stays what it is, and of Generator.permutation it does not
    return np.argsort(bits.random_raw(size), kind="stable")


def _chunks(indices: np.ndarray, size: int, drop_remainder: bool) -> list[np.ndarray]:
    if drop_remainder:
        indices = indices[: len(indices) // size * size]
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _round_up(steps: int, multiple: int) -> int:
    return -(-steps // multiple) * multiple


def _one_a_row(lengths: np.ndarray, steps: int) -> Placement:
    rows = np.arange(len(lengths))
    return Placement((len(lengths), steps), rows, np.zeros_like(rows))


def _without_longer(
    owner: str, order: np.ndarray, lengths: np.ndarray, limit: int, drop: bool
) -> np.ndarray:
    longer = lengths[order] > limit
    if longer.any() and not drop:
        index = order[longer][0]
        raise ValueError(
            f"{owner}: example {index} has {lengths[index]} steps, more than the {limit} that it "
            f"may have, and {longer.sum() - 1} others have too; raise the limit, or leave them out "
            "with drop_longer=True"
        )
    return order[~longer]


def _check_shards(shards: Sequence[int], examples: int) -> Sequence[int]:
    if sum(shards) != examples or min(shards, default=0) < 0:
        raise ValueError(
            f"shards must be numbers of examples that sum to {examples}, got {list(shards)[:10]}, "
            f"which sum to {sum(shards)}"
        )
    return shards
