"""Examples, and what the tests of records share."""

import pathlib

import numpy as np
import tensorflow as tf

from seqjax.data import Ragged
from seqjax.data.records import (
    Compression,
    Feature,
    Schema,
)
from seqjax.data.tfrecord import frame

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
COMPRESSIONS = [None, *Compression]
SCHEMA = Schema(
    context={
        "id": Feature(np.int64),
        "flags": Feature(bool, (2,)),
        "name": Feature(bytes),
        "where": Feature(np.float32, (2, 2)),
        "tags": Feature(bytes, (None,)),
    },
    sequence={
        "tokens": Feature(np.int32),
        "pixels": Feature(np.uint8, (3,)),
        "frames": Feature(np.float32, (2, 3)),
        "words": Feature(bytes, (2,)),
        "letters": Feature(np.int32, (None,)),
        "boxes": Feature(np.float32, (None, 2)),
    },
)
# of one number, and of steps of an integer and two floats
X = Schema({"a": Feature(np.int64)}, {"x": Feature(np.int32), "y": Feature(np.float32, (2,))})
LENGTHS = [3, 0, 1, 7, 4, 2, 130]


def draw_example(rng, length, number=0):
    letters, boxes = rng.integers(0, 4, (2, length))
    return {
        "id": np.asarray(number),
        "flags": rng.random(2) < 0.5,
        "name": np.asarray(rng.bytes(number % 4), object),
        "where": rng.normal(size=(2, 2)).astype(np.float32),
        "tags": np.array([rng.bytes(k) for k in range(rng.integers(0, 3))], object),
        "tokens": rng.integers(-(2**31), 2**31, length, dtype=np.int32),
        "pixels": rng.integers(0, 256, (length, 3), dtype=np.uint8),
        "frames": rng.normal(size=(length, 2, 3)).astype(np.float32),
        "words": np.array([rng.bytes(k % 5) for k in range(2 * length)], object).reshape(-1, 2),
        "letters": Ragged(rng.integers(-9, 9, letters.sum(), dtype=np.int32), letters),
        "boxes": Ragged(rng.normal(size=(boxes.sum(), 2)).astype(np.float32), boxes),
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
        is_same_value(example[name], wanted[name]) for name in wanted
    )


def is_same_value(value, wanted):
    if isinstance(wanted, Ragged):
        return (
            isinstance(value, Ragged)
            and is_same_value(value.values, wanted.values)
            and is_same_value(value.lengths, wanted.lengths)
        )
    return (
        isinstance(value, np.ndarray)
        and value.dtype == wanted.dtype
        and value.shape == wanted.shape
        and (value == wanted).all()
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


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
