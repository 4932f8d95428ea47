"""Damage of every kind to a data set is named, or skipped where that is asked for."""

import gzip
import io
import json
import logging
import os
import tracemalloc
import zlib

import google_crc32c
import numpy as np
import pytest

from seqjax.data.convert import main
from seqjax.data.records import (
    Compression,
    CorruptRecordError,
    RecordSource,
    infer_schema,
    write,
)
from seqjax.data.tfrecord import FRAME_BYTES, frame
from seqjax.data.writing import _manifest_crc, read_manifest
from tests.data.record_examples import (
    COMPRESSIONS,
    EXAMPLES,
    SCHEMA,
    X,
    assert_same,
    files,
    flip,
    foreign,
    in_shards,
    is_same,
    read_all,
    serialize,
)

# Each case gives the file to read and what the error has to say after its name.


def x_record(**changes):
    steps = {"x": [[1], [2], [3]], "y": [[1.0, 2.0]] * 3, **changes.pop("sequence", {})}
    context = {"a": [5], **changes.pop("context", {})}
    return serialize(
        {name: v for name, v in context.items() if v is not None},
        {name: v for name, v in steps.items() if v is not None},
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": {"a": None}}, r"context feature 'a' is missing; there are \[\]"),
        (
            {"context": {"a": []}},
            "context feature 'a': it holds 0 values, but the schema says int64",
        ),
        ({"context": {"a": [1, 2]}}, "context feature 'a': it holds 2 values"),
        ({"context": {"a": [1.0]}}, "context feature 'a': wrong dtype: it holds float32"),
        ({"sequence": {"x": None}}, r"sequence feature 'x' is missing; there are \['y'\]"),
        ({"sequence": {"x": None, "y": []}}, "sequence feature 'x' is missing"),
        ({"sequence": {"x": [[1.0]] * 3}}, "'x', step 0: wrong dtype: it holds float32"),
        ({"sequence": {"x": [[1], [b""], [2]]}}, "'x', step 1: wrong dtype: it holds bytes"),
        ({"sequence": {"x": [[1], [], [2, 3]]}}, "'x', step 1: it holds 0 values"),
        (
            {"sequence": {"x": [[1], [2], [2**31]]}},
            "'x', step 2: it: 2147483648 cannot be stored as int32",
        ),
        ({"sequence": {"y": [[1.0], [2.0, 3.0, 4.0], [5.0, 6.0]]}}, "'y', step 0: it holds 1 val"),
        ({"sequence": {"y": [[1.0, 2.0]] * 2}}, "ragged: .*'x': 3, 'y': 2"),
    ],
)
def test_a_record_that_does_not_fit_the_schema_is_named(tmp_path, caplog, changes, message):
    good = x_record()
    path = foreign(tmp_path, [good, x_record(**changes), good])
    with pytest.raises(CorruptRecordError, match=f"{path}: record 1: .*{message}"):
        RecordSource(path, X)
    source = RecordSource(path, X, skip_corrupt=True)
    assert source.lengths.tolist() == [3, 3]
    assert [e["x"].tolist() for e in read_all(source)] == [[1, 2, 3]] * 2
    (skipped,) = source.skipped
    assert [record.getMessage() for record in caplog.records] == [f"skipped: {skipped}"]


def offset(source, k):
    return int(source._shards[0].offsets[k])


