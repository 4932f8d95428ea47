"""Statistics of the numeric features of a data set, computed while it is written.

The values of a feature are collected in blocks. The mean m and the sum of squared deviations S of
two parts with n and k values are combined by the equations of Chan, Golub and LeVeque::

    d = m_k - m_n
    m = m_n + d k / (n + k)
    S = S_n + S_k + d^2 n k / (n + k)

They do not subtract large numbers of similar size, unlike the mean of squares minus the squared
mean.

Reference: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
variances" (1979).
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from seqjax.data.ragged import Ragged
from seqjax.data.schema import BYTES, Feature, Schema

MISSING = "_missing"  # the end of the name of a feature that marks the missing values of another
_BLOCK = 16384  # numbers
_PARTS = 1024  # arrays, each of which takes memory of its own
_STORED = "statistics"  # a part of the names of arrays in the index


class Statistics(NamedTuple):
    """Statistics of a numeric feature, for each entry of its shape, such as each axis of a sensor.

    A sequence feature counts all steps of all examples, and a list all of its entries. Missing are
    NaN and the values that a feature ``NAME_missing`` of the same shape marks; all fields but
    ``missing`` leave them out. An infinite value makes the mean infinite or NaN.

    Attributes:
      counts: ``int64[*shape]``, the number of values that are not missing.
      mean: ``float64[*shape]``; NaN if there are no values.
      deviation: ``float64[*shape]``, the standard deviation, with the divisor ``counts``; NaN if
        there are no values.
      minimum: ``float64[*shape]``; NaN if there are no values.
      maximum: ``float64[*shape]``; NaN if there are no values.
      missing: ``float64[*shape]``, the share of missing values in [0, 1].
      class_counts: ``int64[K]``, the number of values of each class, or None if the feature has no
        classes.
    """

    counts: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    missing: np.ndarray
    class_counts: np.ndarray | None


class RunningStatistics:
    """Statistics of examples that are added one by one.

    >>> schema = Schema(sequence={"x": Feature(np.float32, (2,))})
    >>> running = RunningStatistics(schema)
    >>> running.add({"x": np.array([[1, 10], [3, np.nan]])})
    >>> x = running.result()["x"]
    >>> x.mean, x.deviation, x.missing
    (array([ 2., 10.]), array([1., 0.]), array([0. , 0.5]))
    """

    def __init__(self, schema: Schema) -> None:
        features = _numeric(schema)
        self._running = {name: _Feature(feature) for name, feature in features.items()}
        self._marks = {
            name: f"{name}{MISSING}"
            for name, feature in features.items()
            if features.get(f"{name}{MISSING}") == Feature(bool, feature.shape)
        }

    def add(self, example: Mapping[str, Any]) -> None:
        """Add an example of arrays that match the schema."""
        for name, running in self._running.items():
            value = example[name]
            if isinstance(value, Ragged):
                value = value.values
            if name in self._marks:
                marks = example[self._marks[name]]
                marks = marks.values if isinstance(marks, Ragged) else marks
                if marks.shape == value.shape and marks.any():
                    value = np.where(marks, np.nan, value)
            running.add(value)

    def result(self) -> dict[str, Statistics]:
        """Return the statistics of each numeric feature."""
        return {name: running.result() for name, running in self._running.items()}


class _Feature:
    """The running statistics of one feature, of D entries."""

    def __init__(self, feature: Feature) -> None:
        self._shape = feature.entry_shape
        size = self._size = feature.size
        self._parts: list[np.ndarray] = []  # not yet in the statistics
        self._collected = 0  # numbers
        self._total = 0  # values, with those that are missing
        self._count = np.zeros(size, np.int64)
        self._mean, self._squares = np.zeros(size), np.zeros(size)
        self._minimum, self._maximum = np.full(size, np.inf), np.full(size, -np.inf)
        self._class_counts = np.zeros(len(feature.classes), np.int64) if feature.classes else None

    def add(self, value: np.ndarray) -> None:
        # a copy: the caller may write the next example into the same array
        self._parts.append(np.array(value, ndmin=1))
        self._collected += value.size
        if self._collected >= _BLOCK or len(self._parts) >= _PARTS:
            self._merge()

    def result(self) -> Statistics:
        self._merge()
        present = self._count > 0
        with np.errstate(invalid="ignore", divide="ignore"):
            missing = 1 - self._count / self._total if self._total else np.zeros(self._size)
            fields = (
                self._count.copy(),
                np.where(present, self._mean, np.nan),
                np.sqrt(self._squares / self._count),
                np.where(present, self._minimum, np.nan),
                np.where(present, self._maximum, np.nan),
                missing,
            )
        class_counts = None if self._class_counts is None else self._class_counts.copy()
        return Statistics._make([*(field.reshape(self._shape) for field in fields), class_counts])

    def _merge(self) -> None:
        """Take the collected values into the statistics."""
        if not self._parts:
            return
        values = np.concatenate(self._parts).reshape(-1, self._size)
        self._parts, self._collected = [], 0
        if self._class_counts is not None:
            self._class_counts += np.bincount(values.ravel(), minlength=len(self._class_counts))
        self._total += len(values)
        rows = max(1, _BLOCK // self._size)
        for start in range(0, len(values), rows):
            # [D, N]: reductions over contiguous numbers are fast
            block = np.array(values[start : start + rows].T, np.float64, order="C")
            with np.errstate(invalid="ignore", over="ignore"):  # of infinite values
                self._combine(*_moments(block))

    def _combine(
        self,
        count: np.ndarray,
        mean: np.ndarray,
        squares: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
    ) -> None:
        both = self._count + count
        share = count / np.maximum(both, 1)
        apart = np.where(count > 0, mean - self._mean, 0)
        self._mean = self._mean + apart * share
        self._squares = self._squares + squares + apart**2 * self._count * share
        self._minimum, self._maximum = (
            np.minimum(self._minimum, low),
            np.maximum(self._maximum, high),
        )
        self._count = both


def _moments(block: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return count, mean, sum of squared deviations, minimum and maximum of each row."""
    sums = block.sum(1)
    if not np.isnan(sums).any():
        count = np.full(len(block), block.shape[1])
        mean = sums / block.shape[1]
        apart = block - mean[:, None]
        return count, mean, np.einsum("dn,dn->d", apart, apart), block.min(1), block.max(1)
    absent = np.isnan(block)
    count = block.shape[1] - absent.sum(1)
    mean = np.where(absent, 0, block).sum(1) / np.maximum(count, 1)
    squares = (np.where(absent, 0, block - mean[:, None]) ** 2).sum(1)
    low, high = np.where(absent, np.inf, block).min(1), np.where(absent, -np.inf, block).max(1)
    return count, mean, squares, low, high


