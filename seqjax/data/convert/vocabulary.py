"""Vocabularies of characters, and the names of classes."""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from seqjax.data.convert.columns import Columns, class_name, encoded, number
from seqjax.data.schema import Schema
from seqjax.data.writing import read_manifest


@contextlib.contextmanager
def saved_vocabulary(path: Path, texts: Callable[[], Iterable[str]]) -> Iterator[Mapping[str, int]]:
    """Yield the number of each character.

    Args:
      path: JSON list of the characters. If it does not exist, it is created at the end of the
        block, unless an error is raised.
      texts: a function that returns the texts whose characters a new vocabulary holds.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "vocabulary.json"
    >>> with saved_vocabulary(path, lambda: ["ba", "c"]) as numbers:
    ...     numbers
    {'a': 0, 'b': 1, 'c': 2}
    >>> path.read_text()
    '["a", "b", "c"]'
    """
    if path.exists():
        yield _numbered(_load_json(path))
        return
    characters = sorted(set().union(*texts()))
    # renamed only after the data set is written
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(characters), encoding="utf-8")
        yield _numbered(characters)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def classes_like(directory: Path, columns: Columns) -> dict[str, tuple[str, ...]]:
    """Return the classes that another data set has for the columns of classes."""
    schema = Schema.from_json(read_manifest(directory)["schema"])
    known = {**schema.context, **schema.sequence}
    found = {}
    for column in columns.all:
        feature = known.get(column.name, column.feature)
        if (feature.dtype, feature.shape) != (column.feature.dtype, column.feature.shape):
            raise ValueError(
                f"{column.name!r} is {column.feature}, but --like {directory} has {feature}; "
                "convert both in the same way"
            )
        if column.form == "class":
            if not feature.classes:
                raise ValueError(
                    f"--like {directory} has no classes of {column.name!r}, only of "
                    f"{[name for name, feature in known.items() if feature.classes]}"
                )
            found[column.name] = feature.classes
    return found


def survey_classes(
    columns: Columns, located: Iterable[tuple[str, Mapping[str, Any]]]
) -> dict[str, tuple[str, ...]]:
    """Return the classes that occur in rows, in order.

    >>> from seqjax.data.convert.columns import parse_columns
    >>> rows = [("line 2", {"label": "ham"}), ("line 3", {"label": "egg"})]
    >>> survey_classes(parse_columns(["y=label:class"], []), rows)
    {'y': ('egg', 'ham')}
    """
    found: dict[str, set[str]] = {c.name: set() for c in columns.all if c.form == "class"}
    for where, row in located:
        for column in columns.all:
            if column.form == "class":
                for source in column.sources:
                    found[column.name].update(_names(row[source], f"{where}: {source!r}"))
    return {name: in_order(names) for name, names in found.items()}


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sort the names of classes, by number if all are numbers.

    >>> in_order({"10", "9"}), in_order({"10", "9", "x"})
    (('9', '10'), ('10', '9', 'x'))
    """
    names = sorted(names)
    try:
        return tuple(sorted(names, key=number))
    except ValueError:
        return tuple(names)


def texts_of(columns: Columns, located: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[str]:
    """Yield the texts that become characters."""
    for where, row in located:
        for column in columns.all:
            if column.form == "characters":
                text = row[column.sources[0]]
                if not isinstance(text, str):
                    raise ValueError(
                        f"{where}: {column.sources[0]!r} must be a text, got {text!r:.80}"
                    )
                encoded(text, f"{where}: {column.sources[0]!r}")
                yield text


def _names(cell: Any, where: str) -> Iterator[str]:
    pending = [cell]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item
        else:
            yield class_name(item, where)


def _numbered(characters: list[str]) -> dict[str, int]:
    return {character: k for k, character in enumerate(characters)}


def _load_json(path: Path) -> list[str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(content, list) or not all(isinstance(item, str) for item in content):
        raise ValueError(f"{path}: must be a JSON list of characters")
    return content
