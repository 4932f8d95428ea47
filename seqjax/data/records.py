"""Examples of any length in TFRecord files, written by `write` and read at random access.

The records are ``tf.train.SequenceExample`` messages. Any TensorFlow program can read the files of
ours, and `RecordSource` those of any TensorFlow program.

This is the only module that imports TensorFlow. It does so when a `RecordSource` is made, to parse
records, and hides all GPUs from it. Writing needs none of it.
"""

import contextlib
import functools
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqjax.data.batching import Example
from seqjax.data.schema import BYTES, Feature, Schema, narrow
from seqjax.data.shards import (
    File,
    Shard,
    find_files,
    open_data_set,
    read_compressed,
    read_records,
)
from seqjax.data.tfrecord import (
    FRAME_BYTES,
    Compression,
    CorruptRecordError,
    Record,
    find_compression,
    readable,
    unframe,
)
from seqjax.data.writing import write

__all__ = [
    "Compression",
    "CorruptRecordError",
    "Feature",
    "RecordSource",
    "Schema",
    "infer_schema",
    "write",
]

_KINDS = {"bytes_list": "bytes", "float_list": "float32", "int64_list": "int64"}
_NO_MESSAGE = "the payload is no SequenceExample and no Example"
_SURVEYED_AT_ONCE = 1024
# A shuffled plan mixes a few shards at a time, and all of them have to stay in memory.
_DECOMPRESSED_SHARDS = 16

_logger = logging.getLogger(__name__)


