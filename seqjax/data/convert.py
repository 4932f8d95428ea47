"""Convert files to data sets of records, and inspect them::

    python -m seqjax.data.convert text lines.txt data/lines
    python -m seqjax.data.convert csv trips.csv data/trips --group trip --sequence speed:float32
    python -m seqjax.data.convert jsonl songs.jsonl data/songs --sequence notes:int32[4]
    python -m seqjax.data.convert npz arrays.npz data/arrays --sequence xs --lengths lengths
    python -m seqjax.data.convert tfds imdb_reviews data/imdb --context label --sequence text
    python -m seqjax.data.convert inspect data/lines

A column is ``NAME:DTYPE`` or ``NAME:DTYPE[SHAPE]`` with the dtypes of `Feature`; ``*`` as the first
size of a shape stands for lists of any length. A byte order mark at the start of a text, as
spreadsheets write it, is removed.
"""

import codecs
import csv as csv_format
import itertools
import json
import math
import os
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqjax.data.ragged import Ragged
from seqjax.data.records import RecordSource, infer_schema
from seqjax.data.schema import BYTES, DTYPES, Feature, Schema, encode
from seqjax.data.tensorflow import tensorflow_without_gpus
from seqjax.data.tfrecord import DECOMPRESSED_BYTES, Compression
from seqjax.data.writing import write_encoded
from seqjax.terminal import replace_what_cannot_be_shown

_COLUMN = re.compile(r"(?P<name>.+):(?P<dtype>\w+)(\[(?P<shape>(\d+|\*)(,(\d+|\*))*)\])?")
# other dtypes of NumPy, and the dtype of a feature that replaces them
_WIDENED = {"int8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64"}
_ROUNDED = {"float16": "float32", "float64": "float32"}
_BAR = 40
_READ_AT_ONCE = 1024  # examples
_TOO_DEEP = "lists are nested too deeply"


def text(
    source: Path,
    out: Path,
    /,
    tokens: Literal["bytes", "characters"] = "bytes",
    vocabulary: Path | None = None,
    shards: int = 1,
    compression: Compression | None = None,
) -> None:
    """Convert each line of a UTF-8 text to a sequence of tokens.

    Args:
      source: the text; line ends are removed.
      out: directory of the data set.
      tokens: type of the tokens; bytes are uint8, characters are int32.
      vocabulary: JSON list of the characters, in the order of their numbers; created if it does not
        exist.
      shards: number of files.
      compression: compression of the files.
    """
    if (tokens == "characters") != (vocabulary is not None):
        raise ValueError(
            "--tokens characters and --vocabulary FILE must be given together, got --tokens "
            f"{tokens} {'with' if vocabulary else 'without'} a vocabulary"
        )
    if vocabulary is None:
        schema = Schema(sequence={"tokens": Feature(np.uint8)})
        lines = (
            (f"{source}, line {line}", {"tokens": np.frombuffer(content, np.uint8)})
            for line, content in _lines(source)
        )
        return _write(source, out, schema, lines, shards, compression)
    if vocabulary.exists():
        return _characters(source, out, vocabulary, shards, compression)
    # renamed only after the data set is written
    temporary = vocabulary.with_name(f".{vocabulary.name}.{os.getpid()}")
    characters = sorted(set().union(*(_decode(source, *line) for line in _lines(source))))
    try:
        temporary.write_text(json.dumps(characters), encoding="utf-8")
        _characters(source, out, temporary, shards, compression)
        os.replace(temporary, vocabulary)
    finally:
        temporary.unlink(missing_ok=True)


