"""The features of a data set, and the encoding of its examples as ``SequenceExample`` messages.

This module writes the wire format of Protocol Buffers. Only `Schema.to_tensorflow` uses TensorFlow.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from seqjax.checks import check_size
from seqjax.data.ragged import Ragged
from seqjax.data.tensorflow import tensorflow_without_gpus

BYTES = np.dtype(object)  # NumPy's own dtype of bytes drops trailing zeros
DTYPES = {
    "bool": np.dtype(np.bool_),
    "uint8": np.dtype(np.uint8),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "float32": np.dtype(np.float32),
    "bytes": BYTES,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
# the rank of each kind of dtype; values may be converted to a higher rank if they stay the same
_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}
# the field of a ``Feature`` message that holds a list of each type
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
_LISTS = {"bytes": _BYTES_LIST, "float32": _FLOAT_LIST, "int64": _INT64_LIST}


@dataclasses.dataclass(frozen=True)
class Feature:
    """The dtype and the shape of a feature, of an example or of each step.

    TFRecords hold int64, float32 and bytes. bool, uint8 and int32 are stored as int64; a value out
    of range raises an error when it is written or read. float64 is not supported, because records
    cannot hold it.

    Args:
      dtype: `bool`, `numpy.uint8`, `numpy.int32`, `numpy.int64`, `numpy.float32` or `bytes`, or its
        name. Arrays of bytes have the dtype object.
      shape: the shape of one value; for a sequence feature, of one step. None as the first size
        stands for any number: each value is then a list of entries of shape ``shape[1:]``, such as
        the characters of a word.
      classes: the names of the classes 0, 1, ... if the values are class ids. Examples with other
        ids cannot be written.

    Raises:
      ValueError: the dtype is not supported, a size is less than 1, a size other than the first
        is None, or the classes are not different texts of an integer feature.

    >>> print(Feature(np.float32, (3,)), Feature(bytes), Feature(np.int32, (None, 2)))
    float32[3] bytes int32[*, 2]
    >>> print(Feature(np.int32, classes=("ham", "spam")))
    int32 of 2 classes
    """

    dtype: Any
    shape: tuple[int | None, ...] = ()
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            name = "bytes" if self.dtype in (bytes, "bytes", BYTES) else np.dtype(self.dtype).name
        except TypeError:
            name = ""
        if name not in DTYPES:
            raise ValueError(
                f"a feature's dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}; "
                "convert the data to one of them"
            )
        shape = tuple(self.shape)
        if None in shape[1:]:
            raise ValueError(
                f"Feature: only the first size of shape may be None, got {shape}; lists of lists "
                "are not supported"
            )
        for size in shape:
            if size is not None:
                check_size("Feature", "each size of shape", size)
        object.__setattr__(self, "dtype", DTYPES[name])
        plain = tuple(None if size is None else int(size) for size in shape)
        object.__setattr__(self, "shape", plain)
        object.__setattr__(self, "classes", _checked_classes(self))

    def __str__(self) -> str:
        sizes = ", ".join("*" if size is None else str(size) for size in self.shape)
        classes = f" of {len(self.classes)} classes" if self.classes else ""
        return _NAMES[self.dtype] + (f"[{sizes}]" if sizes else "") + classes

    @property
    def is_ragged(self) -> bool:
        """Whether each value is a list of any number of entries."""
        return self.shape[:1] == (None,)

    @property
    def entry_shape(self) -> tuple[int, ...]:
        """The shape of one entry, if each value is a list; otherwise of one value."""
        return tuple(size for size in self.shape if size is not None)

    @property
    def entry(self) -> "Feature":
        """The feature of one entry, if each value is a list; otherwise this feature."""
        return dataclasses.replace(self, shape=self.entry_shape) if self.is_ragged else self

    @property
    def stored(self) -> str:
        """The dtype in the file, ``"bytes"``, ``"float32"`` or ``"int64"``."""
        return _NAMES[self.dtype] if self.dtype in (BYTES, np.float32) else "int64"

    @property
    def size(self) -> int:
        """The number of numbers or byte strings in one value, or in one entry of a list."""
        return math.prod(self.entry_shape)


def _checked_classes(feature: Feature) -> tuple[str, ...]:
    classes: Any = feature.classes
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise ValueError(
            f"Feature: classes must be names, such as ('ham', 'spam'), got {classes!r}"
        )
    classes = tuple(classes)
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise ValueError(f"Feature: classes must differ, but {twice!r} occurs twice")
    if classes and feature.dtype.kind not in "iu":
        raise ValueError(
            f"Feature: classes name the values of an integer feature, got {_NAMES[feature.dtype]}"
        )
    return classes


@dataclasses.dataclass(frozen=True)
class Schema:
    """The features of all examples of a data set.

    Args:
      context: features of a whole example, arrays ``[*shape]``.
      sequence: features of each step, arrays ``[T, *shape]``, or `seqjax.data.Ragged` if each step
        is a list; T is the same for all sequence features of an example.

    Raises:
      ValueError: there is no feature, or a name is in both dictionaries.

    >>> schema = Schema(context={"label": Feature(np.int64)}, sequence={"x": Feature(np.float32)})
    >>> {schema: "hashable"}[schema]
    'hashable'
    """

    context: Mapping[str, Feature] = dataclasses.field(default_factory=dict)
    sequence: Mapping[str, Feature] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in ("context", "sequence"):
            given = getattr(self, kind)
            if not isinstance(given, Mapping) or not all(
                isinstance(feature, Feature) for feature in given.values()
            ):
                raise ValueError(
                    f"{kind} must be a dictionary of features, such as {{'x': Feature('int32')}}, "
                    f"got {given!r}"
                )
        both = sorted(set(self.context) & set(self.sequence))
        if both:
            raise ValueError(f"a feature must be in context or in sequence, got {both} in both")
        if not self.context and not self.sequence:
            raise ValueError("a schema needs a context or sequence feature, got neither")
        object.__setattr__(self, "context", dict(self.context))
        object.__setattr__(self, "sequence", dict(self.sequence))

    def __hash__(self) -> int:
        return hash((frozenset(self.context.items()), frozenset(self.sequence.items())))

    def to_json(self) -> dict[str, Any]:
        """Return the schema as JSON data for `from_json`.

        >>> Schema(sequence={"x": Feature(bool)}).to_json()
        {'context': {}, 'sequence': {'x': {'dtype': 'bool', 'shape': []}}}
        """
        return {
            kind: {
                name: {"dtype": _NAMES[feature.dtype], "shape": list(feature.shape)}
                # omitted if there are none: data sets stay as they were
                | ({"classes": list(feature.classes)} if feature.classes else {})
                for name, feature in features.items()
            }
            for kind, features in (("context", self.context), ("sequence", self.sequence))
        }

    def to_tensorflow(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the features for ``tf.io.parse_sequence_example`` in pipelines of your own.

        They are ``FixedLenFeature`` for the context, ``FixedLenSequenceFeature`` for sequences, and
        ``RaggedFeature`` for lists, whose ragged values are those of all entries.

        Returns:
          The context features and the sequence features.

        Raises:
          ImportError: TensorFlow is not installed.

        >>> schema = Schema({"label": Feature(np.int64)}, {"x": Feature(np.float32, (2,))})
        >>> context, sequence = schema.to_tensorflow()
        >>> sequence["x"].dtype
        tf.float32
        """
        tf = tensorflow_without_gpus()
        dtypes = {"bytes": tf.string, "float32": tf.float32, "int64": tf.int64}

        def convert(features: Mapping[str, Feature], fixed: Any) -> dict[str, Any]:
            return {
                name: tf.io.RaggedFeature(dtypes[feature.stored])
                if feature.is_ragged
                else fixed(feature.shape, dtypes[feature.stored])
                for name, feature in features.items()
            }

        context = convert(self.context, tf.io.FixedLenFeature)
        return context, convert(self.sequence, tf.io.FixedLenSequenceFeature)

    @property
    def sequence_features(self) -> frozenset[str]:
        """The names of the features that have a time axis."""
        return frozenset(self.sequence)

    @property
    def ragged_features(self) -> frozenset[str]:
        """The names of the features whose values are lists of any number of entries."""
        features = {**self.context, **self.sequence}
        return frozenset(name for name, feature in features.items() if feature.is_ragged)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Schema":
        """Return the schema that `to_json` described.

        >>> schema = Schema(sequence={"x": Feature(bool)})
        >>> Schema.from_json(schema.to_json()) == schema
        True
        """
        return cls(
            **{
                kind: {name: Feature(**feature) for name, feature in features.items()}
                for kind, features in content.items()
            }
        )