@pytest.mark.parametrize("part", ["ours", "foreign"])
@pytest.mark.parametrize(
    ("damage", "message", "lost", "lost_abroad"),
    [
        (lambda p, o: flip(p, o + 3), "the header", [3], [3, 4, 5, 6]),
        (lambda p, o: flip(p, o + 9), "the header", [3], [3, 4, 5, 6]),
        (lambda p, o: flip(p, o + 40), "the payload does not match its checksum", [3], [3]),
        (lambda p, o: os.truncate(p, o + 20), "", [3, 4, 5, 6], [3, 4, 5, 6]),
        (lambda p, o: os.truncate(p, o + 5), "", [3, 4, 5, 6], [3, 4, 5, 6]),
    ],
)
def test_damage_is_named_or_skipped(tmp_path, part, damage, message, lost, lost_abroad):
    write(tmp_path, SCHEMA, EXAMPLES)
    (path,) = files(tmp_path)
    damage(path, offset(RecordSource(tmp_path), 3))
    arguments = (tmp_path, None) if part == "ours" else (path, SCHEMA)
    with pytest.raises(CorruptRecordError, match=f"{path}: .*record 3") as error:
        read_all(RecordSource(*arguments))
    assert message in str(error.value)
    source = RecordSource(*arguments, skip_corrupt=True)
    gone = lost if part == "ours" else lost_abroad
    assert_same(read_all(source), [e for k, e in enumerate(EXAMPLES) if k not in gone])
    assert len(source.skipped) == (len(gone) if part == "ours" else 1)
    assert f"{path}: record 3: " in source.skipped[0]
    if part == "foreign" and message == "the header":
        assert "bytes of the file are lost" in source.skipped[0]


@pytest.mark.parametrize("compression", Compression)
def test_a_damaged_compressed_file_is_named_or_skipped(tmp_path, compression):
    write(tmp_path, SCHEMA, EXAMPLES, compression=compression)
    (path,) = files(tmp_path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(CorruptRecordError, match=f"{path}: has .* bytes, but its manifest says"):
        RecordSource(tmp_path)
    with pytest.raises(CorruptRecordError, match=f"{path}: record [0-6]: the file is truncated"):
        RecordSource(path, SCHEMA)
    for arguments in [(tmp_path, None), (path, SCHEMA)]:
        source = RecordSource(*arguments, skip_corrupt=True)
        assert_same(read_all(source), EXAMPLES[: len(source.lengths)])
        assert source.skipped
        assert f"the {compression.value} stream is truncated" in source.skipped[-1]


def test_a_shard_that_is_compressed_otherwise_is_named(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES, compression=Compression.GZIP)
    (path,) = files(tmp_path)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(zlib.compress(content))
    with pytest.raises(CorruptRecordError, match=f"{path}: has .* bytes, but its manifest says"):
        RecordSource(tmp_path)
    source = RecordSource(tmp_path, skip_corrupt=True)
    assert len(source.lengths) == 0
    assert "the gzip stream is damaged" in source.skipped[0]
    assert_same(read_all(RecordSource(path, SCHEMA)), EXAMPLES)  # found out by its first bytes


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path}/no: there is no such file"):
        RecordSource(tmp_path / "no", SCHEMA)
    with pytest.raises(ValueError, match=f"{tmp_path}/no: there is no such file"):
        RecordSource(tmp_path / "no")
    with pytest.raises(ValueError, match=f"{tmp_path}: has no manifest.json"):
        RecordSource(tmp_path)
    write(tmp_path, SCHEMA, EXAMPLES, shards=2)
    with pytest.raises(ValueError, match="give the schema"):
        RecordSource(f"{tmp_path}/data-*")
    first, second = files(tmp_path)
    source = RecordSource(tmp_path)
    first.unlink()
    first.mkdir()
    second.unlink()
    for attempt in (lambda: RecordSource(tmp_path), lambda: read_all(source)):
        with pytest.raises(CorruptRecordError, match=f"{first}: "):
            attempt()
    with pytest.raises(CorruptRecordError, match=f"{second}: cannot be read: No such file"):
        source.read(np.array([6]))
    with pytest.raises(CorruptRecordError, match=f"{first}: cannot be read: Is a directory"):
        RecordSource(first.parent / "data-*", SCHEMA)
    source = RecordSource(tmp_path, skip_corrupt=True)
    assert len(source.lengths) == 0
    assert [message.split(";")[-1] for message in source.skipped] == [
        " its 4 records are lost",
        " its 3 records are lost",
    ]