def to_arrays(schema: Schema, statistics: Mapping[str, Statistics]) -> dict[str, np.ndarray]:
    """Return the statistics as arrays for an ``.npz`` file, read by `from_arrays`.

    The names hold the number of a feature, since names of features can have any characters.

    >>> schema = Schema({"label": Feature(np.int32, classes=("ham", "spam"))})
    >>> list(to_arrays(schema, RunningStatistics(schema).result()))
    ['statistics-0', 'statistics-0-classes']
    """
    arrays = {}
    for number, name in enumerate(_numeric(schema)):
        *fields, class_counts = statistics[name]
        arrays[f"{_STORED}-{number}"] = np.stack([np.asarray(f, np.float64) for f in fields])
        if class_counts is not None:
            arrays[f"{_STORED}-{number}-classes"] = class_counts
    return arrays


def from_arrays(schema: Schema, arrays: Mapping[str, np.ndarray]) -> dict[str, Statistics] | None:
    """Return the statistics that `to_arrays` described, or None if the arrays hold none.

    >>> schema = Schema({"label": Feature(np.int32, classes=("ham", "spam"))})
    >>> running = RunningStatistics(schema)
    >>> running.add({"label": np.array(1)})
    >>> from_arrays(schema, to_arrays(schema, running.result()))["label"].class_counts
    array([0, 1])
    >>> from_arrays(schema, {"sizes": np.array([3])})
    """
    features = _numeric(schema)
    if any(f"{_STORED}-{number}" not in arrays for number in range(len(features))):
        return None
    found = {}
    for number, (name, feature) in enumerate(features.items()):
        counts, *fields = arrays[f"{_STORED}-{number}"]
        classes = arrays[f"{_STORED}-{number}-classes"] if feature.classes else None
        found[name] = Statistics._make([counts.astype(np.int64), *fields, classes])
    return found


def statistics_of(schema: Schema, examples: Iterable[Mapping[str, Any]]) -> dict[str, Statistics]:
    """Return the statistics of examples of arrays, such as those of a source.

    >>> schema = Schema(sequence={"x": Feature(np.int32)})
    >>> statistics_of(schema, [{"x": np.array([1, 2, 6])}])["x"].maximum
    array(6.)
    """
    running = RunningStatistics(schema)
    for example in examples:
        running.add(example)
    return running.result()


def _numeric(schema: Schema) -> dict[str, Feature]:
    features = {**schema.context, **schema.sequence}
    return {name: feature for name, feature in features.items() if feature.dtype != BYTES}
