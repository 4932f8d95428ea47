"""The TFRecord container: framed records with checksums, plain or compressed. Needs no TensorFlow.

A file is a sequence of records, and nothing else::

    uint64 length | uint32 masked CRC-32C of the length | payload | uint32 masked CRC-32C of it

all little-endian. A compressed file is one such sequence as a whole in a gzip or zlib stream.
"""

import contextlib
import enum
import functools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import google_crc32c

HEADER_BYTES = 12
FRAME_BYTES = 16  # what a record has beside its payload
DECOMPRESSED_BYTES = 1 << 31  # the most that a file may decompress to where nothing says otherwise

_FOREIGN = "this is no TFRecord file, or one that is damaged at its start"
_PIECE = 1 << 14  # what is lost of a stream in front of a damage, at most


class CorruptRecordError(ValueError):
    """A record, or a file of them, is not what was written; the message says which and why.

    >>> issubclass(CorruptRecordError, ValueError)
    True
    """


class Compression(enum.Enum):
    """How a whole file is compressed; None in its place means not at all.

    >>> Compression("gzip")
    <Compression.GZIP: 'gzip'>
    """

    GZIP = "gzip"
    ZLIB = "zlib"

    @property
    def window_bits(self) -> int:
        """What `zlib` takes for this format."""
        return 31 if self is Compression.GZIP else 15


