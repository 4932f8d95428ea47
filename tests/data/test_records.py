"""Data sets on disk: what TensorFlow reads and writes, damage of every kind, killed writers."""

import gzip
import json
import logging
import os
import pathlib
import subprocess
import sys
import textwrap
import zlib

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from seqjax.data import Loader, Padded
from seqjax.data.records import (
    Compression,
    CorruptRecordError,
    Feature,
    RecordSource,
    Schema,
    infer_schema,
    write,
)
from seqjax.data.tfrecord import frame, walk

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
COMPRESSIONS = [None, *Compression]
SCHEMA = Schema(
    context={
        "id": Feature(np.int64),
        "flags": Feature(bool, (2,)),
        "name": Feature(bytes),
        "where": Feature(np.float32, (2, 2)),
    },
    sequence={
        "tokens": Feature(np.int32),
        "pixels": Feature(np.uint8, (3,)),
        "frames": Feature(np.float32, (2, 3)),
        "words": Feature(bytes, (2,)),
    },
)
LENGTHS = [3, 0, 1, 7, 4, 2, 130]


def draw_example(rng, length, number=0):
    return {
        "id": np.asarray(number),
        "flags": rng.random(2) < 0.5,
        "name": np.asarray(rng.bytes(number % 4), object),
        "where": rng.normal(size=(2, 2)).astype(np.float32),
        "tokens": rng.integers(-(2**31), 2**31, length, dtype=np.int32),
        "pixels": rng.integers(0, 256, (length, 3), dtype=np.uint8),
        "frames": rng.normal(size=(length, 2, 3)).astype(np.float32),
        "words": np.array([rng.bytes(k % 5) for k in range(2 * length)], object).reshape(-1, 2),
    }


