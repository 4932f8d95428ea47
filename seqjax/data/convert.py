"""Make data sets of records, and look into them::

    python -m seqjax.data.convert text lines.txt data/lines
    python -m seqjax.data.convert csv trips.csv data/trips --group trip --sequence speed:float32
    python -m seqjax.data.convert jsonl songs.jsonl data/songs --sequence notes:int32[4]
    python -m seqjax.data.convert npz arrays.npz data/arrays --sequence xs --lengths lengths
    python -m seqjax.data.convert tfds imdb_reviews data/imdb --context label --sequence text
    python -m seqjax.data.convert inspect data/lines

A column is written ``NAME:DTYPE`` or ``NAME:DTYPE[SHAPE]`` with the dtypes of `Feature`.
"""

import csv as csv_format
import itertools
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqjax.data.records import RecordSource, infer_schema, tensorflow_without_gpus
from seqjax.data.schema import BYTES, Feature, Schema
from seqjax.data.tfrecord import Compression
from seqjax.data.writing import write
from seqjax.terminal import replace_what_cannot_be_shown

_COLUMN = re.compile(r"(?P<name>.+):(?P<dtype>\w+)(\[(?P<shape>\d+(,\d+)*)\])?")
# what NumPy has beside the dtypes of a feature, and what holds it
_WIDENED = {"int8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64"}
_ROUNDED = {"float16": "float32", "float64": "float32"}
_BAR = 40


def text(
    source: Path,
    out: Path,
    /,
    tokens: Literal["bytes", "characters"] = "bytes",
    vocabulary: Path | None = None,
    shards: int = 1,
    compression: Compression | None = None,
) -> None:
    """Make each line of a UTF-8 text a sequence of tokens.

    Args:
      source: the text; the ends of lines are left out.
      out: directory of the data set.
      tokens: what a token is; bytes are uint8, characters int32.
      vocabulary: JSON list of the characters, in the order of their numbers; is made where it is
        not there.
      shards: number of files.
      compression: of the files.
    """
    if (tokens == "characters") != (vocabulary is not None):
        raise ValueError(
            "--tokens characters and --vocabulary FILE go together, got --tokens "
            f"{tokens} {'with' if vocabulary else 'without'} a vocabulary"
        )
    if vocabulary is None:
        schema = Schema(sequence={"tokens": Feature(np.uint8)})
        lines = ({"tokens": np.frombuffer(line, np.uint8)} for _, line in _lines(source))
        return _write(out, schema, lines, shards, compression)
    if not vocabulary.exists():
        characters = sorted(set().union(*(_decode(source, *line) for line in _lines(source))))
        temporary = vocabulary.with_name(f".{vocabulary.name}.{os.getpid()}")
        temporary.write_text(json.dumps(characters), encoding="utf-8")
        os.replace(temporary, vocabulary)
    numbers = {character: k for k, character in enumerate(_load_json(vocabulary))}

    def number(line: int, content: bytes) -> dict[str, Any]:
        try:
            return {"tokens": [numbers[c] for c in _decode(source, line, content)]}
        except KeyError as error:
            raise ValueError(f"{source}, line {line}: {error} is not in {vocabulary}") from None

    schema = Schema(sequence={"tokens": Feature(np.int32)})
    return _write(out, schema, itertools.starmap(number, _lines(source)), shards, compression)


