"""Variable-length examples in TFRecord files, written by `write` and read in any order.

The records are ``tf.train.SequenceExample`` messages. TensorFlow can read the files that `write`
makes, and `RecordSource` can read the files of TensorFlow programs.

Reading needs TensorFlow, which `seqjax.data.parsing` imports when a `RecordSource` is made. Writing
does not.
"""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqjax.checks import check_count
from seqjax.data.batching import Example
from seqjax.data.parsing import NO_MESSAGE, Parser, dtype_and_count, is_flat, parse_message
from seqjax.data.schema import Feature, Schema, check_schema
from seqjax.data.shards import (
    NOT_WRITTEN,
    File,
    Shard,
    find_files,
    is_written,
    open_data_set,
    read_compressed,
    read_records,
)
from seqjax.data.statistics import Statistics
from seqjax.data.tfrecord import (
    DECOMPRESSED_BYTES,
    FRAME_BYTES,
    Compression,
    CorruptRecordError,
    Record,
    find_compression,
    readable,
    unframe,
)
from seqjax.data.writing import MANIFEST, write

__all__ = [
    "Compression",
    "CorruptRecordError",
    "Feature",
    "RecordSource",
    "Schema",
    "Statistics",
    "infer_schema",
    "write",
]

_SURVEYED_AT_ONCE = 1024
# A shuffled plan mixes this many shards at a time, which must all stay in memory.
_DECOMPRESSED_SHARDS = 16

_logger = logging.getLogger(__name__)


