"""Conversion of arguments to JAX arrays, after checks of the values that were given."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.checks import LARGEST, describe


def given_array(name: str, value: Any) -> Any:
    """Return ``value`` as a NumPy or JAX array that still holds the values that were given.

    JAX's integers have 32 bits by default, and wider ones wrap around. So check the values of this
    array before you convert it to a JAX array.

    Raises:
      ValueError: ``value`` is not an array of numbers.

    >>> given_array("tokens", [1, 2**40])
    array([            1, 1099511627776])
    >>> given_array("tokens", "abc")
    Traceback (most recent call last):
    ...
    ValueError: tokens must be an array of numbers, got 'abc'
    """
    if isinstance(value, jax.Array):
        return value
    try:
        array = jnp.asarray(value) if hasattr(value, "__jax_array__") else np.asarray(value)
        numeric = jnp.issubdtype(array.dtype, np.number) or array.dtype == bool
    except (TypeError, ValueError):  # for example, a ragged list
        numeric = False
    if not numeric:
        raise ValueError(f"{name} must be an array of numbers, got {describe(value)}")
    return array


def describe_tree(tree: Any) -> str:
    """Return a pytree as text for an error message, with a dtype and shape for each array.

    >>> import seqjax
    >>> describe_tree(seqjax.GRU(3).initial_state((2,)))
    'HiddenState(h=float32[2,3])'
    >>> describe_tree((jnp.zeros(2, jnp.float32), None))
    '(float32[2], None)'
    """
    return repr(jax.tree.map(_Shape, tree))


class _Shape:
    """The dtype and shape of an array, as its repr."""

    def __init__(self, array: Any) -> None:
        dtype = getattr(array, "dtype", type(array).__name__)
        self.text = f"{dtype}[{','.join(map(str, np.shape(array)))}]"

    def __repr__(self) -> str:
        return self.text


def as_arrays(name: str, tree: Any) -> Any:
    """Convert the leaves of a pytree to JAX arrays.

    Raises:
      ValueError: a leaf is not an array of numbers, or holds integers too wide for JAX.

    >>> as_arrays("state", {"h": "abc"})
    Traceback (most recent call last):
    ...
    ValueError: state['h'] must be an array of numbers, got 'abc'
    """

    def one(path: Any, leaf: Any) -> jax.Array:
        where = f"{name}{jax.tree_util.keystr(path)}"
        given = given_array(where, leaf)
        if isinstance(given, np.ndarray) and given.size and given.dtype.kind in "iu":
            limits = np.iinfo(jax.dtypes.canonicalize_dtype(given.dtype))
            if given.min() < limits.min or given.max() > limits.max:
                raise ValueError(
                    f"{where} must hold integers in [{limits.min}, {limits.max}], got "
                    f"{describe(given)}"
                )
        return jnp.asarray(given)

    if all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tree)):
        return tree
    return jax.tree.map_with_path(one, tree)


def as_params(params: Any, name: str = "params") -> Any:
    """Convert the leaves of a pytree of parameters to JAX arrays.

    Raises:
      ValueError: a leaf is not a floating array.

    >>> as_params({"bias": np.array([1, 2])})
    Traceback (most recent call last):
    ...
    ValueError: params['bias'] must be a floating array, got an array of int64
    """
    params = as_arrays(name, params)
    if all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(params)):
        return params
    for path, leaf in jax.tree.leaves_with_path(params):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            where = f"{name}{jax.tree_util.keystr(path)}"
            raise ValueError(f"{where} must be a floating array, got an array of {leaf.dtype}")
    return params


def as_int32(values: jax.Array | np.ndarray) -> jax.Array:
    """Convert integers to int32, clipped to its range instead of wrapped around.

    >>> print(as_int32(np.array([3, 2**32, -(2**32)])))
    [          3  2147483647 -2147483648]
    """
    limits = np.iinfo(values.dtype)
    low, high = max(limits.min, -LARGEST - 1), min(limits.max, LARGEST)
    if (low, high) != (limits.min, limits.max):
        values = values.clip(low, high)
    return jnp.asarray(values, jnp.int32)


def check_leading_axes(name: str, tree: Any, *axes: str) -> tuple[int, ...]:
    """Return the sizes of the leading ``axes``, or raise ``ValueError`` unless all arrays agree.

    >>> check_leading_axes("batches", [np.ones((3, 2)), np.ones((3, 4, 1))], "K")
    (3,)
    >>> check_leading_axes("batches", [np.ones((3, 2)), np.ones(4)], "K")
    Traceback (most recent call last):
    ...
    ValueError: batches must be arrays [K, ...] with the same K, got shapes (3, 2), (4,)
    """
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(tree)]
    leading = {shape[: len(axes)] for shape in shapes}
    if len(leading) != 1 or len(next(iter(leading))) != len(axes):
        given = ", ".join(map(str, shapes))
        raise ValueError(
            f"{name} must be arrays [{', '.join(axes)}, ...] with the same {' and '.join(axes)}, "
            f"got {f'shapes {given}' if given else 'no array'}"
        )
    return leading.pop()
