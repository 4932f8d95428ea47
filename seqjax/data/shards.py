"""The files of a data set and where the records lie in them; nothing here needs TensorFlow."""

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

NOT_WRITTEN = "is not the file that was written: it does not fit its checksum in the manifest"

_logger = logging.getLogger(__name__)


class File(NamedTuple):
    """A TFRecord file."""

    path: Path
    compression: Compression | None
    limit: int  # bytes when it is decompressed
    crc: int | None = None  # of a file of ours


class Shard(NamedTuple):
    """A file, and its records."""

    file: File
    numbers: np.ndarray  # in the file, int64[n]
    offsets: np.ndarray  # in the decompressed file, int64[n]
    sizes: np.ndarray  # of the payloads, int64[n]
    lengths: np.ndarray  # steps, int64[n]
    checksums: np.ndarray  # of the payloads, int64[n]; -1 where no index knows them


def open_data_set(directory: Path, *, check_files: bool) -> tuple[Schema, list[Shard]]:
    """Read what the manifest and the index of a data set of ours say.

    Args:
      directory: of the data set.
      check_files: whether each file must have its size, and where the index lacks the checksums of
        the records, its checksum.

    Raises:
      CorruptRecordError: one of them is damaged, or a file is not the one that was written.
    """
    manifest = read_manifest(directory)
    path = directory / manifest["index"]["file"]
    with readable(path):
        content = path.read_bytes()
    if google_crc32c.value(content) != manifest["index"]["crc32c"]:
        raise CorruptRecordError(f"{path}: does not fit its checksum; write the data set anew")
    index = np.load(io.BytesIO(content))
    sizes, lengths = index["sizes"], index["lengths"]
    has_checksums = "checksums" in index
    if not has_checksums:
        _logger.warning(
            "%s: was written before the index knew the checksums of the records, so all files are "
            "read once to check them; write it again to open it at once", directory,
        )  # fmt: skip
    checksums = index["checksums"].astype(np.int64) if has_checksums else np.full(len(sizes), -1)
    if sum(entry["examples"] for entry in manifest["shards"]) != len(sizes):
        raise CorruptRecordError(f"{path}: is not the index of {len(sizes)} records")
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
                    f"{file.path}: has {found} bytes, its manifest says {entry['bytes']}: it is "
                    f"damaged{cut}"
                )
            if not has_checksums and not is_written(file):
                raise CorruptRecordError(f"{file.path}: {NOT_WRITTEN}")
    return Schema.from_json(manifest["schema"]), shards


def is_written(file: File) -> bool:
    """Whether a file of ours has the checksum that its manifest says."""
    crc = 0
    with readable(file.path), file.path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            crc = google_crc32c.extend(crc, piece)
    return crc == file.crc


def find_files(path: Path) -> list[Path]:
    """The file or directory itself, or the files that fit a pattern, in the order of their names.

    >>> find_files(Path("pyproject.t?ml"))
    [PosixPath('pyproject.toml')]
    """
    if path.exists():
        return [path]
    files = [Path(name) for name in sorted(glob.glob(str(path)))]
    if not files:
        raise ValueError(
            f"{path}: there is no such file or directory, and none that fits a pattern"
        )
    return files


def read_records(
    file: File, decompressed: Callable[[File], tuple[bytes, str | None]]
) -> Iterator[Record]:
    """Read all records of a file without an index."""
    if file.compression is None:
        with readable(file.path), file.path.open("rb") as stream:
            yield from walk(stream, os.fstat(stream.fileno()).st_size)
    else:
        content, problem = decompressed(file)
        yield from walk(io.BytesIO(content), len(content))
        if problem:
            yield Record(len(content), None, problem)


def read_compressed(file: File) -> tuple[bytes, str | None]:
    """A compressed file as far as it goes, and what is wrong with it."""
    assert file.compression is not None
    with readable(file.path):
        data = file.path.read_bytes()
    content, problem = decompress(data, file.compression, file.limit)
    if problem and file.crc is None and len(content) == file.limit:
        return b"", f"{problem}; raise max_decompressed_bytes if that is meant"
    if problem is None and file.crc not in (None, google_crc32c.value(data)):
        problem = "the file does not fit its checksum"
    return content, problem
