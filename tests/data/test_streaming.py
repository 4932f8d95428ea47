"""Streams of records: every example once, and resumable at any batch."""

import dataclasses
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from seqjax.data import Bucketed, Loader, Packed, Padded
from seqjax.data.records import (
    Compression,
    CorruptRecordError,
    Feature,
    RecordSource,
    Schema,
    write,
)
from seqjax.data.streaming import RecordStream
from tests.data.record_examples import (
    COMPRESSIONS,
    GOLDEN,
    X,
    files,
    flip,
    foreign,
    serialize,
)
from tests.data.test_loader import digest
from tests.data.test_record_damage import mutate

LENGTHS = np.random.default_rng(0).integers(1, 9, 50)
POLICIES = [Padded(3, multiple=4), Bucketed((2, 5, 8), (4, 3, 2)), Packed(2, 9)]


def examples():
    for number, length in enumerate(LENGTHS):
        yield {"a": number, "x": [number] * length, "y": np.full((length, 2), number)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stream")
    write(directory, X, examples(), shards=5)
    return directory


def numbers_of(batches):
    """The numbers of all examples, from every step of which they can be told."""
    found = []
    for batch in batches:
        x = batch.features["x"]
        rows = np.arange(len(x)) if batch.segments is None else None
        for k in range(len(batch.indices)):
            steps = x[rows[k], : batch.lengths[k]] if rows is not None else x[batch.segments == k]
            (number,) = set(steps.tolist())
            assert len(steps) == LENGTHS[number]
            found.append(number)
    return found


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("window", [7, 1024])
def test_every_example_comes_once_an_epoch(data, policy, seed, window):
    stream = RecordStream(data, policy, seed=seed, epochs=2, window=window, shuffle_buffer=11)
    batches = [*stream]
    numbers = numbers_of(batches)
    first, second = numbers[:50], numbers[50:]
    assert sorted(first) == sorted(second) == [*range(50)]
    assert (first == second) == (seed is None)
    assert stream.report.examples == 100
    assert stream.report.dropped == 0
    again = RecordStream(data, policy, seed=seed, epochs=2, window=window, shuffle_buffer=11)
    assert [*map(digest, again)] == [*map(digest, batches)]


def test_without_a_seed_it_gives_the_batches_of_a_loader(data):
    loader = Loader(RecordSource(data), Padded(3, multiple=4), epochs=1)
    stream = RecordStream(data, Padded(3, multiple=4), epochs=1, window=7)
    assert [*map(digest, stream)] == [*map(digest, loader)]


def test_files_take_turns_without_a_seed(data):
    stream = RecordStream(data, Padded(5), epochs=1, interleave=5)
    assert numbers_of([next(stream)]) == [0, 1, 2, 3, 4]  # written to the shards in turns


@pytest.mark.parametrize(
    ("policy", "seed"),
    [
        (POLICIES[1], 3),
        *(pytest.param(policy, None, marks=pytest.mark.slow) for policy in POLICIES),
        pytest.param(POLICIES[0], 3, marks=pytest.mark.slow),
        pytest.param(POLICIES[2], 3, marks=pytest.mark.slow),
    ],
)
def test_a_stream_resumes_at_any_batch(data, policy, seed, tmp_path):
    options = {"seed": seed, "epochs": 2, "window": 16, "shuffle_buffer": 11, "interleave": 2}
    stream = RecordStream(data, policy, **options)
    folders, expected = [], []
    while True:
        if len(expected) % 5 == 0:
            folders.append((len(expected), tmp_path / str(len(expected))))
            stream.save(folders[-1][1])
        batch = next(stream, None)
        if batch is None:
            break
        expected.append(digest(batch))
    assert len(folders) > 5
    for count, folder in folders:
        resumed = RecordStream(data, policy, **options, resume=folder)
        assert [*map(digest, resumed)] == expected[count:]
    assert not [*tmp_path.glob(".*")]


READER = """
import os, signal, sys
from seqjax.data import Bucketed
from seqjax.data.streaming import RecordStream
from tests.data.test_loader import digest
data, folder, resume = sys.argv[1:]
policy = Bucketed((2, 5, 8), (4, 3, 2))
stream = RecordStream(
    data, policy, seed=1, epochs=2, window=16, shuffle_buffer=11, resume=resume or None
)
for number, batch in enumerate(stream):
    print(digest(batch), flush=True)
    if number == 6 and folder:
        stream.save(folder)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_reader_is_continued_by_another_process(data, tmp_path):
    def read(folder, resume):
        done = subprocess.run(
            [sys.executable, "-c", READER, str(data), str(folder), str(resume)],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.stdout.split()

    whole = read("", "")
    begun = read(tmp_path / "state", "")
    assert len(begun) == 7
    assert begun + read("", tmp_path / "state") == whole


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_processes_share_the_files(data, processes):
    numbers = []
    for process in range(processes):
        stream = RecordStream(
            data, Padded(4), seed=2, epochs=1, process=process, processes=processes
        )
        numbers += numbers_of([*stream])
    assert sorted(numbers) == [*range(50)]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compressed_files_are_read(tmp_path, compression):
    write(tmp_path, X, examples(), compression=compression, shards=2)
    assert sorted(numbers_of([*RecordStream(tmp_path, Padded(8), epochs=1)])) == [*range(50)]
    pattern = str(tmp_path / "data-*")
    stream = RecordStream(pattern, Padded(8), X, epochs=1, compression=compression)
    assert sorted(numbers_of([*stream])) == [*range(50)]


def test_files_of_tensorflow_are_read():
    schema = Schema({"vec": Feature("float32", (4,))}, {"tokens": Feature(np.int64)})
    path = GOLDEN / "data_seqex.tfrecord"
    ours = Loader(RecordSource(path, schema), Padded(2), epochs=1)
    stream = RecordStream(path, Padded(2), schema, epochs=1)
    assert [*map(digest, stream)] == [*map(digest, ours)]
    flat = GOLDEN / "data_example.tfrecord"
    message = tf.train.Example.FromString(next(iter(tf.data.TFRecordDataset(str(flat)))).numpy())
    assert message.features.feature  # records of the other kind of message
    name = sorted(message.features.feature)[0]
    kind = message.features.feature[name].WhichOneof("kind")
    dtype = {"int64_list": np.int64, "float_list": np.float32, "bytes_list": bytes}[kind]
    schema = Schema(sequence={name: Feature(dtype)})
    ours = Loader(RecordSource(flat, schema), Padded(2), epochs=1)
    theirs = RecordStream(flat, Padded(2), schema, epochs=1)
    assert [*map(digest, theirs)] == [*map(digest, ours)]


def test_lists_are_padded_to_widths(tmp_path):
    schema = Schema(sequence={"w": Feature(np.int32, (None,))})
    write(tmp_path, schema, [{"w": [[1, 2, 3], [2]]}, {"w": [[4]]}])
    (batch,) = RecordStream(tmp_path, Padded(2), epochs=1, widths={"w": 4}, pad_values={"w": -1})
    assert batch.features["w"].tolist() == [
        [[1, 2, 3, -1], [2, -1, -1, -1]],
        [[4, -1, -1, -1], [-1, -1, -1, -1]],
    ]
    assert batch.inner_lengths["w"].tolist() == [[3, 1], [1, 0]]


@pytest.mark.parametrize(
    "policy", [*POLICIES[:2], pytest.param(POLICIES[2], marks=pytest.mark.slow)]
)
def test_only_the_last_examples_of_an_epoch_are_dropped(data, policy):
    policy = dataclasses.replace(policy, drop_remainder=True)
    stream = RecordStream(data, policy, epochs=1, window=7)
    numbers = numbers_of([*stream])
    whole = RecordStream(data, policy, epochs=1, window=1024)
    assert len(numbers) == len({*numbers})
    assert len(numbers) + stream.report.dropped == 50
    # a batch of each bucket, or of the rows that are packed, may stay unfilled
    assert len(numbers) > 50 - 12
    if not isinstance(policy, Packed):  # whose rows depend on what is packed together
        assert sorted(numbers) == sorted(numbers_of([*whole]))


# Damage.


def test_a_damaged_record_is_named(tmp_path):
    write(tmp_path, X, examples(), shards=2)
    path = files(tmp_path)[1]
    flip(path, path.stat().st_size // 2)
    with pytest.raises(CorruptRecordError, match=rf"{path}: record \d+: .*corrupted record"):
        [*RecordStream(tmp_path, Padded(2), epochs=1)]
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CorruptRecordError, match=rf"{path}: record \d+: "):
        [*RecordStream(tmp_path, Padded(2), epochs=1)]


def test_after_an_error_nothing_is_left_out_in_silence(tmp_path):
    good = serialize({"a": [1]}, {"x": [[1]], "y": [[1.0, 2.0]]})
    path = foreign(tmp_path, [good] * 4 + [b"no message"] + [good] * 4)
    stream = RecordStream(path, Padded(1), X, epochs=1, window=3)
    assert len([next(stream) for _ in range(3)]) == 3
    for _ in range(2):
        with pytest.raises(CorruptRecordError, match="record 4"):
            next(stream)
    with pytest.raises(ValueError, match=r"ended in an error has no state .*: record 4"):
        stream.save(tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_a_record_that_does_not_fit_is_named(tmp_path):
    good = serialize({"a": [1]}, {"x": [[1]], "y": [[1.0, 2.0]]})
    bad = serialize({"a": [1]}, {"x": [[1.5]], "y": [[1.0, 2.0]]})
    path = foreign(tmp_path, [good, good, bad])
    with pytest.raises(CorruptRecordError, match=f"{path}: record 2: sequence feature 'x', step 0"):
        next(RecordStream(path, Padded(2), X))
    path = foreign(tmp_path, [good, b"no message"])
    with pytest.raises(CorruptRecordError, match=f"{path}: record 1: the payload is neither"):
        next(RecordStream(path, Padded(2), X))


def test_an_example_longer_than_the_policy_allows_is_named_or_dropped(data):
    longest = int(np.argmax(LENGTHS > 5))
    with pytest.raises(ValueError, match=r"data-.*: record \d+: Bucketed: .* limit of 5"):
        next(RecordStream(data, Bucketed((5,), 4)))
    stream = RecordStream(data, Bucketed((5,), 4, drop_longer=True), epochs=1, window=7)
    kept = sorted(numbers_of([*stream]))
    assert kept == np.flatnonzero(LENGTHS <= 5).tolist()
    assert longest not in kept
    assert stream.report.dropped == (LENGTHS > 5).sum()


def test_a_stream_without_a_batch_does_not_run_for_ever(data, tmp_path):
    with pytest.raises(ValueError, match="epoch 0 has no batch: process 0 of 1 found 50 examples"):
        next(RecordStream(data, Padded(64, drop_remainder=True)))
    write(tmp_path, X, [])
    with pytest.raises(ValueError, match=r"epoch 0 has no batch: .* found 0 examples"):
        next(RecordStream(tmp_path, Padded(2)))


def test_a_state_that_does_not_fit_is_a_clear_error(data, tmp_path):
    stream = RecordStream(data, Padded(2), seed=1)
    next(stream)
    stream.save(tmp_path / "state")
    with pytest.raises(ValueError, match="exists; save each state to a folder of its own"):
        stream.save(tmp_path / "state")
    with pytest.raises(ValueError, match="cannot be written"):
        stream.save("/proc/no/state")
    for changes, message in [
        ({"seed": 2}, "other arguments or files: seed was 1, is 2"),
        ({"policy": Padded(3)}, r"policy was Padded\(batch_size=2"),
        ({"pad_values": {"x": 3}}, r"pad_values was \{\}, is \{'x': 3\}"),
    ]:
        options = {"policy": Padded(2), "seed": 1} | changes
        with pytest.raises(ValueError, match=message):
            RecordStream(data, **options, resume=tmp_path / "state")
    with pytest.raises(ValueError, match="none: holds no state of a stream"):
        RecordStream(data, Padded(2), seed=1, resume=tmp_path / "none")


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_mutated_state_is_found_out(data, tmp_path, count):
    stream = RecordStream(data, Bucketed((3, 8), 4), seed=1, epochs=1, window=16)
    next(stream)
    stream.save(tmp_path / "state")
    expected = [*map(digest, stream)]
    paths = sorted(path for path in (tmp_path / "state").iterdir())
    rng = np.random.default_rng(0)
    for _ in range(count):
        path = paths[rng.integers(len(paths))]
        content = path.read_bytes()
        path.write_bytes(mutate(rng, content))
        options = {"seed": 1, "epochs": 1, "window": 16, "resume": tmp_path / "state"}
        with pytest.raises(ValueError, match=f"{tmp_path / 'state'}: is damaged: "):
            RecordStream(data, Bucketed((3, 8), 4), **options)
        path.write_bytes(content)
    assert [*map(digest, RecordStream(data, Bucketed((3, 8), 4), **options))] == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": 32}, r"policy must be a Padded, Bucketed or Packed, such as .*, got 32"),
        ({"path": "none"}, "none: there is no such file, no file matches it as a pattern"),
        ({"schema": {"x": 1}}, "schema must be a Schema"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"window": 0}, "window must be a whole number of at least 1"),
        ({"shuffle_buffer": 1.5}, "shuffle_buffer must be a whole number of at least 1"),
        ({"process": 1}, r"process must .*, got 1"),
        ({"processes": 6}, "6 processes cannot share 5 files; write the records to more files"),
        ({"compression": "gzip"}, "compression must be a Compression or None, got 'gzip'"),
        ({"pad_values": {"a": 1}}, r"pad_values must name .*, \['x', 'y'\], got \['a'\]"),
        ({"widths": {"x": 1}}, r"widths must name features of lists, \[\], got \['x'\]"),
    ],
)
def test_bad_arguments_are_clear_errors(data, changes, message):
    options = {"path": data, "policy": Padded(2)} | changes
    with pytest.raises(ValueError, match=message):
        RecordStream(**options)


def test_files_need_a_schema(data):
    with pytest.raises(ValueError, match="give the schema; only directories made by write"):
        RecordStream(str(data / "data-*"), Padded(2))
    with pytest.raises(ValueError, match="there is no such file"):
        RecordStream(os.fspath(data.parent), Padded(2), X)
    assert Compression.GZIP.name == "GZIP"  # as TensorFlow calls it
