"""Missing values, which are an error or are replaced by 0 and marked in a feature of their own.

Every float32 feature NAME gets a feature NAME_missing, bool of the same shape, whether or not a
value is missing: the schema depends on the command, not on the data, so that a training set and a
test set have the same one.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from seqjax.data.convert.columns import Missing, missing_value
from seqjax.data.encoding import conform_example
from seqjax.data.ragged import Ragged
from seqjax.data.schema import Feature, Schema
from seqjax.data.statistics import MISSING


def schema_with_marks(schema: Schema, missing: Missing) -> Schema:
    """Return the schema of the data set, which marks missing values if they are filled.

    >>> schema = Schema(sequence={"x": Feature("float32", (3,))})
    >>> print(schema_with_marks(schema, "fill").sequence["x_missing"])
    bool[3]
    """
    if missing == "error":
        return schema

    def marked(features: Mapping[str, Feature]) -> dict[str, Feature]:
        marks = {
            f"{name}{MISSING}": Feature(bool, feature.shape)
            for name, feature in features.items()
            if feature.dtype.kind == "f"
        }
        taken = sorted(marks.keys() & {*schema.context, *schema.sequence})
        if taken:
            raise ValueError(f"--missing fill adds the features {taken}; rename yours")
        return {**features, **marks}

    return Schema(marked(schema.context), marked(schema.sequence))


def settle_missing(
    schema: Schema, example: Mapping[str, Any], where: str, missing: Missing
) -> dict[str, np.ndarray | Ragged]:
    """Return the arrays of an example without NaN.

    Args:
      schema: the schema without the features that mark missing values.
      example: the values of the features.
      where: the name of the example in error messages.
      missing: whether NaN are an error, or become 0 and are marked.

    >>> schema = Schema(sequence={"x": Feature("float32")})
    >>> settle_missing(schema, {"x": [1, np.nan]}, "row 0", "fill")
    {'x': array([1., 0.], dtype=float32), 'x_missing': array([False,  True])}
    """
    arrays = conform_example(schema, example, where)
    for name, feature in {**schema.context, **schema.sequence}.items():
        if feature.dtype.kind != "f":
            continue
        value = arrays[name]
        values = value.values if isinstance(value, Ragged) else value
        absent = np.isnan(values)
        if missing == "error":
            if absent.any():
                step = f", step {np.argwhere(absent)[0][0]}" if name in schema.sequence else ""
                step = "" if isinstance(value, Ragged) else step
                raise ValueError(missing_value(f"{where}: {name!r}{step}", name))
            continue
        filled = np.where(absent, np.float32(0), values)
        if isinstance(value, Ragged):
            arrays[name] = Ragged(filled, value.lengths)
            arrays[f"{name}{MISSING}"] = Ragged(absent, value.lengths)
        else:
            arrays[name], arrays[f"{name}{MISSING}"] = filled, absent
    return arrays
