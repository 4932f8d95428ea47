"""The kinds of values that replace a valid one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import seqjax
from benchmarks.wrong_calls.example import fill
from seqjax.types import HiddenState


class NotApplicableError(Exception):
    """Raised if a kind cannot change the value of an argument."""


def _arrays(value: Any) -> list[Any]:
    leaves = jax.tree.leaves(value)
    if isinstance(value, nnx.Object):  # its arrays are not arguments of seqjax
        raise NotApplicableError
    if not leaves or not all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves):
        raise NotApplicableError
    return leaves


def one_array(change: Callable[[np.ndarray], Any]) -> Callable[[Any, np.random.Generator], Any]:
    """The kind of value in which one array of a pytree is changed."""

    def make(value: Any, rng: np.random.Generator) -> Any:
        leaves = _arrays(value)
        place = rng.integers(len(leaves))
        if jnp.issubdtype(leaves[place].dtype, jax.dtypes.prng_key):
            raise NotApplicableError
        leaves[place] = change(np.asarray(leaves[place]))
        return jax.tree.unflatten(jax.tree.structure(value), leaves)

    return make


def one_element(element: Any, dtype: Any = None) -> Callable[[Any, np.random.Generator], Any]:
    """The kind of value in which one element of an array is changed."""

    def change(array: np.ndarray) -> np.ndarray:
        wanted = np.floating if isinstance(element, float) else np.integer
        if not array.size or not np.issubdtype(array.dtype, wanted):
            raise NotApplicableError
        array = array.astype(dtype or array.dtype)
        array.reshape(-1)[array.size // 2] = element
        return array

    return one_array(change)


def _needs_axes(change: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    def checked(array: np.ndarray) -> Any:
        if not array.ndim:
            raise NotApplicableError
        return change(array)

    return checked


def _other_cell(value: Any, rng: np.random.Generator) -> Any:
    return seqjax.MGU(2)


def _scalar(dtype: Any) -> Callable[[Any, np.random.Generator], Any]:
    def make(value: Any, rng: np.random.Generator) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float) or dtype(value) != value:
            raise NotApplicableError
        return dtype(value)

    return make


def _constant(value: Any) -> Callable[[Any, np.random.Generator], Any]:
    return lambda valid, rng: value


def _of_sequence(change: Callable[[Any], Any]) -> Callable[[Any, np.random.Generator], Any]:
    def make(value: Any, rng: np.random.Generator) -> Any:
        if not isinstance(value, list | tuple) or hasattr(value, "_fields") or not value:
            raise NotApplicableError
        return change(value)

    return make


def _lists(value: Any, rng: np.random.Generator) -> Any:
    if not isinstance(value, jax.Array | np.ndarray) or not value.size or not value.ndim:
        raise NotApplicableError
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        raise NotApplicableError
    return np.asarray(value).tolist()


@jax.tree_util.register_static
class Anything:
    """An object that is not an array, a number or a cell."""


Kind = Callable[[Any, np.random.Generator], Any]
SAME: dict[str, Kind] = {  # values that mean the same as the valid one
    "numpy integer": _scalar(np.int64),
    "numpy float": _scalar(np.float64),
    "numpy arrays": one_array(np.array),
    "lists": _lists,
}
KINDS: dict[str, Kind] = SAME | {
    "none": _constant(None),
    "true": _constant(True),
    "string": _constant("3"),
    "bytes": _constant(b"3"),
    "object": _constant(Anything()),
    "empty list": _constant([]),
    "empty tuple": _constant(()),
    "empty dict": _constant({}),
    "ragged list": _constant([[1, 2], [3]]),
    "list of strings": _constant(["a", "b"]),
    "dict": _constant({"a": 1}),
    "function": _constant(lambda: None),
    "class": _constant(seqjax.LSTM),
    "cell": _other_cell,
    "key": lambda value, rng: jax.random.key(1),
    "keys": lambda value, rng: jax.random.split(jax.random.key(1), 3),
    "zero": _constant(0),
    "negative": _constant(-1),
    "negative tuple": _constant((-1,)),
    "fraction": _constant(2.5),
    "nan": _constant(float("nan")),
    "infinity": _constant(float("inf")),
    "huge": _constant(2**40),
    "huge float": _constant(1e300),
    "huger": _constant(10**400),
    "complex": _constant(1 + 2j),
    "rank 0": lambda value, rng: jnp.zeros((), jnp.float32),
    "rank 0 integer": lambda value, rng: np.array(3),
    "empty array": lambda value, rng: jnp.zeros((0,), jnp.float32),
    "array of floats": lambda value, rng: jnp.ones((2, 3), jnp.float32),
    "array of strings": _constant(np.array(["a", "b"])),
    "array of objects": _constant(np.array([None, 1], object)),
    "dtype": _constant(jnp.int32),
    "a state": lambda value, rng: HiddenState(jnp.ones((2, 4), jnp.float32)),
    "parameters of another cell": lambda value, rng: fill(seqjax.MGU(2).init, jax.random.key(0), 3),
    "one axis more": one_array(lambda a: a[None]),
    "one axis less": one_array(_needs_axes(lambda a: a[:1].reshape(a.shape[1:]))),
    "no axes": one_array(_needs_axes(lambda a: a.reshape(-1)[:1].reshape(()))),
    "longer": one_array(_needs_axes(lambda a: np.concatenate([a, a]))),
    "wider": one_array(_needs_axes(lambda a: np.concatenate([a, a], -1))),
    "shorter": one_array(_needs_axes(lambda a: a[:-1])),
    "nothing left": one_array(_needs_axes(lambda a: a[..., :0])),
    "array removed": one_array(lambda a: None),
    "array of a list": one_array(lambda a: [a]),
    "floats for others": one_array(lambda a: a.astype(np.float32)),
    "integers for others": one_array(lambda a: np.nan_to_num(a).astype(np.int32)),
    "booleans for others": one_array(lambda a: a.astype(bool)),
    "complex numbers": one_array(lambda a: a.astype(np.complex64)),
    "strings for numbers": one_array(lambda a: a.astype(str)),
    "objects for numbers": one_array(lambda a: a.astype(object)),
    "object for an array": one_array(lambda a: Anything()),
    "an element nan": one_element(float("nan")),
    "an element -1": one_element(-1, np.int64),
    "an element 2**32": one_element(2**32, np.int64),
    "an element 2**31": one_element(2**31, np.int64),
    "an element -2**32": one_element(-(2**32), np.int64),
    "an element 2**64 - 1": one_element(2**64 - 1, np.uint64),
    "a longer sequence": _of_sequence(lambda value: [*value, *value]),
    "a shorter sequence": _of_sequence(lambda value: value[:-1]),
    "strings in a sequence": _of_sequence(lambda value: ["a" for _ in value]),
    "none in a sequence": _of_sequence(lambda value: [None for _ in value]),
    "negative in a sequence": _of_sequence(lambda value: [-1 for _ in value]),
    "fractions in a sequence": _of_sequence(lambda value: [0.5 for _ in value]),
}


UNKNOWN = "an unknown argument"  # beside all valid ones