def test_a_damaged_manifest_or_index_is_named(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES)
    for path in (tmp_path / "manifest.json", *files(tmp_path, "index")):
        content = path.read_bytes()
        for skip in (False, True):
            for damaged in (
                b"",
                content[:50],
                content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
                b"\xff" + content,
            ):
                path.write_bytes(damaged)
                with pytest.raises(
                    CorruptRecordError, match=f"{path}: does not match its checksum"
                ):
                    RecordSource(tmp_path, skip_corrupt=skip)
        path.write_bytes(content)
    assert_same(read_all(RecordSource(tmp_path)), EXAMPLES)


def test_a_file_that_changes_while_it_is_open_is_noticed(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES)
    source = RecordSource(tmp_path)
    (path,) = files(tmp_path)
    payload = x_record()
    path.write_bytes(frame(payload) * 10)
    with pytest.raises(CorruptRecordError, match=f"{path}: record 0: the header does not match"):
        source.read(np.array([0]))
    path = foreign(tmp_path, [payload])
    source = RecordSource(path, X)
    same_size = x_record(sequence={"x": [[1], [2], [4]]}, context={"b": None})
    path.write_bytes(frame(same_size))
    assert source.read(np.array([0]))[0]["x"].tolist() == [1, 2, 4]
    shorter = serialize({"a": [5]}, {"x": [], "y": []})
    filler = len(payload) - len(shorter)
    shorter += serialize({"f": [bytes(filler - 13)]})
    assert len(shorter) == len(payload)
    path.write_bytes(frame(shorter))
    with pytest.raises(CorruptRecordError, match="record 0: it has 0 steps, but its index says 3"):
        source.read(np.array([0]))


# Whole records, but not those that were written there.


def rewrite_as_before(directory):
    """Give a data set the index that `write` made before it held checksums."""
    (path,) = files(directory, "index")
    index = np.load(path)
    content = io.BytesIO()
    np.savez(content, sizes=index["sizes"], lengths=index["lengths"])
    path.write_bytes(content.getvalue())
    manifest = read_manifest(directory)
    manifest["index"]["crc32c"] = google_crc32c.value(content.getvalue())
    sign(directory, manifest)


def sign(directory, manifest):
    manifest["crc32c"] = _manifest_crc(manifest)
    (directory / "manifest.json").write_text(json.dumps(manifest))


def swap_records(path):
    """Exchange the first two records, which have one size."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little") + FRAME_BYTES
    path.write_bytes(content[size : 2 * size] + content[:size] + content[2 * size :])


def repeat_record(path):
    """Write the first record over the second."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little") + FRAME_BYTES
    path.write_bytes(content[:size] + content[:size] + content[2 * size :])


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize(
    ("compression", "change", "lost"),
    [(c, lambda a, b: b.write_bytes(a.read_bytes()), range(5, 10)) for c in COMPRESSIONS]
    + [(None, lambda a, b: swap_records(b), [5, 6]), (None, lambda a, b: repeat_record(b), [6])],
)
def test_records_that_were_not_written_there_are_found(
    tmp_path, caplog, capsys, before, compression, change, lost
):
    numbers = np.random.default_rng(0).permutation(10) + 1000
    examples = [{"a": n, "x": [n] * 5, "y": np.full((5, 2), n)} for n in numbers]
    write(tmp_path, X, examples, shards=2, compression=compression)
    if before:
        rewrite_as_before(tmp_path)
        assert len(read_all(RecordSource(tmp_path))) == 10
        assert "was written before the index held the checksums" in caplog.text
        lost = range(5, 10)  # only the file as a whole has a checksum
    first, second = files(tmp_path)
    assert first.stat().st_size == second.stat().st_size or compression
    expected = in_shards([int(n) for n in numbers], 2)
    change(first, second)
    with pytest.raises(CorruptRecordError, match=f"{second}: "):
        read_all(RecordSource(tmp_path))
    source = RecordSource(tmp_path, skip_corrupt=True)
    kept = [int(example["a"]) for example in read_all(source)]
    assert kept == [n for k, n in enumerate(expected) if k not in lost]
    assert f"{second}: " in source.skipped[0]
    assert main(["inspect", str(tmp_path)]) == 1


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "data-x", "data-{}/../../x", 3])
def test_a_manifest_that_names_other_files_is_refused(tmp_path, name):
    write(tmp_path, SCHEMA, EXAMPLES)
    manifest = read_manifest(tmp_path)
    name = name.format("0" * 16 + "-0") if isinstance(name, str) else name
    for entry in (manifest["shards"][0], manifest["index"]):
        before, entry["file"] = entry["file"], name
        sign(tmp_path, manifest)
        for attempt in (lambda: RecordSource(tmp_path), lambda: write(tmp_path, SCHEMA, EXAMPLES)):
            with pytest.raises(CorruptRecordError, match="must name files of its own folder"):
                attempt()
        entry["file"] = before


