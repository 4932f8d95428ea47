"""An index of the records that can be read, for files that have none or are damaged."""

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from seqjax.data.parsing import Parser, is_flat
from seqjax.data.shards import (
    NOT_WRITTEN,
    File,
    Shard,
    find_files,
    is_written,
    opened,
    read_records,
)
from seqjax.data.tfrecord import (
    FRAME_BYTES,
    CorruptRecordError,
    Record,
    find_compression,
    unframe,
)

_SURVEYED_AT_ONCE = 1024

_logger = logging.getLogger(__name__)

Decompress = Callable[[File], tuple[bytes, str | None]]


def foreign_files(path: Path, limit: int) -> list[File]:
    """The files at ``path`` that `seqjax.data.records.write` did not make."""
    return [File(file, find_compression(file), limit) for file in find_files(path)]


def are_flat(files: Sequence[File], decompressed: Decompress) -> bool:
    """Whether the first good record is a ``tf.train.Example`` message."""
    records = (record for file in files for record in read_records(file, decompressed))
    with contextlib.suppress(CorruptRecordError):  # the survey reports it
        for record in records:
            if record.payload is not None:
                return is_flat(record.payload)
    return False


class Survey:
    """Reads all records of files, and indexes those that can be parsed.

    Args:
      parser: parses the records.
      decompressed: returns what can be read of a compressed file, and its problem.
      skip_corrupt: whether to log a problem as a warning and to go on, instead of raising
        `CorruptRecordError`.

    Attributes:
      skipped: the problems so far, one message each.
    """

    def __init__(self, parser: Parser, decompressed: Decompress, skip_corrupt: bool) -> None:
        self.skipped: list[str] = []
        self._parser, self._decompressed = parser, decompressed
        self._skip_corrupt = skip_corrupt

    def file(self, file: File) -> Shard:
        """Index a file that has no index."""
        return self._survey(file, read_records(file, self._decompressed))

    def shard(self, shard: Shard) -> Shard:
        """Index the good records of a file that `seqjax.data.records.write` made."""
        skipped = len(self.skipped)
        good = self._survey(shard.file, self._indexed(shard), len(shard.sizes))
        checksums = shard.checksums[good.numbers]
        if (
            (shard.checksums < 0).any()
            and len(self.skipped) == skipped
            and not is_written(shard.file)
        ):  # intact records, but perhaps of another file
            lost = len(good.sizes)
            self._report(f"{shard.file.path}: {NOT_WRITTEN}; its {lost} records are lost")
            return Shard(shard.file, *[column[:0] for column in shard[1:]])
        return good._replace(checksums=checksums)

    def _indexed(self, shard: Shard) -> Iterator[Record]:
        """Read all records of a file by its index, so that a damaged header costs one record."""
        columns = (shard.offsets.tolist(), shard.sizes.tolist(), shard.checksums.tolist())
        with opened(shard.file, self._decompressed) as (read, damage):
            for offset, size, checksum in zip(*columns, strict=True):
                known = None if checksum < 0 else checksum
                try:
                    record = unframe(read(size + FRAME_BYTES, offset), size, known)
                    yield Record(offset, record, None)
                except CorruptRecordError as error:
                    yield Record(offset, None, f"{error}{damage}")

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
        self.skipped.append(message)