class RecordSource:
    """The examples of TFRecord files, at random access.

    Both checksums of a record are checked whenever it is read. A data set of ours opens at once.
    Files of another origin have no index, so they are read and parsed once when they are opened.
    They may hold ``tf.train.SequenceExample`` or ``tf.train.Example`` messages; in an ``Example`` a
    sequence feature is a flat list of all its steps. Such files do not say how many records they
    have: one that ends between two records is whole.

    Of compressed files the 16 that were read last are kept in memory, so read no more than those at
    a time, by the ``interleave`` of `seqjax.data.Loader`.

    Args:
      path: a directory that `write` made, a file, or a `glob` pattern for several in the order of
        their names. How they are compressed is found out.
      schema: what to read of each record; of a data set of ours that is all without.
      skip_corrupt: leave out what cannot be read. All records are then read once at opening, and
        what is left out is logged as a warning and kept in `skipped`.

    Raises:
      CorruptRecordError: a file is damaged or a record does not fit the schema; the message names
        them and says what is wrong.
      ValueError: there is no such file, or the schema is missing or not that of the data set.

    >>> import tempfile
    >>> directory = tempfile.mkdtemp()
    >>> schema = Schema(sequence={"tokens": Feature(np.int32)})
    >>> write(directory, schema, ({"tokens": range(n)} for n in range(5)))
    5
    >>> source = RecordSource(directory)
    >>> source.lengths
    array([0, 1, 2, 3, 4])
    >>> source.read(np.array([3]))
    [{'tokens': array([0, 1, 2], dtype=int32)}]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        schema: Schema | None = None,
        *,
        skip_corrupt: bool = False,
    ) -> None:
        path = Path(path)
        self._skip_corrupt = skip_corrupt
        self._skipped: list[str] = []
        self._decompressed = functools.lru_cache(_DECOMPRESSED_SHARDS)(read_compressed)
        if path.is_dir():
            stored, shards = open_data_set(path, check_sizes=not skip_corrupt)
            self.schema = schema or stored
            _check_part(path, self.schema, stored)
            self._parser = _Parser(self.schema, flat=False)
            if skip_corrupt:
                shards = [
                    self._survey(shard.file, self._indexed(shard), len(shard.sizes))
                    for shard in shards
                ]
        else:
            if schema is None:
                raise ValueError(f"{path}: give the schema; only a directory of ours knows its own")
            self.schema = schema
            files = [File(file, find_compression(file)) for file in find_files(path)]
            flat = bool(schema.sequence) and self._is_flat(files)
            self._parser = _Parser(schema, flat=flat)
            shards = [self._survey(file, read_records(file, self._decompressed)) for file in files]
        self._shards = shards
        self._starts = np.cumsum([0, *self.shards])
        self._offsets, self._sizes, self._lengths = (
            np.concatenate(column) for column in list(zip(*shards, strict=True))[2:]
        )
        self._lengths.flags.writeable = False

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each example, ``int64[N]``; 0 where there is no sequence feature."""
        return self._lengths

    @property
    def shards(self) -> list[int]:
        """Examples in each file, in order."""
        return [len(shard.sizes) for shard in self._shards]

    @property
    def sequence_features(self) -> frozenset[str]:
        """The names of the features that have a time axis."""
        return frozenset(self.schema.sequence)

    @property
    def skipped(self) -> tuple[str, ...]:
        """What was left out, one message a damage."""
        return tuple(self._skipped)

    def read(self, indices: np.ndarray) -> list[Example]:
        """Read examples.

        Args:
          indices: integers ``[n]`` in ``[0, N)``.

        Returns:
          Of each, the context features ``[*shape]`` and the sequence features ``[T, *shape]``.

        Raises:
          CorruptRecordError: a record is damaged.
          ValueError: an index is out of range.
        """
        indices = np.asarray(indices)
        if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
            raise ValueError(
                f"indices must be integers [n], got {indices.dtype} of shape {indices.shape}"
            )
        if not indices.size:
            return []
        if indices.min() < 0 or indices.max() >= len(self._lengths):
            raise ValueError(
                f"indices must be in [0, {len(self._lengths)}), the examples of this source, "
                f"got {indices.min()} to {indices.max()}"
            )
        payloads = self._payloads(indices)

        try:
            examples, lengths = self._parser.parse(payloads)
        except ValueError:
            for k, payload in enumerate(payloads):
                try:
                    self._parser.parse([payload])
                except ValueError as error:
                    raise CorruptRecordError(f"{self._name(int(indices[k]))}: {error}") from None
            raise
        wanted = self._lengths[indices]
        if (lengths != wanted).any():
            k = int(np.argmax(lengths != wanted))
            name = self._name(int(indices[k]))
            raise CorruptRecordError(
                f"{name}: it has {lengths[k]} steps, its index says {wanted[k]}"
            )
        return examples

    def _name(self, index: int) -> str:
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        file, numbers = self._shards[shard].file, self._shards[shard].numbers
        return f"{file.path}: record {numbers[index - self._starts[shard]]}"

    def _payloads(self, indices: np.ndarray) -> list[bytes]:
        shards = (np.searchsorted(self._starts, indices, side="right") - 1).tolist()
        offsets, sizes = self._offsets[indices].tolist(), self._sizes[indices].tolist()
        payloads = [b""] * len(shards)
        # one file after the other, so that few are open at a time
        by_shard = sorted(range(len(shards)), key=shards.__getitem__)
        for shard, numbers in itertools.groupby(by_shard, shards.__getitem__):
            with self._opened(self._shards[shard].file) as (read, damage):
                for k in numbers:
                    try:
                        payloads[k] = unframe(read(sizes[k] + FRAME_BYTES, offsets[k]), sizes[k])
                    except CorruptRecordError as error:
                        name = self._name(int(indices[k]))
                        raise CorruptRecordError(f"{name}: {error}{damage}") from None
        return payloads

    @contextlib.contextmanager
    def _opened(self, file: File) -> Iterator[tuple[Callable[[int, int], bytes], str]]:
        """Give ``read(size, offset)`` of the decompressed file, and what is known to be wrong."""
        if file.compression is None:
            # unlike a memory map, this survives a file that shrinks meanwhile
            with readable(file.path), file.path.open("rb", buffering=0) as stream:

                def read(size: int, offset: int) -> bytes:
                    stream.seek(offset)
                    return stream.read(size)

                yield read, ""
        else:
            content, problem = self._decompressed(file)
            yield (
                lambda size, offset: content[offset : offset + size],
                f" ({problem})" if problem else "",
            )

    def _indexed(self, shard: Shard) -> Iterator[Record]:
        """Read all records of a file by its index, so that a damaged header costs one record."""
        with self._opened(shard.file) as (read, damage):
            for offset, size in zip(shard.offsets.tolist(), shard.sizes.tolist(), strict=True):
                try:
                    yield Record(offset, unframe(read(size + FRAME_BYTES, offset), size), None)
                except CorruptRecordError as error:
                    yield Record(offset, None, f"{error}{damage}")

    def _is_flat(self, files: Sequence[File]) -> bool:
        """Tell by the first good record whether all are ``tf.train.Example`` messages."""
        records = (record for file in files for record in read_records(file, self._decompressed))
        with contextlib.suppress(CorruptRecordError):  # the survey says which and why
            for record in records:
                if record.payload is not None:
                    message = _message(record.payload)
                    return message is not None and not message.HasField("feature_lists")
        return False

    def _survey(self, file: File, records: Iterator[Record], known: int | None = None) -> Shard:
        """Read all records of a file, and index those that can be parsed."""
        _logger.info("%s: reading all records", file.path)
        index: list[tuple[int, int, int, int]] = []
        numbered = enumerate(records)
        found = False
        try:
            while chunk := list(itertools.islice(numbered, _SURVEYED_AT_ONCE)):
                found = True
                for number, record in chunk:
                    if record.problem:
                        self._report(f"{file.path}: record {number}: {record.problem}")
                index += self._parsed(file, [item for item in chunk if not item[1].problem])
            if not found and known is None:
                self._report(f"{file.path}: the file is empty")
        except CorruptRecordError as error:  # the file as a whole cannot be read
            if not self._skip_corrupt:
                raise
            lost = "all records" if known is None else f"its {known} records"
            self._report(f"{error}; {lost} are lost")
        return Shard(file, *np.array(index, np.int64).reshape(-1, 4).T)

    def _parsed(
        self, file: File, numbered: Sequence[tuple[int, Record]]
    ) -> list[tuple[int, int, int, int]]:
        payloads = [record.payload or b"" for _, record in numbered]
        if not payloads:
            return []
        try:
            _, lengths = self._parser.parse(payloads)
        except ValueError as error:
            if len(payloads) == 1:
                self._report(f"{file.path}: record {numbered[0][0]}: {error}")
                return []
            half = len(payloads) // 2
            return self._parsed(file, numbered[:half]) + self._parsed(file, numbered[half:])
        return [
            (number, record.offset, len(payload), length)
            for (number, record), payload, length in zip(
                numbered, payloads, lengths.tolist(), strict=True
            )
        ]

    def _report(self, message: str) -> None:
        if not self._skip_corrupt:
            raise CorruptRecordError(message)
        _logger.warning("skipped: %s", message)
        self._skipped.append(message)