def draw_examples(lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    return [draw_example(rng, length, number) for number, length in enumerate(lengths)]


EXAMPLES = draw_examples()


def assert_same(examples, expected):
    assert len(examples) == len(expected)
    for example, wanted in zip(examples, expected, strict=True):
        assert is_same(example, wanted), (example, wanted)


def is_same(example, wanted):
    return list(example) == list(wanted) and all(
        isinstance(example[name], np.ndarray)
        and example[name].dtype == wanted[name].dtype
        and example[name].shape == wanted[name].shape
        and (example[name] == wanted[name]).all()
        for name in wanted
    )


def read_all(source):
    return source.read(np.arange(len(source.lengths)))


def in_shards(examples, shards):
    return [example for i in range(shards) for example in examples[i::shards]]


def files(directory, kind="data"):
    return sorted(directory.glob(f"{kind}-*"))


def foreign(directory, payloads, name="file.tfrecord"):
    path = directory / name
    path.write_bytes(b"".join(map(frame, payloads)))
    return path


def serialize(context=None, sequence=None):
    """A SequenceExample by the plain protobuf classes."""

    def feature(values):
        kinds = {float: "float_list", bytes: "bytes_list"}
        message = tf.train.Feature()
        if values:
            getattr(message, kinds.get(type(values[0]), "int64_list")).value.extend(values)
        return message

    lists = {
        name: tf.train.FeatureList(feature=map(feature, steps))
        for name, steps in (sequence or {}).items()
    }
    features = {name: feature(values) for name, values in (context or {}).items()}
    return tf.train.SequenceExample(
        context=tf.train.Features(feature=features),
        feature_lists=tf.train.FeatureLists(feature_list=lists) if lists else None,
    ).SerializeToString()


# Round trips, and TensorFlow as the judge.


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("shards", [1, 3, 9])
def test_what_is_written_is_read(tmp_path, shards, compression):
    written = write(tmp_path, SCHEMA, iter(EXAMPLES), shards=shards, compression=compression)
    assert written == len(EXAMPLES)
    source = RecordSource(tmp_path)
    expected = in_shards(EXAMPLES, shards)
    assert source.schema == SCHEMA
    assert source.sequence_features == set(SCHEMA.sequence)
    assert source.shards == [len(EXAMPLES[i::shards]) for i in range(shards)]
    assert source.lengths.tolist() == [len(example["tokens"]) for example in expected]
    assert_same(read_all(source), expected)
    order = np.random.default_rng(0).permutation(len(expected))
    assert_same(source.read(order), [expected[k] for k in order])
    assert source.read(np.array([], int)) == []
    assert_same(source.read(np.array([2, 2])), [expected[2]] * 2)


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(
    st.lists(
        st.lists(
            st.tuples(
                st.integers(-(2**63), 2**63 - 1), st.floats(width=32, allow_nan=False), st.binary()
            ),
            max_size=5,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_values_come_back(tmp_path_factory, rows):
    schema = Schema(sequence={k: Feature(d) for k, d in zip("ifb", ("int64", "float32", bytes))})  # noqa: B905
    dtypes = [np.int64, np.float32, object]
    examples = [
        {
            name: np.array([step[k] for step in row], dtype)
            for k, (name, dtype) in enumerate(zip("ifb", dtypes, strict=True))
        }
        for row in rows
    ]
    directory = tmp_path_factory.mktemp("any")
    write(directory, schema, examples)
    assert_same(read_all(RecordSource(directory)), examples)


def test_tensorflow_reads_our_files(tmp_path):
    for compression, name in [(None, ""), (Compression.GZIP, "GZIP"), (Compression.ZLIB, "ZLIB")]:
        write(tmp_path, SCHEMA, EXAMPLES, compression=compression)
        (path,) = files(tmp_path)
        records = list(tf.data.TFRecordDataset(str(path), name).as_numpy_iterator())
        stored = {np.dtype(object): tf.string, np.dtype(np.float32): tf.float32}
        context, sequence, lengths = tf.io.parse_sequence_example(
            records,
            {
                name: tf.io.FixedLenFeature(f.shape, stored.get(f.dtype, tf.int64))
                for name, f in SCHEMA.context.items()
            },
            {
                name: tf.io.FixedLenSequenceFeature(f.shape, stored.get(f.dtype, tf.int64))
                for name, f in SCHEMA.sequence.items()
            },
        )
        for k, example in enumerate(EXAMPLES):
            for name in SCHEMA.context:
                np.testing.assert_array_equal(context[name][k].numpy(), example[name])
            for name in SCHEMA.sequence:
                assert lengths[name][k] == LENGTHS[k]
                np.testing.assert_array_equal(
                    sequence[name][k, : LENGTHS[k]].numpy(), example[name]
                )


def test_the_plain_protobuf_classes_read_our_files_and_write_the_same_content(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES)
    (path,) = files(tmp_path)
    with path.open("rb") as file:
        records = [record.payload for record in walk(file, path.stat().st_size)]
    for payload, example in zip(records, EXAMPLES, strict=True):
        plain = serialize(
            {
                name: (example[name] + 0 if name == "flags" else example[name]).ravel().tolist()
                for name in SCHEMA.context
            },
            {name: [step.ravel().tolist() for step in example[name]] for name in SCHEMA.sequence},
        )
        ours, theirs = map(tf.train.SequenceExample.FromString, (payload, plain))
        assert ours == theirs


def golden_batch(prefix):
    with np.load(GOLDEN / "data_seqex_parsed.npz") as data:
        return {key.removeprefix(prefix): data[key] for key in data if key.startswith(prefix)}


def strings(vectors, name):
    """Bytes that the vectors hold as one array and their lengths."""
    ends = np.cumsum(vectors[f"{name}.bytes_lengths"].astype(int).ravel())
    content = vectors[f"{name}.bytes_concat"].tobytes()
    parts = [content[i:j] for i, j in zip([0, *ends], ends, strict=False)]
    return np.array(parts, object).reshape(vectors[f"{name}.bytes_lengths"].shape)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zlib"])
def test_tensorflows_files_give_what_its_parser_gave(suffix):
    path = GOLDEN / f"data_seqex.tfrecord{suffix}"
    schema = Schema(
        context={"vec": Feature("float32", (4,)), "name": Feature(bytes), "length": Feature(int)},
        sequence={
            "tokens": Feature(np.int64),
            "frames": Feature(np.float32, (3,)),
            "words": Feature(bytes),
        },
    )
    source = RecordSource(path, schema)
    for k, example in enumerate(read_all(source)):
        vectors = golden_batch(f"single.{k}.")
        assert source.lengths[k] == vectors["context.length"]
        expected = {
            "vec": vectors["context.vec"],
            "name": np.asarray(strings(vectors, "context.name").reshape(-1)[0], object),
            "length": vectors["context.length"],
            "tokens": vectors["lists.tokens"],
            "frames": vectors["lists.frames"],
            "words": strings(vectors, "lists.words"),
        }
        assert_same([example], [expected])
    batch = golden_batch("batch.")
    with Loader(source, Padded(5), epochs=1) as loader:
        features, lengths = next(loader)[:2]
    for name in ("tokens", "frames"):
        np.testing.assert_array_equal(features[name], batch[f"lists.{name}"])
        np.testing.assert_array_equal(lengths, batch[f"lengths.{name}"])
    np.testing.assert_array_equal(features["words"], strings(batch, "lists.words"))
    np.testing.assert_array_equal(features["name"], strings(batch, "context.name"))
    labels = RecordSource(path, Schema(sequence={"labels": Feature(np.int64)}))
    assert labels.lengths.tolist() == batch["lengths.labels"].tolist()


def test_a_file_of_tensorflows_examples_gives_what_its_parser_gave():
    path = GOLDEN / "data_example.tfrecord"
    vectors = golden_batch("example_batch.")
    context = {
        "length": Feature(np.int64),
        "vec": Feature(np.float32, (4,)),
        "name": Feature(bytes),
    }
    source = RecordSource(path, Schema(context, {"var": Feature(np.int64)}))
    examples = read_all(source)
    names = strings(vectors, "name")
    for k, example in enumerate(examples):
        assert example["length"] == vectors["length"][k]
        assert example["name"] == names[k]
        np.testing.assert_array_equal(example["vec"], vectors["vec"][k])
    np.testing.assert_array_equal(
        np.concatenate([example["var"] for example in examples]), vectors["var.sparse.values"]
    )
    rows = vectors["var.sparse.indices"][:, 0]
    assert source.lengths.tolist() == np.bincount(rows, minlength=3).tolist()
    # without sequence features an Example is a SequenceExample, of no steps
    assert RecordSource(path, Schema(context)).lengths.tolist() == [0, 0, 0]
    assert infer_schema(path) == Schema(
        {name: context[name] for name in infer_schema(path).context}, {"var": Feature(np.int64)}
    )


def test_files_without_a_message_or_a_record_say_so():
    source = RecordSource(GOLDEN / "data_misc.tfrecord", X, skip_corrupt=True)
    assert [message.split(".tfrecord: ")[1] for message in source.skipped] == [
        "record 0: context feature 'a' is missing; there are []",
        "record 1: the payload is no SequenceExample and no Example",
        "record 2: the payload is no SequenceExample and no Example",
    ]
    with pytest.raises(CorruptRecordError, match=r"data_empty.tfrecord: the file is empty"):
        RecordSource(GOLDEN / "data_empty.tfrecord", Schema(sequence={"x": Feature(int)}))


def test_a_part_of_the_features_is_read(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES)
    part = Schema({"id": SCHEMA.context["id"]}, {"tokens": SCHEMA.sequence["tokens"]})
    expected = [{name: e[name] for name in ("id", "tokens")} for e in EXAMPLES]
    assert_same(read_all(RecordSource(tmp_path, part)), expected)
    (path,) = files(tmp_path)
    assert_same(read_all(RecordSource(path, part)), expected)
    other = Schema(sequence={"tokens": Feature(np.int64)})
    with pytest.raises(ValueError, match="asks for the sequence feature 'tokens' as int64"):
        RecordSource(tmp_path, other)


def test_a_pattern_reads_files_in_the_order_of_their_names(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES, shards=3)
    source = RecordSource(f"{tmp_path}/data-*", SCHEMA)
    assert_same(read_all(source), in_shards(EXAMPLES, 3))
    assert source.shards == [3, 2, 2]


def test_the_schema_of_a_file_is_found(tmp_path, caplog):
    payloads = [
        serialize({"a": [1]}, {"x": [[1.0, 2.0]] * 3, "empty": [], "bad": [[1], [1, 2]]}),
        serialize({"a": [2], "b": [b"x", b"y"]}, {"x": []}),
    ]
    path = foreign(tmp_path, payloads)
    expected = Schema(
        {"a": Feature(np.int64), "b": Feature(bytes, (2,))}, {"x": Feature("float32", (2,))}
    )
    assert infer_schema(path) == expected
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: left bad out, it holds [('int64', 1), ('int64', 2)]",
        f"{path}: left empty out, it holds []",
    ]
    assert infer_schema(path, records=1).context == {"a": Feature(np.int64)}
    path.write_bytes(frame(payloads[0]) + frame(payloads[1])[:-1])
    with pytest.raises(CorruptRecordError, match="record 1: the file is cut"):
        infer_schema(path)


# Schemas and examples that are wrong.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Feature(np.float64), "must be one of bool, uint8, .* got <class 'numpy.float64'>"),
        (lambda: Feature("words"), "must be one of bool, uint8, .* got 'words'"),
        (lambda: Feature(str), "must be one of bool"),
        (lambda: Feature(int, (0,)), "each size of shape must be a whole number of at least 1"),
        (lambda: Schema({"x": Feature(int)}, {"x": Feature(int)}), r"got \['x'\] as both"),
        (lambda: Schema(), "got neither"),
    ],
)
def test_a_wrong_schema_says_why(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_schemas_are_values():
    again = Schema.from_json(json.loads(json.dumps(SCHEMA.to_json())))
    assert again == SCHEMA
    assert {again: 1}[SCHEMA] == 1
    assert again != Schema(SCHEMA.context)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": None}, r"missing features \['tokens'\], features not in the schema \[\]"),
        ({"more": 1}, r"missing features \[\], features not in the schema \['more'\]"),
        ({"tokens": [1, 2]}, "differ in their number of steps.*'tokens': 2, 'pixels': 3"),
        ({"tokens": [1, 2, 2**31]}, "'tokens': 2147483648 is no int32"),
        ({"tokens": [1.0, 2.0, 3.0]}, "'tokens': must be int32, got float64"),
        ({"tokens": [[1], [2], [3]]}, r"must be int32 of shape \[T\], got int64 of shape \[3, 1\]"),
        ({"tokens": [[1], [2, 3], []]}, "'tokens': must be int32 .* got lists of differing"),
        ({"tokens": 3}, r"must be int32 of shape \[T\], got int64 of shape \[\]"),
        ({"pixels": np.zeros((3, 2))}, r"uint8\[3\] of shape \[T, 3\], got .*\[3, 2\]"),
        ({"pixels": -np.ones((3, 3), int)}, "'pixels': -1 is no uint8"),
        ({"flags": [0, 1]}, "'flags': must be bool.2., got int64"),
        ({"id": np.uint64(2**63)}, "'id': 9223372036854775808 is no int64"),
        ({"where": np.full((2, 2), 1e39)}, r"'where': 1e\+39 is no float32"),
        ({"where": np.full((2, 2), 2**24 + 1)}, "'where': 16777217 is no float32"),
        ({"name": "text"}, "'name': must be bytes, got"),
        ({"name": np.array(b"ends in zero\0")}, "must be of dtype object, got .S13"),
    ],
)
def test_an_example_that_does_not_fit_is_not_written(tmp_path, changes, message):
    write(tmp_path, SCHEMA, EXAMPLES)
    example = {**EXAMPLES[0], **changes}
    example = {name: value for name, value in example.items() if value is not None}
    with pytest.raises(ValueError, match=f"example 1: .*{message}"):
        write(tmp_path, SCHEMA, [EXAMPLES[0], example])
    assert_same(read_all(RecordSource(tmp_path)), EXAMPLES)


