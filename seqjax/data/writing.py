"""Writing a data set atomically: a reader finds the complete old or the complete new data set.

A directory holds a ``manifest.json``, one TFRecord file for each shard, and an index with the
size, the length and the checksum of each record and the statistics of each feature. Each writer
puts a random number into the names of its files, except for the manifest, so replacing the manifest
switches to the new data set.
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
from pathlib import Path, PureWindowsPath
from typing import Any

import filelock
import google_crc32c
import numpy as np

from seqjax.checks import check_size
from seqjax.data.encoding import conform_example, serialize
from seqjax.data.ragged import Ragged
from seqjax.data.schema import Schema, check_schema
from seqjax.data.statistics import RunningStatistics, Statistics, to_arrays
from seqjax.data.tfrecord import (
    Compression,
    CorruptRecordError,
    frame,
    payload_checksum,
    readable,
)

MANIFEST = "manifest.json"
LOCK = ".lock"  # exists while a process writes, and after it is killed

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
    """Write a data set; it replaces the one in the directory, if any.

    Example i goes to shard ``i % shards``. Only 20 bytes of each example stay in memory. The
    manifest is moved into place last, so the directory always holds the complete old or the
    complete new data set, even if the process is killed. The next writer removes the files that a
    killed writer left.

    The statistics of the numeric features are stored too, see `seqjax.data.statistics`. NaN counts
    as a missing value.

    Args:
      directory: the directory of the data set, created if needed. Other files in it are kept.
      schema: the schema of the examples.
      examples: dictionaries with exactly the features of the schema, in any form that
        `numpy.asarray` takes. Numbers of another dtype are accepted if the dtype of the schema can
        hold them; float64 is rounded to float32, but never to infinity.
      shards: the number of files.
      compression: the compression of the files. Reading one example of a compressed shard
        decompresses the whole shard, so use many shards.

    Returns:
      The number of examples.

    Raises:
      ValueError: an example does not match the schema, the directory is not writable, or another
        process is writing to it.

    >>> import tempfile
    >>> from seqjax.data.schema import Feature
    >>> schema = Schema(sequence={"tokens": Feature(np.int32)})
    >>> write(tempfile.mkdtemp(), schema, ({"tokens": range(n)} for n in range(5)))
    5
    """
    check_schema(schema)
    if not isinstance(examples, Iterable):
        raise ValueError(f"examples must be an iterable of dictionaries, got {examples!r}")
    with DataSetWriter(directory, schema, shards=shards, compression=compression) as writer:
        for k, example in enumerate(examples):
            values = conform_example(schema, example, f"example {k}")
            writer.add(values, serialize(schema, values))
        writer.complete()
        writer.publish()
    return writer.count


class DataSetWriter(contextlib.AbstractContextManager["DataSetWriter"]):
    """A writer of one data set in steps, so that several data sets can be replaced at once.

    Use it in a ``with`` block: `add` the examples, `complete` the files, `publish` them. The end of
    the block removes what is not published.

    Args:
      directory: see `write`.
      schema: see `write`.
      shards: see `write`.
      compression: see `write`.

    >>> import tempfile
    >>> from seqjax.data.schema import Feature
    >>> schema = Schema(sequence={"tokens": Feature(np.int32)})
    >>> with DataSetWriter(tempfile.mkdtemp(), schema) as writer:
    ...     example = conform_example(schema, {"tokens": [1, 2]}, "line 1")
    ...     writer.add(example, serialize(schema, example))
    ...     writer.complete()
    ...     writer.publish()
    >>> writer.count, writer.steps
    (1, 2)
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        schema: Schema,
        *,
        shards: int = 1,
        compression: Compression | None = None,
    ) -> None:
        check_size("write", "shards", shards)
        if not isinstance(compression, Compression | None):
            raise ValueError(f"compression must be a Compression or None, got {compression!r}")
        self._directory = Path(directory)
        self._schema, self._shards, self._compression = schema, shards, compression
        self._generation = secrets.token_hex(8)
        self._temporary = self._directory / f"manifest-{self._generation}.json"
        self._running = RunningStatistics(schema)
        self._stack = contextlib.ExitStack()
        self._writers: list[_ShardWriter] = []
        self.count = self.steps = 0

    def __enter__(self) -> "DataSetWriter":
        """Lock out other writers, and open the files."""
        ending = f"of-{self._shards:05}.tfrecord{_SUFFIX[self._compression]}"
        with contextlib.ExitStack() as stack:
            stack.enter_context(_locked(self._directory))
            stack.enter_context(_swept(self._directory))
            for i in range(self._shards):
                path = self._directory / f"data-{self._generation}-{i:05}-{ending}"
                self._writers.append(stack.enter_context(_ShardWriter(path, self._compression)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        """Close the files, and remove those of incomplete or replaced data sets."""
        return self._stack.__exit__(*error)

    def add(self, example: Mapping[str, np.ndarray | Ragged], record: tuple[bytes, int]) -> None:
        """Write an example.

        Args:
          example: the result of `seqjax.data.encoding.conform_example`.
          record: the result of `seqjax.data.encoding.serialize` for it.
        """
        self._running.add(example)
        self._writers[self.count % self._shards].add(*record)
        self.count += 1
        self.steps += record[1]

    def statistics(self) -> dict[str, Statistics]:
        """Return the statistics of the examples so far."""
        return self._running.result()

    def complete(self) -> None:
        """Write all but the manifest to the disk; readers still find the data set before."""
        for writer in self._writers:
            writer.finish()
        columns = {
            name: np.concatenate([np.frombuffer(getattr(w, name), dtype) for w in self._writers])
            for name, dtype in (("sizes", "int64"), ("lengths", "int64"), ("checksums", "uint32"))
        }
        index = io.BytesIO()
        np.savez(index, allow_pickle=False, **columns, **to_arrays(self._schema, self.statistics()))
        index_path = self._directory / f"index-{self._generation}.npz"
        _write_through(index_path, index.getvalue())
        manifest = {
            "version": _VERSION,
            "compression": self._compression and self._compression.value,
            "schema": self._schema.to_json(),
            "examples": self.count,
            "steps": self.steps,
            "shards": [writer.summary() for writer in self._writers],
            "index": {"file": index_path.name, "crc32c": google_crc32c.value(index.getvalue())},
        }
        manifest["crc32c"] = _manifest_crc(manifest)
        _write_through(self._temporary, (json.dumps(manifest, indent=2) + "\n").encode())

    def publish(self) -> None:
        """Replace the data set that was there before."""
        os.replace(self._temporary, self._directory / MANIFEST)
        _sync(self._directory)


class _ShardWriter(contextlib.AbstractContextManager["_ShardWriter"]):
    """A writer of one file, which collects the columns of its index."""

    def __init__(self, path: Path, compression: Compression | None) -> None:
        self._path = path
        self._file = path.open("xb")
        self._stream = compression and zlib.compressobj(wbits=compression.window_bits)
        self._bytes = self._crc = 0
        self.sizes, self.lengths, self.checksums = array("q"), array("q"), array("I")

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, payload: bytes, length: int) -> None:
        self.sizes.append(len(payload))
        self.lengths.append(length)
        record = frame(payload)
        self.checksums.append(payload_checksum(record))
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
    """Lock out other writers; a killed process releases the lock."""
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
            with contextlib.suppress(PermissionError):  # on Windows, the lock removes the file
                (directory / LOCK).unlink()


@contextlib.contextmanager
def _swept(directory: Path) -> Iterator[None]:
    """Remove the files of incomplete and replaced data sets, before and after the block."""

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
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot open directories
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
    """Read and check the manifest of a data set.

    Raises:
      CorruptRecordError: the manifest is damaged.
      ValueError: there is no manifest, or another version wrote it.

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
            f"{directory}: has no {MANIFEST}; for files that write did not make, give a pattern "
            f"such as {directory}/*.tfrecord and their schema"
        )
    try:
        with readable(path):
            manifest = json.loads(path.read_bytes())
        good = manifest["crc32c"] == _manifest_crc(manifest)
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError):
        good = False
    if not good:
        raise CorruptRecordError(f"{path}: does not match its checksum; restore it or remove it")
    if manifest.get("version") != _VERSION:
        raise ValueError(f"{path}: is of version {manifest.get('version')}, expected {_VERSION}")
    try:
        names = [item["file"] for item in (*manifest["shards"], manifest["index"])]
        # must not lead out of the folder, whatever separators a system uses
        good = all(_OURS.fullmatch(name) and PureWindowsPath(name).name == name for name in names)
    except (KeyError, TypeError):
        good = False
    if not good:
        raise CorruptRecordError(
            f"{path}: must name files of its own folder that write made; restore it or remove it"
        )
    return manifest
