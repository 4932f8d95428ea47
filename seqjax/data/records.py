"""Variable-length examples in TFRecord files, written by `write` and read in any order.

The records are ``tf.train.SequenceExample`` messages. TensorFlow can read the files that `write`
makes, and `RecordSource` can read the files of TensorFlow programs.

Reading needs TensorFlow, which `seqjax.data.parsing` imports when a `RecordSource` is made. Writing
does not.
"""

import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seqjax.checks import check_count
from seqjax.data.batching import Example
from seqjax.data.inference import infer_schema
from seqjax.data.parsing import Parser
from seqjax.data.schema import Feature, Schema, check_schema
from seqjax.data.shards import find_files, open_data_set, opened, read_compressed
from seqjax.data.statistics import Statistics
from seqjax.data.survey import Survey, are_flat, foreign_files
from seqjax.data.tfrecord import (
    DECOMPRESSED_BYTES,
    FRAME_BYTES,
    Compression,
    CorruptRecordError,
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

# A shuffled plan mixes this many shards at a time, which must all stay in memory.
_DECOMPRESSED_SHARDS = 16


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
            survey = Survey(self._parser, self._decompressed, skip_corrupt)
            if skip_corrupt:
                shards = [*map(survey.shard, shards)]
        else:
            find_files(path)  # a missing file is the first error
            if schema is None:
                raise ValueError(
                    f"{path}: give the schema; only directories made by write store one"
                )
            self.schema = schema
            files = foreign_files(path, max_decompressed_bytes)
            flat = bool(schema.sequence) and are_flat(files, self._decompressed)
            self._parser = Parser(schema, flat=flat)
            survey = Survey(self._parser, self._decompressed, skip_corrupt)
            shards = [*map(survey.file, files)]
        self._shards, self._skipped = shards, tuple(survey.skipped)
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
        return self._skipped

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
            with opened(self._shards[shard].file, self._decompressed) as (read, damage):
                for k in numbers:
                    try:
                        record = read(sizes[k] + FRAME_BYTES, offsets[k])
                        payloads[k] = unframe(record, sizes[k], checksums[k])
                    except CorruptRecordError as error:
                        name = self._name(int(indices[k]))
                        raise CorruptRecordError(f"{name}: {error}{damage}") from None
        return payloads


def _open_again(path: Path, schema: Schema, skip_corrupt: bool, limit: int) -> RecordSource:
    return RecordSource(path, schema, skip_corrupt=skip_corrupt, max_decompressed_bytes=limit)


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