def test_numbers_are_taken_as_they_come_where_they_fit(tmp_path):
    schema = Schema({"x": Feature(np.float32)}, {"n": Feature(np.uint8, (2,)), "b": Feature(int)})
    write(
        tmp_path,
        schema,
        [{"x": 1, "n": [[0, 255]], "b": [True]}, {"x": 0.1, "n": [], "b": ()}],
    )
    first, second = read_all(RecordSource(tmp_path))
    assert first["x"] == 1
    assert first["n"].tolist() == [[0, 255]]
    assert first["b"].tolist() == [1]
    assert second["x"] == np.float32(0.1)
    assert second["n"].shape == (0, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shards": 0}, "shards must be a whole number of at least 1, got 0"),
        ({"compression": "gzip"}, "must be a Compression or None, got 'gzip'"),
    ],
)
def test_wrong_options_of_a_writer_say_why(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "new", SCHEMA, EXAMPLES, **options)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("indices", [[7], [-1], [[0]], [0.5], 0])
def test_wrong_indices_say_why(tmp_path, indices):
    write(tmp_path, SCHEMA, EXAMPLES)
    with pytest.raises(ValueError, match="indices must be"):
        RecordSource(tmp_path).read(np.array(indices))


def test_no_examples_are_a_data_set_too(tmp_path):
    for compression in COMPRESSIONS:
        assert write(tmp_path, SCHEMA, [], shards=2, compression=compression) == 0
        for skip in (False, True):
            source = RecordSource(tmp_path, skip_corrupt=skip)
            assert (len(source.lengths), source.shards, source.skipped) == (0, [0, 0], ())


