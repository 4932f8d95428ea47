"""Examples of the rows of a table: one example in each row, or one step in each row."""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from seqjax.data.convert.columns import Cells, Columns, Missing
from seqjax.data.convert.files import check_twice
from seqjax.data.convert.output import Located, Output, save
from seqjax.data.convert.vocabulary import (
    classes_like,
    saved_vocabulary,
    survey_classes,
    texts_of,
)


def save_rows(
    source: Path,
    out: Path,
    rows: Callable[[list[str]], Iterable[tuple[int, dict[str, Any]]]],
    columns: Columns,
    *,
    group: str | None,
    split_by: str | None,
    vocabulary: Path | None,
    like: Path | None,
    missing: Missing,
    output: Output,
) -> None:
    """Write the examples of the rows of a file.

    Args:
      source: the file.
      out: directory of the data set.
      rows: a function from the names of columns to the rows that have them, each with its line.
      columns: the columns.
      group: the column whose value is the same in all rows of an example.
      split_by: the column whose value is the same in all examples that stay together.
      vocabulary: the file of the characters.
      like: a data set whose classes are used.
      missing: see `seqjax.data.convert.missing`.
      output: see `save`.
    """
    forms = {column.form for column in columns.all}
    if ("characters" in forms) != (vocabulary is not None):
        raise ValueError(
            "a column NAME:characters and --vocabulary FILE must be given together, got "
            f"{'no column of characters' if vocabulary else 'no vocabulary'}"
        )
    if group and forms & {"utf8", "characters"}:
        raise ValueError(
            "a text is the sequence of a whole row; leave out --group, or use NAME:bytes"
        )
    if split_by and not output.split:
        raise ValueError("--split-by needs --split, such as --split train=0.8,test=0.2")
    sources = [name for column in columns.all for name in column.sources]
    names = list(dict.fromkeys([*sources, *filter(None, (group, split_by))]))

    def located() -> Iterator[tuple[str, dict[str, Any]]]:
        return ((f"{source}, line {line}", row) for line, row in rows(names))

    if like:
        columns = columns.with_classes(classes_like(like, columns))
    elif "class" in forms:
        check_twice(source, "a column of classes")
        columns = columns.with_classes(survey_classes(columns, located()))
    with contextlib.ExitStack() as stack:
        numbers: Mapping[str, int] = {}
        if vocabulary:
            if not vocabulary.exists():
                check_twice(source, "a new vocabulary")
            numbers = stack.enter_context(
                saved_vocabulary(vocabulary, lambda: texts_of(columns, located()))
            )
        cells = Cells(columns, numbers, missing, str(like or source), str(vocabulary))

        def examples() -> Iterator[Located]:
            if group:
                return grouped(source, columns, cells, group, split_by, rows(names))
            return (
                Located(where, _example(columns, cells, row, where), _unit(row, split_by, where))
                for where, row in located()
            )

        save(source, out, columns.schema, examples, output, missing)


def grouped(
    source: Path,
    columns: Columns,
    cells: Cells,
    group: str,
    split_by: str | None,
    rows: Iterable[tuple[int, dict[str, Any]]],
) -> Iterator[Located]:
    """Join the rows of each group into a sequence."""

    def value_of(item: tuple[int, dict[str, Any]]) -> Any:
        return _plain(item[1], group, f"{source}, line {item[0]}")

    seen = set()
    for value, numbered in itertools.groupby(rows, value_of):
        key = json.dumps(value)
        example: dict[str, Any] = {column.name: [] for column in columns.sequence}
        lines: list[int] = []
        unit: Any = None
        for line, row in numbered:
            where = f"{source}, line {line}"
            if key in seen:
                raise ValueError(
                    f"{where}: {group} {value!r} occurs again; sort the file by {group}"
                )
            for column in columns.sequence:
                example[column.name].append(cells.joined(column, row, where))
            once = {column.name: cells.joined(column, row, where) for column in columns.context}
            if split_by:
                now = _unit(row, split_by, where)
                unit = unit if lines else now
                _check_constant(where, split_by, now, unit, group)
            for name, found in once.items():
                _check_constant(where, name, found, example.setdefault(name, found), group)
            lines.append(line)
        seen.add(key)
        last = f" to {lines[-1]}" if len(lines) > 1 else ""
        yield Located(f"{source}, line {lines[0]}{last}", example, unit)


def _check_constant(where: str, name: str, found: Any, before: Any, group: str) -> None:
    # missing values are one object
    if found is not before and found != before:
        raise ValueError(
            f"{where}: {name!r} is {found!r} and was {before!r} before; a context column has one "
            f"value for each {group}"
        )


def _example(columns: Columns, cells: Cells, row: dict[str, Any], where: str) -> dict[str, Any]:
    context = {column.name: cells.joined(column, row, where) for column in columns.context}
    return context | {column.name: cells.steps(column, row, where) for column in columns.sequence}


def _unit(row: dict[str, Any], split_by: str | None, where: str) -> Any:
    if split_by is None:
        return None
    unit = _plain(row, split_by, where)
    if unit is None or unit == "":
        raise ValueError(f"{where}: {split_by!r} is missing; --split-by needs it in each row")
    return unit


def _plain(row: dict[str, Any], name: str, where: str) -> Any:
    if isinstance(row[name], list | dict):
        raise ValueError(f"{where}: {name!r} must be one value, got a list or an object")
    return row[name]