def _characters(
    source: Path, out: Path, vocabulary: Path, shards: int, compression: Compression | None
) -> None:
    numbers = {character: k for k, character in enumerate(_load_json(vocabulary))}

    def number(line: int, content: bytes) -> tuple[str, dict[str, Any]]:
        where = f"{source}, line {line}"
        try:
            return where, {"tokens": [numbers[c] for c in _decode(source, line, content)]}
        except KeyError as error:
            raise ValueError(f"{where}: {error} is not in {vocabulary}") from None

    schema = Schema(sequence={"tokens": Feature(np.int32)})
    numbered = itertools.starmap(number, _lines(source))
    return _write(source, out, schema, numbered, shards, compression)


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
    """Convert each group of rows of a CSV file with a header to a sequence.

    Args:
      source: the file, sorted by group.
      out: directory of the data set.
      group: the column whose value is the same in all rows of a sequence.
      sequence: columns with a value for each step, NAME:DTYPE or NAME:DTYPE[SHAPE].
        Dtypes are bool, uint8, int32, int64, float32 and bytes; a shape is written as 2,3.
      context: columns with one value for each sequence, in the same form.
      shards: number of files.
      compression: compression of the files.
    """
    schema = _schema(context, sequence)

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        with _progress(source, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv_format.DictReader(file, strict=True)
            missing = {group, *schema.context, *schema.sequence} - {*(reader.fieldnames or ())}
            _check_once(f"{source}: the column", reader.fieldnames or ())
            if missing:
                raise ValueError(
                    f"{source}: missing columns {sorted(missing)}, got {reader.fieldnames}"
                )
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(
                        f"{source}, line {reader.line_num}: expected one value for each column"
                    )
                yield reader.line_num, row

    try:
        _write(source, out, schema, _grouped(source, schema, group, rows()), shards, compression)
    except csv_format.Error as error:
        raise ValueError(f"{source}: {error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: {error}; convert the file to UTF-8") from None


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
    """Convert each line of JSON, an object with a list for each sequence column, to a sequence.

    Args:
      source: the file.
      out: directory of the data set.
      sequence: members with a value for each step, NAME:DTYPE or NAME:DTYPE[SHAPE].
        Dtypes are bool, uint8, int32, int64, float32 and bytes; a shape is written as 2,3, where
        * as the first size stands for lists of any length, such as the characters of each word.
      context: members with one value for each sequence, in the same form.
      group: the member whose value is the same in all lines of a sequence; each line is then one
        step, and the file must be sorted by group.
      shards: number of files.
      compression: compression of the files.
    """
    schema = _schema(context, sequence)
    names = [*schema.context, *schema.sequence, *([group] if group else [])]

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        for line, content in _lines(source):
            try:
                row = json.loads(content, parse_float=_number, object_pairs_hook=_object)
            except ValueError as error:
                raise ValueError(f"{source}, line {line}: {error}") from None
            except RecursionError:
                raise ValueError(f"{source}, line {line}: {_TOO_DEEP}") from None
            if not isinstance(row, dict) or not row.keys() >= {*names}:
                has = f"an object with {sorted(row)}" if isinstance(row, dict) else repr(row)[:80]
                raise ValueError(
                    f"{source}, line {line}: expected an object with {names}, got {has}"
                )
            yield line, row

    if group:
        examples = _grouped(source, schema, group, rows())
    else:
        examples = (
            (
                f"{source}, line {line}",
                {
                    name: _parsed(feature, row[name], f"{source}, line {line}: {name!r}")
                    for name, feature in (*schema.context.items(), *schema.sequence.items())
                },
            )
            for line, row in rows()
        )
    _write(source, out, schema, examples, shards, compression)


def npz(
    source: Path,
    out: Path,
    /,
    sequence: tuple[str, ...],
    context: tuple[str, ...] = (),
    lengths: str | None = None,
    shards: int = 1,
    compression: Compression | None = None,
    max_decompressed_bytes: int = DECOMPRESSED_BYTES,
) -> None:
    """Convert each row of the arrays of an .npz file to a sequence.

    Args:
      source: the file.
      out: directory of the data set.
      sequence: names of arrays [N, T, ...].
      context: names of arrays [N, ...].
      lengths: name of an array int[N], the number of steps of each sequence; defaults to T.
      shards: number of files.
      compression: compression of the files.
      max_decompressed_bytes: maximum size of the decompressed arrays.
    """
    names = [*context, *sequence, *([lengths] if lengths else [])]
    arrays = _arrays(source, names, max_decompressed_bytes)
    for name, array in arrays.items():
        if array.ndim < (2 if name in sequence else 1):
            wanted = "[N, T, ...]" if name in sequence else "[N, ...]"
            raise ValueError(f"{source}: {name!r} must be {wanted}, got {array.shape}")
    if len({len(array) for array in arrays.values()}) > 1 or not names:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(f"{source}: the arrays must have N rows each, got {shapes}")
    schema = Schema(
        {name: _feature_of(name, arrays[name].dtype, arrays[name].shape[1:]) for name in context},
        {name: _feature_of(name, arrays[name].dtype, arrays[name].shape[2:]) for name in sequence},
    )
    if len({arrays[name].shape[1] for name in sequence}) > 1:
        shapes = {name: arrays[name].shape for name in sequence}
        raise ValueError(f"{source}: the sequences must have T steps each, got {shapes}")
    steps = arrays[sequence[0]].shape[1] if sequence else 0
    ends = arrays[lengths] if lengths else np.full(len(arrays[names[0]]), steps)
    if ends.ndim != 1 or ends.dtype.kind not in "iu" or (ends < 0).any() or (ends > steps).any():
        raise ValueError(f"{source}: {lengths!r} must be integers [N] in [0, {steps}], got {ends}")
    examples = (
        (
            f"{source}, row {k}",
            {name: arrays[name][k] for name in context}
            | {name: arrays[name][k, :end] for name in sequence},
        )
        for k, end in enumerate(_tracked(ends.tolist(), source.name))
    )
    _write(source, out, schema, examples, shards, compression)


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
    """Convert a data set of tensorflow-datasets, which is downloaded if needed.

    Args:
      name: the data set, such as imdb_reviews, optionally with config and version.
      out: directory of the data set.
      split: the split, such as train or test[:10%].
      sequence: features [T, ...], or texts, whose bytes are the steps. A nested feature is
        FEATURE/PART.
      context: features of fixed shape.
      data_dir: directory of the files of tensorflow-datasets.
      shards: number of files.
      compression: compression of the files.
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
        raise ValueError(f"{name}: select features with --sequence and --context, from {found}")

    def feature(key: str, skip: int) -> Feature:
        shape = info[key].shape[skip:]
        if None in shape or len(info[key].shape) < skip:
            raise ValueError(f"{name}: {key!r} has shape {info[key].shape}; expected a fixed shape")
        return _feature_of(key, np.dtype(info[key].np_dtype), shape)

    texts = {key for key in sequence if info[key].np_dtype == BYTES and not info[key].shape}
    schema = Schema(
        {key: feature(key, 0) for key in context},
        {key: Feature(np.uint8) if key in texts else feature(key, 1) for key in sequence},
    )
    examples = (
        (
            f"{name}, example {k}",
            {
                key: np.frombuffer(flat[key], np.uint8)
                if key in texts
                else np.asarray(flat[key], schema_feature.dtype)
                for key, schema_feature in (*schema.context.items(), *schema.sequence.items())
            },
        )
        for k, flat in enumerate(dict(_flat(example)) for example in _tracked(dataset, name))
    )
    _write(name, out, schema, examples, shards, compression)


def inspect(
    path: Path, /, first: int = 3, max_decompressed_bytes: int = DECOMPRESSED_BYTES
) -> None:
    """Show the schema, the counts, a histogram of the lengths and the first examples.

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
        for line in _list_lengths(source):
            console.print(line, markup=False, highlight=False)
    with np.printoptions(threshold=8, edgeitems=3, precision=4):
        for k, example in enumerate(source.read(np.arange(min(first, len(lengths))))):
            console.print(f"\nexample {k}, {lengths[k]} steps")
            for name, value in example.items():
                console.print(f"  {name}: {' '.join(str(value).split())}", markup=False)
    if source.skipped:
        raise ValueError(f"{path}: {len(source.skipped)} problems, see above")


def _list_lengths(source: RecordSource) -> Iterator[str]:
    """Describe the number of entries in the lists of each feature of lists."""
    counts: dict[str, list[np.ndarray]] = {name: [] for name in sorted(source.ragged_features)}
    if not counts:
        return
    for start in range(0, len(source.lengths), _READ_AT_ONCE):
        stop = min(start + _READ_AT_ONCE, len(source.lengths))
        for example in source.read(np.arange(start, stop)):
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


def _write(
    source: Path | str,
    out: Path,
    schema: Schema,
    located: Iterable[tuple[str, Mapping[str, Any]]],
    shards: int,
    compression: Compression | None,
) -> None:
    """Write examples, each with the location that error messages name."""
    records = (encode(schema, example, where) for where, example in located)
    first = next(records, None)
    if first is None:
        raise ValueError(f"{source}: has no examples; nothing was written to {out}")
    count = write_encoded(
        out, schema, itertools.chain([first], records), shards=shards, compression=compression
    )
    print(f"{out}: {count:,} examples")


def _arrays(source: Path, names: list[str], limit: int) -> dict[str, np.ndarray]:
    """Read arrays of an .npz file, which may have any content."""
    try:
        with zipfile.ZipFile(source) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > limit:
            raise ValueError(
                f"it decompresses to {size:,} bytes, more than {limit:,}; increase "
                "--max-decompressed-bytes if this is intended"
            )
        with np.load(source) as file:
            return {name: file[name] for name in names}
    except KeyError as error:
        raise ValueError(f"{source}: {error.args[0]}") from None
    except Exception as error:  # for a damaged file, NumPy, zipfile and zlib raise many types
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ValueError(f"{source}: cannot be read as .npz: {reason}") from None


def _schema(context: tuple[str, ...], sequence: tuple[str, ...]) -> Schema:
    """Parse columns.

    >>> print(*_schema((), ("x:float32[2,3]", "y:int32[*]")).sequence.values())
    float32[2, 3] int32[*]
    """
    features: list[dict[str, Feature]] = []
    for columns in (context, sequence):
        features.append({})
        for column in columns:
            match = _COLUMN.fullmatch(column)
            if match is None:
                raise ValueError(
                    f"a column must be NAME:DTYPE or NAME:DTYPE[SHAPE], got {column!r}; DTYPE "
                    f"is one of {', '.join(DTYPES)}"
                )
            _check_once("the column", [*features[-1], match["name"]])
            sizes = match["shape"].split(",") if match["shape"] else []
            if "*" in sizes[1:]:
                raise ValueError(f"only the first size of shape may be *, got {column!r}")
            shape = tuple(None if size == "*" else int(size) for size in sizes)
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
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Join the rows of each group into a sequence."""

    def value_of(item: tuple[int, dict[str, Any]]) -> Any:
        line, row = item
        if isinstance(row[group], list | dict):
            raise ValueError(
                f"{source}, line {line}: {group!r} must be one value, got a list or an object"
            )
        return row[group]

    seen = set()
    for value, numbered in itertools.groupby(rows, value_of):
        key = json.dumps(value)
        example: dict[str, Any] = {name: [] for name in schema.sequence}
        lines = []
        for line, row in numbered:
            lines.append(line)
            where = f"{source}, line {line}: "
            if key in seen:
                raise ValueError(f"{where}{group} {value!r} occurs again; sort the file by {group}")
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
        last = f" to {lines[-1]}" if len(lines) > 1 else ""
        yield f"{source}, line {lines[0]}{last}", example


def _parsed(feature: Feature, value: Any, where: str) -> Any:
    """Convert strings to the type of the feature; lists item by item."""
    if isinstance(value, list):
        try:
            return [_parsed(feature, item, where) for item in value]
        except RecursionError:
            raise ValueError(f"{where}: {_TOO_DEEP}") from None
    if feature.dtype == BYTES and isinstance(value, str):
        return value.encode()
    if not isinstance(value, str):
        return value
    try:
        if "_" in value:  # Python accepts it as a separator
            raise ValueError
        return _number(value) if feature.dtype.kind == "f" else int(value)
    except ValueError:
        raise ValueError(f"{where} must be {feature}, got {value!r}") from None


def _number(text: str) -> float:
    """Return the number that a text represents, if a float can hold it.

    >>> _number("1e3"), _number("-inf")
    (1000.0, -inf)
    >>> _number("1e400")
    Traceback (most recent call last):
    ...
    ValueError: 1e400 is more than a float can hold
    """
    number = float(text)
    if math.isinf(number) and "inf" not in text.lower():
        raise ValueError(f"{text} is more than a float can hold")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _check_once("the member", [name for name, _ in pairs])
    return dict(pairs)


def _check_once(what: str, names: Sequence[str]) -> None:
    """Raise ``ValueError`` unless all names differ; a dict would keep only the last."""
    if len({*names}) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise ValueError(f"{what} {twice!r} occurs more than once; keep one")


def _flat(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Name the leaves of nested dictionaries."""
    if not isinstance(tree, dict):
        yield path, tree
        return
    for name, value in tree.items():
        yield from _flat(value, f"{path}/{name}" if path else name)


def _load_json(path: Path) -> list[str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(content, list) or not all(isinstance(item, str) for item in content):
        raise ValueError(f"{path}: must be a JSON list of characters")
    return content


def _lines(source: Path) -> Iterator[tuple[int, bytes]]:
    with _progress(source, "rb") as file:
        for line, content in enumerate(file, start=1):
            if line == 1:
                content = content.removeprefix(codecs.BOM_UTF8)
            yield line, content.rstrip(b"\r\n")


def _decode(source: Path, line: int, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}, line {line}: {error}; convert the file to UTF-8") from None


def _progress(source: Path, mode: Any, **options: Any) -> Any:
    """Open a file, with a progress bar of how much of it is read."""
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
    """Run a command and return its exit code."""
    import tyro

    replace_what_cannot_be_shown()
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # TensorFlow logs about it at every start
    commands = {f.__name__: f for f in (text, csv, jsonl, npz, tfds, inspect)}
    try:
        tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="python -m seqjax.data.convert",
            description="Convert files to data sets of records, and inspect them.",
            args=arguments,
            config=(tyro.conf.PositionalMetavarFromFieldName,),
        )
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; a data set that was there before is unchanged", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
