"""The plan of an epoch: the examples of each batch, computed before any example is read.

The lengths of all examples are known, so the batches of an epoch are a pure function of the
lengths, a policy, a seed and the epoch: a list of index arrays. A position in the data is then a
pair of numbers, each process takes every n-th batch, and shapes and padding can be reported in
advance.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from seqjax.checks import check_count, check_integers, check_iterable, check_size, describe_type
from seqjax.data.placement import Placement
from seqjax.data.policies import Policy, check_policy

# context features [*shape]; sequence features [T, *step_shape], or Ragged if each step is a list
Example = dict[str, Any]

_MIXED_SHARDS = 16  # a `RecordSource` keeps this many decompressed shards in memory


@runtime_checkable
class Source(Protocol):
    """Examples of known lengths that can be read in any order."""

    @property
    def lengths(self) -> np.ndarray:
        """The number of steps of each example, ``int64[N]``."""

    @property
    def shards(self) -> Sequence[int]:
        """The number of examples in each shard, in order; their sum is N."""

    @property
    def sequence_features(self) -> frozenset[str]:
        """The names of the features that have a time axis."""

    @property
    def ragged_features(self) -> frozenset[str]:
        """The names of the features whose values are lists of any number of entries."""

    def read(self, indices: np.ndarray) -> list[Example]:
        """Return the examples at ``indices``, ``int64[B]``; two threads may call it at once.

        Each example is a dictionary of context features ``[*shape]`` and sequence features
        ``[T, *step_shape]``. A ragged context feature is ``[N, *entry_shape]``, and a ragged
        sequence feature is a `Ragged` of T lists.
        """


def check_source(owner: str, source: Any) -> None:
    """Raise ``ValueError`` unless ``source`` is a `Source`.

    >>> check_source("Loader", [{"x": np.arange(3)}])
    Traceback (most recent call last):
    ...
    ValueError: Loader: source must be a Source, such as ListSource(examples, names), got a list
    """
    if isinstance(source, type) or not isinstance(source, Source):
        parts = "lengths", "shards", "sequence_features", "ragged_features", "read"
        missing = [part for part in parts if not hasattr(source, part)]
        # a class of the user that lacks little
        lacks = f", which has no {', '.join(missing)}" if len(missing) < len(parts) else ""
        raise ValueError(
            f"{owner}: source must be a Source, such as ListSource(examples, names), got "
            f"{describe_type(source)}{lacks}"
        )


def plan(
    lengths: np.ndarray,
    shards: Sequence[int],
    policy: Policy,
    *,
    seed: int | None = None,
    epoch: int = 0,
    interleave: int | None = None,
) -> list[np.ndarray]:
    """Return the batches of an epoch as arrays of indices.

    Args:
      lengths: ``int[N]``, the number of steps of each example.
      shards: the number of examples in each shard.
      policy: how examples become batches.
      seed: shuffles the examples, differently in each epoch; defaults to the order of the source.
      epoch: the number of the epoch, from 0.
      interleave: the number of shards to mix. With a seed, the shards are shuffled, and the
        examples of each group of this many shards are shuffled together; defaults to 16. Without a
        seed, the shards of a group take turns; defaults to 1, the order of the source.

    Returns:
      The indices of the examples of each batch, ``int64[B]``.

    Raises:
      ValueError: the shards do not sum to N, an argument is out of range, or an example is longer
        than the policy allows.

    >>> from seqjax.data import Padded
    >>> plan(np.ones(5, int), [3, 2], Padded(2), interleave=2)
    [array([0, 3]), array([1, 4]), array([2])]
    >>> plan(np.ones(5, int), [3, 2], Padded(2), seed=0, epoch=2)
    [array([2, 4]), array([1, 3]), array([0])]
    """
    check_policy("plan", policy)
    lengths = check_integers("plan", "lengths", lengths)
    shards = check_shards(shards, len(lengths))
    check_count("plan", "epoch", epoch)
    if interleave is not None:
        check_size("plan", "interleave", interleave)
    ends = np.cumsum(shards)
    examples = [np.arange(end - size, end) for end, size in zip(ends, shards, strict=True)]
    if seed is None:
        group_size = interleave or 1
    else:
        check_count("plan", "seed", seed, high=2**64 - 1)
        bits = np.random.PCG64([seed, epoch])
        group_size = interleave or _MIXED_SHARDS
        examples = [examples[shard] for shard in permutation(bits, len(shards))]
    order = [np.empty(0, np.int64)]
    for start in range(0, len(examples), group_size):
        group = examples[start : start + group_size]
        members = np.concatenate(group)
        if seed is None:
            turns = np.concatenate([np.arange(len(shard)) for shard in group])
            order.append(members[np.argsort(turns, kind="stable")])
        else:
            order.append(members[permutation(bits, len(members))])
    return policy.batches(np.concatenate(order), lengths)


@dataclasses.dataclass(frozen=True)
class Report:
    """The shapes and the padding of batches; reports of different batches can be added.

    Args:
      batches: the number of batches.
      examples: the number of examples in the batches.
      dropped: the number of examples that are in no batch.
      steps: the number of steps of the examples.
      slots: the number of steps of the batches, padding included.
      longest: the number of steps of the longest example.
      shapes: the different shapes ``(B, T)``, each of which is compiled once.

    >>> from seqjax.data import Padded
    >>> lengths = np.array([1, 9, 2, 8])
    >>> print(Report.of_plan([np.array([0, 2]), np.array([1, 3])], lengths, Padded(2)))
    2 batches of 2 shapes hold 4 examples, 0 dropped; 9.1% padding, 44.4% with one length for all
    """

    batches: int = 0
    examples: int = 0
    dropped: int = 0
    steps: int = 0
    slots: int = 0
    longest: int = 0
    shapes: frozenset[tuple[int, int]] = frozenset()

    @classmethod
    def of_plan(cls, plan: Iterable[np.ndarray], lengths: np.ndarray, policy: Policy) -> "Report":
        """Report on the batches of an epoch, given the lengths of all examples, ``int[N]``."""
        check_policy("Report", policy)
        lengths = check_integers("Report", "lengths", lengths)
        check_iterable("Report", "plan", plan, of="batches of indices, as plan returns it")
        total = cls()
        for batch in plan:
            indices = check_integers("Report", "a batch", batch, high=len(lengths) - 1)
            total += cls.of_batch(lengths[indices], policy)
        return dataclasses.replace(total, dropped=len(lengths) - total.examples)

    @classmethod
    def of_batch(cls, lengths: np.ndarray, policy: Policy) -> "Report":
        """Report on one batch, given the lengths of its examples, ``int[B]``."""
        check_policy("Report", policy)
        lengths = check_integers("Report", "lengths", lengths, least=1)
        return cls.of_placement(policy.place(lengths), lengths)

    @classmethod
    def of_placement(cls, placement: Placement, lengths: np.ndarray) -> "Report":
        """Report on one batch, given the positions and the lengths of its examples, ``int[n]``."""
        rows, steps = placement.shape
        return cls(
            batches=1,
            examples=len(lengths),
            steps=int(lengths.sum()),
            slots=rows * steps,
            longest=int(lengths.max(initial=0)),
            shapes=frozenset([placement.shape]),
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
        """The fraction of all steps that is padding."""
        return 1 - self.steps / self.slots if self.slots else 0.0

    @property
    def fixed_padding(self) -> float:
        """The fraction that would be padding if all examples were padded to the longest one."""
        return 1 - self.steps / (self.examples * self.longest) if self.longest else 0.0

    def __str__(self) -> str:
        return (
            f"{self.batches} batches of {len(self.shapes)} shapes hold {self.examples} examples, "
            f"{self.dropped} dropped; {self.padding:.1%} padding, {self.fixed_padding:.1%} with "
            "one length for all"
        )


def permutation(bits: np.random.PCG64, size: int) -> np.ndarray:
    """Draw a permutation of ``size`` numbers, the same one in all versions of NumPy.

    >>> print(permutation(np.random.PCG64(0), 4))
    [3 2 1 0]
    """
    # NumPy keeps this raw stream the same in all versions, but not Generator.permutation
    return np.argsort(bits.random_raw(size), kind="stable")


def check_shards(shards: Sequence[int], examples: int) -> Sequence[int]:
    """Return ``shards`` if they are numbers of examples that sum to ``examples``.

    >>> check_shards([2, 1], 4)
    Traceback (most recent call last):
    ...
    ValueError: shards must be example counts that sum to 4, got [2, 1], which sum to 3
    """
    check_iterable("plan", "shards", shards, of="example counts")
    for shard in shards:
        check_count("shards", "an example count", shard)
    if sum(shards) != examples:
        raise ValueError(
            f"shards must be example counts that sum to {examples}, got {list(shards)[:10]}, "
            f"which sum to {sum(shards)}"
        )
    return shards
