"""The files of a data set and where the records lie in them; nothing here needs TensorFlow."""

import glob
import io
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


class File(NamedTuple):
    """A TFRecord file."""

    path: Path
    compression: Compression | None
    crc: int | None = None  # of a file of ours


class Shard(NamedTuple):
    """A file, and its records."""

    file: File
    numbers: np.ndarray  # in the file, int64[n]
    offsets: np.ndarray  # in the decompressed file, int64[n]
    sizes: np.ndarray  # of the payloads, int64[n]
    lengths: np.ndarray  # steps, int64[n]


def open_data_set(directory: Path, *, check_sizes: bool) -> tuple[Schema, list[Shard]]:
    """Read what the manifest and the index of a data set of ours say.

    Raises:
      CorruptRecordError: one of them is damaged, or a file has another size than it should.
    """
    manifest = read_manifest(directory)
    path = directory / manifest["index"]["file"]
    with readable(path):
        content = path.read_bytes()
    if google_crc32c.value(content) != manifest["index"]["crc32c"]:
        raise CorruptRecordError(f"{path}: does not fit its checksum; write the data set anew")
    index = np.load(io.BytesIO(content))
    sizes, lengths = index["sizes"], index["lengths"]
    compression = manifest["compression"] and Compression(manifest["compression"])
    shards = []
    for entry in manifest["shards"]:
        count = entry["examples"]
        file = File(directory / entry["file"], compression, entry["crc32c"])
        ends = np.cumsum(sizes[:count] + FRAME_BYTES)
        shards.append(
            Shard(
                file,
                np.arange(count),
                ends - sizes[:count] - FRAME_BYTES,
                sizes[:count],
                lengths[:count],
            )
        )
        sizes, lengths = sizes[count:], lengths[count:]
        if check_sizes:
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
    return Schema.from_json(manifest["schema"]), shards


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
    content, problem = decompress(data, file.compression)
    if problem is None and file.crc not in (None, google_crc32c.value(data)):
        problem = "the file does not fit its checksum"
    return content, problem