# Damage. Each case gives the file to read and what the error has to say after its name.

X = Schema({"a": Feature(np.int64)}, {"x": Feature(np.int32), "y": Feature(np.float32, (2,))})


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
        ({"context": {"a": []}}, "context feature 'a': it holds 0 values, the schema says int64"),
        ({"context": {"a": [1, 2]}}, "context feature 'a': it holds 2 values"),
        ({"context": {"a": [1.0]}}, "context feature 'a': wrong dtype: it holds float32"),
        ({"sequence": {"x": None}}, r"sequence feature 'x' is missing; there are \['y'\]"),
        ({"sequence": {"x": None, "y": []}}, "sequence feature 'x' is missing"),
        ({"sequence": {"x": [[1.0]] * 3}}, "'x', step 0: wrong dtype: it holds float32"),
        ({"sequence": {"x": [[1], [b""], [2]]}}, "'x', step 1: wrong dtype: it holds bytes"),
        ({"sequence": {"x": [[1], [], [2, 3]]}}, "'x', step 1: it holds 0 values"),
        ({"sequence": {"x": [[1], [2], [2**31]]}}, "'x', step 2: it: 2147483648 is no int32"),
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


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def offset(source, k):
    return int(source._shards[0].offsets[k])


@pytest.mark.parametrize("part", ["ours", "foreign"])
@pytest.mark.parametrize(
    ("damage", "message", "lost", "lost_abroad"),
    [
        (lambda p, o: flip(p, o + 3), "the header", [3], [3, 4, 5, 6]),
        (lambda p, o: flip(p, o + 9), "the header", [3], [3, 4, 5, 6]),
        (lambda p, o: flip(p, o + 40), "the payload does not fit its checksum", [3], [3]),
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
    with pytest.raises(CorruptRecordError, match=f"{path}: has .* bytes, its manifest says"):
        RecordSource(tmp_path)
    with pytest.raises(CorruptRecordError, match=f"{path}: record [0-6]: the file is cut"):
        RecordSource(path, SCHEMA)
    for arguments in [(tmp_path, None), (path, SCHEMA)]:
        source = RecordSource(*arguments, skip_corrupt=True)
        assert_same(read_all(source), EXAMPLES[: len(source.lengths)])
        assert source.skipped
        assert f"the {compression.value} stream is cut" in source.skipped[-1]


def test_a_shard_that_is_compressed_otherwise_is_named(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES, compression=Compression.GZIP)
    (path,) = files(tmp_path)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(zlib.compress(content))
    with pytest.raises(CorruptRecordError, match=f"{path}: has .* bytes, its manifest says"):
        RecordSource(tmp_path)
    source = RecordSource(tmp_path, skip_corrupt=True)
    assert len(source.lengths) == 0
    assert "the gzip stream is damaged" in source.skipped[0]
    assert_same(read_all(RecordSource(path, SCHEMA)), EXAMPLES)  # found out by its first bytes


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path}/no: there is no such file"):
        RecordSource(tmp_path / "no", SCHEMA)
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
                with pytest.raises(CorruptRecordError, match=f"{path}: does not fit its checksum"):
                    RecordSource(tmp_path, skip_corrupt=skip)
        path.write_bytes(content)
    assert_same(read_all(RecordSource(tmp_path)), EXAMPLES)


def test_a_file_that_changes_while_it_is_open_is_noticed(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES)
    source = RecordSource(tmp_path)
    (path,) = files(tmp_path)
    payload = x_record()
    path.write_bytes(frame(payload) * 10)
    with pytest.raises(CorruptRecordError, match=f"{path}: record 0: the header is not that"):
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
    with pytest.raises(CorruptRecordError, match="record 0: it has 0 steps, its index says 3"):
        source.read(np.array([0]))


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


# Writers that die.

WRITER = """
    import os, pathlib, shutil, sys
    import numpy as np
    from seqjax.data.schema import Feature, Schema
    from seqjax.data.tfrecord import Compression
    from seqjax.data.writing import write

    root = pathlib.Path(sys.argv[1])
    schema = Schema(sequence={"x": Feature(np.int64)})
    # what reaches the file system and can be told to fail, and the examples themselves
    events = {"open", "os.mkdir", "os.rename", "os.remove", "drawn", "fsync"}

    def examples(base, n):
        for k in range(n):
            sys.audit("drawn")
            yield {"x": [base + k] * k}

    def die_at(stage, how):
        past = []
        def hook(event, arguments):
            path = str(arguments[0]) if arguments else ""
            if event in ("drawn", "fsync") or event in events and path.startswith(str(root)):
                past.append(event)
                if len(past) == stage:
                    if how == "killed":
                        os.kill(os.getpid(), 9)
                    raise OSError(28, "No space left on device")
        sys.addaudithook(hook)
        os.fsync = lambda fd: sys.audit("fsync")
        return past

    def attempt(directory, stage, how):
        child = os.fork()
        if child == 0:
            past = die_at(stage, how)
            try:
                write(directory, schema, examples(100, 5), shards=2)
            finally:
                os._exit(len(past) < stage)
        return os.waitpid(child, 0)[1] == 256

    write(root / "template", schema, examples(0, 4), shards=2, compression=Compression.GZIP)
    for start in ("old", "none"):
        for stage in range(1, 100):
            directory = root / f"{start}-{stage}"
            if start == "old":
                shutil.copytree(root / "template", directory)
            if attempt(directory, stage, sys.argv[2]):
                break
        assert 15 < stage < 99, stage
"""


@pytest.mark.parametrize("how", ["killed", pytest.param("raised", marks=pytest.mark.slow)])
def test_a_writer_that_dies_anywhere_leaves_the_old_or_the_new(tmp_path, monkeypatch, how):
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # it takes most of the time
    schema = Schema(sequence={"x": Feature(np.int64)})
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(WRITER), tmp_path, how]
    subprocess.run(command, check=True)
    old = [[0 + k] * k for k in (0, 2, 1, 3)]
    new = [[100 + k] * k for k in (0, 2, 4, 1, 3)]
    outcomes = {"old": set(), "none": set()}
    for directory in tmp_path.iterdir():
        if directory.name == "template":
            continue
        start = directory.name.split("-")[0]
        found = None
        if start == "old" or (directory / "manifest.json").exists():
            found = [example["x"].tolist() for example in read_all(RecordSource(directory))]
        assert found in ([old, new] if start == "old" else [None, new])
        outcomes[start].add("new" if found == new else "not")
        write(directory, schema, [{"x": [1]}])
        assert len(list(directory.iterdir())) == 3  # nothing is left of earlier ones
    assert outcomes == {"old": {"new", "not"}, "none": {"new", "not"}}


