"""Collation: the examples of a batch, padded or packed to one shape."""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax.checks import check_size, describe_type
from seqjax.data.batching import Example, Source
from seqjax.data.placement import Placement
from seqjax.data.policies import check_boundaries
from seqjax.data.ragged import Ragged
from seqjax.data.schema import Schema


class Batch(NamedTuple):
    """Examples padded or packed to one shape, B rows of T steps.

    Attributes:
      features: sequence features ``[B, T, *step_shape]`` and context features ``[B, *shape]``; if
        packed, context features are repeated at each step, ``[B, T, *shape]``. Lists are padded to
        a width W: ``[B, T, W, *entry_shape]`` if each step is a list, ``[B, W, *entry_shape]`` in
        the context.
      lengths: ``int32[B]``, the number of steps of each row that hold an example.
      weights: ``float32[B]``, 1 for a row that holds an example, and 0 for an empty row with which
        ``fill_remainder`` filled the batch.
      indices: ``int64[n]``, the indices of the examples in the source, row by row.
      inner_lengths: for each feature of lists, the number of entries of each list, ``int32[B, T]``
        if each step is a list, ``int32[B]`` in the context (packed: ``int32[B, T]``); 0 at padding.
      segments: ``int32[B, T]``, the position in ``indices`` of each step's example, or -1 for
        padding; None unless packed.
      starts: ``bool[B, T]``, true at the first step of each example, for `seqjax.Reset`; None
        unless packed.
    """

    features: dict[str, np.ndarray]
    lengths: np.ndarray
    weights: np.ndarray
    indices: np.ndarray
    inner_lengths: dict[str, np.ndarray]
    segments: np.ndarray | None = None
    starts: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Collation:
    """The rules by which examples become the arrays of a batch.

    Args:
      sequence_features: the names of the features with a time axis.
      ragged_features: the names of the features of lists.
      pad_values: the padding of features, by name; defaults to 0, or ``b""`` for bytes.
      widths: the width of features of lists, see `seqjax.data.Loader`.
    """

    sequence_features: frozenset[str]
    ragged_features: frozenset[str]
    pad_values: Mapping[str, Any]
    widths: Mapping[str, int | Sequence[int]]

    @classmethod
    def of(
        cls,
        owner: str,
        data: Source | Schema,
        pad_values: Mapping[str, Any] | None,
        widths: Mapping[str, int | Sequence[int]] | None,
    ) -> "Collation":
        """The rules for the features of ``data``.

        Raises:
          ValueError: an option names no feature of it.
        """
        ragged = data.ragged_features
        padded = data.sequence_features | ragged
        _check_option("pad_values", pad_values, padded, "sequence features or features of lists")
        _check_option("widths", widths, ragged, "features of lists")
        for name, width in (widths or {}).items():
            _check_width(owner, name, width)
        return cls(data.sequence_features, ragged, pad_values or {}, widths or {})

    def check_fixed_widths(self, owner: str) -> None:
        """Raise ``ValueError`` unless all batches have the same width of each feature of lists."""
        for name in sorted(self.ragged_features):
            width = self.widths.get(name)
            if not isinstance(width, Sequence) or len(width) != 1:
                raise ValueError(
                    f"{owner}: {name!r} needs one fixed width, so that all processes have the same "
                    f"shapes, such as widths={{{name!r}: (16,)}}, got {width}"
                )

    def batch(
        self,
        examples: list[Example],
        indices: np.ndarray,
        lengths: np.ndarray,
        placement: Placement,
    ) -> Batch:
        """Pad or pack examples.

        Args:
          examples: the examples. If there are no ``indices``, one example whose shapes and dtypes
            those of the empty batch are.
          indices: ``int64[n]``, the indices of the examples.
          lengths: ``int64[n]``, their numbers of steps by the source.
          placement: their positions.
        """
        shape, rows, at, packed = placement
        first = rows * shape[1] + at  # the slot of the first step of each example
        slots = np.repeat(first - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())

        def lay_out(values: np.ndarray, has_steps: bool, padding: Any) -> np.ndarray:
            """Put values of all steps, or of all examples, at their positions."""
            if packed and not has_steps:
                values, has_steps = np.repeat(values[: len(rows)], lengths, axis=0), True
            places, leading = (slots, shape) if has_steps else (rows, shape[:1])
            if not has_steps and len(rows) == shape[0]:
                return values
            out = np.full((math.prod(leading), *values.shape[1:]), padding, values.dtype)
            out[places] = values[: len(places)]
            return out.reshape(*leading, *values.shape[1:])

        features, inner_lengths = {}, {}
        for name in examples[0]:
            values = [example[name] for example in examples]
            has_steps = name in self.sequence_features
            is_ragged = name in self.ragged_features
            if has_steps:
                _check_lengths(name, indices, values[: len(indices)], lengths)
            if is_ragged:
                array, counts = self._pad_lists(name, indices, values, has_steps)
                inner_lengths[name] = lay_out(counts, has_steps, 0)
            else:
                array = np.concatenate(values) if has_steps else np.stack(values)
            padding = _zero(array.dtype)
            if has_steps or is_ragged:
                padding = self._pad_value(name, array.dtype)
            features[name] = lay_out(array, has_steps, padding)
        filled, weights = np.zeros(shape[0], np.int32), np.zeros(shape[0], np.float32)
        np.add.at(filled, rows, lengths.astype(np.int32))
        weights[rows] = 1
        if not packed:
            return Batch(features, filled, weights, indices, inner_lengths)
        segments = lay_out(np.arange(len(indices), dtype=np.int32), False, -1)
        starts = np.zeros(shape, bool)
        starts.reshape(-1)[first[lengths > 0]] = True
        return Batch(features, filled, weights, indices, inner_lengths, segments, starts)

    def _pad_lists(
        self, name: str, indices: np.ndarray, values: list[Any], has_steps: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pad the lists of all steps, or of all examples, and count their entries."""
        if has_steps:
            for index, value in zip(indices, values[: len(indices)], strict=True):
                if not isinstance(value, Ragged):
                    raise ValueError(
                        f"example {index} must have a Ragged as {name!r}, because its source says "
                        f"that each step is a list, got {describe_type(value)}"
                    )
            entries = np.concatenate([value.values for value in values])
            counts = np.concatenate([value.lengths for value in values])
        else:
            entries = np.concatenate(values)
            counts = np.array([len(value) for value in values])
        width = self._width(name, int(counts.max(initial=0)))
        shape = len(counts), width, *entries.shape[1:]
        padded = np.full(shape, self._pad_value(name, entries.dtype), entries.dtype)
        padded[np.arange(width) < counts[:, None]] = entries
        return padded, counts.astype(np.int32)

    def _width(self, name: str, longest: int) -> int:
        """The width of a batch, at least 1: a model cannot read an axis of size 0."""
        width = self.widths.get(name, 1)
        if isinstance(width, Sequence):
            large_enough = [size for size in width if size >= longest]
            if not large_enough:
                raise ValueError(
                    f"widths: a list of {name!r} has {longest} entries, more than the largest "
                    f"width, {width[-1]}; give a larger one"
                )
            return large_enough[0]
        return -(-max(longest, 1) // width) * width

    def _pad_value(self, name: str, dtype: np.dtype) -> Any:
        value = self.pad_values.get(name, _zero(dtype))
        try:
            fits = np.can_cast(np.min_scalar_type(value), dtype, "same_kind")
            np.full((), value, dtype)
        except (OverflowError, TypeError, ValueError):
            fits = False
        if not fits:
            raise ValueError(f"pad_values: the value for {name!r} must be {dtype}, got {value!r}")
        return value


def _check_option(option: str, given: Any, names: Collection[str], what: str) -> None:
    if not isinstance(given, Mapping | None):
        raise ValueError(f"{option} must be a dictionary by feature name, got {given!r}")
    unknown = {*(given or {})} - {*names}
    if unknown:
        raise ValueError(f"{option} must name {what}, {sorted(names)}, got {sorted(unknown)}")


def _check_width(owner: str, name: str, width: Any) -> None:
    if isinstance(width, list | tuple):
        check_boundaries(owner, f"the widths of {name!r}", width)
    else:
        check_size(owner, f"the width of {name!r}", width)


def _zero(dtype: np.dtype) -> Any:
    return b"" if dtype.hasobject else np.zeros((), dtype)


def _check_lengths(name: str, indices: np.ndarray, values: list[Any], lengths: np.ndarray) -> None:
    for index, value, length in zip(indices, values, lengths.tolist(), strict=True):
        if len(value) != length:
            raise ValueError(
                f"example {index} has {len(value)} steps of {name!r}, but the source gives its "
                f"length as {length}"
            )
