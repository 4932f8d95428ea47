"""The TFRecord container: records with checksums, plain or compressed, read without TensorFlow.

A file is a sequence of records::

    uint64 length | uint32 masked CRC-32C of the length | payload | uint32 masked CRC-32C of it

Integers are little-endian. A compressed file is one gzip or zlib stream of such a sequence.
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
FRAME_BYTES = 16  # the bytes of a record in addition to its payload
DECOMPRESSED_BYTES = 1 << 31  # default limit of the size of a decompressed file

_FOREIGN = "this is not a TFRecord file, or it is damaged at its start"
_PIECE = 1 << 14  # compressed bytes per call; damage loses at most this many bytes before it


class CorruptRecordError(ValueError):
    """Raised when a record or a file is damaged; the message names it and the problem.

    >>> issubclass(CorruptRecordError, ValueError)
    True
    """


class Compression(enum.Enum):
    """The compression of a whole file; None means uncompressed.

    >>> Compression("gzip")
    <Compression.GZIP: 'gzip'>
    """

    GZIP = "gzip"
    ZLIB = "zlib"

    @property
    def window_bits(self) -> int:
        """The ``wbits`` argument of `zlib` for this format."""
        return 31 if self is Compression.GZIP else 15


class Record(NamedTuple):
    """A record of a file, or the problem with it.

    Attributes:
      offset: the position of its header in the decompressed file.
      payload: its content, or None if it cannot be read.
      problem: what is wrong with it, or None.
    """

    offset: int
    payload: bytes | None
    problem: str | None


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
    """Return the TFRecord checksum of ``data``, a rotated and shifted CRC-32C.

    >>> hex(masked_crc(b"123456789"))
    '0xc78ab0e5'
    """
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@functools.lru_cache(maxsize=65536)
def header(length: int) -> bytes:
    """Return the 12 bytes that precede a payload of ``length`` bytes.

    >>> header(3).hex()
    '0300000000000000b099490e'
    """
    packed = struct.pack("<Q", length)
    return packed + struct.pack("<I", masked_crc(packed))


def frame(payload: bytes) -> bytes:
    """Return the record that holds ``payload``.

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
    """Return the payload of a record, after checking both checksums.

    Args:
      record: the bytes of the record.
      length: the number of bytes of its payload.
      checksum: the checksum of the payload, if an index holds it.

    Raises:
      CorruptRecordError: the record is truncated, or its length or a checksum does not match.

    >>> unframe(frame(b"abc").replace(b"b", b"x"), 3)
    Traceback (most recent call last):
    ...
    seqjax.data.tfrecord.CorruptRecordError: the payload does not match its checksum
    """
    if len(record) < length + FRAME_BYTES:
        raise CorruptRecordError(
            f"the file is truncated: it has {len(record)} of {length + FRAME_BYTES} bytes here"
        )
    if not record.startswith(header(length)):
        raise CorruptRecordError(f"the header does not match a payload of {length} bytes")
    payload = record[HEADER_BYTES : HEADER_BYTES + length]
    if masked_crc(payload) != payload_checksum(record):
        raise CorruptRecordError("the payload does not match its checksum")
    if checksum not in (None, payload_checksum(record)):
        raise CorruptRecordError("the record is not the one that was written here")
    return payload


def walk(file: BinaryIO, size: int) -> Iterator[Record]:
    """Yield all records of an uncompressed file, good or bad.

    After a payload that does not match its checksum, reading continues with the next record. It
    stops after a bad header and at the end of a truncated file, where the next record cannot be
    found. If the first header is bad, the file most likely has another format.

    Args:
      file: a file, read from its start.
      size: its number of bytes, so that a wrong length is never allocated.

    >>> import io
    >>> file = frame(b"abc") + frame(b"de")[:-1]
    >>> for record in walk(io.BytesIO(file), len(file)):
    ...     print(record)
    Record(offset=0, payload=b'abc', problem=None)
    Record(offset=19, payload=None, problem='the file is truncated: it has 17 of 18 bytes here')
    """
    offset = 0
    while offset < size:
        rest = f"; the last {size - offset} bytes of the file are lost"
        head = file.read(HEADER_BYTES)
        if len(head) < HEADER_BYTES:
            cut = f"the file is truncated: it has {len(head)} of {HEADER_BYTES} bytes of a header"
            yield Record(offset, None, cut if offset else f"{_FOREIGN}: {cut}")
            return
        length = int.from_bytes(head[:8], "little")
        if head != header(length):
            misfit = f"the header does not match its checksum{rest}"
            yield Record(offset, None, misfit if offset else f"{_FOREIGN}: {misfit}")
            return
        # never ask for more bytes than the file has
        body = file.read(min(length + 4, size - offset - HEADER_BYTES))
        try:
            yield Record(offset, unframe(head + body, length), None)
        except CorruptRecordError as error:
            yield Record(offset, None, str(error))
        offset += length + FRAME_BYTES


def find_compression(path: Path) -> Compression | None:
    """Return the compression of a file, judged by its first bytes.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "records"
    >>> _ = path.write_bytes(zlib.compress(frame(b"abc")))
    >>> find_compression(path)
    <Compression.ZLIB: 'zlib'>
    """
    with readable(path), path.open("rb") as file:
        start = file.read(HEADER_BYTES)
    # a plain file may start like a compressed one by chance, but its first checksum matches
    if start == header(int.from_bytes(start[:8], "little")):
        return None
    if start.startswith(b"\x1f\x8b"):
        return Compression.GZIP
    is_zlib = start[:1] == b"\x78" and int.from_bytes(start[:2], "big") % 31 == 0
    return Compression.ZLIB if is_zlib else None


def decompress(
    data: bytes, compression: Compression, limit: int = DECOMPRESSED_BYTES
) -> tuple[bytes, str | None]:
    """Return what can be read of a compressed file, and the problem with it or None.

    Args:
      data: the content of the file.
      compression: its compression.
      limit: the maximum number of bytes to return.

    >>> decompress(zlib.compress(b"abc"), Compression.ZLIB)
    (b'abc', None)
    >>> decompress(zlib.compress(b"abc")[:-4], Compression.ZLIB)
    (b'abc', 'the zlib stream is truncated')
    >>> decompress(zlib.compress(b"abc"), Compression.ZLIB, limit=2)
    (b'ab', 'the zlib stream decompresses to more than 2 bytes')
    """
    pieces: list[bytes] = []
    left = limit
    rest = data
    while rest:  # a gzip file may be several streams in a row
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
            return b"".join(pieces), f"the {compression.value} stream is truncated"
        rest = stream.unused_data + rest[start + _PIECE :]
    return b"".join(pieces), None