class RecordSource:
    """A source of the examples in TFRecord files.

    Every read checks both checksums of a record. A data set that `write` made opens at once, and
    its index also detects intact records that were not written at their place. An index of an early
    version has no checksums; its files are then read when they are opened, and checked against the
    manifest.

    Other files have no index, so they are read and parsed when they are opened. They may hold
    ``tf.train.SequenceExample`` or ``tf.train.Example`` messages; a sequence feature of an
    ``Example`` is a flat list of all its steps. Such files do not store their number of records,
    so a file truncated between two records is not detected.

    It is a random-access source of Grain too, as in ``grain.MapDataset.source(source)``, and can be
    pickled.

    The last 16 compressed files that were read stay in memory, so do not mix more shards than that
    with the ``interleave`` of `seqjax.data.Loader`.

    Args:
      path: a directory that `write` made, a file, or a `glob` pattern whose files are read in the
        order of their names. The compression is detected.
      schema: the features to read. Optional for data sets made by `write`; defaults to all
        features.
      skip_corrupt: skip damaged records. All records are then read when the source is made; each
        problem is logged as a warning and listed in `skipped`.
      max_decompressed_bytes: the maximum size of a decompressed file; not used if `write` made it.

    Raises:
      CorruptRecordError: a file is damaged or a record does not match the schema; the message names
        the file, the record and the problem.
      ValueError: there is no such file, or the schema is missing or differs from that of the data
        set.

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
        max_decompressed_bytes: int = DECOMPRESSED_BYTES,
    ) -> None:
        if schema is not None:
            check_schema(schema)
        check_count(
            "RecordSource", "max_decompressed_bytes", max_decompressed_bytes, low=1, high=2**63 - 1
        )
        path = self._path = Path(path)
        self._skip_corrupt, self._limit = skip_corrupt, max_decompressed_bytes
        self._skipped: list[str] = []
        self._decompressed = functools.lru_cache(_DECOMPRESSED_SHARDS)(read_compressed)
        self._manifest_sha256: str | None = None
        self._statistics: Mapping[str, Statistics] | None = None
        if path.is_dir():
            stored, shards, statistics = open_data_set(path, check_files=not skip_corrupt)
            manifest = (path / MANIFEST).read_bytes()
            self._manifest_sha256 = hashlib.sha256(manifest).hexdigest()
            self.schema = schema or stored
            _check_part(path, self.schema, stored)
            asked = {**self.schema.context, **self.schema.sequence}
            if statistics is not None:
                self._statistics = {name: statistics[name] for name in statistics if name in asked}
            self._parser = Parser(self.schema, flat=False)
            if skip_corrupt:
                shards = [*map(self._survey_again, shards)]
        else:
            find_files(path)  # a missing file is the first error
            if schema is None:
                raise ValueError(
                    f"{path}: give the schema; only directories made by write store one"
                )
            self.schema = schema
            files = _foreign_files(path, max_decompressed_bytes)
            flat = bool(schema.sequence) and self._are_flat(files)
            self._parser = Parser(schema, flat=flat)
            shards = [self._survey(file, read_records(file, self._decompressed)) for file in files]
        self._shards = shards
        self._starts = np.cumsum([0, *self.shards])
        self._offsets, self._sizes, self._lengths, self._checksums = (
            np.concatenate(column) for column in list(zip(*shards, strict=True))[2:]
        )
        self._lengths.flags.writeable = False

    def __len__(self) -> int:
        """The number of examples, N."""
        return len(self._lengths)

    def __getitem__(self, index: int) -> Example:
        """Read one example, as Grain does: ``grain.MapDataset.source(source)``.

        Raises:
          CorruptRecordError: the record is damaged.
          ValueError: the index is out of range.
        """
        return self.read(np.array([index]))[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """Open the files again in another process, as the workers of Grain need it."""
        return _open_again, (self._path, self.schema, self._skip_corrupt, self._limit)

    @property
    def lengths(self) -> np.ndarray:
        """The number of steps of each example, ``int64[N]``; 0 without sequence features."""
        return self._lengths

    @property
    def shards(self) -> list[int]:
        """The number of examples in each file, in order."""
        return [len(shard.sizes) for shard in self._shards]

    @property
    def manifest_sha256(self) -> str | None:
        """The sha256 of the manifest, or None for files that `write` did not make.

        A run that stores it can check on resuming that the examples are the same, which a
        `seqjax.data.Position` alone does not tell.

        >>> import tempfile
        >>> directory = tempfile.mkdtemp()
        >>> schema = Schema(sequence={"tokens": Feature(np.int32)})
        >>> _ = write(directory, schema, [{"tokens": [1]}])
        >>> before = RecordSource(directory).manifest_sha256
        >>> _ = write(directory, schema, [{"tokens": [2]}])
        >>> RecordSource(directory).manifest_sha256 == before
        False
        """
        return self._manifest_sha256

    @property
    def statistics(self) -> Mapping[str, Statistics] | None:
        """The statistics of each numeric feature, computed when `write` made the data set.

        They include records that were damaged since. None for files that `write` did not make, and
        for data sets of earlier versions; `seqjax.data.statistics.statistics_of` computes them.

        >>> import tempfile
        >>> directory = tempfile.mkdtemp()
        >>> schema = Schema(sequence={"x": Feature(np.float32, (2,))})
        >>> write(directory, schema, [{"x": [[1, 30], [2, 50]]}, {"x": [[3, 40]]}])
        2
        >>> RecordSource(directory).statistics["x"].mean
        array([ 2., 40.])
        """
        return self._statistics

    @property
    def sequence_features(self) -> frozenset[str]:
        """The names of the features that have a time axis."""
        return self.schema.sequence_features

    @property
    def ragged_features(self) -> frozenset[str]:
        """The names of the features whose values are lists of any number of entries."""
        return self.schema.ragged_features

    @property
    def skipped(self) -> tuple[str, ...]:
        """The records and files that were skipped, one message for each problem."""
        return tuple(self._skipped)

    def read(self, indices: np.ndarray) -> list[Example]:
        """Read examples.

        Args:
          indices: integers ``[n]`` in ``[0, N)``.

        Returns:
          The examples: context features ``[*shape]`` and sequence features ``[T, *shape]``, or
          `seqjax.data.Ragged` if each step is a list.

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
        examples, lengths = self._parser.parse_named(
            self._payloads(indices), lambda k: self._name(int(indices[k]))
        )
        wanted = self._lengths[indices]
        if (lengths != wanted).any():
            k = int(np.argmax(lengths != wanted))
            name = self._name(int(indices[k]))
            raise CorruptRecordError(
                f"{name}: it has {lengths[k]} steps, but its index says {wanted[k]}"
            )
        return examples

    def _name(self, index: int) -> str:
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        file, numbers = self._shards[shard].file, self._shards[shard].numbers
        return f"{file.path}: record {numbers[index - self._starts[shard]]}"

    def _payloads(self, indices: np.ndarray) -> list[bytes]:
        shards = (np.searchsorted(self._starts, indices, side="right") - 1).tolist()
        offsets, sizes = self._offsets[indices].tolist(), self._sizes[indices].tolist()
        checksums = [None if c < 0 else c for c in self._checksums[indices].tolist()]
        payloads = [b""] * len(shards)
        # one file after another, so that only one is open at a time
        by_shard = sorted(range(len(shards)), key=shards.__getitem__)
        for shard, numbers in itertools.groupby(by_shard, shards.__getitem__):
            with self._opened(self._shards[shard].file) as (read, damage):
                for k in numbers:
                    try:
                        record = read(sizes[k] + FRAME_BYTES, offsets[k])
                        payloads[k] = unframe(record, sizes[k], checksums[k])
                    except CorruptRecordError as error:
                        name = self._name(int(indices[k]))
                        raise CorruptRecordError(f"{name}: {error}{damage}") from None
        return payloads

    @contextlib.contextmanager
    def _opened(self, file: File) -> Iterator[tuple[Callable[[int, int], bytes], str]]:
        """Yield ``read(size, offset)`` of the decompressed file, and its known problem."""
        if file.compression is None:
            # unlike a memory map, this is safe if the file is truncated in the meantime
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
        columns = (shard.offsets.tolist(), shard.sizes.tolist(), shard.checksums.tolist())
        with self._opened(shard.file) as (read, damage):
            for offset, size, checksum in zip(*columns, strict=True):
                known = None if checksum < 0 else checksum
                try:
                    record = unframe(read(size + FRAME_BYTES, offset), size, known)
                    yield Record(offset, record, None)
                except CorruptRecordError as error:
                    yield Record(offset, None, f"{error}{damage}")

    def _are_flat(self, files: Sequence[File]) -> bool:
        """Whether the first good record is a ``tf.train.Example`` message."""
        records = (record for file in files for record in read_records(file, self._decompressed))
        with contextlib.suppress(CorruptRecordError):  # _survey reports it
            for record in records:
                if record.payload is not None:
                    return is_flat(record.payload)
        return False

    def _survey_again(self, shard: Shard) -> Shard:
        """Read all records of a file that `write` made, and index the good ones."""
        skipped = len(self._skipped)
        good = self._survey(shard.file, self._indexed(shard), len(shard.sizes))
        checksums = shard.checksums[good.numbers]
        if (
            (shard.checksums < 0).any()
            and len(self._skipped) == skipped
            and not is_written(shard.file)
        ):  # intact records, but perhaps of another file
            lost = len(good.sizes)
            self._report(f"{shard.file.path}: {NOT_WRITTEN}; its {lost} records are lost")
            return Shard(shard.file, *[column[:0] for column in shard[1:]])
        return good._replace(checksums=checksums)

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
        numbers, offsets, sizes, lengths = np.array(index, np.int64).reshape(-1, 4).T
        return Shard(file, numbers, offsets, sizes, lengths, np.full(len(index), -1))

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


