"""Data sets on disk come back as they were; TensorFlow reads ours, and we its."""

import json
import pickle

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
from tests.data.record_examples import (
    COMPRESSIONS,
    EXAMPLES,
    GOLDEN,
    LENGTHS,
    SCHEMA,
    X,
    assert_same,
    files,
    foreign,
    in_shards,
    read_all,
    serialize,
)

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


@hypothesis.settings(max_examples=20)
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
        context, sequence, lengths = tf.io.parse_sequence_example(records, *SCHEMA.to_tensorflow())
        for k, example in enumerate(EXAMPLES):
            for name in SCHEMA.context:
                np.testing.assert_array_equal(context[name][k].numpy(), example[name])
            for name, feature in SCHEMA.sequence.items():
                if feature.is_ragged:
                    lists = [entries.ravel().tolist() for entries in example[name]]
                    assert sequence[name][k].to_list() == lists
                    continue
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
        kinds = {"bytes": "bytes_list", "float32": "float_list", "int64": "int64_list"}
        for name, feature in (*SCHEMA.context.items(), *SCHEMA.sequence.items()):
            steps = theirs.feature_lists.feature_list.get(name)
            for value in [theirs.context.feature[name]] if steps is None else steps.feature:
                getattr(value, kinds[feature.stored]).SetInParent()  # of empty lists too
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
        "record 1: the payload is neither a SequenceExample nor an Example",
        "record 2: the payload is neither a SequenceExample nor an Example",
    ]
    with pytest.raises(CorruptRecordError, match=r"data_empty.tfrecord: the file is empty"):
        RecordSource(GOLDEN / "data_empty.tfrecord", Schema(sequence={"x": Feature(int)}))


def test_it_is_a_sequence_that_can_be_pickled(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES, shards=3)
    source = RecordSource(tmp_path)
    assert_same([source[k] for k in range(len(source))], read_all(source))
    again = pickle.loads(pickle.dumps(source))
    assert_same(read_all(again), read_all(source))
    with pytest.raises(ValueError, match="indices must be in"):
        source[len(source)]


def test_it_is_a_source_of_grain(tmp_path):
    grain = pytest.importorskip("grain")
    write(tmp_path, SCHEMA, EXAMPLES, shards=3)
    source = RecordSource(tmp_path)
    assert isinstance(source, grain.sources.RandomAccessDataSource)
    shuffled = grain.MapDataset.source(source).shuffle(seed=0)
    assert_same(sorted(shuffled, key=lambda example: int(example["id"])), EXAMPLES)


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
        serialize(
            {"a": [1], "tags": []},
            {"x": [[1.0, 2.0]] * 3, "empty": [], "bad": [[1], [2.0]], "lists": [[1], [], [1, 2]]},
        ),
        serialize({"a": [2], "b": [b"x", b"y"], "tags": [b"x"]}, {"x": []}),
    ]
    path = foreign(tmp_path, payloads)
    expected = Schema(
        {"a": Feature(np.int64), "b": Feature(bytes, (2,)), "tags": Feature(bytes, (None,))},
        {"x": Feature("float32", (2,)), "lists": Feature(np.int64, (None,))},
    )
    assert infer_schema(path) == expected
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: bad is omitted, because it holds [('float32', 1), ('int64', 1)]",
        f"{path}: empty is omitted, because it holds []",
    ]
    assert infer_schema(path, records=1).context == {"a": Feature(np.int64)}
    path.write_bytes(frame(payloads[0]) + frame(payloads[1])[:-1])
    with pytest.raises(CorruptRecordError, match="record 1: the file is truncated"):
        infer_schema(path)


# Schemas and examples that are wrong.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Feature(int, (2, None)),
            "only the first size of shape may be None, got .2, None",
        ),
        (lambda: Feature(np.float64), "must be one of bool, uint8, .* got <class 'numpy.float64'>"),
        (lambda: Feature("words"), "must be one of bool, uint8, .* got 'words'"),
        (lambda: Feature(str), "must be one of bool"),
        (lambda: Feature(int, (0,)), "each size of shape must be a whole number of at least 1"),
        (lambda: Schema({"x": Feature(int)}, {"x": Feature(int)}), r"got \['x'\] in both"),
        (lambda: Schema(), "got neither"),
        (lambda: Feature(int, classes="ab"), "classes must be names, .* got 'ab'"),
        (lambda: Feature(int, classes=(0, 1)), r"classes must be names, .* got \(0, 1\)"),
        (
            lambda: Feature(int, classes=("a", "b", "a")),
            "classes must differ, but 'a' occurs twice",
        ),
        (lambda: Feature(float, classes=("a",)), "must be one of bool"),
        (lambda: Feature("float32", classes=("a",)), "an integer feature, got float32"),
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


