"""The command ``inspect``: what a data set or a file of records holds."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seqjax.data.convert.output import class_lines
from seqjax.data.ragged import Ragged
from seqjax.data.records import RecordSource, infer_schema
from seqjax.data.schema import Schema
from seqjax.data.statistics import Statistics, statistics_of
from seqjax.data.tfrecord import DECOMPRESSED_BYTES

_BAR = 40
_READ_AT_ONCE = 1024  # examples
_ENTRIES_SHOWN = 12


def inspect(
    path: Path, /, first: int = 3, max_decompressed_bytes: int = DECOMPRESSED_BYTES
) -> None:
    """Show the schema, the statistics, a histogram of the lengths and the first examples.

    Args:
      path: directory of a data set, a file, or a pattern for several files.
      first: number of examples to show.
      max_decompressed_bytes: maximum size of a decompressed file; not used if write made it.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console()
    with Console(stderr=True).status(f"reading {path}"):
        limit = max_decompressed_bytes
        schema = None if path.is_dir() else infer_schema(path, max_decompressed_bytes=limit)
        source = RecordSource(path, schema, skip_corrupt=True, max_decompressed_bytes=limit)
        statistics = None if source.skipped else source.statistics
        if statistics is None:
            statistics = statistics_of(source.schema, _examples(source))
    lengths = source.lengths
    schema_table = Table("feature", "kind", "dtype", title=f"{path}", title_justify="left")
    for kind in ("context", "sequence"):
        for name, feature in getattr(source.schema, kind).items():
            schema_table.add_row(name, kind, str(feature).replace("[", r"\["))
    console.print(schema_table)
    console.print(
        f"examples: {len(lengths):,}, steps: {lengths.sum():,}, files: {len(source.shards)}"
    )
    if len(lengths):
        names = ("values", "mean", "deviation", "minimum", "maximum", "missing")
        table = Table("feature")
        for name in names:
            table.add_column(name, justify="right")
        for row in _rows(source.schema, statistics):
            table.add_row(*row)
        if table.row_count:
            console.print(table)
        for line in class_lines(source.schema, statistics):
            console.print(line, markup=False, highlight=False)
        console.print(_histogram(lengths), markup=False, highlight=False)
        for line in _list_lengths(source):
            console.print(line, markup=False, highlight=False)
    with np.printoptions(threshold=8, edgeitems=3, precision=4):
        for k, example in enumerate(source.read(np.arange(min(first, len(lengths))))):
            console.print(f"\nexample {k}, {lengths[k]} steps")
            for name, value in example.items():
                shown = " ".join(str(value).split())
                feature = source.schema.context.get(name)
                if feature and feature.classes and not feature.shape:
                    shown += f" ({feature.classes[int(value)]})"
                console.print(f"  {name}: {shown}", markup=False)
    if source.skipped:
        raise ValueError(f"{path}: {len(source.skipped)} problems, see above")


def _examples(source: RecordSource) -> Iterator[Mapping[str, Any]]:
    for start in range(0, len(source.lengths), _READ_AT_ONCE):
        yield from source.read(np.arange(start, min(start + _READ_AT_ONCE, len(source.lengths))))


def _rows(schema: Schema, statistics: Mapping[str, Statistics]) -> Iterator[tuple[str, ...]]:
    """Show the statistics of numbers, one row for each entry of the shape."""
    for name, found in statistics.items():
        if found.class_counts is not None:
            continue
        entries = list(np.ndindex(found.counts.shape))
        for entry in entries[:_ENTRIES_SHOWN]:
            count, *numbers, missing = (float(field[entry]) for field in found[:-1])
            place = rf"\[{', '.join(map(str, entry))}]" if entry else ""
            shown = (f"{value:.4g}" for value in numbers)
            yield f"{name}{place}", f"{int(count):,}", *shown, f"{missing:.1%}"
        if len(entries) > _ENTRIES_SHOWN:
            yield f"{name}: {len(entries) - _ENTRIES_SHOWN:,} more", *[""] * 6


def _list_lengths(source: RecordSource) -> Iterator[str]:
    """Describe the number of entries in the lists of each feature of lists."""
    counts: dict[str, list[np.ndarray]] = {name: [] for name in sorted(source.ragged_features)}
    if not counts:
        return
    for example in _examples(source):
        for name, found in counts.items():
            value = example[name]
            found.append(value.lengths if isinstance(value, Ragged) else np.array([len(value)]))
    for name, found in counts.items():
        all_counts = np.concatenate(found)
        if len(all_counts):
            yield (
                f"entries in each list of {name}: {all_counts.min()} to {all_counts.max()}, "
                f"{all_counts.mean():.1f} on average"
            )


def _histogram(lengths: np.ndarray) -> str:
    """Count lengths in at most ten ranges, one on each line.

    >>> print(_histogram(np.array([1, 1, 2, 5])))
    length  examples
         1         2  ████████████████████████████████████████
         2         1  ████████████████████
         3         0
         4         0
         5         1  ████████████████████
    """
    low, high = int(lengths.min()), int(lengths.max())
    width = -(-(high - low + 1) // 10)
    counts = np.bincount((lengths - low) // width)
    labels = [
        str(start) if start == stop else f"{start}-{stop}"
        for start in range(low, high + 1, width)
        for stop in [min(start + width - 1, high)]
    ]
    wide = max(map(len, ["length", *labels]))
    bars = ["█" * -(-_BAR * int(count) // int(counts.max())) for count in counts]
    rows = zip(labels, counts.tolist(), bars, strict=True)
    return "\n".join(
        [f"{'length':>{wide}}  examples"]
        + [f"{label:>{wide}}  {count:8,}  {bar}".rstrip() for label, count, bar in rows]
    )