def infer_schema(path: str | os.PathLike[str], *, records: int = 100) -> Schema:
    """Tell what the first records of a file hold.

    In ``tf.train.Example`` messages a feature of differing size is taken for a sequence. What no
    schema can say, such as steps of differing size, is left out and logged as a warning.

    Args:
      path: a file or pattern, as `RecordSource` takes it.
      records: how many to look at.

    Raises:
      CorruptRecordError: one of them is damaged, or there is none.
      ValueError: there is no such file.

    >>> import tempfile
    >>> directory = tempfile.mkdtemp()
    >>> schema = Schema(sequence={"x": Feature(np.float32, (2,))})
    >>> write(directory, schema, [{"x": np.zeros((n, 2))} for n in range(3)])
    3
    >>> infer_schema(directory + "/*.tfrecord") == schema
    True
    """
    forms: dict[tuple[str, str], set[tuple[str, int]]] = {}  # dtypes and sizes by kind and name
    files = [File(file, find_compression(file)) for file in find_files(Path(path))]
    numbered = (
        (f"{file.path}: record {number}", record)
        for file in files
        for number, record in enumerate(read_records(file, read_compressed))
    )
    for name, record in itertools.islice(numbered, records):
        message = record.payload is not None and _message(record.payload)
        if not message:
            raise CorruptRecordError(f"{name}: {record.problem or _NO_MESSAGE}")
        for key, value in message.context.feature.items():
            forms.setdefault(("context", key), set()).add(_form(value))
        for key, steps in message.feature_lists.feature_list.items():
            forms.setdefault(("sequence", key), set()).update(map(_form, steps.feature))
    if not forms:
        raise CorruptRecordError(f"{path}: holds no record with features")
    is_flat = all(kind == "context" for kind, _ in forms)
    schema: dict[str, dict[str, Feature]] = {"context": {}, "sequence": {}}
    for (kind, name), found in sorted(forms.items()):
        dtypes, sizes = sorted({d for d, _ in found if d}), {size for _, size in found}
        if len(dtypes) == 1 and len(sizes) == 1:
            schema[kind][name] = Feature(dtypes[0], () if sizes == {1} else tuple(sizes))
        elif len(dtypes) == 1 and is_flat:
            schema["sequence"][name] = Feature(dtypes[0])
        else:
            _logger.warning("%s: left %s out, it holds %s", path, name, sorted(found))
    return Schema(**schema)


