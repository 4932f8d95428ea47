"""Labelled sequences from TFRecords."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.processes import ALL, ALONE, Group
from experiments.sequence_classification.sets import Examples, numbers
from seqjax.data import Batch, Loader, Padded
from seqjax.data.schema import BYTES, Feature, Schema
from seqjax.hosts import check_agreement

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

    If `seqjax.data.records.write` made it, each of several processes reads its part of the records,
    and they exchange what they have read. Other files have no index, and each process reads all.

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
    part = ALL.together(lambda: _read_part(path, inputs, label, tokens, classes))
    check_agreement({"a data set with the manifest": part.manifest})
    inputs, label, count = part.inputs, part.label, part.total

    def whole(rows: np.ndarray) -> np.ndarray:
        return part.group.join_rows(rows)[:count]

    lengths, steps = whole(part.batch.lengths), whole(part.batch.features[inputs])
    xs = (_tokens if tokens else _numbers)(f"{path}: {inputs!r}", steps)
    if label is None:
        assert classes is not None
        return Records(
            Examples(xs, lengths, np.full(count, UNKNOWN, np.int32)), classes, inputs, None
        )
    owner, values = f"{path}: {label!r}", whole(part.batch.features[label])
    if values.ndim != 1:
        raise ValueError(
            f"{owner} must be one class per example, got shape {list(values.shape[1:])}"
        )
    if values.dtype == BYTES:
        texts, labels = np.unique(values, return_inverse=True)
        found = tuple(text.decode(errors="replace") for text in texts)
    else:
        labels, found = values, part.classes
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
    return Records(Examples(xs, lengths, labels.astype(np.int32)), classes, inputs, label)


class _Part(NamedTuple):
    """What one of the processes has read, and what it knows of the whole.

    Attributes:
      inputs: the sequence feature.
      label: the context feature with the class; None if there is none.
      classes: the names that the schema gives to the classes.
      total: the number of examples of the whole data set.
      manifest: the sha256 of its manifest; None if it has none.
      group: the processes that read a part each; this one alone if there is no manifest.
      batch: the examples of this process. All processes have as many rows, of as many steps; the
        rows after the last example are empty.
    """

    inputs: str
    label: str | None
    classes: tuple[str, ...]
    total: int
    manifest: str | None
    group: Group
    batch: Batch


def _read_part(
    path: Path, inputs: str | None, label: str | None, tokens: bool, classes: Any
) -> _Part:
    """Read the records of this process; see `read`."""
    try:  # images do not need the dependencies for reading records
        from seqjax.data.records import RecordSource, infer_schema
    except ImportError as error:
        raise ValueError(
            f"{path}: reading records needs {error.name}; pip install -e '.[records]'"
        ) from None
    schema = None if path.is_dir() else infer_schema(path)
    source = RecordSource(path, schema)
    context, sequence = source.schema.context, source.schema.sequence
    what = "sequence feature of " + ("tokens" if tokens else "numbers")
    inputs = _only("--inputs", what, inputs, sequence, "iu" if tokens else "fiu")
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
    group = ALL if source.manifest_sha256 else ALONE
    if source.ragged_features:  # they are not used, and have no width
        labels = {label: context[label]} if label else {}
        source = RecordSource(path, Schema(context=labels, sequence={inputs: sequence[inputs]}))
    rows = Padded(-(-count // group.size) * group.size, fill_remainder=True)
    with Loader(
        source, rows, epochs=1, process=group.index, processes=group.size, split_rows=True
    ) as loader:
        batch: Batch = next(loader)
    names = context[label].classes if label else ()
    return _Part(inputs, label, names, count, source.manifest_sha256, group, batch)


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
