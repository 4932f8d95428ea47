"""The columns of a file, and the features of a data set that they become."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from seqjax.data.schema import BYTES, DTYPES, Feature, Schema

_COLUMN = re.compile(
    r"((?P<name>[^=]+)=)?(?P<sources>.+):(?P<form>\w+)(\[(?P<shape>(\d+|\*)(,(\d+|\*))*)\])?"
)
_ABSENT = "is missing; only float32 columns may have missing values, with --missing fill"
TOO_DEEP = "lists are nested too deeply"
FORMS = (*DTYPES, "class", "utf8", "characters")
Missing = Literal["error", "fill"]


class Column(NamedTuple):
    """A feature, and the columns of the file that hold its values.

    Attributes:
      name: the name of the feature.
      sources: the columns of the file; several are joined into one feature of shape ``[D]``.
      form: one of ``FORMS``.
      feature: the feature; its classes are empty until they are known.
    """

    name: str
    sources: tuple[str, ...]
    form: str
    feature: Feature


class Columns(NamedTuple):
    """All columns of a file that are converted.

    Attributes:
      context: columns with one value for each example.
      sequence: columns with a value for each step.
    """

    context: tuple[Column, ...]
    sequence: tuple[Column, ...]

    @property
    def all(self) -> tuple[Column, ...]:
        """The columns of both kinds."""
        return self.context + self.sequence

    @property
    def schema(self) -> Schema:
        """The features of the data set."""
        return Schema(
            {column.name: column.feature for column in self.context},
            {column.name: column.feature for column in self.sequence},
        )

    def with_classes(self, classes: Mapping[str, tuple[str, ...]]) -> "Columns":
        """Name the classes of features.

        >>> columns = parse_columns(("label:class",), ())
        >>> print(columns.with_classes({"label": ("ham", "spam")}).schema.context["label"])
        int32 of 2 classes
        """
        return Columns(
            *(
                tuple(
                    column._replace(feature=Feature(np.int32, column.feature.shape, found))
                    if (found := classes.get(column.name, ()))
                    else column
                    for column in kind
                )
                for kind in self
            )
        )


def parse_columns(context: Sequence[str], sequence: Sequence[str]) -> Columns:
    """Parse the columns of a command.

    >>> columns = parse_columns(("label:class",), ("x=ax,ay:float32", "y:int32[*]", "text:utf8"))
    >>> columns.sequence[0].sources
    ('ax', 'ay')
    >>> print(*columns.schema.sequence.values())
    float32[2] int32[*] uint8
    """
    if not context and not sequence:
        raise ValueError("select columns with --sequence and --context")
    kinds = [tuple(map(_parse_column, given)) for given in (context, sequence)]
    for kind in kinds:
        check_once("the column", [column.name for column in kind])
    for column in kinds[0]:
        if column.form in ("utf8", "characters"):
            raise ValueError(
                f"{column.name}:{column.form} is a sequence of tokens; give it to --sequence, or "
                f"use {column.name}:bytes"
            )
    return Columns(*kinds)


def _parse_column(text: str) -> Column:
    match = _COLUMN.fullmatch(text)
    if match is None or match["form"] not in FORMS:
        raise ValueError(
            "a column must be NAME:DTYPE, NAME:DTYPE[SHAPE] or NAME=COLUMN,COLUMN:DTYPE, got "
            f"{text!r}; DTYPE is one of {', '.join(FORMS)}"
        )
    form, sizes = match["form"], match["shape"].split(",") if match["shape"] else []
    if "*" in sizes[1:]:
        raise ValueError(f"only the first size of shape may be *, got {text!r}")
    shape = tuple(None if size == "*" else int(size) for size in sizes)
    sources = tuple(match["sources"].split(",")) if match["name"] else (match["sources"],)
    if len(sources) > 1:
        check_once("the column", sources)
        if shape or form in ("utf8", "characters"):
            raise ValueError(f"joined columns must hold single numbers or classes, got {text!r}")
        shape = (len(sources),)
    if shape and form in ("utf8", "characters"):
        raise ValueError(f"a text has no shape, got {text!r}")
    dtype = {"class": "int32", "utf8": "uint8", "characters": "int32"}.get(form, form)
    return Column(match["name"] or sources[0], sources, form, Feature(dtype, shape))


class Cells:
    """Converts the cells of a file to values of features.

    Args:
      columns: the columns, whose classes are known.
      numbers: the number of each character of a vocabulary.
      missing: whether missing numbers are an error, or NaN.
      of_classes: where the classes come from, for error messages.
      of_numbers: where the vocabulary comes from, for error messages.
    """

    def __init__(
        self,
        columns: Columns,
        numbers: Mapping[str, int],
        missing: Missing,
        of_classes: str,
        of_numbers: str,
    ) -> None:
        self._ids = {
            column.name: {name: k for k, name in enumerate(column.feature.classes)}
            for column in columns.all
        }
        self._converters = {column.name: self._converter(column) for column in columns.all}
        self._numbers, self._missing = numbers, missing
        self._of_classes, self._of_numbers = of_classes, of_numbers

    def joined(self, column: Column, row: Mapping[str, Any], where: str) -> Any:
        """Return the value of a row; ``[D]`` if D columns are joined."""
        if len(column.sources) == 1:
            (name,) = column.sources
            return self.value(column, row[name], f"{where}: {name!r}")
        return [self.value(column, row[name], f"{where}: {name!r}") for name in column.sources]

    def steps(self, column: Column, row: Mapping[str, Any], where: str) -> Any:
        """Return the values of all steps, which are in one row."""
        if column.form not in ("utf8", "characters"):
            for name in column.sources:
                if not isinstance(row[name], list):
                    raise ValueError(
                        f"{where}: {name!r}: must be {column.feature} for each step, a list, got "
                        f"{row[name]!r:.80}"
                    )
        values = [self.value(column, row[name], f"{where}: {name!r}") for name in column.sources]
        if len(values) == 1:
            return values[0]
        lengths = {name: len(v) for name, v in zip(column.sources, values, strict=True)}
        if len({*lengths.values()}) > 1:
            raise ValueError(
                f"{where}: the columns of {column.name!r} differ in their number of steps: "
                f"{lengths}"
            )
        return [list(step) for step in zip(*values, strict=True)]

    def value(self, column: Column, cell: Any, where: str) -> Any:
        """Convert a cell; a list item by item."""
        convert = self._converters[column.name]
        if not isinstance(cell, list):
            return convert(column, cell, where)
        try:
            return [
                self.value(column, item, where)
                if isinstance(item, list)
                else convert(column, item, where)
                for item in cell
            ]
        except RecursionError:
            raise ValueError(f"{where}: {TOO_DEEP}") from None

    def _converter(self, column: Column) -> Callable[[Column, Any, str], Any]:
        if column.form == "class":
            return self._id
        if column.form in ("utf8", "characters"):
            return self._tokens
        if column.feature.dtype == BYTES:
            return self._bytes
        return self._real if column.feature.dtype.kind == "f" else self._integer

    def _bytes(self, column: Column, cell: Any, where: str) -> Any:
        if cell is None:
            raise ValueError(f"{where} {_ABSENT}")
        return encoded(cell, where) if isinstance(cell, str) else cell

    def _integer(self, column: Column, cell: Any, where: str) -> Any:
        if cell is None or cell == "":
            raise ValueError(f"{where} {_ABSENT}")
        if not isinstance(cell, str):
            return cell
        try:
            if "_" in cell:  # Python accepts it as a separator
                raise ValueError
            return int(cell)
        except ValueError:
            raise ValueError(f"{where} must be {column.feature}, got {cell!r}") from None

    def _real(self, column: Column, cell: Any, where: str) -> Any:
        found = cell
        if isinstance(cell, str) and cell:
            try:
                found = number(cell)
            except ValueError:
                raise ValueError(f"{where} must be {column.feature}, got {cell!r}") from None
        if found is not None and found != "" and found == found:
            return found
        if self._missing == "error":
            raise ValueError(missing_value(where, column.name))
        return math.nan  # always the same object, which equals itself in lists

    def _id(self, column: Column, cell: Any, where: str) -> int:
        name = class_name(cell, where)
        ids = self._ids[column.name]
        if name not in ids:
            raise ValueError(
                f"{where}: {name!r} is not a class of {self._of_classes}, which has "
                f"{shortened(tuple(ids))}"
            )
        return ids[name]

    def _tokens(self, column: Column, cell: Any, where: str) -> np.ndarray:
        if not isinstance(cell, str):
            raise ValueError(f"{where} must be a text, got {cell!r:.80}")
        if column.form == "utf8":
            return np.frombuffer(encoded(cell, where), np.uint8)
        try:
            return np.array([self._numbers[character] for character in cell], np.int32)
        except KeyError as error:
            raise ValueError(f"{where}: {error} is not in {self._of_numbers}") from None


def missing_value(where: str, feature: str) -> str:
    """Return the error message of a missing value.

    >>> missing_value("line 3: 'x'", "x")
    "line 3: 'x' is missing; give --missing fill to write 0 and mark it in the feature x_missing"
    """
    return (
        f"{where} is missing; give --missing fill to write 0 and mark it in the feature "
        f"{feature}_missing"
    )


def class_name(cell: Any, where: str) -> str:
    """Return the name of the class in a cell.

    >>> class_name(3, "line 1: 'label'")
    '3'
    """
    if isinstance(cell, bool):
        return str(cell).lower()
    if cell is None or cell == "":
        raise ValueError(f"{where} is missing; each example and step needs a class")
    if not isinstance(cell, str | int | float):
        raise ValueError(f"{where} must be the name of a class, got {cell!r:.80}")
    if isinstance(cell, str):
        encoded(cell, where)
    return str(cell)


def shortened(names: tuple[str, ...], count: int = 10) -> str:
    """List names, of which only the first ones are shown.

    >>> shortened(("a", "b", "c"), 2)
    "'a', 'b' and 1 more"
    """
    more = f" and {len(names) - count:,} more" if len(names) > count else ""
    return ", ".join(map(repr, names[:count])) + more


def encoded(text: str, where: str) -> bytes:
    """Return the UTF-8 bytes of a text."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: {error}; it is no valid text") from None


def number(text: str) -> float:
    """Return the number that a text represents, if a float can hold it.

    >>> number("1e3"), number("-inf")
    (1000.0, -inf)
    >>> number("1e400")
    Traceback (most recent call last):
    ...
    ValueError: 1e400 is more than a float can hold
    """
    if "_" in text:  # Python accepts it as a separator
        raise ValueError(f"{text!r} is no number")
    found = float(text)
    if found in (math.inf, -math.inf) and "inf" not in text.lower():
        raise ValueError(f"{text} is more than a float can hold")
    return found


def check_once(what: str, names: Sequence[str]) -> None:
    """Raise ``ValueError`` unless all names differ; a dict would keep only the last."""
    if len({*names}) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise ValueError(f"{what} {twice!r} occurs more than once; keep one")