def _check_part(path: Path, asked: Schema, stored: Schema) -> None:
    for kind in ("context", "sequence"):
        has = getattr(stored, kind)
        for name, feature in getattr(asked, kind).items():
            if has.get(name) != feature:
                raise ValueError(
                    f"{path}: the schema asks for the {kind} feature {name!r} as {feature}, the "
                    f"data set has { {key: str(value) for key, value in has.items()} }"
                )


class _Parser:
    """Parses many records at once, and says of one why it cannot be parsed."""

    def __init__(self, schema: Schema, *, flat: bool) -> None:
        tf = tensorflow_without_gpus()
        dtypes = {"bytes": tf.string, "float32": tf.float32, "int64": tf.int64}
        self._schema = schema
        context = {name: dtypes[feature.stored] for name, feature in schema.context.items()}
        sequence = {name: dtypes[feature.stored] for name, feature in schema.sequence.items()}
        shapes = [feature.shape for feature in schema.context.values()]
        self._flat = flat
        # Sequences are parsed as ragged ones: into a fixed shape, steps of differing size would be
        # taken as long as their sum fits.
        if flat:
            self._features = {
                name: tf.io.FixedLenFeature(shape, dtype)
                for (name, dtype), shape in zip(context.items(), shapes, strict=True)
            } | {
                name: tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
                for name, dtype in sequence.items()
            }
            return
        # tf.io.parse_sequence_example, without the time that it takes to put this together
        none = tf.constant([], tf.string)
        self._parse_op = functools.partial(
            tf.raw_ops.ParseSequenceExampleV2,
            debug_name=none,
            context_sparse_keys=none,
            context_dense_keys=tf.constant(list(context), tf.string),
            context_ragged_keys=none,
            feature_list_sparse_keys=none,
            feature_list_dense_keys=none,
            feature_list_ragged_keys=tf.constant(list(sequence), tf.string),
            feature_list_dense_missing_assumed_empty=tf.constant([], tf.bool),
            context_dense_defaults=[tf.constant([], dtype) for dtype in context.values()],
            context_dense_shapes=shapes,
            feature_list_ragged_value_types=list(sequence.values()),
            feature_list_ragged_split_types=[tf.int64] * len(sequence),
        )

    def parse(self, payloads: Sequence[bytes]) -> tuple[list[Example], np.ndarray]:
        """Return the examples and their lengths, or raise ``ValueError`` if one does not fit."""
        try:
            return self._parse(payloads)
        except ValueError as error:
            if len(payloads) > 1:
                raise
            raise ValueError(self._explain(payloads[0]) or str(error)) from None

    def _parse(self, payloads: Sequence[bytes]) -> tuple[list[Example], np.ndarray]:
        context, sequence = self._schema.context, self._schema.sequence
        fixed, flat_values, ends, misfits = self._run(payloads)
        if any(misfit.any() for misfit in misfits) or any((end != ends[0]).any() for end in ends):
            raise ValueError("a sequence feature is ragged")
        columns = []
        for values, (name, feature) in zip(fixed, context.items(), strict=True):
            values = narrow(values, feature.dtype, repr(name))
            columns.append([values[k, ...] for k in range(len(payloads))])
        bounds = list(itertools.pairwise(ends[0].tolist())) if ends else []
        for values, (name, feature) in zip(flat_values, sequence.items(), strict=True):
            rows = narrow(values, feature.dtype, repr(name)).reshape(-1, *feature.shape)
            columns.append([rows[start:stop] for start, stop in bounds])
        names = (*context, *sequence)
        examples = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        if not ends:
            return examples, np.zeros(len(payloads), np.int64)
        lengths = np.diff(ends[0])
        for k in np.flatnonzero(lengths == 0).tolist():
            # a missing list is parsed like an empty one
            if problem := self._explain(payloads[k]):
                raise ValueError(problem)
        return examples, lengths

    def _run(self, payloads: Sequence[bytes]) -> tuple[list[np.ndarray], ...]:
        """Parse into the values of context features, those of all steps of sequence features.

        After them come where each example's steps end, and what is not 0 where a step is ragged.
        """
        tf = tensorflow_without_gpus()
        sizes = [feature.size for feature in self._schema.sequence.values()]
        try:
            if self._flat:
                parsed = tf.io.parse_example(payloads, self._features)
                fixed = [parsed[name].numpy() for name in self._schema.context]
                ragged = [parsed[name] for name in self._schema.sequence]
                ends, left = zip(
                    *(
                        np.divmod(r.row_splits.numpy(), size)
                        for r, size in zip(ragged, sizes, strict=True)
                    ),
                    strict=True,
                )
                return fixed, [r.flat_values.numpy() for r in ragged], list(ends), list(left)
            # of a list, TensorFlow would look for its dtype anew and take twice the time
            parsed = self._parse_op(serialized=tf.constant(payloads, tf.string))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(error.message) from None
        splits = [inner.numpy() for inner in parsed.feature_list_ragged_inner_splits]
        return (
            [values.numpy() for values in parsed.context_dense_values],
            [values.numpy() for values in parsed.feature_list_ragged_values],
            [outer.numpy() for outer in parsed.feature_list_ragged_outer_splits],
            [np.diff(inner) - size for inner, size in zip(splits, sizes, strict=True)],
        )

    def _explain(self, payload: bytes) -> str | None:
        message = _message(payload)
        if message is None:
            return _NO_MESSAGE
        context, lists = message.context.feature, message.feature_lists.feature_list
        for name, feature in self._schema.context.items():
            if name not in context:
                return f"context feature {name!r} is missing; there are {sorted(context)}"
            if problem := _misfit(feature, context[name], feature.size):
                return f"context feature {name!r}: {problem}"
        lengths = {}
        for name, feature in self._schema.sequence.items():
            if name not in (context if self._flat else lists):
                there = sorted(context if self._flat else lists)
                return f"sequence feature {name!r} is missing; there are {there}"
            if self._flat:
                lengths[name] = _form(context[name])[1] // feature.size
                if problem := _misfit(feature, context[name], lengths[name] * feature.size):
                    return f"sequence feature {name!r}: {problem}"
            else:
                lengths[name] = len(lists[name].feature)
                for step, value in enumerate(lists[name].feature):
                    if problem := _misfit(feature, value, feature.size):
                        return f"sequence feature {name!r}, step {step}: {problem}"
        if len(set(lengths.values())) > 1:
            return f"ragged: the sequence features differ in their number of steps: {lengths}"
        return None


