"""Labelled sequences from TFRecords."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.sequence_classification.sets import Examples, numbers
from seqjax.data import Batch, Loader, Padded
from seqjax.data.schema import BYTES, Feature

UNKNOWN = -1  # the label of an example whose class is not known


class Records(NamedTuple):
    """What the records of a data set hold.

    Attributes:
      examples: the examples, with the label `UNKNOWN` where the class is not known.
      classes: the names of the classes.
      inputs: the sequence feature.
      label: the context feature with the class; None if there is none.
    """

    examples: Examples
    classes: tuple[str, ...]
    inputs: str
    label: str | None


def read(
    path: Path,
    inputs: str | None = None,
    label: str | None = None,
    tokens: bool = False,
    classes: tuple[str, ...] | None = None,
) -> Records:
    """Read a data set whole.

    Args:
      path: a directory or a pattern, as `seqjax.data.records.RecordSource` takes it.
      inputs: the sequence feature; defaults to the only numeric one.
      label: the context feature with the class, a number or a text; defaults to the only integer
        feature, or to the only text feature if there is no integer feature.
      tokens: whether the sequence feature has one integer a step, which is a token.
      classes: the names of the classes of a model. Examples then need no label; those without one,
        or of another class, get the label `UNKNOWN`. Defaults to the classes of the records: the
        names that the schema has, the different texts, or the numbers up to the largest one.

    Raises:
      ValueError: the data set does not hold such sequences.
    """
    try:  # images do not need the dependencies for reading records
        from seqjax.data.records import RecordSource, infer_schema
    except ImportError as error:
        raise ValueError(
            f"{path}: reading records needs {error.name}; pip install -e '.[records]'"
        ) from None
    schema = None if path.is_dir() else infer_schema(path)
    source = RecordSource(path, schema)
    context, kinds = source.schema.context, "iu" if tokens else "fiu"
    what = "sequence feature of " + ("tokens" if tokens else "numbers")
    inputs = _only("--inputs", what, inputs, source.schema.sequence, kinds)
    if classes is None or label in context:
        what = "context feature of integers or texts"
        label = _only("--label", what, label, context, "iu", "O")
    else:
        label = None
    count = len(source.lengths)
    if not count or not source.lengths.all():
        raise ValueError(
            f"{path}: each example needs at least one step, but "
            f"{np.sum(source.lengths == 0)} of {count} have none"
        )
    with Loader(source, Padded(count), epochs=1) as loader:
        batch: Batch = next(loader)
    if tokens:
        xs = _tokens(f"{path}: {inputs!r}", batch.features[inputs])
    else:
        xs = _numbers(f"{path}: {inputs!r}", batch.features[inputs])
    if label is None:
        assert classes is not None
        unknown = np.full(count, UNKNOWN, np.int32)
        return Records(Examples(xs, batch.lengths, unknown), classes, inputs, None)
    owner, values = f"{path}: {label!r}", batch.features[label]
    if values.ndim != 1:
        raise ValueError(
            f"{owner} must be one class per example, got shape {list(values.shape[1:])}"
        )
    if values.dtype == BYTES:
        texts, labels = np.unique(values, return_inverse=True)
        found = tuple(text.decode(errors="replace") for text in texts)
    else:
        labels, found = values, context[label].classes
        if not found and classes is None and (values.min() < 0 or values.max() >= count):
            raise ValueError(
                f"{owner} must be classes counted from 0, got values from {values.min()} to "
                f"{values.max()}"
            )
    if classes is None:
        classes = found or numbers(int(labels.max()) + 1)
    elif found:
        table = [classes.index(name) if name in classes else UNKNOWN for name in found]
        labels = np.array(table)[labels]
    else:
        labels = np.where((labels >= 0) & (labels < len(classes)), labels, UNKNOWN)
    return Records(Examples(xs, batch.lengths, labels.astype(np.int32)), classes, inputs, label)


def _tokens(owner: str, values: np.ndarray) -> np.ndarray:
    if values.ndim != 2:
        raise ValueError(
            f"{owner} must be one token a step for --embedding, got {list(values.shape[2:])} "
            "integers a step; omit --embedding to read them as numbers"
        )
    if values.min() < 0:
        raise ValueError(f"{owner} must be tokens of at least 0, got {values.min()}")
    return values.astype(np.int64)


def _numbers(owner: str, values: np.ndarray) -> np.ndarray:
    xs = values.astype(np.float32)
    if not np.isfinite(xs).all():
        raise ValueError(f"{owner} holds numbers that are not finite")
    return xs.reshape(*xs.shape[:2], -1)


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
