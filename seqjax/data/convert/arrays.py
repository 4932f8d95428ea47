"""The features of arrays of any dtype of NumPy."""

import numpy as np

from seqjax.data.schema import Feature

# other dtypes of NumPy, and the dtype of a feature that replaces them
_WIDENED = {"int8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64"}
_ROUNDED = {"float16": "float32", "float64": "float32"}


def feature_of(name: str, dtype: np.dtype, shape: tuple[int, ...]) -> Feature:
    """Return a feature that can hold an array.

    >>> print(feature_of("x", np.dtype("float64"), (3,)))
    float32[3]
    """
    known = _WIDENED | _ROUNDED
    try:
        return Feature(known.get(dtype.name, dtype), shape)
    except ValueError as error:
        raise ValueError(f"{name!r}: {error}") from None