class Record(NamedTuple):
    """A record as it was found, or what is wrong with it."""

    offset: int  # of its header, in the decompressed file
    payload: bytes | None  # None where it cannot be had
    problem: str | None  # None where nothing is wrong


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn an error of the file system into a `CorruptRecordError` that names the file.

    >>> with readable(Path("nowhere")):
    ...     open("nowhere")
    Traceback (most recent call last):
    ...
    seqjax.data.tfrecord.CorruptRecordError: nowhere: cannot be read: No such file or directory
    """
    try:
        yield
    except OSError as error:
        raise CorruptRecordError(f"{path}: cannot be read: {error.strerror}") from None


def masked_crc(data: bytes) -> int:
    """Compute the checksum that TFRecord keeps of ``data``: CRC-32C, rotated and shifted.

    >>> hex(masked_crc(b"123456789"))
    '0xc78ab0e5'
    """
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@functools.lru_cache(maxsize=65536)
def header(length: int) -> bytes:
    """Return the 12 bytes in front of a payload of ``length`` bytes.

    >>> header(3).hex()
    '0300000000000000b099490e'
    """
    packed = struct.pack("<Q", length)
    return packed + struct.pack("<I", masked_crc(packed))


def frame(payload: bytes) -> bytes:
    """Return the record of ``payload``.

    >>> unframe(frame(b"abc"), 3)
    b'abc'
    """
    return header(len(payload)) + payload + struct.pack("<I", masked_crc(payload))


def payload_checksum(record: bytes) -> int:
    """Return the checksum at the end of a record.

    >>> payload_checksum(frame(b"abc")) == masked_crc(b"abc")
    True
    """
    return int.from_bytes(record[-4:], "little")


def unframe(record: bytes, length: int, checksum: int | None = None) -> bytes:
    """Return the payload of ``length`` bytes of a record, after a check of both its checksums.

    Args:
      record: as it lies in the file.
      length: of its payload.
      checksum: of the payload, where an index knows it.

    Raises:
      CorruptRecordError: it is cut, or a checksum or the length does not fit.

    >>> unframe(frame(b"abc").replace(b"b", b"x"), 3)
    Traceback (most recent call last):
    ...
    seqjax.data.tfrecord.CorruptRecordError: the payload does not fit its checksum
    """
    if len(record) < length + FRAME_BYTES:
        raise CorruptRecordError(
            f"the file is cut: {len(record)} of its {length + FRAME_BYTES} bytes are there"
        )
    if not record.startswith(header(length)):
        raise CorruptRecordError(f"the header is not that of a payload of {length} bytes")
    payload = record[HEADER_BYTES : HEADER_BYTES + length]
    if masked_crc(payload) != payload_checksum(record):
        raise CorruptRecordError("the payload does not fit its checksum")
    if checksum not in (None, payload_checksum(record)):
        raise CorruptRecordError("it is another record than the one written there")
    return payload


def walk(file: BinaryIO, size: int) -> Iterator[Record]:
    """Yield the records of an uncompressed file from its start, good or bad.

    After a payload that does not fit its checksum comes the next record. After a header that does
    not, or a file that is cut, comes nothing: where the next record starts cannot be known. Where
    that is the first header, the file is most likely of another format.

    Args:
      file: at its start.
      size: its bytes, so that a wrong length is never allocated.

    >>> import io
    >>> file = frame(b"abc") + frame(b"de")[:-1]
    >>> for record in walk(io.BytesIO(file), len(file)):
    ...     print(record)
    Record(offset=0, payload=b'abc', problem=None)
    Record(offset=19, payload=None, problem='the file is cut: 17 of its 18 bytes are there')
    """
    offset = 0
    while offset < size:
        rest = f"; the last {size - offset} bytes of the file are lost"
        head = file.read(HEADER_BYTES)
        if len(head) < HEADER_BYTES:
            cut = f"the file is cut: {len(head)} bytes of a header are there"
            yield Record(offset, None, cut if offset else f"{_FOREIGN}: {cut}")
            return
        length = int.from_bytes(head[:8], "little")
        if head != header(length):
            misfit = f"the header does not fit its checksum{rest}"
            yield Record(offset, None, misfit if offset else f"{_FOREIGN}: {misfit}")
            return
        # a length that the file cannot hold is never asked for
        body = file.read(min(length + 4, size - offset - HEADER_BYTES))
        try:
            yield Record(offset, unframe(head + body, length), None)
        except CorruptRecordError as error:
            yield Record(offset, None, str(error))
        offset += length + FRAME_BYTES


def find_compression(path: Path) -> Compression | None:
    """Tell by its first bytes how a file is compressed.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "records"
    >>> _ = path.write_bytes(zlib.compress(frame(b"abc")))
    >>> find_compression(path)
    <Compression.ZLIB: 'zlib'>
    """
    with readable(path), path.open("rb") as file:
        start = file.read(HEADER_BYTES)
    # a plain file may start like a compressed one by chance, but not with a checksum that fits
    if start == header(int.from_bytes(start[:8], "little")):
        return None
    if start.startswith(b"\x1f\x8b"):
        return Compression.GZIP
    is_zlib = start[:1] == b"\x78" and int.from_bytes(start[:2], "big") % 31 == 0
    return Compression.ZLIB if is_zlib else None


def decompress(
    data: bytes, compression: Compression, limit: int = DECOMPRESSED_BYTES
) -> tuple[bytes, str | None]:
    """Return what can be had of a compressed file, and what is wrong with it.

    Args:
      data: the file.
      compression: of it.
      limit: bytes of what is returned, at most.

    >>> decompress(zlib.compress(b"abc"), Compression.ZLIB)
    (b'abc', None)
    >>> decompress(zlib.compress(b"abc")[:-4], Compression.ZLIB)
    (b'abc', 'the zlib stream is cut')
    >>> decompress(zlib.compress(b"abc"), Compression.ZLIB, limit=2)
    (b'ab', 'the zlib stream decompresses to more than 2 bytes')
    """
    pieces: list[bytes] = []
    left = limit
    rest = data
    while rest:  # a gzip file may have several streams, one after the other
        stream = zlib.decompressobj(compression.window_bits)
        try:
            for start in range(0, len(rest), _PIECE):
                piece = stream.decompress(rest[start : start + _PIECE])
                pieces.append(piece[:left])
                if len(piece) > left:
                    problem = f"decompresses to more than {limit:,} bytes"
                    return b"".join(pieces), f"the {compression.value} stream {problem}"
                left -= len(piece)
                if stream.eof:
                    break
        except zlib.error as error:
            return b"".join(pieces), f"the {compression.value} stream is damaged: {error}"
        if not stream.eof:
            return b"".join(pieces), f"the {compression.value} stream is cut"
        rest = stream.unused_data + rest[start + _PIECE :]
    return b"".join(pieces), None