def csv(
    source: Path,
    out: Path,
    /,
    group: str,
    sequence: tuple[str, ...],
    context: tuple[str, ...] = (),
    shards: int = 1,
    compression: Compression | None = None,
) -> None:
    """Make each group of rows of a CSV file with a header a sequence.

    Args:
      source: the file, sorted by group.
      out: directory of the data set.
      group: the column whose value is the same in all rows of a sequence.
      sequence: columns with a value for each step, NAME:DTYPE.
      context: columns with one value for each sequence, NAME:DTYPE.
      shards: number of files.
      compression: of the files.
    """
    schema = _schema(context, sequence)

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        with _progress(source, "rt", encoding="utf-8", newline="") as file:
            reader = csv_format.DictReader(file, strict=True)
            missing = {group, *schema.context, *schema.sequence} - {*(reader.fieldnames or ())}
            if missing:
                raise ValueError(
                    f"{source}: there is no column {sorted(missing)}, only {reader.fieldnames}"
                )
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(f"{source}, line {reader.line_num}: not one value a column")
                yield reader.line_num, row

    try:
        _write(out, schema, _grouped(source, schema, group, rows()), shards, compression)
    except (csv_format.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{source}: {error}") from None


def jsonl(
    source: Path,
    out: Path,
    /,
    sequence: tuple[str, ...],
    context: tuple[str, ...] = (),
    group: str | None = None,
    shards: int = 1,
    compression: Compression | None = None,
) -> None:
    """Make each line of JSON, an object with a list for each sequence column, a sequence.

    Args:
      source: the file.
      out: directory of the data set.
      sequence: members with a value for each step, NAME:DTYPE.
      context: members with one value for each sequence, NAME:DTYPE.
      group: the member whose value is the same in all lines of a sequence; each line is then one
        step, and the file sorted by group.
      shards: number of files.
      compression: of the files.
    """
    schema = _schema(context, sequence)
    names = [*schema.context, *schema.sequence, *([group] if group else [])]

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        for line, content in _lines(source):
            try:
                row = json.loads(content)
            except ValueError as error:
                raise ValueError(f"{source}, line {line}: {error}") from None
            if not isinstance(row, dict) or not row.keys() >= {*names}:
                raise ValueError(f"{source}, line {line}: expected an object with {names}")
            yield line, row

    if group:
        examples = _grouped(source, schema, group, rows())
    else:
        examples = (
            {
                name: _parsed(feature, row[name], f"{source}, line {line}: {name!r}")
                for name, feature in (*schema.context.items(), *schema.sequence.items())
            }
            for line, row in rows()
        )
    _write(out, schema, examples, shards, compression)


def npz(
    source: Path,
    out: Path,
    /,
    sequence: tuple[str, ...],
    context: tuple[str, ...] = (),
    lengths: str | None = None,
    shards: int = 1,
    compression: Compression | None = None,
) -> None:
    """Make each row of the arrays of an .npz file a sequence.

    Args:
      source: the file.
      out: directory of the data set.
      sequence: names of arrays [N, T, ...].
      context: names of arrays [N, ...].
      lengths: name of an array int[N], the steps of each sequence; all T without.
      shards: number of files.
      compression: of the files.
    """
    names = [*context, *sequence, *([lengths] if lengths else [])]
    try:
        with np.load(source) as file:
            arrays = {name: file[name] for name in names}
    except KeyError as error:
        raise ValueError(f"{source}: {error.args[0]}") from None
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{source}: cannot be read as .npz: {error}") from None
    for name in sequence:
        if arrays[name].ndim < 2:
            raise ValueError(f"{source}: {name!r} must be [N, T, ...], got {arrays[name].shape}")
    if len({len(array) for array in arrays.values()}) > 1 or not names:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(f"{source}: the arrays must have N rows each, got {shapes}")
    schema = Schema(
        {name: _feature_of(name, arrays[name].dtype, arrays[name].shape[1:]) for name in context},
        {name: _feature_of(name, arrays[name].dtype, arrays[name].shape[2:]) for name in sequence},
    )
    steps = min(arrays[name].shape[1] for name in sequence) if sequence else 0
    ends = arrays[lengths] if lengths else np.full(len(arrays[names[0]]), steps)
    if ends.ndim != 1 or ends.dtype.kind not in "iu" or (ends < 0).any() or (ends > steps).any():
        raise ValueError(f"{source}: {lengths!r} must be integers [N] in [0, {steps}], got {ends}")
    examples = (
        {name: arrays[name][k] for name in context}
        | {name: arrays[name][k, :end] for name in sequence}
        for k, end in enumerate(_tracked(ends.tolist(), source.name))
    )
    _write(out, schema, examples, shards, compression)


def tfds(
    name: str,
    out: Path,
    /,
    split: str = "train",
    sequence: tuple[str, ...] = (),
    context: tuple[str, ...] = (),
    data_dir: Path | None = None,
    shards: int = 1,
    compression: Compression | None = None,
) -> None:
    """Make sequences of a data set of tensorflow-datasets, which is downloaded where it has to be.

    Args:
      name: such as imdb_reviews, with config and version where wanted.
      out: directory of the data set.
      split: such as train or test[:10%].
      sequence: features [T, ...]; of a text its bytes. A part of a feature is FEATURE/PART.
      context: features of fixed shape.
      data_dir: where tensorflow-datasets keeps its files.
      shards: number of files.
      compression: of the files.
    """
    import tensorflow_datasets

    tensorflow_without_gpus()
    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir)
        builder.download_and_prepare()
        dataset = tensorflow_datasets.as_numpy(builder.as_dataset(split=split))
    except (tensorflow_datasets.core.DatasetNotFoundError, AssertionError, ValueError) as error:
        raise ValueError(f"tensorflow-datasets: {error}") from None
    info = dict(_flat(builder.info.features.get_tensor_info()))
    missing = {*sequence, *context} - info.keys()
    if missing or not (sequence or context):
        found = {
            key: f"{np.dtype(value.np_dtype)}{list(value.shape)}" for key, value in info.items()
        }
        raise ValueError(f"{name}: name features as --sequence and --context, of {found}")

    def feature(key: str, skip: int) -> Feature:
        shape = info[key].shape[skip:]
        if None in shape or len(info[key].shape) < skip:
            raise ValueError(f"{name}: {key!r} has the shape {info[key].shape}, which does not do")
        return _feature_of(key, np.dtype(info[key].np_dtype), shape)

    texts = {key for key in sequence if info[key].np_dtype == BYTES and not info[key].shape}
    schema = Schema(
        {key: feature(key, 0) for key in context},
        {key: Feature(np.uint8) if key in texts else feature(key, 1) for key in sequence},
    )
    examples = (
        {
            key: np.frombuffer(flat[key], np.uint8)
            if key in texts
            else np.asarray(flat[key], schema_feature.dtype)
            for key, schema_feature in (*schema.context.items(), *schema.sequence.items())
        }
        for flat in (dict(_flat(example)) for example in _tracked(dataset, name))
    )
    _write(out, schema, examples, shards, compression)


