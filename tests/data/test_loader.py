"""Loaders: what a batch holds, and that any loader goes on exactly where another one was."""

import hashlib
import itertools
import signal
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import GRU, Reset, unroll
from seqjax.data import Bucketed, ListSource, Loader, Packed, Padded, Position, Report, plan
from seqjax.data.records import Compression, Feature, RecordSource, Schema, write
from seqjax.wrappers import ResetInputs

LENGTHS = np.random.default_rng(0).integers(0, 9, 23)
SHARDS = (7, 0, 10, 6)


def make_source():
    rng = np.random.default_rng(1)
    examples = [
        {"x": rng.normal(size=(length, 2)), "id": np.array(index)}
        for index, length in enumerate(LENGTHS)
    ]
    return ListSource(examples, {"x"}, SHARDS)


SOURCE = make_source()
POLICIES = [Padded(3, multiple=4), Bucketed((2, 5, 8), (4, 3, 2)), Packed(2, 9)]


class SourceOf:
    """A source whose reading is given."""

    lengths = np.ones(20, int)
    shards = (20,)
    sequence_features = frozenset({"x"})
    ragged_features = frozenset()

    def __init__(self, read):
        self.read = read


def digest(batch):
    """Of every bit, dtype and shape in a batch."""
    arrays = jax.tree.leaves(batch)
    return hashlib.sha256(
        b"".join(f"{a.dtype}{a.shape}".encode() + a.tobytes() for a in arrays)
    ).hexdigest()