def test_the_names_of_classes_are_stored(tmp_path):
    schema = Schema(
        {"label": Feature(np.int32, classes=("ham", "spam"))},
        {"tags": Feature(np.uint8, (None,), classes=("noun", "verb", "other"))},
    )
    examples = [{"label": 1, "tags": [[2], []]}, {"label": 0, "tags": [[0, 1]]}]
    write(tmp_path, schema, examples)
    source = RecordSource(tmp_path)
    assert source.schema == schema
    assert source.schema.context["label"].classes == ("ham", "spam")
    assert [int(example["label"]) for example in read_all(source)] == [1, 0]
    # a schema that does not name them reads the ids
    assert len(RecordSource(tmp_path, Schema({"label": Feature(np.int32)}))) == 2
    other = Schema({"label": Feature(np.int32, classes=("spam", "ham"))})
    with pytest.raises(ValueError, match="has the classes 'ham', 'spam'"):
        RecordSource(tmp_path, other)
    for changes, message in (
        ({"label": 2}, "'label': must be the ids of 2 classes, 0 to 1, got 2 to 2"),
        ({"label": -1}, "'label': must be the ids of 2 classes, 0 to 1, got -1 to -1"),
        ({"tags": [[0], [3]]}, "'tags', step 1: must be the ids of 3 classes"),
    ):
        with pytest.raises(ValueError, match=f"example 0: {message}"):
            write(tmp_path / "other", schema, [examples[0] | changes])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": None}, r"missing features \['tokens'\], features not in the schema \[\]"),
        ({"more": 1}, r"missing features \[\], features not in the schema \['more'\]"),
        ({"tokens": [1, 2]}, "differ in their number of steps.*'tokens': 2, 'pixels': 3"),
        ({"tokens": [1, 2, 2**31]}, "'tokens': 2147483648 cannot be stored as int32"),
        ({"tokens": [1.0, 2.0, 3.0]}, "'tokens': must be int32, got float64"),
        ({"tokens": [[1], [2], [3]]}, r"must be int32 of shape \[T\], got int64 of shape \[3, 1\]"),
        ({"tokens": [[1], [2, 3], []]}, "'tokens': must be int32 .* got lists of different"),
        ({"tokens": 3}, r"must be int32 of shape \[T\], got int64 of shape \[\]"),
        ({"pixels": np.zeros((3, 2))}, r"uint8\[3\] of shape \[T, 3\], got .*\[3, 2\]"),
        ({"pixels": -np.ones((3, 3), int)}, "'pixels': -1 cannot be stored as uint8"),
        ({"flags": [0, 1]}, "'flags': must be bool.2., got int64"),
        ({"id": np.uint64(2**63)}, "'id': 9223372036854775808 cannot be stored as int64"),
        ({"where": np.full((2, 2), 1e39)}, r"'where': 1e\+39 cannot be stored as float32"),
        ({"where": np.full((2, 2), 2**24 + 1)}, "'where': 16777217 cannot be stored as float32"),
        ({"name": "text"}, "'name': must be bytes, got"),
        ({"tags": [[b"x"]]}, r"'tags': must be bytes of shape \[N\], got .* \[1, 1\]"),
        ({"tags": b"x"}, r"'tags': must be bytes of shape \[N\]"),
        ({"letters": [1, 2, 3]}, r"'letters', step 0: must be int32 of shape \[N\], got int64"),
        ({"letters": 3}, "'letters': must be a list for each step, got int64"),
        ({"letters": [[1], [], [2.5]]}, "'letters', step 2: must be int32, got float64"),
        ({"letters": [[1], [2**31], []]}, "'letters', step 1: 2147483648 cannot be stored"),
        ({"letters": [[1], []]}, "differ in their number of steps.*'letters': 2"),
        (
            {"boxes": [[[1.0]], [], []]},
            r"step 0: must be float32\[2\] of shape \[N, 2\], got .*1, 1",
        ),
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
