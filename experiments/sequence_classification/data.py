"""Data sets of labelled sequences, split into a training set and a test set."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from seqjax.data import Batch, Loader, Padded
from seqjax.data.schema import BYTES, Feature

HELD_OUT = 0.2  # fraction to hold out for the test set, if a data set has no test set
SPLIT_SEED = 0  # independent of the seed of the network
ORDER_SEED = 0  # the seed of the order of permuted pixels


class Examples(NamedTuple):
    """Sequences and their labels."""

    xs: np.ndarray  # float32[N, T, D], 0 past the lengths
    lengths: np.ndarray  # int32[N]
    labels: np.ndarray  # int32[N], in [0, V)


@dataclasses.dataclass(frozen=True)
class Split:
    """A data set."""

    train: Examples
    test: Examples
    how: str  # how the sets were made
    classes: tuple[str, ...]  # the names of the V classes
    images: bool = False  # whether an example is an image, read row by row


def load(dataset: str, inputs: str | None = None, label: str | None = None) -> Split:
    """Read a data set.

    Args:
      dataset: ``"digits"``, ``"mnist"``, or the path of TFRecords as
        `seqjax.data.records.RecordSource` takes it.
      inputs: the sequence feature of the records; defaults to the only numeric one.
      label: the context feature with the class, a number or a text; defaults to the only integer
        feature, or to the only text feature if there is no integer.

    Returns:
      Both sets as they are stored, not scaled. For records and digits, a fifth of each class is
      drawn for the test set. Records whose sequences all have as many steps as features are
      treated as images.

    Raises:
      ValueError: there is no such data set, or it does not hold labelled sequences.
    """
    if dataset == "digits":
        images, labels = load_digits(return_X_y=True)
        return _held_out(images_to_rows(images.reshape(-1, 8, 8), labels), _numbers(10), True)
    if dataset == "mnist":
        return _mnist()
    return _records(Path(dataset), inputs, label)


def named(split: Split, classes: Sequence[str]) -> Split:
    """Give the classes names, in the order of their numbers.

    Raises:
      ValueError: there are fewer names than classes, a name occurs twice, or the classes already
        have names.

    >>> named(load("digits"), ["zero", "one"])
    Traceback (most recent call last):
    ...
    ValueError: --classes must name each of the 10 classes once, got 2 names
    """
    count = len(split.classes)
    if split.classes != _numbers(count):
        raise ValueError(
            "--classes gives names to classes that are numbers, but these have the names "
            f"{', '.join(split.classes)}; omit --classes"
        )
    if len(set(classes)) < len(classes) or len(classes) < count:
        raise ValueError(
            f"--classes must name each of the {count} classes once, got {len(classes)} names"
        )
    return dataclasses.replace(split, classes=tuple(classes[:count]))


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def images_to_rows(images: np.ndarray, labels: np.ndarray) -> Examples:
    """Read images ``[N, H, W]`` row by row: H steps of W features.

    >>> images_to_rows(np.zeros((5, 8, 6)), np.zeros(5)).xs.shape
    (5, 8, 6)
    """
    lengths = np.full(len(images), images.shape[1], np.int32)
    return Examples(images.astype(np.float32), lengths, labels.astype(np.int32))


def in_order(examples: Examples, pixels: bool, permuted: bool) -> Examples:
    """Reorder the numbers of each sequence.

    Args:
      examples: `Examples`.
      pixels: whether each step has one number.
      permuted: whether to permute the numbers of each sequence first, in one random order for all
        sequences.

    Raises:
      ValueError: ``permuted`` is true, and the lengths differ.

    >>> rows = Examples(np.arange(8.0).reshape(1, 4, 2), np.array([3]), np.array([0]))
    >>> one_by_one = in_order(rows, pixels=True, permuted=False)
    >>> one_by_one.xs.shape, one_by_one.lengths
    ((1, 8, 1), array([6]))
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
    if pixels:
        lengths = lengths * xs.shape[2]
        xs = xs.reshape(len(xs), -1, 1)
    return Examples(xs, lengths, labels)


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
        numbers = split.train.xs[_within(split.train)]
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
        return examples._replace(xs=np.where(_within(examples)[..., None], xs, np.float32(0)))


def scaled(split: Split) -> Split:
    """Standardize the training set, and scale the test set with the same `Scale`."""
    scale = Scale.of(split)
    return dataclasses.replace(split, train=scale(split.train), test=scale(split.test))


