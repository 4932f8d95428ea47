"""Parsing records: ``tf.train.SequenceExample`` and ``tf.train.Example`` messages.

Only this module imports TensorFlow, on first use, and it hides all GPUs from it.
"""

import contextlib
import functools
import itertools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqjax.data.batching import Example
from seqjax.data.schema import BYTES, Feature, Schema, narrow

_KINDS = {"bytes_list": "bytes", "float_list": "float32", "int64_list": "int64"}
NO_MESSAGE = "the payload is neither a SequenceExample nor an Example"


class Parser:
    """A parser of many records at once, which explains why a record cannot be parsed."""

    def __init__(self, schema: Schema, *, flat: bool) -> None:
        tf = tensorflow_without_gpus()
        dtypes = {"bytes": tf.string, "float32": tf.float32, "int64": tf.int64}
        self._schema = schema
        context = {name: dtypes[feature.stored] for name, feature in schema.context.items()}
        sequence = {name: dtypes[feature.stored] for name, feature in schema.sequence.items()}
        shapes = [feature.shape for feature in schema.context.values()]
        self._flat = flat
        # Sequences are parsed as ragged: with a fixed shape, TensorFlow accepts steps of different
        # sizes if their sum matches.
        if flat:
            self._features = {
                name: tf.io.FixedLenFeature(shape, dtype)
                for (name, dtype), shape in zip(context.items(), shapes, strict=True)
            } | {
                name: tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
                for name, dtype in sequence.items()
            }
            return
        # tf.io.parse_sequence_example, but these arguments are built only once
        none = tf.constant([], tf.string)
        self._parse_op = functools.partial(
            tf.raw_ops.ParseSequenceExampleV2,
            debug_name=none,
            context_sparse_keys=none,
            context_dense_keys=tf.constant(list(context), tf.string),
            context_ragged_keys=none,
            feature_list_sparse_keys=none,
            feature_list_dense_keys=none,
            feature_list_ragged_keys=tf.constant(list(sequence), tf.string),
            feature_list_dense_missing_assumed_empty=tf.constant([], tf.bool),
            context_dense_defaults=[tf.constant([], dtype) for dtype in context.values()],
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

    def _parse(self, payloads: Sequence[bytes]) -> tuple[list[Example], np.ndarray]:
        context, sequence = self._schema.context, self._schema.sequence
        fixed, flat_values, ends, misfits = self._run(payloads)
        if any(misfit.any() for misfit in misfits) or any((end != ends[0]).any() for end in ends):
            raise ValueError("a sequence feature is ragged")
        columns = []
        for values, (name, feature) in zip(fixed, context.items(), strict=True):
            values = narrow(values, feature.dtype, repr(name))
            columns.append([values[k, ...] for k in range(len(payloads))])
        bounds = list(itertools.pairwise(ends[0].tolist())) if ends else []
        for values, (name, feature) in zip(flat_values, sequence.items(), strict=True):
            rows = narrow(values, feature.dtype, repr(name)).reshape(-1, *feature.shape)
            columns.append([rows[start:stop] for start, stop in bounds])
        names = (*context, *sequence)
        examples = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        if not ends:
            return examples, np.zeros(len(payloads), np.int64)
        lengths = np.diff(ends[0])
        for k in np.flatnonzero(lengths == 0).tolist():
            # TensorFlow parses a missing list like an empty one
            if problem := self._explain(payloads[k]):
                raise ValueError(problem)
        return examples, lengths

    def _run(self, payloads: Sequence[bytes]) -> tuple[list[np.ndarray], ...]:
        """Parse the values of context features, and those of all steps of sequence features.

        Also returns where the steps of each example end, and numbers that are 0 unless a step is
        ragged.
        """
        tf = tensorflow_without_gpus()
        sizes = [feature.size for feature in self._schema.sequence.values()]
        try:
            if self._flat:
                parsed = tf.io.parse_example(payloads, self._features)
                fixed = [parsed[name].numpy() for name in self._schema.context]
                ragged = [parsed[name] for name in self._schema.sequence]
                ends, left = zip(
                    *(
                        np.divmod(r.row_splits.numpy(), size)
                        for r, size in zip(ragged, sizes, strict=True)
                    ),
                    strict=True,
                )
                return fixed, [r.flat_values.numpy() for r in ragged], list(ends), list(left)
            # a list would take twice as long, since TensorFlow would infer its dtype
            parsed = self._parse_op(serialized=tf.constant(payloads, tf.string))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(error.message) from None
        splits = [inner.numpy() for inner in parsed.feature_list_ragged_inner_splits]
        return (
            [values.numpy() for values in parsed.context_dense_values],
            [values.numpy() for values in parsed.feature_list_ragged_values],
            [outer.numpy() for outer in parsed.feature_list_ragged_outer_splits],
            [np.diff(inner) - size for inner, size in zip(splits, sizes, strict=True)],
        )

    def _explain(self, payload: bytes) -> str | None:
        message = parse_message(payload)
        if message is None:
            return NO_MESSAGE
        context, lists = message.context.feature, message.feature_lists.feature_list
        for name, feature in self._schema.context.items():
            if name not in context:
                return f"context feature {name!r} is missing; there are {sorted(context)}"
            if problem := _misfit(feature, context[name], feature.size):
                return f"context feature {name!r}: {problem}"
        lengths = {}
        for name, feature in self._schema.sequence.items():
            if name not in (context if self._flat else lists):
                there = sorted(context if self._flat else lists)
                return f"sequence feature {name!r} is missing; there are {there}"
            if self._flat:
                lengths[name] = dtype_and_count(context[name])[1] // feature.size
                if problem := _misfit(feature, context[name], lengths[name] * feature.size):
                    return f"sequence feature {name!r}: {problem}"
            else:
                lengths[name] = len(lists[name].feature)
                for step, value in enumerate(lists[name].feature):
                    if problem := _misfit(feature, value, feature.size):
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


def dtype_and_count(message: Any) -> tuple[str, int]:
    """Return the dtype and the number of values of a protobuf ``Feature``; "" if it is empty."""
    kind = message.WhichOneof("kind")
    return (_KINDS[kind], len(getattr(message, kind).value)) if kind else ("", 0)


def _misfit(feature: Feature, message: Any, count: int) -> str | None:
    """Return why a protobuf ``Feature`` is not ``count`` values of a feature, or None."""
    dtype, found = dtype_and_count(message)
    if dtype not in ("", feature.stored):
        return f"wrong dtype: it holds {dtype}, but the schema says {feature}"
    if found != count:
        return f"it holds {found} values, but the schema says {feature}"
    if feature.dtype != BYTES:
        values = np.array(getattr(message, message.WhichOneof("kind")).value)
        try:
            narrow(values, feature.dtype, "it")
        except ValueError as error:
            return f"{error}, the dtype of the schema"
    return None


@functools.cache
def tensorflow_without_gpus() -> Any:
    """Import TensorFlow and hide the GPUs from it; it would allocate all of their memory.

    Raises:
      ImportError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # it logs to stderr otherwise
    try:
        import tensorflow
    except ImportError:
        raise ImportError(
            "reading records needs tensorflow: pip install 'seqjax[records]'"
        ) from None
    with contextlib.suppress(RuntimeError):  # the user's program has started TensorFlow already
        tensorflow.config.set_visible_devices([], "GPU")
    return tensorflow
