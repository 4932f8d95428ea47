"""The files of a stream of records, on any file system that TensorFlow opens."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seqjax.data.schema import Schema, check_schema
from seqjax.data.tensorflow import tensorflow_without_gpus
from seqjax.data.tfrecord import Compression
from seqjax.data.writing import MANIFEST, read_manifest


class StreamFiles(NamedTuple):
    """The files of a stream.

    Attributes:
      paths: the paths, in the order of a stream that is not shuffled.
      compression: the name of their compression in TensorFlow; empty for none.
    """

    paths: list[str]
    compression: str

    def sizes(self) -> list[tuple[str, int]]:
        """The path and the number of bytes of each file."""
        stat = tensorflow_without_gpus().io.gfile.stat
        return [(path, int(stat(path).length)) for path in self.paths]

    def name(self, wanted: bytes) -> str:
        """The file and the number of a record, which this searches for."""
        for path in self.paths:
            for number, payload in enumerate(self._records_of(path)):
                if payload == wanted:
                    return f"{path}: record {number}"
        return "a record that is no longer in the files"

    def damage(self) -> str | None:
        """The first file that cannot be read to its end, and the record."""
        tf = tensorflow_without_gpus()
        for path in self.paths:
            number = 0
            try:
                for _ in self._records_of(path):
                    number += 1
            except tf.errors.OpError as error:
                return f"{path}: record {number}: {error.message}"
        return None

    def _records_of(self, path: str) -> Iterator[bytes]:
        tf = tensorflow_without_gpus()
        yield from tf.data.TFRecordDataset(path, self.compression).as_numpy_iterator()


def find_files(
    path: str, schema: Schema | None, compression: Compression | None
) -> tuple[StreamFiles, Schema]:
    """The files at ``path``, and the features to read.

    A directory of `seqjax.data.records.write` stores its compression and a schema.

    Raises:
      ValueError: there is no such file, or no schema.
    """
    if schema is not None:
        check_schema(schema)
    if (Path(path) / MANIFEST).exists():
        manifest = read_manifest(Path(path))
        paths = [os.path.join(path, shard["file"]) for shard in manifest["shards"]]
        stored = manifest["compression"]
        compression = stored and Compression(stored)
        schema = schema or Schema.from_json(manifest["schema"])
    else:
        gfile = tensorflow_without_gpus().io.gfile
        is_file = gfile.exists(path) and not gfile.isdir(path)
        paths = [path] if is_file else sorted(gfile.glob(path))
        paths = [path for path in paths if not gfile.isdir(path)]
        if not paths:
            raise ValueError(
                f"{path}: there is no such file, no file matches it as a pattern, and it is no "
                "directory that seqjax.data.records.write made"
            )
        if schema is None:
            raise ValueError(f"{path}: give the schema; only directories made by write store one")
    return StreamFiles(paths, compression.name if compression else ""), schema