def check_schema(schema: Any) -> None:
    """Raise ``ValueError`` unless ``schema`` is a `Schema`.

    >>> check_schema({"x": Feature("int32")})
    Traceback (most recent call last):
    ...
    ValueError: schema must be a Schema, such as Schema(sequence={'x': Feature(bool)}), got a dict
    """
    if not isinstance(schema, Schema):
        raise ValueError(
            "schema must be a Schema, such as Schema(sequence={'x': Feature(bool)}), got a "
            f"{type(schema).__name__}"
        )


def encode(schema: Schema, example: Mapping[str, Any], owner: str) -> tuple[bytes, int]:
    r"""Serialize an example as a ``tf.train.SequenceExample``.

    Args:
      schema: the schema of the example.
      example: see `seqjax.data.records.write`.
      owner: the name of the example in error messages.

    Returns:
      The message, and the number of steps of the example (0 if it has no sequence feature).

    Raises:
      ValueError: the example does not match the schema.

    >>> schema = Schema(sequence={"x": Feature(np.int64)})
    >>> encode(schema, {"x": [7]}, "example 0")
    (b'\x12\x0e\n\x0c\n\x01x\x12\x07\n\x05\x1a\x03\n\x01\x07', 1)
    """
    return serialize(schema, conform_example(schema, example, owner))


