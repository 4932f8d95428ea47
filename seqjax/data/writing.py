"""A data set on disk, and how it is written so that it is there as a whole or not at all.

A directory holds a ``manifest.json``, one TFRecord file a shard, and an index of the sizes and
lengths of their records. All but the manifest have a number of their own writer in their names, so
that the moment in which the manifest is replaced is the one that makes a new data set of them.
"""

import contextlib
import io
import json
import os
import re
import secrets
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
import google_crc32c
import numpy as np

from seqjax.checks import check_size
from seqjax.data.schema import Schema, encode
from seqjax.data.tfrecord import Compression, CorruptRecordError, frame, readable

MANIFEST = "manifest.json"
LOCK = ".lock"  # there while a process writes, and after one that was killed

_VERSION = 1
_OURS = re.compile(r"(data|index|manifest)-[0-9a-f]{16}[-.].*")
_SUFFIX = {None: "", Compression.GZIP: ".gz", Compression.ZLIB: ".zlib"}


def write(
    directory: str | os.PathLike[str],
    schema: Schema,
    examples: Iterable[Mapping[str, Any]],
    *,
    shards: int = 1,
    compression: Compression | None = None,
) -> int:
    """Write a data set, in place of the one that the directory may hold.

    Examples go to the shards in turns, as they come: example i into shard ``i % shards``. Of each
    only 16 bytes are kept in memory. The manifest is moved into place last, so that wherever the
    process is killed, the directory holds the old data set or the new one, whole. What a killed one
    left behind the next one removes.

    Args:
      directory: is made where it is not there. Files of other names in it are left alone.
      schema: of the examples.
      examples: each with all features of the schema and no other, as anything that `numpy.asarray`
        takes. Numbers may be of another dtype if the schema's can hold them; float64 is rounded to
        float32, but never to infinity.
      shards: number of files.
      compression: of the files. Reading one example of a compressed shard decompresses all of it,
        so have many.

    Returns:
      The number of examples.

    Raises:
      ValueError: an example does not fit the schema, the directory cannot be written to, or another
        process is writing to it.

    >>> import tempfile
    >>> from seqjax.data.schema import Feature
    >>> schema = Schema(sequence={"tokens": Feature(np.int32)})
    >>> write(tempfile.mkdtemp(), schema, ({"tokens": range(n)} for n in range(5)))
    5
    """
    check_size("write", "shards", shards)
    if not isinstance(compression, Compression | None):
        raise ValueError(f"compression must be a Compression or None, got {compression!r}")
    directory = Path(directory)
    generation = secrets.token_hex(8)
    ending = f"of-{shards:05}.tfrecord{_SUFFIX[compression]}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(_locked(directory))
        stack.enter_context(_swept(directory))
        writers = [
            stack.enter_context(
                _ShardWriter(directory / f"data-{generation}-{i:05}-{ending}", compression)
            )
            for i in range(shards)
        ]
        count = 0
        for example in examples:
            writers[count % shards].add(*encode(schema, example, f"example {count}"))
            count += 1
        for writer in writers:
            writer.finish()
        index = io.BytesIO()
        sizes, lengths = (
            np.concatenate([np.frombuffer(getattr(w, name), np.int64) for w in writers])
            for name in ("sizes", "lengths")
        )
        np.savez(index, sizes=sizes, lengths=lengths)
        index_path = directory / f"index-{generation}.npz"
        _write_through(index_path, index.getvalue())
        manifest = {
            "version": _VERSION,
            "compression": compression and compression.value,
            "schema": schema.to_json(),
            "examples": count,
            "steps": int(lengths.sum()),
            "shards": [writer.summary() for writer in writers],
            "index": {"file": index_path.name, "crc32c": google_crc32c.value(index.getvalue())},
        }
        manifest["crc32c"] = _manifest_crc(manifest)
        temporary = directory / f"manifest-{generation}.json"
        _write_through(temporary, (json.dumps(manifest, indent=2) + "\n").encode())
        os.replace(temporary, directory / MANIFEST)
        _sync(directory)
    return count


class _ShardWriter(contextlib.AbstractContextManager["_ShardWriter"]):
    """A file that is written record by record, and the columns of its index."""

    def __init__(self, path: Path, compression: Compression | None) -> None:
        self._path = path
        self._file = path.open("xb")
        self._stream = compression and zlib.compressobj(wbits=compression.window_bits)
        self._bytes = self._crc = 0
        self.sizes, self.lengths = array("q"), array("q")

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, payload: bytes, length: int) -> None:
        self.sizes.append(len(payload))
        self.lengths.append(length)
        record = frame(payload)
        self._write(self._stream.compress(record) if self._stream else record)

    def finish(self) -> None:
        if self._stream:
            self._write(self._stream.flush())
        self._file.flush()
        os.fsync(self._file.fileno())

    def summary(self) -> dict[str, Any]:
        return {
            "file": self._path.name,
            "examples": len(self.sizes),
            "bytes": self._bytes,
            "crc32c": self._crc,
        }

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._bytes += len(data)
        self._crc = google_crc32c.extend(self._crc, data)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other writers out; the lock of a process that is killed is free."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(directory / LOCK, blocking=False).acquire()
    except filelock.Timeout:
        raise ValueError(f"{directory}: another process is writing to it; wait for it") from None
    except OSError as error:
        raise ValueError(f"{directory}: cannot be written to: {error.strerror}") from None
    with lock:
        try:
            yield
        finally:
            with contextlib.suppress(PermissionError):  # Windows removes it after its release
                (directory / LOCK).unlink()


@contextlib.contextmanager
def _swept(directory: Path) -> Iterator[None]:
    """Remove what belongs to no data set, before and after."""

    def sweep() -> None:
        keep = set()
        if (directory / MANIFEST).exists():
            manifest = read_manifest(directory)
            keep = {item["file"] for item in (*manifest["shards"], manifest["index"])}
        for path in directory.iterdir():
            if _OURS.fullmatch(path.name) and path.name not in keep:
                path.unlink()

    sweep()
    try:
        yield
    finally:
        sweep()


def _write_through(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no directories
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _manifest_crc(manifest: Mapping[str, Any]) -> int:
    content = {key: value for key, value in manifest.items() if key != "crc32c"}
    return google_crc32c.value(json.dumps(content, sort_keys=True).encode())


def read_manifest(directory: Path) -> dict[str, Any]:
    """Read what a directory holds, and check it.

    Raises:
      CorruptRecordError: it is damaged.
      ValueError: there is none, or it was written by a later version.

    >>> import tempfile
    >>> from seqjax.data.schema import Feature
    >>> directory = Path(tempfile.mkdtemp())
    >>> write(directory, Schema(sequence={"tokens": Feature(np.int32)}), [{"tokens": [1, 2]}])
    1
    >>> read_manifest(directory)["steps"]
    2
    """
    path = directory / MANIFEST
    if not path.exists():
        raise ValueError(
            f"{directory}: has no {MANIFEST}; name files of another origin by a pattern such as "
            f"{directory}/*.tfrecord, and give their schema"
        )
    try:
        with readable(path):
            manifest = json.loads(path.read_bytes())
        good = manifest["crc32c"] == _manifest_crc(manifest)
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError):
        good = False
    if not good:
        raise CorruptRecordError(f"{path}: does not fit its checksum; restore it or remove it")
    if manifest["version"] != _VERSION:
        raise ValueError(f"{path}: is of version {manifest['version']}, expected {_VERSION}")
    return manifest
