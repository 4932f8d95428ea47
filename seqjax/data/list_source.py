"""A source of examples in memory."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from seqjax.checks import check_iterable, describe_type
from seqjax.data.batching import Example, check_shards
from seqjax.data.ragged import Ragged


class ListSource:
    """A source of examples in memory.

    Args:
      examples: dictionaries of arrays, all with the same features. A feature has the same dtype and
        shape in all examples, except for its number of steps.
      sequence_features: the names of the features with a leading time axis, at least one. All
        sequence features of an example have the same number of steps.
      shards: the number of examples in each shard; defaults to one shard.
      ragged_features: the names of the features whose values are lists of any number of entries: a
        sequence feature with a list at each step, such as the characters of each word, or a context
        feature ``[N, *entry_shape]``.

    Raises:
      ValueError: an example differs from the first one in features, dtypes or shapes, or its
        sequence features differ in length (the message names the example); ``shards`` do not sum to
        N.

    >>> source = ListSource([{"x": np.arange(3)}, {"x": np.arange(1)}], {"x"})
    >>> print(source.lengths)
    [3 1]
    >>> words = [{"words": [[1, 2, 3], [2]]}, {"words": [[4, 1]]}]
    >>> source = ListSource(words, {"words"}, ragged_features={"words"})
    >>> print(source.read([0])[0]["words"])
    [[1 2 3], [2]]
    """

    def __init__(
        self,
        examples: Iterable[Example],
        sequence_features: Collection[str],
        shards: Sequence[int] | None = None,
        ragged_features: Collection[str] = (),
    ) -> None:
        check_iterable("ListSource", "examples", examples, of="dictionaries of arrays")
        self.sequence_features = _check_names("sequence_features", sequence_features)
        self.ragged_features = _check_names("ragged_features", ragged_features)
        lists = self.sequence_features & self.ragged_features
        self._examples = [_arrays(index, example, lists) for index, example in enumerate(examples)]
        for name in self.ragged_features:
            _give_empty_lists_a_form(name, self._examples)
        if not self.sequence_features:
            raise ValueError("sequence_features must name at least one feature with a time axis")
        lengths = [self._length(index) for index in range(len(self._examples))]
        self.lengths = np.array(lengths, np.int64)
        self.shards = check_shards([len(lengths)] if shards is None else shards, len(lengths))

    def read(self, indices: np.ndarray) -> list[Example]:
        """Return the examples at ``indices``, ``int64[B]``."""
        return [self._examples[index] for index in indices]

    def _length(self, index: int) -> int:
        """Return the number of steps of an example, after comparing it with the first one."""
        example, names = self._examples[index], sorted(self.sequence_features)
        for name in names:
            if name not in example or not _has_axis(example[name]):
                described = {key: _describe(value) for key, value in example.items()}
                raise ValueError(
                    f"example {index} must have a sequence feature {name!r} with a leading time "
                    f"axis, got {described}"
                )
        for name in sorted(self.ragged_features):
            if name not in example or not _has_axis(example[name]):
                raise ValueError(
                    f"example {index} must have a feature {name!r} of lists, as ragged_features "
                    f"says, got {sorted(example)}"
                )
        first, own = self._signature(0), self._signature(index)
        if own != first:
            raise ValueError(
                f"all examples must have the features of the first, {first}, but example {index} "
                f"has {own}"
            )
        lengths = {name: len(example[name]) for name in names}
        if len({*lengths.values()}) != 1:
            raise ValueError(
                f"the sequence features of example {index} must have the same length, got {lengths}"
            )
        return lengths[names[0]]

    def _signature(self, index: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Return the dtype and the shape of each feature, without axes of any size."""
        found = {}
        for name, value in self._examples[index].items():
            array = value.values if isinstance(value, Ragged) else value
            is_any = name in self.sequence_features or name in self.ragged_features
            found[name] = str(array.dtype), array.shape[is_any:]
        return found


def _arrays(index: int, example: Any, lists: Collection[str]) -> Example:
    """Convert an example to arrays, and the features in ``lists`` to `Ragged`."""
    if not isinstance(example, Mapping):
        raise ValueError(
            f"example {index} must be a dictionary of arrays, such as {{'x': array}}, got "
            f"{describe_type(example)}"
        )
    arrays: Example = {}
    for name, value in example.items():
        if name not in lists:
            arrays[name] = _array(index, name, value)
        elif isinstance(value, Ragged):
            arrays[name] = value
        elif isinstance(value, Iterable):
            try:
                arrays[name] = Ragged.of(value)
            except ValueError as error:
                raise ValueError(f"example {index}: {name!r}: {error}") from None
        else:
            raise ValueError(
                f"example {index}: {name!r} must have a list for each step, got {value!r:.80}"
            )
    return arrays


def _give_empty_lists_a_form(name: str, examples: list[Example]) -> None:
    """Give lists without an entry the dtype and the shape of the entries of other examples."""
    values = [example[name] for example in examples if name in example]
    arrays = [value.values if isinstance(value, Ragged) else value for value in values]
    form = next((array[:0] for array in arrays if array.size and array.ndim), None)
    if form is None:
        return
    for example in examples:
        value = example.get(name)
        if isinstance(value, Ragged) and not value.values.size:
            example[name] = Ragged(form, value.lengths)
        elif isinstance(value, np.ndarray) and value.shape == (0,):
            example[name] = form


def _array(index: int, name: str, value: Any) -> np.ndarray:
    if isinstance(value, Ragged):
        raise ValueError(
            f"example {index}: {name!r} has a list for each step; give its name in "
            "sequence_features and in ragged_features"
        )
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"example {index}: {name!r} is no array: {error}; if each step is a list of its own "
            "length, give its name in ragged_features"
        ) from None


def _has_axis(value: np.ndarray | Ragged) -> bool:
    return isinstance(value, Ragged) or value.ndim > 0


def _describe(value: np.ndarray | Ragged) -> str:
    if isinstance(value, Ragged):
        return f"{len(value)} lists"
    return f"{value.dtype}{list(value.shape)}"


def _check_names(name: str, names: Any) -> frozenset[str]:
    check_iterable("ListSource", name, names, of="names")
    if not all(isinstance(item, str) for item in names):
        raise ValueError(f"{name} must be names, got {names!r}")
    return frozenset(names)
