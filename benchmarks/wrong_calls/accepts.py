"""Which values an argument accepts."""

import collections
import sys
import types
import typing
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

Accepts = Callable[[Any], bool]


def is_integer(value: Any) -> bool:
    """Whether ``value`` is a whole number in Python or NumPy."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite real number in Python or NumPy."""
    real = is_integer(value) or isinstance(value, float | np.floating)
    return bool(real and abs(value) <= sys.float_info.max)


def between(low: float, high: float, kind: Accepts = is_number) -> Accepts:
    """Numbers in ``[low, high]``."""
    return lambda value: kind(value) and low <= value <= high


def is_key(value: Any) -> bool:
    """Whether ``value`` is one key of `jax.random`."""
    return isinstance(value, jax.Array) and (
        (jnp.issubdtype(value.dtype, jax.dtypes.prng_key) and value.shape == ())
        or (value.dtype == np.uint32 and value.shape == (2,))
    )


def is_floating_dtype(value: Any) -> bool:
    """Whether ``value`` is a floating dtype."""
    try:
        return value is not None and bool(jnp.issubdtype(np.dtype(value), np.floating))
    except (TypeError, ValueError, SyntaxError):
        return False


def is_shape(value: Any) -> bool:
    """Whether ``value`` is a tuple of sizes."""
    return isinstance(value, list | tuple) and all(map(between(0, 2**31 - 1, is_integer), value))


def optional(accepts: Accepts) -> Accepts:
    """None, or what ``accepts`` accepts."""
    return lambda value: value is None or accepts(value)


def like(valid: Any, low: float = -np.inf, high: float = np.inf) -> Accepts:
    """Pytrees of arrays of the same structure, shapes and kinds; integers in ``[low, high]``."""

    def same(value: Any, other: Any) -> bool:
        if not isinstance(value, jax.Array):
            try:
                value = np.asarray(value)
            except ValueError:  # a ragged list
                return False
        kinds = (np.floating, np.integer, np.bool_, jax.dtypes.prng_key)
        kind = next(kind for kind in kinds if jnp.issubdtype(other.dtype, kind))
        if value.shape != other.shape or not jnp.issubdtype(value.dtype, kind):
            return False
        if kind is not np.integer:
            return True
        whole = np.asarray(value)  # JAX may refuse to compare integers with infinity
        return bool(((whole >= low) & (whole <= high)).all())

    def accepts(value: Any) -> bool:
        if isinstance(valid, jax.Array | np.ndarray):
            return same(value, valid)
        structures = map(jax.tree.structure, (value, valid))
        return len({*structures}) == 1 and all(
            map(same, jax.tree.leaves(value), jax.tree.leaves(valid))
        )

    return accepts


def integers(low: int, high: int, any_shape: bool = False) -> Accepts:
    """Integers ``[N]`` in ``[low, high]``, or ``[..., N]``."""

    def accepts(value: Any) -> bool:
        try:
            array = np.asarray(value)
        except (TypeError, ValueError):
            return False
        if array.ndim < 1 or (array.ndim > 1 and not any_shape):
            return False
        whole = array.dtype.kind in "iu" or array.shape == (0,)
        return whole and bool(((array >= low) & (array <= high)).all())

    return accepts


def floats(*shape: int | None) -> Accepts:
    """Floating ``[..., *shape]``, with None for any size."""

    def accepts(value: Any) -> bool:
        try:
            value = value if isinstance(value, jax.Array) else np.asarray(value)
        except (TypeError, ValueError):
            return False
        last = value.shape[value.ndim - len(shape) :] if value.ndim >= len(shape) else None
        return (
            last is not None
            and jnp.issubdtype(value.dtype, jnp.floating)
            and all(size in (None, have) for size, have in zip(shape, last, strict=True))
        )

    return accepts


def declared(annotation: Any, value: Any) -> Accepts:
    """The values that an annotation declares; arrays must be `like` the valid ``value``."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        options = [declared(one, value) for one in inner]
        return lambda v: any(option(v) for option in options)
    if annotation in (None, type(None)):
        return lambda v: v is None
    if annotation is bool:
        return lambda v: isinstance(v, bool)
    if annotation is int:
        return between(1, 2**31 - 1, is_integer)
    if annotation is float:
        return is_number
    if annotation is jax.Array or annotation is Any:
        return like(value)
    if origin is collections.abc.Callable:
        return callable
    if origin is Literal:
        return lambda v: isinstance(v, str) and v in inner
    if origin in (collections.abc.Sequence, tuple, list):
        items = [declared(one, None) for one in inner if one is not ...]
        if origin is tuple and ... not in inner:
            return lambda v: (
                isinstance(v, list | tuple)
                and len(v) == len(items)
                and all(accepts(one) for accepts, one in zip(items, v, strict=True))
            )
        return lambda v: is_sized(v) and all(map(items[0], v))
    if isinstance(annotation, type):
        return lambda v: isinstance(v, annotation)
    raise TypeError(f"declare which values an argument of type {annotation} accepts")


def is_arrays(value: Any) -> bool:
    """Whether all leaves of ``value`` are arrays."""
    return all(isinstance(leaf, jax.Array | np.ndarray) for leaf in jax.tree.leaves(value))


def is_sized(value: Any) -> bool:
    """Whether ``value`` is a collection, or an empty array."""
    sized = isinstance(value, list | tuple | set | frozenset | dict)
    return sized or (isinstance(value, jax.Array | np.ndarray) and value.size == 0 < value.ndim)


def is_numbers(value: Any) -> bool:
    """Whether all leaves of ``value`` are numbers or arrays."""
    return all(
        isinstance(leaf, jax.Array | np.ndarray | int | float | complex)
        for leaf in jax.tree.leaves(value)
    )


def is_floats(value: Any) -> bool:
    """Whether all leaves of ``value``, at least one, are floating."""
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(
        isinstance(leaf, jax.Array | np.ndarray | float)
        and jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        for leaf in leaves
    )