def conform_example(
    schema: Schema, example: Mapping[str, Any], owner: str
) -> dict[str, np.ndarray | Ragged]:
    """Convert the values of an example to the dtypes of the schema, or raise ``ValueError``.

    >>> schema = Schema(sequence={"x": Feature(np.uint8)})
    >>> conform_example(schema, {"x": [7, 8]}, "example 0")
    {'x': array([7, 8], dtype=uint8)}
    """
    if not isinstance(example, Mapping):
        raise ValueError(
            f"{owner}: must be a dictionary of values by feature, got a {type(example).__name__}"
        )
    wanted = {**schema.context, **schema.sequence}
    if example.keys() != wanted.keys():
        missing, extra = wanted.keys() - example.keys(), example.keys() - wanted.keys()
        raise ValueError(
            f"{owner}: missing features {sorted(missing)}, features not in the schema "
            f"{sorted(extra)}; give the features of the schema, {sorted(wanted)}"
        )
    context = {
        name: conform(
            feature.entry, example[name], f"{owner}: {name!r}", "N" if feature.is_ragged else None
        )
        for name, feature in schema.context.items()
    }
    sequence = {
        name: conform_steps(feature, example[name], f"{owner}: {name!r}")
        for name, feature in schema.sequence.items()
    }
    lengths = {name: len(value) for name, value in sequence.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"{owner}: its sequence features differ in their number of steps: {lengths}"
        )
    return {**context, **sequence}


def serialize(schema: Schema, example: Mapping[str, Any]) -> tuple[bytes, int]:
    r"""Serialize an example that `conform_example` returned; see `encode`.

    >>> schema = Schema({"y": Feature(np.int64)})
    >>> serialize(schema, {"y": np.array(7)})
    (b'\n\x0c\n\n\n\x01y\x12\x05\x1a\x03\n\x01\x07', 0)
    """
    context = {name: _feature(example[name], feature) for name, feature in schema.context.items()}
    lists = {
        name: b"".join([_delimited(1, step) for step in _steps(example[name], feature)])
        for name, feature in schema.sequence.items()
    }
    message = _delimited(1, _map(context)) if context else b""
    if lists:
        message += _delimited(2, _map(lists))
    return message, max((len(example[name]) for name in schema.sequence), default=0)


def conform_steps(feature: Feature, value: Any, owner: str) -> np.ndarray | Ragged:
    """Convert the values of all steps to the feature's dtype, or raise ``ValueError``.

    >>> print(conform_steps(Feature(np.uint8, (None,)), [[1, 2], []], "x"))
    [[1 2], []]
    >>> conform_steps(Feature(np.uint8, (None,)), [[1, 2], 3], "x")
    Traceback (most recent call last):
    ...
    ValueError: x, step 1: must be uint8 of shape [N], got int64 of shape []
    """
    if not feature.is_ragged:
        return conform(feature, value, owner, axis="T")
    if isinstance(value, Ragged):
        return Ragged(conform(feature.entry, value.values, owner, "N"), value.lengths)
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ValueError(f"{owner}: must be a list for each step, got {_describe(value)}")
    lists = [
        conform(feature.entry, entries, f"{owner}, step {step}", "N")
        for step, entries in enumerate(value)
    ]
    empty = np.zeros((0, *feature.entry_shape), feature.dtype)
    return Ragged(np.concatenate([empty, *lists]), np.array([len(e) for e in lists], np.int64))


