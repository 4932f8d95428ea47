"""The files of a data set and the positions of their records, read without TensorFlow."""

import contextlib
import glob
import io
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np

from seqjax.data.schema import Schema
from seqjax.data.statistics import Statistics, from_arrays
from seqjax.data.tfrecord import (
    FRAME_BYTES,
    Compression,
    CorruptRecordError,
    Record,
    decompress,
    readable,
    walk,
)
from seqjax.data.writing import read_manifest

NOT_WRITTEN = "is not the file that was written: it does not match its checksum in the manifest"

_logger = logging.getLogger(__name__)


class File(NamedTuple):
    """A TFRecord file.

    Attributes:
      path: its path.
      compression: its compression, or None.
      limit: the maximum number of bytes of the decompressed file.
      crc: its CRC-32C in the manifest, or None if ``write`` did not make the file.
    """

    path: Path
    compression: Compression | None
    limit: int
    crc: int | None = None


class Shard(NamedTuple):
    """A file and its n records.

    Attributes:
      file: the file.
      numbers: ``int64[n]``, the number of each record in the file.
      offsets: ``int64[n]``, the position of each record in the decompressed file.
      sizes: ``int64[n]``, the number of bytes of each payload.
      lengths: ``int64[n]``, the number of steps of each example.
      checksums: ``int64[n]``, the checksum of each payload, or -1 if no index holds it.
    """

    file: File
    numbers: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    lengths: np.ndarray
    checksums: np.ndarray


class DataSet(NamedTuple):
    """What the manifest and the index of a data set hold.

    Attributes:
      schema: the schema.
      shards: the files.
      statistics: the statistics of each numeric feature, or None if an earlier version wrote it.
    """

    schema: Schema
    shards: list[Shard]
    statistics: dict[str, Statistics] | None


def open_data_set(directory: Path, *, check_files: bool) -> DataSet:
    """Read the manifest and the index of a data set that `seqjax.data.records.write` made.

    Args:
      directory: the directory of the data set.
      check_files: whether to check the size of each file and, if the index has no checksums of the
        records, the checksum of each file.

    Raises:
      CorruptRecordError: the manifest, the index or a file is damaged.
    """
    manifest = read_manifest(directory)
    path = directory / manifest["index"]["file"]
    with readable(path):
        content = path.read_bytes()
    if google_crc32c.value(content) != manifest["index"]["crc32c"]:
        raise CorruptRecordError(f"{path}: does not match its checksum; write the data set again")
    index = np.load(io.BytesIO(content))
    sizes, lengths = index["sizes"], index["lengths"]
    has_checksums = "checksums" in index
    if not has_checksums:
        _logger.warning(
            "%s: was written before the index held the checksums of the records, so all files are "
            "read to check them; write the data set again to open it at once", directory,
        )  # fmt: skip
    checksums = index["checksums"].astype(np.int64) if has_checksums else np.full(len(sizes), -1)
    if sum(entry["examples"] for entry in manifest["shards"]) != len(sizes):
        raise CorruptRecordError(
            f"{path}: the index has {len(sizes)} records, which is not the number in the manifest"
        )
    compression = manifest["compression"] and Compression(manifest["compression"])
    shards = []
    for entry in manifest["shards"]:
        count = entry["examples"]
        ends = np.cumsum(sizes[:count] + FRAME_BYTES)
        size = int(ends[-1]) if count else 0
        file = File(directory / entry["file"], compression, size, entry["crc32c"])
        shards.append(
            Shard(
                file,
                np.arange(count),
                ends - sizes[:count] - FRAME_BYTES,
                sizes[:count],
                lengths[:count],
                checksums[:count],
            )
        )
        sizes, lengths, checksums = (a[count:] for a in (sizes, lengths, checksums))
        if check_files:
            with readable(file.path):
                found = file.path.stat().st_size
            if found != entry["bytes"]:
                cut = (
                    ""
                    if compression
                    else f" from record {np.searchsorted(ends, found, 'right')} on"
                )
                raise CorruptRecordError(
                    f"{file.path}: has {found} bytes, but its manifest says {entry['bytes']}: it "
                    f"is damaged{cut}"
                )
            if not has_checksums and not is_written(file):
                raise CorruptRecordError(f"{file.path}: {NOT_WRITTEN}")
    schema = Schema.from_json(manifest["schema"])
    return DataSet(schema, shards, from_arrays(schema, index))


def is_written(file: File) -> bool:
    """Whether a file matches its checksum in the manifest."""
    crc = 0
    with readable(file.path), file.path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            crc = google_crc32c.extend(crc, piece)
    return crc == file.crc


def find_files(path: Path) -> list[Path]:
    """Return the path if it exists, or else the files that match it as a pattern, sorted by name.

    >>> find_files(Path("pyproject.t?ml"))
    [PosixPath('pyproject.toml')]
    """
    if path.exists():
        return [path]
    files = [Path(name) for name in sorted(glob.glob(str(path)))]
    if not files:
        raise ValueError(
            f"{path}: there is no such file or directory, and no file matches it as a pattern"
        )
    return files


def read_records(
    file: File, decompressed: Callable[[File], tuple[bytes, str | None]]
) -> Iterator[Record]:
    """Read all records of a file from its start to its end; no index is needed."""
    if file.compression is None:
        with readable(file.path), file.path.open("rb") as stream:
            yield from walk(stream, os.fstat(stream.fileno()).st_size)
    else:
        content, problem = decompressed(file)
        yield from walk(io.BytesIO(content), len(content))
        if problem:
            yield Record(len(content), None, problem)


def read_compressed(file: File) -> tuple[bytes, str | None]:
    """Return what can be read of a compressed file, and the problem with it or None."""
    assert file.compression is not None
    with readable(file.path):
        data = file.path.read_bytes()
    content, problem = decompress(data, file.compression, file.limit)
    if problem and file.crc is None and len(content) == file.limit:
        return b"", f"{problem}; increase max_decompressed_bytes if this is intended"
    if problem is None and file.crc not in (None, google_crc32c.value(data)):
        problem = "the file does not match its checksum"
    return content, problem


@contextlib.contextmanager
def opened(
    file: File, decompressed: Callable[[File], tuple[bytes, str | None]]
) -> Iterator[tuple[Callable[[int, int], bytes], str]]:
    """Yield ``read(size, offset)`` of the decompressed file, and its known problem."""
    if file.compression is None:
        # unlike a memory map, this is safe if the file is truncated in the meantime
        with readable(file.path), file.path.open("rb", buffering=0) as stream:

            def read(size: int, offset: int) -> bytes:
                stream.seek(offset)
                return stream.read(size)

            yield read, ""
    else:
        content, problem = decompressed(file)
        yield (
            lambda size, offset: content[offset : offset + size],
            f" ({problem})" if problem else "",
        )
