"""The command ``csv``: each group of rows is a sequence, or each row an example with a text."""

import csv as csv_format
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqjax.data.convert.columns import Missing, check_once, parse_columns
from seqjax.data.convert.files import opened
from seqjax.data.convert.output import Output
from seqjax.data.convert.rows import save_rows

_TABS = ("tab", "\\t")


def csv(
    source: Path,
    out: Path,
    /,
    sequence: tuple[str, ...] = (),
    context: tuple[str, ...] = (),
    group: str | None = None,
    delimiter: str = ",",
    split_by: str | None = None,
    vocabulary: Path | None = None,
    like: Path | None = None,
    missing: Missing = "error",
    output: Output = Output(),  # noqa: B008
) -> None:
    """Convert each group of rows of a CSV file with a header to a sequence.

    Args:
      source: the file, sorted by group.
      out: directory of the data set.
      sequence: columns with a value for each step: NAME:DTYPE, NAME:DTYPE[SHAPE], or
        NAME=COLUMN,COLUMN:DTYPE, which joins columns to one feature, such as x=ax,ay,az:float32.
        Dtypes are bool, uint8, int32, int64, float32, bytes, class, utf8 and characters; class
        numbers the names in a column and stores them, and utf8 and characters split a text into
        tokens.
      context: columns with one value for each sequence, in the same form.
      group: the column whose value is the same in all rows of a sequence. Without it each row is an
        example, whose sequences are texts.
      delimiter: the character between columns; tab for a tab.
      split_by: the column whose value is the same in all examples of a group, such as a person,
        that a split keeps together.
      vocabulary: JSON list of the characters, in the order of their numbers; created if it does not
        exist.
      like: directory of a data set whose classes are used, so that ids are the same.
      missing: error, or fill: missing values of a float32 feature NAME, which are empty or nan,
        become 0 and are marked in a feature NAME_missing.
      output: the files and the split.
    """
    columns = parse_columns(context, sequence)
    between = "\t" if delimiter in _TABS else delimiter
    if len(between) != 1 or between in '"\r\n':
        raise ValueError(f"--delimiter must be one character, or tab, got {delimiter!r}")
    if not group:
        steps = [c.name for c in columns.sequence if c.form not in ("utf8", "characters")]
        if steps:
            raise ValueError(
                f"the sequences {steps} need --group COLUMN, whose value is the same in all rows "
                "of a sequence; without it each row is an example, whose sequences are utf8 or "
                "characters"
            )

    def rows(names: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        with opened(source, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv_format.DictReader(file, strict=True, delimiter=between)
            header = reader.fieldnames or ()
            check_once(f"{source}: the column", header)
            absent = sorted({*names} - {*header})
            if absent:
                hint = ""
                if len(header) == 1 and any(character in header[0] for character in ";\t,|"):
                    hint = "; give the character between columns with --delimiter"
                raise ValueError(
                    f"{source}: missing columns {absent}, got {reader.fieldnames}{hint}"
                )
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(
                        f"{source}, line {reader.line_num}: expected one value for each column"
                    )
                yield reader.line_num, row

    try:
        save_rows(
            source,
            out,
            rows,
            columns,
            group=group,
            split_by=split_by,
            vocabulary=vocabulary,
            like=like,
            missing=missing,
            output=output,
        )
    except csv_format.Error as error:
        raise ValueError(f"{source}: {error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: {error}; convert the file to UTF-8") from None