def _within(examples: Examples) -> np.ndarray:
    """The steps within the lengths, ``bool[N, T]``."""
    mask: np.ndarray = np.arange(examples.xs.shape[1]) < examples.lengths[:, None]
    return mask


def _held_out(examples: Examples, classes: tuple[str, ...], images: bool) -> Split:
    """Hold out a part of each class for the test set."""
    try:
        indices = train_test_split(
            np.arange(len(examples.labels)),
            test_size=HELD_OUT,
            stratify=examples.labels,
            random_state=SPLIT_SEED,
        )
    except ValueError as error:
        raise ValueError(
            f"cannot hold out {HELD_OUT:.0%} of {len(examples.labels)} examples for the test set: "
            f"{error}; give more examples of each class"
        ) from None
    train, test = (Examples(*(array[part] for array in examples)) for part in indices)
    how = f"drawn at random, with {HELD_OUT:.0%} of each class in the test set"
    return Split(train, test, how, classes, images)


def _mnist() -> Split:
    import tensorflow_datasets

    try:
        from seqjax.data.tensorflow import tensorflow_without_gpus

        tensorflow_without_gpus()
        sets = tensorflow_datasets.load(
            "mnist", split=["train", "test"], batch_size=-1, as_supervised=True
        )
    except (ImportError, OSError, ValueError) as error:  # a failed download raises OSError
        raise ValueError(
            f"--dataset mnist: tensorflow-datasets cannot load it: {error}. It needs TensorFlow "
            "(pip install -e '.[records]') and, for the first download, a network connection. "
            "Otherwise use --dataset digits, or the path of records of images that python -m "
            "seqjax.data.convert made"
        ) from None
    train, test = (
        images_to_rows(np.asarray(images)[..., 0], np.asarray(labels)) for images, labels in sets
    )
    return Split(train, test, "as published", _numbers(10), images=True)


def _records(path: Path, inputs: str | None, label: str | None) -> Split:
    try:  # images do not need the dependencies for reading records
        from seqjax.data.records import RecordSource, infer_schema
    except ImportError as error:
        raise ValueError(
            f"--dataset {path}: reading records needs {error.name}; pip install -e '.[records]'"
        ) from None
    schema = None if path.is_dir() else infer_schema(path)
    source = RecordSource(path, schema)
    context = source.schema.context
    inputs = _only("--inputs", "sequence feature of numbers", inputs, source.schema.sequence, "fiu")
    label = _only("--label", "context feature of integers or texts", label, context, "iu", "O")
    count = len(source.lengths)
    if not count or not source.lengths.all():
        raise ValueError(
            f"{path}: each example needs at least one step, but "
            f"{np.sum(source.lengths == 0)} of {count} have none"
        )
    with Loader(source, Padded(count), epochs=1) as loader:
        batch: Batch = next(loader)
    xs = batch.features[inputs].astype(np.float32)
    xs = xs.reshape(*xs.shape[:2], -1)
    if not np.isfinite(xs).all():
        raise ValueError(f"{path}: {inputs!r} holds numbers that are not finite")
    labels = batch.features[label]
    if labels.ndim != 1:
        raise ValueError(
            f"{path}: {label!r} must be one class per example, got shape {list(labels.shape[1:])}"
        )
    if labels.dtype == BYTES:
        texts, labels = np.unique(labels, return_inverse=True)
        classes = tuple(text.decode(errors="replace") for text in texts)
    elif labels.min() < 0 or labels.max() >= count:
        raise ValueError(
            f"{path}: {label!r} must be classes counted from 0, got values from {labels.min()} to "
            f"{labels.max()}"
        )
    else:
        classes = _numbers(int(labels.max()) + 1)
    is_square = xs.shape[1] == xs.shape[2] > 1 and bool((batch.lengths == xs.shape[1]).all())
    return _held_out(Examples(xs, batch.lengths, labels.astype(np.int32)), classes, is_square)


def _only(
    option: str, what: str, name: str | None, features: Mapping[str, Feature], *kinds: str
) -> str:
    """Return the named feature, or the only feature of the first kind that occurs."""
    by_kind = [
        sorted(
            key
            for key, feature in features.items()
            if feature.dtype.kind in kind and not feature.is_ragged
        )
        for kind in kinds
    ]
    fitting = sorted(itertools.chain(*by_kind))
    preferred = next(filter(None, by_kind), [])
    if name is None and len(preferred) == 1:
        return preferred[0]
    if name is None or name not in fitting:
        named = "" if name is None else f", got {name!r}"
        raise ValueError(f"{option} must name one {what} of the records, from {fitting}{named}")
    return name
