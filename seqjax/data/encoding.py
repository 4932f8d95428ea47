"""The encoding of examples as ``SequenceExample`` messages of Protocol Buffers.

Values are first converted to the dtypes of a schema, which finds those that do not match it.
"""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from seqjax.checks import describe_type
from seqjax.data.ragged import Ragged
from seqjax.data.schema import BYTES, Feature, Schema

# the rank of each kind of dtype; values may be converted to a higher rank if they stay the same
_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}
# the field of a ``Feature`` message that holds a list of each type
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
_LISTS = {"bytes": _BYTES_LIST, "float32": _FLOAT_LIST, "int64": _INT64_LIST}


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
            f"{owner}: must be a dictionary of values by feature, got {describe_type(example)}"
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
