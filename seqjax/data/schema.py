"""The features of a data set: names, dtypes and shapes.

Only `Schema.to_tensorflow` uses TensorFlow.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from seqjax.checks import check_size, describe_type
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
            "schema must be a Schema, such as Schema(sequence={'x': Feature(bool)}), got "
            f"{describe_type(schema)}"
        )