def conform(feature: Feature, value: Any, owner: str, axis: str | None = None) -> np.ndarray:
    """Convert a value to the feature's dtype and check its shape, or raise ``ValueError``.

    Args:
      feature: a feature whose values are not lists.
      value: anything that `numpy.asarray` takes.
      owner: the name of the value in error messages.
      axis: the name of a leading axis of any size, if the value has one.

    >>> conform(Feature(np.uint8), [1, 256], "x", axis="T")
    Traceback (most recent call last):
    ...
    ValueError: x: 256 cannot be stored as uint8
    """
    if feature.dtype == BYTES and getattr(value, "dtype", BYTES) != BYTES:
        raise ValueError(f"{owner}: an array of bytes must be of dtype object, got {value.dtype}")
    try:
        array = np.asarray(value, BYTES if feature.dtype == BYTES else None)
    except ValueError:
        array = np.empty((), BYTES)
    leading = () if axis is None else array.shape[:1]
    shape = (*leading, *feature.entry_shape)
    if axis is not None and array.shape == (0,):
        return np.zeros(shape, feature.dtype)
    if array.shape != shape or array.ndim != len(feature.shape) + (axis is not None):
        sizes = (() if axis is None else (axis,)) + feature.shape
        wanted = f"[{', '.join(map(str, sizes))}]"
        raise ValueError(f"{owner}: must be {feature} of shape {wanted}, got {_describe(value)}")
    if feature.dtype == BYTES:
        if not all(isinstance(item, bytes) for item in array.flat):
            raise ValueError(f"{owner}: must be {feature}, got {_describe(value)}")
        return array
    if _RANK.get(array.dtype.kind, 3) > _RANK[feature.dtype.kind]:
        raise ValueError(f"{owner}: must be {feature}, got {_describe(value)}")
    numbers = narrow(array, feature.dtype, owner)
    if feature.classes and ((numbers < 0) | (numbers >= len(feature.classes))).any():
        raise ValueError(
            f"{owner}: must be the ids of {len(feature.classes)} classes, 0 to "
            f"{len(feature.classes) - 1}, got {numbers.min()} to {numbers.max()}"
        )
    return numbers


def narrow(array: np.ndarray, dtype: np.dtype, owner: str) -> np.ndarray:
    """Convert numbers to a dtype that can hold them all, or raise ``ValueError``.

    >>> narrow(np.array([0, 2]), np.dtype(bool), "x")
    Traceback (most recent call last):
    ...
    ValueError: x: 2 cannot be stored as bool
    """
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(dtype)
        if array.dtype.kind == "f":  # float32 may round a number, but not to infinity
            same = np.isfinite(converted) | ~np.isfinite(array)
        else:  # a conversion there and back alone would let uint64 wrap around
            same = (converted.astype(array.dtype) == array) & (converted == array)
    if not same.all():
        raise ValueError(f"{owner}: {array[~same].flat[0]} cannot be stored as {dtype}")
    return converted


def _describe(value: Any) -> str:
    try:
        array = np.asarray(value)
    except ValueError:
        return "lists of different lengths"
    return f"{array.dtype} of shape {list(array.shape)}"


def _steps(array: np.ndarray | Ragged, feature: Feature) -> list[bytes]:
    """Serialize each step as a ``Feature`` message."""
    if isinstance(array, Ragged):
        return [_feature(entries, feature) for entries in array]
    if feature.stored == "float32":
        raw, width = array.astype("<f4", copy=False).tobytes(), 4 * feature.size
        # all steps have the same number of bytes, hence the same prefix
        start = _delimited(_FLOAT_LIST, _delimited(1, bytes(width)))[:-width]
        return [start + raw[i : i + width] for i in range(0, len(raw), width)]
    rows = array.reshape(len(array), feature.size).tolist()
    if feature.stored == "int64":
        return [_integers(tuple(row)) for row in rows]
    return [_feature(np.array(row, BYTES), feature) for row in rows]


def _feature(array: np.ndarray, feature: Feature) -> bytes:
    if not array.size:
        return _delimited(_LISTS[feature.stored], b"")
    if feature.stored == "float32":
        return _delimited(_FLOAT_LIST, _delimited(1, array.astype("<f4").tobytes()))
    if feature.stored == "int64":
        return _integers(tuple(array.ravel().tolist()))
    return _delimited(_BYTES_LIST, b"".join([_delimited(1, item) for item in array.flat]))


@functools.lru_cache(maxsize=16384)
def _integers(values: tuple[int, ...]) -> bytes:
    return _delimited(_INT64_LIST, _delimited(1, b"".join(map(_varint, values))))


def _map(entries: Mapping[str, bytes]) -> bytes:
    return b"".join(
        [
            _delimited(1, _delimited(1, name.encode()) + _delimited(2, value))
            for name, value in entries.items()
        ]
    )


def _delimited(field: int, content: bytes) -> bytes:
    return bytes((field << 3 | 2,)) + _varint(len(content)) + content


@functools.lru_cache(maxsize=16384)
def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
