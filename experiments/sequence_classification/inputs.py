"""What the network reads: numbers scaled by feature, or tokens for an embedding."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from experiments.sequence_classification.sets import Examples, Split, within


class Scale(NamedTuple):
    """The mean and the deviation of the numbers of a training set.

    Attributes:
      mean: ``float32[D]``, or ``[1]`` for images, whose pixels have one scale.
      deviation: of the same shape; 1 where all numbers are equal.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, split: Split) -> "Scale":
        """The scale of the training set: for each feature, or of all pixels of images.

        The features of a series may differ in unit and range, like the axes of a sensor of which
        one measures gravity.
        """
        numbers = split.train.xs[within(split.train)]
        if split.images:
            numbers = numbers.reshape(-1, 1)
        deviation = numbers.std(0, dtype=np.float64)
        return cls(
            numbers.mean(0, dtype=np.float64).astype(np.float32),
            np.where(deviation > 0, deviation, 1).astype(np.float32),
        )

    def __call__(self, examples: Examples) -> Examples:
        """Standardize numbers; steps past the lengths become 0."""
        xs = (examples.xs - self.mean) / self.deviation
        return examples._replace(xs=np.where(within(examples)[..., None], xs, np.float32(0)))

    def features(self, split: Split) -> int:
        """The numbers of each step."""
        return split.train.xs.shape[2]

    @property
    def summary(self) -> dict[str, Any]:
        """What ``result.json`` says about it."""
        return {"scale": self.to_json()}

    def to_json(self) -> dict[str, Any]:
        """The numbers as JSON data for `reader_from_json`."""
        return {name: array.tolist() for name, array in self._asdict().items()}


class Vocabulary(NamedTuple):
    """The different tokens of a training set.

    Attributes:
      tokens: the V tokens in ascending order, ``int64[V]``.
    """

    tokens: np.ndarray

    @classmethod
    def of(cls, split: Split) -> "Vocabulary":
        """The tokens of the training set."""
        return cls(np.unique(split.train.xs[within(split.train)]).astype(np.int64))

    def __call__(self, examples: Examples) -> Examples:
        """Number the tokens from 0; V stands for a token that the training set does not have.

        >>> new = Examples(np.array([[9, 5, 0]]), np.array([2]), np.array([0]))
        >>> Vocabulary(np.array([2, 5]))(new).xs
        array([[2, 1, 0]], dtype=int32)
        """
        where = np.searchsorted(self.tokens, examples.xs)
        known = self.tokens[np.minimum(where, len(self.tokens) - 1)] == examples.xs
        numbers = np.where(known, where, len(self.tokens)) * within(examples)
        return examples._replace(xs=numbers.astype(np.int32))

    def unknown(self, examples: Examples) -> int:
        """The number of tokens that the training set does not have."""
        return int((self(examples).xs == len(self.tokens)).sum())

    def features(self, split: Split) -> int:
        """The number of different tokens."""
        return len(self.tokens)

    @property
    def summary(self) -> dict[str, Any]:
        """What ``result.json`` says about it."""
        return {"different_tokens": len(self.tokens)}

    def to_json(self) -> dict[str, Any]:
        """The tokens as JSON data for `reader_from_json`."""
        return {"tokens": self.tokens.tolist()}


Reader = Scale | Vocabulary


def reader_of(split: Split) -> Reader:
    """The `Vocabulary` of tokens, or the `Scale` of numbers."""
    return Vocabulary.of(split) if split.train.holds_tokens else Scale.of(split)


def reader_from_json(content: dict[str, Any]) -> Reader:
    """What ``to_json`` described.

    >>> scale = Scale(np.float32([0.1]), np.float32([3]))
    >>> reader_from_json(scale.to_json()) == scale
    True
    """
    if "tokens" in content:
        return Vocabulary(np.array(content["tokens"], np.int64))
    return Scale(*(np.array(content[name], np.float32) for name in Scale._fields))


def read_by(reader: Reader, split: Split) -> Split:
    """All sets of a data set as the network reads them.

    Raises:
      ValueError: ``reader`` is a `Scale` of another number of features.
    """
    return dataclasses.replace(
        split,
        train=reader(split.train),
        test=reader(split.test),
        validation=split.validation and reader(split.validation),
    )


def scaled(split: Split) -> Split:
    """Standardize the training set, and scale the other sets with the same `Scale`."""
    return read_by(Scale.of(split), split)
