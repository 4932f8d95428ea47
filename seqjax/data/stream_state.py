"""The folder that holds the state of a stream of records.

It has three parts under checksums: what the stream has counted, the records that it has read and
not returned, and the iterator of ``tf.data``.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import google_crc32c

from seqjax.data.tfrecord import frame, walk

ITERATOR = "iterator"  # the prefix of the files of ``tf.train.Checkpoint``
_STATE, _PENDING = "state.json", "pending.tfrecord"


def write_state(
    folder: Path,
    about: dict[str, Any],
    payloads: Sequence[bytes],
    write_iterator: Callable[[str], Any],
) -> None:
    """Write the state to a new folder, which appears whole or not at all.

    Args:
      folder: the folder; it must not exist.
      about: JSON data.
      payloads: the records that were read and not returned.
      write_iterator: writes the iterator to files with the prefix that it is given.

    Raises:
      ValueError: the folder exists.
      OSError: the folder cannot be written.
    """
    if folder.exists():
        raise ValueError(f"{folder}: exists; save each state to a folder of its own")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / _PENDING).write_bytes(b"".join(map(frame, payloads)))
        write_iterator(str(partial / ITERATOR))
        checksums = {path.name: _checksum(path) for path in sorted(partial.iterdir())}
        content = json.dumps({**about, "crc32c": checksums})
        crc = google_crc32c.value(content.encode())
        (partial / _STATE).write_text(f"{crc}\n{content}\n", encoding="utf-8")
        os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_state(folder: Path) -> tuple[dict[str, Any], list[bytes]]:
    """Read what `write_state` wrote, except for the iterator, and check all files.

    Raises:
      ValueError: the folder holds no state, or one that is damaged.
    """
    try:
        crc, content = (folder / _STATE).read_bytes().split(b"\n", 1)
        content = content.removesuffix(b"\n")
        if int(crc) != google_crc32c.value(content):
            raise ValueError(f"{_STATE} does not match its checksum")
        about: dict[str, Any] = json.loads(content)
        for name, wanted in about["crc32c"].items():
            if _checksum(folder / name) != wanted:
                raise ValueError(f"{name} does not match its checksum")
    except OSError as error:
        raise ValueError(
            f"{folder}: holds no state of a stream: {error.strerror}; give a folder that save wrote"
        ) from None
    except ValueError as error:
        raise ValueError(f"{folder}: is damaged: {error}; resume from another state") from None
    path = folder / _PENDING
    with path.open("rb") as file:
        return about, [record.payload or b"" for record in walk(file, path.stat().st_size)]


def _checksum(path: Path) -> int:
    return google_crc32c.value(path.read_bytes())