def test_an_error_among_the_examples_leaves_nothing_behind(tmp_path):
    def failing():
        yield EXAMPLES[0]
        raise RuntimeError("the data ends here")

    with pytest.raises(RuntimeError, match="ends here"):
        write(tmp_path, SCHEMA, failing(), shards=3)
    assert list(tmp_path.iterdir()) == []


def test_files_of_other_names_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "data-old.tfrecord").write_text("mine too")
    write(tmp_path, SCHEMA, EXAMPLES)
    write(tmp_path, SCHEMA, EXAMPLES)
    assert len(list(tmp_path.iterdir())) == 5


def test_one_writer_at_a_time(tmp_path):
    def examples():
        yield EXAMPLES[0]
        with pytest.raises(ValueError, match=f"{tmp_path}: another process is writing to it"):
            write(tmp_path, SCHEMA, EXAMPLES)

    assert write(tmp_path, SCHEMA, examples()) == 1
    assert_same(read_all(RecordSource(tmp_path)), EXAMPLES[:1])


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=f"{tmp_path}/file/new: cannot be written to: Not a dir"):
        write(tmp_path / "file" / "new", SCHEMA, EXAMPLES)


def test_a_damaged_manifest_stops_the_writer_too(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES)
    flip(tmp_path / "manifest.json", 30)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CorruptRecordError, match="does not fit its checksum"):
        write(tmp_path, SCHEMA, EXAMPLES)
    assert sorted(tmp_path.iterdir()) == before


def test_memory_does_not_grow_with_the_data_set(tmp_path):
    import tracemalloc

    example = {"x": np.zeros((4, 5000), np.float32)}
    schema = Schema(sequence={"x": Feature(np.float32, (5000,))})
    tracemalloc.start()
    write(tmp_path, schema, (example for _ in range(200)), shards=2)  # 16 MB
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(path.stat().st_size for path in files(tmp_path)) > 15e6
    assert peak < 2e6


def test_writing_imports_no_tensorflow():
    code = "import seqjax.data.writing, sys; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_tensorflow_sees_no_gpu():
    assert tf.config.get_visible_devices("GPU") == []
