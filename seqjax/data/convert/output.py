"""Writing the data sets of a command, and reporting what they hold."""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqjax.data.convert.columns import Missing
from seqjax.data.convert.files import check_twice
from seqjax.data.convert.missing import schema_with_marks, settle_missing
from seqjax.data.convert.splitting import hash_of, limits, parse_split
from seqjax.data.encoding import serialize
from seqjax.data.ragged import Ragged
from seqjax.data.schema import Schema
from seqjax.data.statistics import Statistics
from seqjax.data.tfrecord import Compression
from seqjax.data.writing import DataSetWriter

_CLASSES_SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Files:
    """The files of a data set.

    Args:
      shards: number of files.
      compression: compression of the files.
    """

    shards: int = 1
    compression: Compression | None = None


@dataclasses.dataclass(frozen=True)
class Output(Files):
    """The files of a data set, and its parts.

    Args:
      split: names and shares of parts, such as train=0.8,validation=0.1,test=0.1. Each part is a
        data set of its own, in the directory of its name within OUT. Equal examples stay together.
      seed: seed of the split. The order of the examples in the file does not change it.
    """

    split: str | None = None
    seed: int = 0


class Located(NamedTuple):
    """An example and its place.

    Attributes:
      where: the place in the source, for error messages.
      example: the values of the features.
      unit: the value of ``--split-by``, or None.
    """

    where: str
    example: Mapping[str, Any]
    unit: Any = None


class _Record(NamedTuple):
    arrays: Mapping[str, np.ndarray | Ragged]
    record: tuple[bytes, int]
    unit: Any


def save(
    source: Path | str,
    out: Path,
    schema: Schema,
    examples: Callable[[], Iterable[Located]],
    output: Files,
    missing: Missing = "error",
) -> None:
    """Write examples to a data set, or to one for each part of a split.

    All data sets are complete on the disk before the first one replaces an older one. After an
    error all older data sets are there. Only a failure between two of these last moves leaves
    new and older parts side by side.

    Args:
      source: the source, for error messages.
      out: the directory of the data set or of the parts.
      schema: the schema of the examples.
      examples: a function that returns the examples; a split calls it twice.
      output: the files and the split.
      missing: see `seqjax.data.convert.missing`.
    """
    stored = schema_with_marks(schema, missing)
    split = output.split if isinstance(output, Output) else None
    shares = parse_split(split) if split else {"": 1.0}
    if split and isinstance(source, Path):
        check_twice(source, "--split")
    seed = output.seed if isinstance(output, Output) else 0

    def records() -> Iterator[_Record]:
        for where, example, unit in examples():
            arrays = settle_missing(schema, example, where, missing)
            yield _Record(arrays, serialize(stored, arrays), unit)

    def hashed(record: _Record) -> int:
        return hash_of(seed, record.record[0] if record.unit is None else record.unit)

    found: Iterator[_Record] = records()
    first = next(found, None)
    if first is None:
        raise ValueError(f"{source}: has no examples; nothing was written to {out}")
    found = itertools.chain([first], found)
    bounds = np.zeros(0, np.uint64)
    if split:
        bounds, found = limits(map(hashed, found), shares), records()
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(
                DataSetWriter(
                    out / name, stored, shards=output.shards, compression=output.compression
                )
            )
            for name in shares
        ]
        for record in found:
            part = np.searchsorted(bounds, np.uint64(hashed(record)), "right") if split else 0
            writers[part].add(record.arrays, record.record)
        for writer in writers:
            writer.complete()
        for writer in writers:
            writer.publish()
    for name, writer in zip(shares, writers, strict=True):
        steps = f", {writer.steps:,} steps" if stored.sequence else ""
        print(f"{out / name}: {writer.count:,} examples{steps}")
        for line in class_lines(stored, writer.statistics()):
            print(f"  {line}")


def class_lines(schema: Schema, statistics: Mapping[str, Statistics]) -> Iterator[str]:
    """Describe how often each class occurs, one feature a line.

    >>> from seqjax.data.schema import Feature
    >>> from seqjax.data.statistics import statistics_of
    >>> schema = Schema({"label": Feature(np.int32, classes=("ham", "spam"))})
    >>> print(*class_lines(schema, statistics_of(schema, [{"label": np.array(1)}])))
    label: ham (0), spam (1)
    """
    for name, feature in {**schema.context, **schema.sequence}.items():
        counts = statistics[name].class_counts if name in statistics else None
        if counts is None:
            continue
        pairs = list(zip(counts.tolist(), feature.classes, strict=True))
        shown = ", ".join(f"{title} ({count:,})" for count, title in pairs[:_CLASSES_SHOWN])
        more = len(pairs) - _CLASSES_SHOWN
        yield f"{name}: {shown}" + (f" and {more:,} more classes" if more > 0 else "")