def test_files_of_another_origin_have_no_manifest(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES)
    assert len(RecordSource(tmp_path).manifest_sha256) == 64
    assert RecordSource(*files(tmp_path), SCHEMA).manifest_sha256 is None


def test_an_index_of_other_records_is_refused(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES)
    manifest = read_manifest(tmp_path)
    manifest["shards"][0]["examples"] += 1
    sign(tmp_path, manifest)
    with pytest.raises(CorruptRecordError, match="the index has 7 records"):
        RecordSource(tmp_path)


@pytest.mark.parametrize("compression", Compression)
def test_a_file_that_decompresses_to_more_than_the_limit_is_refused(tmp_path, compression):
    write(tmp_path, SCHEMA, EXAMPLES, compression=compression)
    (path,) = files(tmp_path)
    window = compression.window_bits
    size = len(zlib.decompress(path.read_bytes(), window))
    limits = {"max_decompressed_bytes": size - 1}
    for attempt in (
        lambda: RecordSource(path, SCHEMA, **limits),
        lambda: infer_schema(path, **limits),
    ):
        with pytest.raises(
            CorruptRecordError, match=rf"more than {size - 1:,} bytes; increase max_"
        ):
            attempt()
    assert_same(read_all(RecordSource(path, SCHEMA, max_decompressed_bytes=size)), EXAMPLES)
    # of a data set the index knows the size: what comes after it is never decompressed
    stream = zlib.compressobj(wbits=window)
    bomb = stream.compress(zlib.decompress(path.read_bytes(), window) + bytes(10**8))
    path.write_bytes(bomb + stream.flush())
    tracemalloc.start()
    source = RecordSource(tmp_path, skip_corrupt=True)
    assert tracemalloc.get_traced_memory()[1] < 3 * 10**7
    tracemalloc.stop()
    assert_same(read_all(source), EXAMPLES)


# A thousand mutations.


def mutate(rng, data):
    """A copy of ``data`` that differs."""
    mutated = bytearray(data)
    at, to = sorted(rng.integers(0, len(data) + 1, 2).tolist())
    match rng.integers(7):
        case 0:
            mutated[min(at, len(data) - 1)] ^= 1 << int(rng.integers(8))
        case 1:
            mutated[at : at + 4] = rng.bytes(4)
        case 2:
            del mutated[at:]
        case 3:
            del mutated[at:to]
        case 4:
            mutated[at:at] = rng.bytes(int(rng.integers(1, 40)))
        case 5:
            mutated[to:to] = mutated[at:to]
        case 6:
            mutated[at:to] = bytes(to - at)
    return bytes(mutated)


def move(rng, path, other):
    """Duplicate, swap or overwrite whole records of a file, or the file by another one."""
    content = path.read_bytes()
    kind = rng.integers(4)
    if kind == 3 or path.suffix in (".gz", ".zlib", ".json", ".npz"):
        other_content = other.read_bytes()
        path.write_bytes(other_content)
        if rng.integers(2):
            other.write_bytes(content)
        return
    records = []
    while content:
        size = int.from_bytes(content[:8], "little") + FRAME_BYTES
        records.append(content[:size])
        content = content[size:]
    a, b = rng.integers(len(records), size=2)
    if kind == 0:
        records.insert(a, records[b])
    elif kind == 1:
        records[a], records[b] = records[b], records[a]
    else:
        records[a] = records[b]
    path.write_bytes(b"".join(records))