def inspect(path: Path, /, first: int = 3) -> None:
    """Show the schema, the counts, how long the sequences are and the first examples.

    Args:
      path: directory of a data set, a file, or a pattern for several.
      first: how many examples to show.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console()
    with Console(stderr=True).status(f"reading {path}"):
        schema = None if path.is_dir() else infer_schema(path)
        source = RecordSource(path, schema, skip_corrupt=True)
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
        console.print(_histogram(lengths), markup=False, highlight=False)
    with np.printoptions(threshold=8, edgeitems=3, precision=4):
        for k, example in enumerate(source.read(np.arange(min(first, len(lengths))))):
            console.print(f"\nexample {k}, {lengths[k]} steps")
            for name, value in example.items():
                console.print(f"  {name}: {' '.join(str(value).split())}", markup=False)
    if source.skipped:
        raise ValueError(f"{path}: {len(source.skipped)} damages, see above")


def _histogram(lengths: np.ndarray) -> str:
    """Count lengths in at most ten ranges, a line each.

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


def _write(
    out: Path,
    schema: Schema,
    examples: Iterable[Mapping[str, Any]],
    shards: int,
    compression: Compression | None,
) -> None:
    count = write(out, schema, examples, shards=shards, compression=compression)
    print(f"{out}: {count:,} examples")


