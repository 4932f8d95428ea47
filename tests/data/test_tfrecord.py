"""The container: framing, checksums, compression. No TensorFlow here; its files are in golden/."""

import gzip
import io
import pathlib
import zlib

import pytest

from seqjax.data.tfrecord import (
    Compression,
    CorruptRecordError,
    decompress,
    find_compression,
    frame,
    header,
    unframe,
    walk,
)

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
PAYLOADS = [b"", b"a", b"some payload", bytes(range(256))]
FILE = b"".join(map(frame, PAYLOADS))


def walked(data):
    return list(walk(io.BytesIO(data), len(data)))


def payloads(data):
    return [record.payload for record in walked(data) if record.problem is None]


def test_the_files_that_tensorflow_wrote_are_read_and_framed_alike():
    data = (GOLDEN / "data_misc.tfrecord").read_bytes()
    assert payloads(data) == [b"", b"x", bytes(range(256)) * 5]
    assert b"".join(map(frame, payloads(data))) == data


@pytest.mark.parametrize(("suffix", "compression"), [("gz", "gzip"), ("zlib", "zlib")])
def test_the_compressed_files_that_tensorflow_wrote_hold_the_plain_one(suffix, compression):
    path = GOLDEN / f"data_seqex.tfrecord.{suffix}"
    assert find_compression(path) is Compression(compression)
    plain = (GOLDEN / "data_seqex.tfrecord").read_bytes()
    assert decompress(path.read_bytes(), Compression(compression)) == (plain, None)


def test_every_flipped_bit_is_found_and_costs_no_record_before_it():
    starts = [record.offset for record in walked(FILE)]
    for at in range(len(FILE)):
        for bit in range(8):
            mutated = bytearray(FILE)
            mutated[at] ^= 1 << bit
            records = walked(bytes(mutated))
            damaged = max(k for k, start in enumerate(starts) if start <= at)
            assert [r.payload for r in records[:damaged]] == PAYLOADS[:damaged]
            assert records[damaged].problem
            # a payload costs itself, a header all that comes after
            rest = [] if at - starts[damaged] < 12 else PAYLOADS[damaged + 1 :]
            assert [r.payload for r in records[damaged + 1 :]] == rest


def test_every_cut_is_found_but_one_between_records():
    starts = [record.offset for record in walked(FILE)] + [len(FILE)]
    for size in range(len(FILE)):
        records = walked(FILE[:size])
        assert payloads(FILE[:size]) == PAYLOADS[: sum(start <= size for start in starts) - 1]
        assert bool(records and records[-1].problem) == (size not in starts)


def test_a_length_that_the_file_cannot_hold_is_not_allocated():
    (record,) = walked(header(1 << 62) + b"abc")
    assert record.problem == f"the file is truncated: it has 15 of {(1 << 62) + 16} bytes here"


def test_the_lost_bytes_are_said():
    data = FILE + b"\0" * 20
    assert walked(data)[-1].problem == (
        "the header does not match its checksum; the last 20 bytes of the file are lost"
    )


def test_a_record_of_another_length_is_none():
    with pytest.raises(CorruptRecordError, match="does not match a payload of 2 bytes"):
        unframe(frame(b"abc"), 2)
    with pytest.raises(CorruptRecordError, match="the file is truncated: it has 19 of 20 bytes"):
        unframe(frame(b"abc"), 4)


@pytest.mark.parametrize("length", [0x8B1F, 0x9C78])
def test_a_plain_file_that_starts_like_a_compressed_one_is_plain(tmp_path, length):
    path = tmp_path / "file"
    path.write_bytes(frame(bytes(length)))
    assert find_compression(path) is None


@pytest.mark.parametrize(("level", "start"), [(0, "7801"), (3, "785e"), (6, "789c"), (9, "78da")])
def test_zlib_is_known_at_every_level(tmp_path, level, start):
    data = zlib.compress(FILE, level)
    assert data.hex().startswith(start)
    path = tmp_path / "file"
    path.write_bytes(data)
    assert find_compression(path) is Compression.ZLIB


@pytest.mark.parametrize(
    ("compression", "compress"), [("gzip", gzip.compress), ("zlib", zlib.compress)]
)
def test_a_damaged_stream_is_found_and_gives_what_comes_before(compression, compress):
    data = compress(FILE)
    for at in range(len(data)):
        content, problem = decompress(data[:at], Compression(compression))
        assert FILE.startswith(content)
        assert problem or not at
        content, problem = decompress(
            data[:at] + bytes((data[at] ^ 0x55,)) + data[at + 1 :], Compression(compression)
        )
        # what the stream does not notice, such as a time in its header, harms nothing
        assert problem or content == FILE


def test_streams_one_after_the_other_are_one_file():
    data = gzip.compress(FILE[:100]) + gzip.compress(b"") + gzip.compress(FILE[100:])
    assert decompress(data, Compression.GZIP) == (FILE, None)


def test_a_large_stream_comes_in_pieces():
    content = b"".join(frame(bytes(n)) for n in range(1500))
    assert decompress(zlib.compress(content, 0), Compression.ZLIB) == (content, None)