def check_moves(root, count):
    """Move whole records and files: what is read is what was written, or the damage is said."""
    rng = np.random.default_rng(2)
    # of one length, so that many records and files have one size
    examples = [{"a": n, "x": [n] * 3, "y": np.full((3, 2), n)} for n in range(1000, 1012)]
    harmless = 0
    for compression in COMPRESSIONS:
        for before in ("now", "before"):
            directory = root / f"{compression}-{before}"
            write(directory, X, examples, shards=3, compression=compression)
            if before == "before":
                rewrite_as_before(directory)
    directories = sorted(root.iterdir())
    expected = in_shards([n["a"] for n in examples], 3)
    for k in range(count):
        directory = directories[k % len(directories)]
        contents = {path: path.read_bytes() for path in directory.iterdir()}
        choices = files(directory) if rng.integers(4) else sorted(contents)
        path, other = (choices[n] for n in rng.choice(len(choices), 2, replace=False))
        move(rng, path, other)
        for skip in (False, True):
            try:
                source = RecordSource(directory, skip_corrupt=skip)
                found = [int(example["a"]) for example in read_all(source)]
            except CorruptRecordError as error:
                assert str(directory) in str(error)  # noqa: PT017, no error is as good
                continue
            assert found == expected or source.skipped
            left = iter(expected)
            assert all(n in left for n in found), "a record is not one of those written"
            harmless += found == expected
        for path, content in contents.items():
            path.write_bytes(content)
    return harmless


def test_moves_are_found_or_harmless(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    assert check_moves(tmp_path, 40) < 30


@pytest.mark.slow
def test_a_thousand_moves_are_found_or_harmless(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    assert check_moves(tmp_path, 1000) < 500


def check_mutations(root, count):
    """Mutate files one at a time: what is read is what was written, or the damage is said."""
    rng = np.random.default_rng(1)
    harmless = 0
    for compression in COMPRESSIONS:
        write(root / str(compression), SCHEMA, EXAMPLES, shards=2, compression=compression)
    for k in range(count):
        directory = root / str(COMPRESSIONS[k % 3])
        path = rng.choice([*files(directory), *files(directory), *directory.iterdir()])
        is_foreign = path.suffix not in (".json", ".npz") and bool(rng.integers(2))
        expected = in_shards(EXAMPLES, 2)
        if is_foreign:
            expected = EXAMPLES[0::2] if "-00000-of" in path.name else EXAMPLES[1::2]
        content = path.read_bytes()
        path.write_bytes(mutate(rng, content))
        arguments = (path, SCHEMA) if is_foreign else (directory, None)
        try:
            examples = read_all(RecordSource(*arguments))
        except CorruptRecordError as error:
            assert path.name in str(error)  # noqa: PT017, no error is as good
        else:
            harmless += 1
            # a file of another origin does not say how many records it had
            assert_same(examples, expected[: len(examples)] if is_foreign else expected)
        try:
            source = RecordSource(*arguments, skip_corrupt=True)
        except CorruptRecordError:
            assert path.suffix in (".json", ".npz")
        else:
            examples = read_all(source)
            left = iter(expected)
            kept = [e for e in examples if any(is_same(e, wanted) for wanted in left)]
            assert len(kept) == len(examples), "an example is not one of those written"
            assert len(kept) == len(expected) or source.skipped or is_foreign
        path.write_bytes(content)
    return harmless


def test_mutations_are_found_or_harmless(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    assert check_mutations(tmp_path, 60) < 20


@pytest.mark.slow
def test_a_thousand_mutations_are_found_or_harmless(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    assert check_mutations(tmp_path, 1000) < 300