def _open_again(path: Path, schema: Schema, skip_corrupt: bool, limit: int) -> RecordSource:
    return RecordSource(path, schema, skip_corrupt=skip_corrupt, max_decompressed_bytes=limit)


def _foreign_files(path: Path, limit: int) -> list[File]:
    return [File(file, find_compression(file), limit) for file in find_files(path)]


def infer_schema(
    path: str | os.PathLike[str],
    *,
    records: int = 100,
    max_decompressed_bytes: int = DECOMPRESSED_BYTES,
) -> Schema:
    """Infer a schema from the first records of a file.

    A feature whose size differs between records, or between steps, becomes one of lists, such as
    ``int64[*]``. In ``tf.train.Example`` messages it becomes a sequence. Features that a schema
    cannot describe are omitted and logged as a warning.

    Args:
      path: a file or a pattern; see `RecordSource`.
      records: the number of records to read.
      max_decompressed_bytes: see `RecordSource`.

    Raises:
      CorruptRecordError: one of the records is damaged, or there are no records.
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
    files = _foreign_files(Path(path), max_decompressed_bytes)
    numbered = (
        (f"{file.path}: record {number}", record)
        for file in files
        for number, record in enumerate(read_records(file, read_compressed))
    )
    for name, record in itertools.islice(numbered, records):
        message = record.payload is not None and parse_message(record.payload)
        if not message:
            raise CorruptRecordError(f"{name}: {record.problem or NO_MESSAGE}")
        for key, value in message.context.feature.items():
            forms.setdefault(("context", key), set()).add(dtype_and_count(value))
        for key, steps in message.feature_lists.feature_list.items():
            forms.setdefault(("sequence", key), set()).update(map(dtype_and_count, steps.feature))
    if not forms:
        raise CorruptRecordError(f"{path}: holds no record with features")
    is_flat = all(kind == "context" for kind, _ in forms)
    schema: dict[str, dict[str, Feature]] = {"context": {}, "sequence": {}}
    for (kind, name), found in sorted(forms.items()):
        dtypes, sizes = sorted({d for d, _ in found if d}), {size for _, size in found}
        if len(dtypes) != 1:
            _logger.warning("%s: %s is omitted, because it holds %s", path, name, sorted(found))
        elif len(sizes) == 1:
            schema[kind][name] = Feature(dtypes[0], () if sizes == {1} else tuple(sizes))
        elif is_flat:
            schema["sequence"][name] = Feature(dtypes[0])
        else:
            schema[kind][name] = Feature(dtypes[0], (None,))
    return Schema(**schema)


def _check_part(path: Path, asked: Schema, stored: Schema) -> None:
    for kind in ("context", "sequence"):
        has = getattr(stored, kind)
        for name, feature in getattr(asked, kind).items():
            unnamed = dataclasses.replace(feature, classes=())
            if name not in has or unnamed != dataclasses.replace(has[name], classes=()):
                raise ValueError(
                    f"{path}: the schema asks for the {kind} feature {name!r} as {feature}, but "
                    f"the data set has { {key: str(value) for key, value in has.items()} }"
                )
            if feature.classes not in ((), has[name].classes):
                stored_names = str(has[name].classes)[1:-1] or "no names"
                raise ValueError(
                    f"{path}: {name!r} has the classes {stored_names}, but the schema asks for "
                    f"{str(feature.classes)[1:-1]}"
                )