def drain(*args, **options):
    """What a loader gives: for each batch its digest, and the position after it."""
    loader = Loader(*args, **options)
    return [(digest(batch), loader.position) for batch in loader]


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
@pytest.mark.parametrize(("process", "processes"), [(0, 1), (1, 2), (0, 3)])
def test_going_on_from_any_position_gives_the_remaining_batches(policy, seed, process, processes):
    options = {"seed": seed, "epochs": 2, "process": process, "processes": processes}
    whole = drain(SOURCE, policy, **options)
    positions = [Position(), *(position for _, position in whole)]
    assert positions == sorted({*positions})
    assert positions[-1] == Position(2, 0)
    for number, position in enumerate(positions):
        assert drain(SOURCE, policy, start=position, **options) == whole[number:]
    half = len(whole) // 2
    assert ([d for d, _ in whole[:half]] == [d for d, _ in whole[half:]]) == (seed is None)


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_processes_share_the_batches_out_evenly(policy, processes):
    batches = plan(LENGTHS, SHARDS, policy, seed=5, interleave=2)
    shared = [
        [
            batch.indices.tolist()
            for batch in Loader(
                SOURCE,
                policy,
                seed=5,
                interleave=2,
                epochs=1,
                process=process,
                processes=processes,
            )
        ]
        for process in range(processes)
    ]
    assert {*map(len, shared)} == {len(batches) // processes}
    in_turn = [*itertools.chain(*zip(*shared, strict=True))]
    assert in_turn == [batch.tolist() for batch in batches[: len(in_turn)]]


CHILD = """
import pathlib, sys, time
from tests.data.test_loader import RUNS, digest, open_source
from seqjax.data import Loader
source = open_source(pathlib.Path(sys.argv[2]), sys.argv[1])
loaders = [Loader(source, policy, **options) for policy, options in RUNS]
while True:
    for number, loader in enumerate(loaders):
        print(number, digest(next(loader)), *loader.position, flush=True)
    time.sleep(0.01)
"""
RUNS = [
    (POLICIES[which], {"seed": seed, "process": process, "processes": processes})
    for which, seed, process, processes in [
        (0, None, 0, 1),
        (1, 0, 0, 1),
        (1, 4, 1, 2),
        (2, 9, 0, 2),
    ]
]


def open_source(folder, kind):
    """The examples in memory, or those that a parent process wrote."""
    return SOURCE if kind == "memory" else RecordSource(folder)


@pytest.mark.parametrize("kind", ["memory", pytest.param("gzip", marks=pytest.mark.slow)])
def test_a_killed_reader_is_taken_up_by_another_process(kind, tmp_path):
    if kind == "gzip":
        schema = Schema(
            context={"id": Feature(np.int64)}, sequence={"x": Feature(np.float32, (2,))}
        )
        examples = SOURCE.read(np.arange(len(LENGTHS)))
        write(tmp_path, schema, examples, shards=4, compression=Compression.GZIP)
    source = open_source(tmp_path, kind)
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, kind, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        lines = [child.stdout.readline() for _ in range(42)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
    assert child.returncode == -signal.SIGKILL
    given = [line.split() for line in lines if line.endswith("\n")]
    for number, (policy, options) in enumerate(RUNS):
        own = [fields[1:] for fields in given if fields[0] == str(number)]
        digests, (epoch, batch) = [fields[0] for fields in own], map(int, own[-1][1:])
        assert len(digests) >= 10
        whole = Loader(source, policy, **options)
        assert [digest(next(whole)) for _ in digests] == digests
        with whole, Loader(source, policy, start=Position(epoch, batch), **options) as resumed:
            for _ in range(20):
                assert digest(next(resumed)) == digest(next(whole))
                assert resumed.position == whole.position


def test_a_batch_holds_the_examples_their_lengths_and_nothing_else():
    for policy in POLICIES[:2]:
        for batch in Loader(SOURCE, policy, epochs=1, pad_values={"x": np.nan}):
            assert batch.segments is batch.starts is None
            assert batch.lengths.dtype == np.int32
            assert batch.indices.dtype == np.int64
            assert batch.features["id"].tolist() == batch.indices.tolist()
            examples = SOURCE.read(batch.indices)
            for x, length, example in zip(
                batch.features["x"], batch.lengths, examples, strict=True
            ):
                np.testing.assert_array_equal(x[:length], example["x"])
                assert np.isnan(x[length:]).all()


def test_a_packed_batch_says_whose_each_step_is():
    for batch in Loader(SOURCE, Packed(2, 9), epochs=1, seed=0, pad_values={"x": -7.0}):
        padding = batch.segments < 0
        steps = np.arange(9)
        np.testing.assert_array_equal(padding, steps >= batch.lengths[:, None])
        assert (batch.features["x"][padding] == -7).all()
        np.testing.assert_array_equal(
            batch.features["id"][~padding], batch.indices[batch.segments[~padding]]
        )
        for place, index in enumerate(batch.indices):
            mine = batch.segments == place
            np.testing.assert_array_equal(batch.features["x"][mine], SOURCE.read([index])[0]["x"])
            assert batch.starts[mine].tolist() == [True, *[False] * 9][: LENGTHS[index]]
        assert not batch.starts[padding].any()


def test_unrolling_packed_rows_with_resets_equals_unrolling_each_example_alone():
    cell = GRU(3)
    params = cell.init(jax.random.key(0), 2, jnp.float64)
    with Loader(SOURCE, Packed(3, 12), seed=0) as loader:
        batch = next(loader)
    inputs = ResetInputs(jnp.asarray(batch.starts), jnp.asarray(batch.features["x"]))
    _, packed = unroll(Reset(cell), params, inputs, lengths=batch.lengths)
    (alone,) = Loader(SOURCE, Padded(len(LENGTHS)), epochs=1)
    _, ys = unroll(cell, params, jnp.asarray(alone.features["x"]), lengths=alone.lengths)
    packed, ys = np.asarray(packed), np.asarray(ys)
    assert len(batch.indices) > 3
    for place, index in enumerate(batch.indices):
        expected = ys[index, : LENGTHS[index]]
        np.testing.assert_allclose(packed[batch.segments == place], expected, atol=1e-12)
    assert not packed[batch.segments < 0].any()


def test_the_report_is_of_the_batches_handed_out():
    policy = Bucketed((2, 5, 8), (4, 3, 2))
    loader = Loader(SOURCE, policy, seed=0, epochs=2, processes=2)
    assert loader.report == Report()
    batches = [(next(loader), loader.report)[0] for _ in range(2)]
    assert loader.report.examples == sum(len(batch.indices) for batch in batches)
    assert loader.report.shapes == {batch.features["x"].shape[:2] for batch in batches}
    batches += loader
    report = loader.report
    assert report.batches == len(batches)
    assert report.shapes == {batch.features["x"].shape[:2] for batch in batches}
    assert report.steps == sum(batch.lengths.sum() for batch in batches)
    assert report.slots == sum(batch.features["x"][..., 0].size for batch in batches)
    other = Loader(SOURCE, policy, seed=0, epochs=2, process=1, processes=2)
    also_given = sum(len(batch.indices) for batch in other)
    assert report.dropped == 2 * len(LENGTHS) - report.examples - also_given


def test_bytes_are_padded_with_nothing_and_integers_with_what_fits():
    words = np.array([b"a", b"bc"], object)
    source = ListSource(
        [{"w": words, "n": np.ones(2, int)}, {"w": words[:1], "n": [1]}], {"w", "n"}
    )
    (batch,) = Loader(source, Padded(2), epochs=1, pad_values={"n": -1})
    assert batch.features["w"].tolist() == [[b"a", b"bc"], [b"a", b""]]
    assert batch.features["n"].tolist() == [[1, 1], [1, -1]]
    for value in (0.5, "a", 2**70, None):
        loader = Loader(source, Padded(2), pad_values={"n": value})
        with loader, pytest.raises(ValueError, match="the value for 'n' must be int64, got"):
            next(loader)


def reading_threads():
    return [t for t in threading.enumerate() if t.name.startswith("seqjax-loader")]


def test_an_error_while_reading_comes_in_place_of_its_batch():
    def read(indices):
        if 7 in indices:
            raise OSError("disk on fire")
        return [{"x": np.ones(1)}] * len(indices)

    with Loader(SourceOf(read), Padded(3), epochs=1) as loader:
        assert [next(loader).indices[0] for _ in range(2)] == [0, 3]
        for _ in range(2):
            with pytest.raises(OSError, match="disk on fire"):
                next(loader)
        assert loader.position == Position(0, 2)
    assert not reading_threads()


def test_batches_keep_their_order_however_long_each_takes_to_read():
    def read(indices):
        time.sleep(0.02 * (indices[0] % 3 == 0))
        return [{"x": np.ones(1)}] * len(indices)

    loader = Loader(SourceOf(read), Padded(1), epochs=1, prefetch=4)
    assert [batch.indices.tolist() for batch in loader] == [[index] for index in range(20)]


def test_a_source_that_is_wrong_about_a_length_is_found_out():
    source = SourceOf(lambda indices: [{"x": np.ones(2 if i == 4 else 1)} for i in indices])
    message = r"example 4 has 2 steps of 'x', but .* its length as 1"
    with Loader(source, Padded(2)) as loader, pytest.raises(ValueError, match=message):
        list(loader)


def test_it_reads_ahead_that_far_and_stops_when_closed():
    read_so_far = []

    def read(indices):
        read_so_far.extend(indices)
        return [{"x": np.ones(1)}] * len(indices)

    loader = Loader(SourceOf(read), Padded(1), prefetch=3)
    next(loader)
    time.sleep(0.2)
    assert len(read_so_far) == 4
    assert loader.position == Position(0, 1)
    loader.close()
    loader.close()
    assert not reading_threads()
    with pytest.raises(ValueError, match="this loader is closed"):
        next(loader)


def test_a_loader_left_open_does_not_keep_the_interpreter_from_ending():
    code = """
import time, numpy as np
from seqjax.data import Loader, Padded
from tests.data.test_loader import SourceOf
def read(indices):
    time.sleep(0.05)
    return [{"x": np.ones(1)}] * len(indices)
loader = Loader(SourceOf(read), Padded(1))
next(loader)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], timeout=60, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"process": 2, "processes": 2}, r"process must lie in \[0, 1\], got 2"),
        ({"processes": 0}, "processes must be a whole number"),
        ({"prefetch": 0}, "prefetch must be a whole number"),
        ({"start": Position(0, -1)}, "batch of start must be a whole number of at least 0"),
        ({"start": 3}, "start must be a Position, .*, got 3"),
        ({"start": (0.5, 0)}, "epoch of start must be a whole number of at least 0, got 0.5"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number of at least 1, got 1.5"),
        ({"process": "a"}, "process must be a whole number of at least 0, got 'a'"),
        ({"pad_values": ["x"]}, r"pad_values must be a dictionary by feature name, got \['x'\]"),
        ({"start": Position(0, 8)}, "epoch 0 has 8 batches .* no batch 8; use fewer processes"),
        ({"processes": 9}, "epoch 0 has 0 batches for each of 9 processes"),
        ({"pad_values": {"id": 1}}, r"must name sequence features .*, \['x'\], got \['id'\]"),
        ({"widths": {"x": 1}}, r"widths must name features of lists, \[\], got \['x'\]"),
        ({"widths": 3}, "widths must be a dictionary by feature name, got 3"),
    ],
)
def test_bad_arguments_are_clear_errors(options, message):
    with pytest.raises(ValueError, match=message):
        Loader(SOURCE, Padded(3), **options)
    assert not reading_threads()


@pytest.mark.parametrize(
    ("source", "policy", "message"),
    [
        (
            [{"x": np.arange(3)}],
            Padded(2),
            r"source must be a Source, such as ListSource\(.* a list",
        ),
        (None, Padded(2), "source must be a Source, .*, got a NoneType"),
        (SOURCE, 32, r"policy must be a Policy, such as Padded\(batch_size=32\), got 32"),
    ],
)
def test_what_is_no_source_or_no_policy_is_a_clear_error(source, policy, message):
    with pytest.raises(ValueError, match=message):
        Loader(source, policy)


def test_a_second_pass_over_a_loader_that_is_used_up_is_a_clear_error():
    loader = Loader(SOURCE, Padded(3), epochs=1)
    assert len([*loader]) == 8
    assert next(loader, None) is None  # an iterator that has ended stays so
    with pytest.raises(ValueError, match="all of its epochs=1, so a second pass would be empty"):
        iter(loader)
    # a run that is resumed where it had ended has nothing left, and may find that out by a pass
    assert [*Loader(SOURCE, Padded(3), epochs=1, start=loader.position)] == []
    with Loader(SOURCE, Padded(3), epochs=2) as several:
        assert len([*itertools.islice(several, 3)]) == 3
        assert len([*several]) == 13  # goes on where the loop before it stopped


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
@pytest.mark.parametrize("processes", [1, 2])
def test_the_number_of_batches_in_an_epoch_is_known_beforehand(policy, processes):
    options = {"seed": 0, "processes": processes}
    with Loader(SOURCE, policy, epochs=3, **options) as loader:
        expected = [loader.batches_in_epoch(epoch) for epoch in range(3)]
        found = [0, 0, 0]
        while (epoch := loader.position.epoch) < 3:
            next(loader)
            found[epoch] += 1
    assert found == expected
    with pytest.raises(ValueError, match="epoch must be a whole number of at least 0, got -1"):
        loader.batches_in_epoch(-1)
