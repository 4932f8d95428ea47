"""Parsing records: ``tf.train.SequenceExample`` and ``tf.train.Example`` messages."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax.data.batching import Example
from seqjax.data.encoding import narrow
from seqjax.data.ragged import Ragged
from seqjax.data.schema import BYTES, Feature, Schema
from seqjax.data.tensorflow import tensorflow_without_gpus
from seqjax.data.tfrecord import CorruptRecordError

_KINDS = {"bytes_list": "bytes", "float_list": "float32", "int64_list": "int64"}
NO_MESSAGE = "the payload is neither a SequenceExample nor an Example"


class _Lists(NamedTuple):
    """Values of many records, and where the lists of each one end.

    Attributes:
      values: ``[N]`` of the stored dtype, all numbers or byte strings.
      ends: ``int64[records + 1]``, in lists of the sequence features, which are the steps, and in
        values of the context features.
      counts: ``int64[lists]``, the number of values in each list.
    """

    values: np.ndarray
    ends: np.ndarray
    counts: np.ndarray


class Parser:
    """A parser of many records at once, which explains why a record cannot be parsed."""

    def __init__(self, schema: Schema, *, flat: bool) -> None:
        tf = tensorflow_without_gpus()
        dtypes = {"bytes": tf.string, "float32": tf.float32, "int64": tf.int64}
        self._schema = schema
        self._flat = flat
        lists = [name for name, feature in schema.sequence.items() if feature.is_ragged]
        if flat and lists:
            raise ValueError(
                f"the sequence features {lists} have a list at each step, but the records are "
                "tf.train.Example messages, which hold one list for each feature; change the schema"
            )
        self._fixed = {name: f for name, f in schema.context.items() if not f.is_ragged}
        self._ragged = {name: f for name, f in schema.context.items() if f.is_ragged}
        self._names = [*schema.context, *schema.sequence]
        fixed = {name: dtypes[feature.stored] for name, feature in self._fixed.items()}
        ragged = {name: dtypes[feature.stored] for name, feature in self._ragged.items()}
        sequence = {name: dtypes[feature.stored] for name, feature in schema.sequence.items()}
        shapes = [feature.entry_shape for feature in self._fixed.values()]
        # Sequences are parsed as ragged: with a fixed shape, TensorFlow accepts steps of different
        # sizes if their sum matches.
        if flat:
            self._features = {
                name: tf.io.FixedLenFeature(shape, dtype)
                for (name, dtype), shape in zip(fixed.items(), shapes, strict=True)
            } | {
                name: tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
                for name, dtype in (ragged | sequence).items()
            }
            return
        # tf.io.parse_sequence_example, but these arguments are built only once
        none = tf.constant([], tf.string)
        self._parse_op = functools.partial(
            tf.raw_ops.ParseSequenceExampleV2,
            debug_name=none,
            context_sparse_keys=none,
            context_dense_keys=tf.constant(list(fixed), tf.string),
            context_ragged_keys=tf.constant(list(ragged), tf.string),
            context_ragged_value_types=list(ragged.values()),
            context_ragged_split_types=[tf.int64] * len(ragged),
            feature_list_sparse_keys=none,
            feature_list_dense_keys=none,
            feature_list_ragged_keys=tf.constant(list(sequence), tf.string),
            feature_list_dense_missing_assumed_empty=tf.constant([], tf.bool),
            context_dense_defaults=[tf.constant([], dtype) for dtype in fixed.values()],
            context_dense_shapes=shapes,
            feature_list_ragged_value_types=list(sequence.values()),
            feature_list_ragged_split_types=[tf.int64] * len(sequence),
        )

    def parse(self, payloads: Sequence[bytes]) -> tuple[list[Example], np.ndarray]:
        """Return the examples and their lengths, or raise ``ValueError`` if one does not match."""
        try:
            return self._parse(payloads)
        except ValueError as error:
            if len(payloads) > 1:
                raise
            raise ValueError(self._explain(payloads[0]) or str(error)) from None

    def parse_named(
        self, payloads: Sequence[bytes], name: Callable[[int], str]
    ) -> tuple[list[Example], np.ndarray]:
        """Return the examples and their lengths; an error begins with the name of its payload.

        Args:
          payloads: the records.
          name: a function from the place of a payload to its name.

        Raises:
          CorruptRecordError: a payload does not match the schema.
        """
        try:
            return self.parse(payloads)
        except ValueError:
            for place, payload in enumerate(payloads):
                try:
                    self.parse([payload])
                except ValueError as error:
                    raise CorruptRecordError(f"{name(place)}: {error}") from None
            raise

    def _parse(self, payloads: Sequence[bytes]) -> tuple[list[Example], np.ndarray]:
        fixed, ragged, sequence = self._run(payloads)
        ends = sequence[0].ends if sequence else np.zeros(len(payloads) + 1, np.int64)
        lengths = np.diff(ends)
        columns: dict[str, list[Any]] = {}
        for values, (name, feature) in zip(fixed, self._fixed.items(), strict=True):
            values = narrow(values, feature.dtype, repr(name))
            columns[name] = [values[k, ...] for k in range(len(payloads))]
        for lists, (name, feature) in zip(ragged, self._ragged.items(), strict=True):
            columns[name] = _split(_entries(lists, feature, name), lists.ends // feature.size)
        for lists, (name, feature) in zip(sequence, self._schema.sequence.items(), strict=True):
            if (lists.ends != ends).any():
                raise ValueError("a sequence feature is ragged")
            entries = _entries(lists, feature, name)
            if not feature.is_ragged:
                columns[name] = _split(entries, ends)
                continue
            counts = lists.counts // feature.size
            bounds = np.concatenate([[0], np.cumsum(counts)])[ends]
            parts = zip(_split(entries, bounds), _split(counts, ends), strict=True)
            columns[name] = [Ragged.unchecked(*part) for part in parts]
        rows = zip(*[columns[name] for name in self._names], strict=True)
        examples = [dict(zip(self._names, row, strict=True)) for row in rows]
        # TensorFlow parses a missing list like an empty one
        is_empty = lengths == 0 if sequence else np.zeros(len(payloads), bool)
        for lists in ragged:
            is_empty = is_empty | (np.diff(lists.ends) == 0)
        for k in np.flatnonzero(is_empty).tolist():
            if problem := self._explain(payloads[k]):
                raise ValueError(problem)
        return examples, lengths

    def _run(
        self, payloads: Sequence[bytes]
    ) -> tuple[list[np.ndarray], list[_Lists], list[_Lists]]:
        """Parse context features of fixed shape, those that are lists, and sequence features."""
        tf = tensorflow_without_gpus()

        def one_list(values: Any, splits: Any) -> _Lists:
            ends = splits.numpy()
            return _Lists(values.numpy(), ends, np.diff(ends))

        def steps_of(values: Any, splits: Any, feature: Feature) -> _Lists:
            """Cut the one list of each record into steps."""
            ends, left = np.divmod(splits.numpy(), feature.size)
            if left.any():
                raise ValueError("a sequence feature is ragged")
            return _Lists(values.numpy(), ends, np.full(ends[-1], feature.size))

        try:
            if self._flat:
                parsed = tf.io.parse_example(payloads, self._features)
                return (
                    [parsed[name].numpy() for name in self._fixed],
                    [
                        one_list(parsed[name].flat_values, parsed[name].row_splits)
                        for name in self._ragged
                    ],
                    [
                        steps_of(parsed[name].flat_values, parsed[name].row_splits, feature)
                        for name, feature in self._schema.sequence.items()
                    ],
                )
            # a list would take twice as long, since TensorFlow would infer its dtype
            parsed = self._parse_op(serialized=tf.constant(payloads, tf.string))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(error.message) from None
        return (
            [values.numpy() for values in parsed.context_dense_values],
            [
                one_list(*part)
                for part in zip(
                    parsed.context_ragged_values, parsed.context_ragged_row_splits, strict=True
                )
            ],
            [
                _Lists(values.numpy(), outer.numpy(), np.diff(inner.numpy()))
                for values, outer, inner in zip(
                    parsed.feature_list_ragged_values,
                    parsed.feature_list_ragged_outer_splits,
                    parsed.feature_list_ragged_inner_splits,
                    strict=True,
                )
            ],
        )

    def _explain(self, payload: bytes) -> str | None:
        message = parse_message(payload)
        if message is None:
            return NO_MESSAGE
        context, lists = message.context.feature, message.feature_lists.feature_list
        for name, feature in self._schema.context.items():
            if name not in context:
                return f"context feature {name!r} is missing; there are {sorted(context)}"
            if problem := _misfit(feature, context[name]):
                return f"context feature {name!r}: {problem}"
        lengths = {}
        for name, feature in self._schema.sequence.items():
            if name not in (context if self._flat else lists):
                there = sorted(context if self._flat else lists)
                return f"sequence feature {name!r} is missing; there are {there}"
            if self._flat:
                lengths[name] = dtype_and_count(context[name])[1] // feature.size
                if problem := _misfit(feature, context[name], steps=True):
                    return f"sequence feature {name!r}: {problem}"
            else:
                lengths[name] = len(lists[name].feature)
                for step, value in enumerate(lists[name].feature):
                    if problem := _misfit(feature, value):
                        return f"sequence feature {name!r}, step {step}: {problem}"
        if len(set(lengths.values())) > 1:
            return f"ragged: the sequence features differ in their number of steps: {lengths}"
        return None


def parse_message(payload: bytes) -> Any:
    """Parse a record; an ``Example`` parses as a ``SequenceExample`` with a context only."""
    from google.protobuf.message import DecodeError

    try:
        return tensorflow_without_gpus().train.SequenceExample.FromString(payload)
    except DecodeError:
        return None


def is_flat(payload: bytes) -> bool:
    """Whether a record is a ``tf.train.Example`` message, which has no feature lists."""
    message = parse_message(payload)
    return message is not None and not message.HasField("feature_lists")


def dtype_and_count(message: Any) -> tuple[str, int]:
    """Return the dtype and the number of values of a protobuf ``Feature``; "" if it is empty."""
    kind = message.WhichOneof("kind")
    return (_KINDS[kind], len(getattr(message, kind).value)) if kind else ("", 0)


def _entries(lists: _Lists, feature: Feature, name: str) -> np.ndarray:
    """All entries of lists, ``[N, *entry_shape]``."""
    wrong = lists.counts % feature.size if feature.is_ragged else lists.counts != feature.size
    if wrong.any():
        raise ValueError("a list does not hold whole entries")
    values = narrow(lists.values, feature.dtype, repr(name))
    return values.reshape(-1, *feature.entry_shape)


def _split(array: np.ndarray, ends: np.ndarray) -> list[np.ndarray]:
    return [array[start:stop] for start, stop in itertools.pairwise(ends.tolist())]


def _misfit(feature: Feature, message: Any, *, steps: bool = False) -> str | None:
    """Return why a protobuf ``Feature`` is not a value of a feature, or those of all steps."""
    dtype, found = dtype_and_count(message)
    if dtype not in ("", feature.stored):
        return f"wrong dtype: it holds {dtype}, but the schema says {feature}"
    is_whole = found % feature.size == 0 if steps or feature.is_ragged else found == feature.size
    if not is_whole:
        return f"it holds {found} values, but the schema says {feature}"
    if feature.dtype != BYTES and found:
        values = np.array(getattr(message, message.WhichOneof("kind")).value)
        try:
            narrow(values, feature.dtype, "it")
        except ValueError as error:
            return f"{error}, the dtype of the schema"
    return None
