"""Sets of labelled sequences: their split, their order and the names of their classes."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

HELD_OUT = 0.2  # fraction to hold out for the test set, if a data set has no test set
SPLIT_SEED = 0  # independent of the seed of the network
ORDER_SEED = 0  # the seed of the order of permuted pixels
VALIDATED = 0.1  # fraction of the training set to hold out for validation
VALIDATION_EXAMPLES = 20  # the fewest examples that choose an epoch better than luck


class Examples(NamedTuple):
    """Sequences and their labels."""

    xs: np.ndarray  # numbers float32[N, T, D], 0 past the lengths; or tokens int[N, T]
    lengths: np.ndarray  # int32[N]
    labels: np.ndarray  # int32[N], in [0, V)

    @property
    def holds_tokens(self) -> bool:
        """Whether the steps are tokens."""
        return self.xs.ndim == 2


@dataclasses.dataclass(frozen=True)
class Split:
    """A data set."""

    train: Examples
    test: Examples
    how: str  # how the sets were made
    classes: tuple[str, ...]  # the names of the V classes
    images: bool = False  # whether an example is an image, read row by row
    validation: Examples | None = None  # chooses the epoch
    inputs: str | None = None  # the feature of the records that holds the sequences
    label: str | None = None  # the feature of the records that holds the classes


def numbers(count: int) -> tuple[str, ...]:
    """The names of classes that have none: their numbers."""
    return tuple(map(str, range(count)))


def named(split: Split, classes: Sequence[str]) -> Split:
    """Give the classes names, in the order of their numbers.

    Raises:
      ValueError: there are fewer names than classes, a name occurs twice, or the classes already
        have names.

    >>> empty = Examples(np.zeros((0, 1, 1)), np.zeros(0), np.zeros(0))
    >>> named(Split(empty, empty, "", ("0", "1", "2")), ["zero", "one"])
    Traceback (most recent call last):
    ...
    ValueError: --classes must name each of the 3 classes once, got 2 names
    """
    count = len(split.classes)
    if split.classes != numbers(count):
        raise ValueError(
            "--classes gives names to classes that are numbers, but these have the names "
            f"{', '.join(split.classes)}; omit --classes"
        )
    if len(set(classes)) < len(classes) or len(classes) < count:
        raise ValueError(
            f"--classes must name each of the {count} classes once, got {len(classes)} names"
        )
    return dataclasses.replace(split, classes=tuple(classes[:count]))


def in_order(examples: Examples, pixels: bool, permuted: bool, join: int = 1) -> Examples:
    """Reorder the numbers of each sequence.

    Args:
      examples: `Examples`.
      pixels: whether each step has one number.
      permuted: whether to permute the numbers of each sequence first, in one random order for all
        sequences.
      join: the number of steps to join to one; the last one is padded with zeros.

    Raises:
      ValueError: ``permuted`` is true, and the lengths differ.

    >>> rows = Examples(np.arange(8.0).reshape(1, 4, 2), np.array([3]), np.array([0]))
    >>> one_by_one = in_order(rows, pixels=True, permuted=False)
    >>> one_by_one.xs.shape, one_by_one.lengths
    ((1, 8, 1), array([6]))
    >>> joined = in_order(rows, pixels=False, permuted=False, join=3)
    >>> joined.xs.shape, joined.lengths
    ((1, 2, 6), array([1]))
    """
    xs, lengths, labels = examples
    if permuted:
        if (lengths != xs.shape[1]).any():
            raise ValueError(
                "--permuted needs sequences of one length, got lengths from "
                f"{lengths.min()} to {lengths.max()}; omit --permuted"
            )
        flat = xs.reshape(len(xs), -1)
        order = np.random.default_rng(ORDER_SEED).permutation(flat.shape[1])
        xs = flat[:, order].reshape(xs.shape)
    if join > 1:
        steps = -(-xs.shape[1] // join)
        xs = np.pad(xs, ((0, 0), (0, steps * join - xs.shape[1]), (0, 0)))
        lengths, xs = -(-lengths // join), xs.reshape(len(xs), steps, -1)
    if pixels:
        lengths = lengths * xs.shape[2]
        xs = xs.reshape(len(xs), -1, 1)
    return Examples(xs, lengths, labels)


def within(examples: Examples) -> np.ndarray:
    """The steps within the lengths, ``bool[N, T]``."""
    mask: np.ndarray = np.arange(examples.xs.shape[1]) < examples.lengths[:, None]
    return mask


def held_out(examples: Examples, fraction: float, use: str) -> tuple[Examples, Examples]:
    """Hold out a part of each class, drawn at random.

    Args:
      examples: `Examples`.
      fraction: the fraction to hold out.
      use: what the examples are held out for, in error messages.

    Returns:
      The other examples, and those held out.

    Raises:
      ValueError: there are too few examples of a class.
    """
    try:
        indices = train_test_split(
            np.arange(len(examples.labels)),
            test_size=fraction,
            stratify=examples.labels,
            random_state=SPLIT_SEED,
        )
    except ValueError as error:
        raise ValueError(
            f"cannot hold out {fraction:.0%} of {len(examples.labels)} examples for the {use} set: "
            f"{error}; give more examples of each class"
        ) from None
    kept, out = (Examples(*(array[part] for array in examples)) for part in indices)
    return kept, out


def validated(split: Split, fraction: float | None) -> Split:
    """Hold out a part of the training set for validation.

    Args:
      split: a data set.
      fraction: the fraction of each class to hold out; 0 for no validation set. None keeps the
        validation set of the data set. If records have none, it holds out a tenth, unless this is
        less than 20 examples.

    Raises:
      ValueError: there are too few examples of a class, or the data set has a validation set
        already.
    """
    if fraction == 0:
        return dataclasses.replace(split, validation=None)
    if split.validation is not None:
        if fraction is None:
            return split
        raise ValueError(
            f"--validation {fraction} holds out a part of the training set, but the data set has "
            "a validation set; omit --validation"
        )
    if fraction is None:
        if split.inputs is None or VALIDATED * len(split.train.labels) < VALIDATION_EXAMPLES:
            return split
        fraction = VALIDATED
    train, validation = held_out(split.train, fraction, "validation")
    how = f"{split.how}; {len(validation.labels)} more choose the epoch"
    return dataclasses.replace(split, train=train, validation=validation, how=how)
