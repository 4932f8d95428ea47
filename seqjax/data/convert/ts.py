"""The command ``ts``: the files of the UEA and UCR archives of time series.

A file is a header of lines such as ``@univariate false``, the line ``@data``, and a line for each
case: dimensions separated by ``:``, each with numbers separated by ``,``, and the class or the
target at the end. ``?`` is a missing value. Lines that begin with ``#`` or ``%`` are comments.

Reference: Bagnall et al., "The UEA multivariate time series classification archive" (2018),
https://arxiv.org/abs/1811.00075
"""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from seqjax.data.convert.columns import (
    Cells,
    Columns,
    Missing,
    check_once,
    missing_value,
    number,
    parse_columns,
)
from seqjax.data.convert.files import check_twice, decode, lines
from seqjax.data.convert.output import Located, Output, save
from seqjax.data.convert.vocabulary import classes_like, in_order
from seqjax.data.schema import Feature

_FLAGS = ("timestamps", "univariate", "equallength", "targetlabel")
_SIZES = {"dimension": "dimensions", "dimensions": "dimensions", "serieslength": "serieslength"}


@dataclasses.dataclass
class _Header:
    flags: dict[str, bool]
    sizes: dict[str, int]
    classes: tuple[str, ...] | None = None
    has_classes: bool | None = None

    @property
    def label(self) -> str | None:
        """The column of the class or the target."""
        if self.has_classes:
            return "label:class"
        return "target:float32" if self.flags.get("targetlabel") else None


def ts(
    source: Path,
    out: Path,
    /,
    like: Path | None = None,
    missing: Missing = "error",
    output: Output = Output(),  # noqa: B008
) -> None:
    """Convert each case of a .ts file of the UEA and UCR archives.

    The sequence feature x has the dimensions at each step. The context feature label has the ids of
    the classes, sorted, or target the number to predict.

    Args:
      source: the file.
      out: directory of the data set.
      like: directory of a data set whose classes are used, so that ids are the same.
      missing: error, or fill: missing values, which are ? or NaN, become 0 and are marked in a
        feature x_missing.
      output: the files and the split.
    """
    check_twice(source, "this command")
    header = _read_header(source)
    sizes = header.sizes
    for where, parts in _cases(source, header, show=False):
        # the first case tells the number of dimensions
        found = sizes.setdefault("dimensions", len(parts) - (header.label is not None))
        if header.flags.get("univariate") and found != 1:
            raise ValueError(f"{where}: the header says univariate, but {found} dimensions occur")
        break
    columns = parse_columns([header.label] if header.label else [], ["x:float32"])
    feature = Feature(np.float32, (max(1, sizes.get("dimensions", 1)),))
    columns = Columns(columns.context, (columns.sequence[0]._replace(feature=feature),))
    if like:
        columns = columns.with_classes(classes_like(like, columns))
    elif header.classes:
        columns = columns.with_classes({"label": header.classes})
    cells = Cells(columns, {}, missing, str(like or "the header"), "")

    def examples() -> Iterator[Located]:
        steps = sizes.get("serieslength")
        for where, parts in _cases(source, header):
            *dimensions, label = parts if header.label else [*parts, ""]
            x = _series(dimensions, sizes["dimensions"], where, missing)
            if header.flags.get("equallength"):
                steps = len(x) if steps is None else steps
                if len(x) != steps:
                    raise ValueError(
                        f"{where}: has {len(x)} steps, but the header says equalLength, and the "
                        f"length is {steps}"
                    )
            example: dict[str, Any] = {"x": x}
            for column in columns.context:
                cell = "" if label == "?" else label
                example[column.name] = cells.value(column, cell, f"{where}: {column.name!r}")
            yield Located(where, example)

    save(source, out, columns.schema, examples, output, missing)


def _series(dimensions: list[str], count: int, where: str, missing: Missing) -> np.ndarray:
    """Parse the dimensions of a case to float64[T, D]."""
    if len(dimensions) != count:
        raise ValueError(f"{where}: has {len(dimensions)} dimensions, expected {count}")
    series: list[list[float]] = []
    for k, dimension in enumerate(dimensions, start=1):
        try:
            values = [math.nan if v.strip() == "?" else number(v) for v in dimension.split(",")]
        except ValueError as error:
            raise ValueError(f"{where}, dimension {k}: {error}") from None
        if missing == "error" and any(map(math.isnan, values)):
            step = next(step for step, value in enumerate(values) if math.isnan(value))
            raise ValueError(missing_value(f"{where}, dimension {k}: step {step}", "x"))
        if series and len(values) != len(series[0]):
            raise ValueError(
                f"{where}: dimension {k} has {len(values)} steps, but dimension 1 has "
                f"{len(series[0])}"
            )
        series.append(values)
    return np.array(series).T


def _cases(source: Path, header: _Header, *, show: bool = True) -> Iterator[tuple[str, list[str]]]:
    """Yield the place and the parts of each line after the header."""
    in_data = False
    for where, text in _content(source, show=show):
        if in_data:
            parts = [part.strip() for part in text.split(":")]
            if len(parts) < (2 if header.label else 1):
                raise ValueError(f"{where}: expected numbers, ':' and a class or target")
            yield where, parts
        in_data = in_data or text.lower() == "@data"


def _content(source: Path, *, show: bool) -> Iterator[tuple[str, str]]:
    """Yield the lines that are neither empty nor comments."""
    for line, content in lines(source, show=show):
        text = decode(source, line, content).strip()
        if text and text[0] not in "#%":
            yield f"{source}, line {line}", text


def _read_header(source: Path) -> _Header:
    header = _Header({}, {})
    for where, text in _content(source, show=False):
        key, *values = text.split()
        key = key.lower().removeprefix("@")
        if not text.startswith("@"):
            raise ValueError(f"{where}: expected a line of the header, such as @data")
        if key == "data":
            if values:
                raise ValueError(f"{where}: @data must be alone in its line")
            break
        if key in _FLAGS:
            header.flags[key] = _flag(values, where, key)
        elif key in _SIZES:
            header.sizes[_SIZES[key]] = _size(values, where, key)
        elif key == "classlabel":
            header.has_classes = _flag(values[:1], where, key)
            check_once(f"{where}: the class", values[1:])
            header.classes = in_order(values[1:])
            if header.has_classes != bool(header.classes):
                raise ValueError(
                    f"{where}: must be '@classLabel true' and the names of the classes, or "
                    "'@classLabel false'"
                )
    else:
        raise ValueError(f"{source}: is no .ts file, it has no line @data")
    if header.flags.get("timestamps"):
        raise ValueError(
            f"{source}: time stamps are not supported; convert it to equal steps, and set "
            "@timeStamps to false"
        )
    if header.has_classes is None and "targetlabel" not in header.flags:
        raise ValueError(
            f"{source}: the header must say @classLabel or @targetLabel; add '@classLabel false' "
            "if the cases have no class"
        )
    if header.has_classes and header.flags.get("targetlabel"):
        raise ValueError(f"{source}: the header has classes and @targetLabel; keep one")
    return header


def _flag(values: list[str], where: str, key: str) -> bool:
    value = values[0].lower() if len(values) == 1 else None
    if value not in ("true", "false"):
        raise ValueError(f"{where}: @{key} must be true or false, got {' '.join(values)!r:.80}")
    return value == "true"


def _size(values: list[str], where: str, key: str) -> int:
    text = values[0] if len(values) == 1 else ""
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:18]) <= 10**9:
        raise ValueError(f"{where}: @{key} must be a positive number, got {' '.join(values)!r:.80}")
    return int(text)
