"""The command ``jsonl``: each line is an example, or each group of lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqjax.data.convert.columns import TOO_DEEP, Missing, check_once, number, parse_columns
from seqjax.data.convert.files import lines
from seqjax.data.convert.output import Output
from seqjax.data.convert.rows import save_rows


def jsonl(
    source: Path,
    out: Path,
    /,
    sequence: tuple[str, ...] = (),
    context: tuple[str, ...] = (),
    group: str | None = None,
    split_by: str | None = None,
    vocabulary: Path | None = None,
    like: Path | None = None,
    missing: Missing = "error",
    output: Output = Output(),  # noqa: B008
) -> None:
    """Convert each line of JSON, an object with a list or text for each sequence, to an example.

    Args:
      source: the file.
      out: directory of the data set.
      sequence: members with a value for each step: NAME:DTYPE, NAME:DTYPE[SHAPE], or
        NAME=MEMBER,MEMBER:DTYPE, which joins members to one feature, such as x=ax,ay,az:float32.
        Dtypes are bool, uint8, int32, int64, float32, bytes, class, utf8 and characters; class
        numbers the names in a column and stores them, and utf8 and characters split a text into
        tokens. A shape is written as 2,3, where * as the first size stands for lists of any length,
        such as the characters of each word.
      context: members with one value for each sequence, in the same form.
      group: the member whose value is the same in all lines of a sequence; each line is then one
        step, and the file must be sorted by group.
      split_by: the member whose value is the same in all examples of a group, such as a person,
        that a split keeps together.
      vocabulary: JSON list of the characters, in the order of their numbers; created if it does not
        exist.
      like: directory of a data set whose classes are used, so that ids are the same.
      missing: error, or fill: missing values of a float32 feature NAME, which are null or NaN,
        become 0 and are marked in a feature NAME_missing.
      output: the files and the split.
    """

    def rows(names: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        for line, content in lines(source):
            try:
                row = json.loads(content, parse_float=number, object_pairs_hook=_object)
            except ValueError as error:
                raise ValueError(f"{source}, line {line}: {error}") from None
            except RecursionError:
                raise ValueError(f"{source}, line {line}: {TOO_DEEP}") from None
            if not isinstance(row, dict) or not row.keys() >= {*names}:
                has = f"an object with {sorted(row)}" if isinstance(row, dict) else repr(row)[:80]
                raise ValueError(
                    f"{source}, line {line}: expected an object with {names}, got {has}"
                )
            yield line, row

    save_rows(
        source,
        out,
        rows,
        parse_columns(context, sequence),
        group=group,
        split_by=split_by,
        vocabulary=vocabulary,
        like=like,
        missing=missing,
        output=output,
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    check_once("the member", [name for name, _ in pairs])
    return dict(pairs)