def _message(payload: bytes) -> Any:
    """Parse a record by itself; an `Example` is a `SequenceExample` that has a context only."""
    from google.protobuf.message import DecodeError

    try:
        return tensorflow_without_gpus().train.SequenceExample.FromString(payload)
    except DecodeError:
        return None


def _form(message: Any) -> tuple[str, int]:
    """Return the dtype and the number of values of a protobuf `Feature`; no dtype is ""."""
    kind = message.WhichOneof("kind")
    return (_KINDS[kind], len(getattr(message, kind).value)) if kind else ("", 0)


def _misfit(feature: Feature, message: Any, count: int) -> str | None:
    """Say why a protobuf `Feature` is not ``count`` values of a feature."""
    dtype, found = _form(message)
    if dtype not in ("", feature.stored):
        return f"wrong dtype: it holds {dtype}, the schema says {feature}"
    if found != count:
        return f"it holds {found} values, the schema says {feature}"
    if feature.dtype != BYTES:
        values = np.array(getattr(message, message.WhichOneof("kind")).value)
        try:
            narrow(values, feature.dtype, "it")
        except ValueError as error:
            return f"{error}, as the schema says"
    return None


@functools.cache
def tensorflow_without_gpus() -> Any:
    """Import TensorFlow and hide the GPUs from it, of which it would take all memory.

    Raises:
      ImportError: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # it greets on stderr otherwise
    try:
        import tensorflow
    except ImportError:
        raise ImportError(
            "reading records needs tensorflow: pip install 'seqjax[records]'"
        ) from None
    with contextlib.suppress(RuntimeError):  # the user's own TensorFlow is running already
        tensorflow.config.set_visible_devices([], "GPU")
    return tensorflow