def _schema(context: tuple[str, ...], sequence: tuple[str, ...]) -> Schema:
    """Parse columns.

    >>> print(*_schema((), ("x:float32[2,3]",)).sequence.values())
    float32[2, 3]
    """
    features: list[dict[str, Feature]] = []
    for columns in (context, sequence):
        features.append({})
        for column in columns:
            match = _COLUMN.fullmatch(column)
            if match is None:
                raise ValueError(f"a column is NAME:DTYPE or NAME:DTYPE[SHAPE], got {column!r}")
            shape = tuple(map(int, match["shape"].split(","))) if match["shape"] else ()
            features[-1][match["name"]] = Feature(match["dtype"], shape)
    return Schema(*features)


def _feature_of(name: str, dtype: np.dtype, shape: tuple[int, ...]) -> Feature:
    known = _WIDENED | _ROUNDED
    try:
        return Feature(known.get(dtype.name, dtype), shape)
    except ValueError as error:
        raise ValueError(f"{name!r}: {error}") from None


def _grouped(
    source: Path, schema: Schema, group: str, rows: Iterator[tuple[int, dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """Put rows in a sequence together."""
    seen = set()
    for value, numbered in itertools.groupby(rows, lambda item: item[1][group]):
        key = json.dumps(value)
        example: dict[str, Any] = {name: [] for name in schema.sequence}
        for line, row in numbered:
            where = f"{source}, line {line}: "
            if key in seen:
                raise ValueError(f"{where}{group} {value!r} comes again; sort the file by {group}")
            for name, feature in schema.sequence.items():
                example[name].append(_parsed(feature, row[name], f"{where}{name!r}"))
            for name, feature in schema.context.items():
                found = _parsed(feature, row[name], f"{where}{name!r}")
                if example.setdefault(name, found) != found:
                    raise ValueError(
                        f"{where}{name!r} is {found!r} and was {example[name]!r} before; a context "
                        f"column has one value for each {group}"
                    )
        seen.add(key)
        yield example


def _parsed(feature: Feature, value: Any, where: str) -> Any:
    """Convert texts to what the feature holds; lists item by item."""
    if isinstance(value, list):
        return [_parsed(feature, item, where) for item in value]
    if feature.dtype == BYTES and isinstance(value, str):
        return value.encode()
    if not isinstance(value, str):
        return value
    try:
        return float(value) if feature.dtype.kind == "f" else int(value)
    except ValueError:
        raise ValueError(f"{where} is {value!r}, which is no {feature}") from None


def _flat(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Name the leaves of nested dictionaries."""
    if not isinstance(tree, dict):
        yield path, tree
        return
    for name, value in tree.items():
        yield from _flat(value, f"{path}/{name}" if path else name)


def _load_json(path: Path) -> list[str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(content, list) or not all(isinstance(item, str) for item in content):
        raise ValueError(f"{path}: must be a JSON list of characters")
    return content


def _lines(source: Path) -> Iterator[tuple[int, bytes]]:
    with _progress(source, "rb") as file:
        for line, content in enumerate(file, start=1):
            yield line, content.rstrip(b"\r\n")


def _decode(source: Path, line: int, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}, line {line}: {error}") from None


def _progress(source: Path, mode: Any, **options: Any) -> Any:
    """Open a file, and show how much of it has been read."""
    from rich import progress
    from rich.console import Console

    return progress.open(
        source, mode, description=source.name, console=Console(stderr=True), **options
    )


def _tracked(items: Iterable[Any], name: str) -> Iterable[Any]:
    from rich import progress
    from rich.console import Console

    return progress.track(items, name, console=Console(stderr=True))


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    import tyro

    replace_what_cannot_be_shown()
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # TensorFlow speaks of it at every start
    commands = {f.__name__: f for f in (text, csv, jsonl, npz, tfds, inspect)}
    try:
        tyro.extras.subcommand_cli_from_dict(
            commands, prog="python -m seqjax.data.convert", args=arguments
        )
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
