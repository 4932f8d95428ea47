"""Argument checks whose errors say what was given, what was expected and how to mend it."""

import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

_LARGEST = 2**31 - 1  # of the integers that JAX holds by default


def check_size(owner: str, name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number of at least 1.

    >>> check_size("GRU", "units", 0)
    Traceback (most recent call last):
    ...
    ValueError: GRU: units must be a whole number of at least 1, got 0
    """
    check_count(owner, name, value, low=1)


def check_count(owner: str, name: str, value: Any, low: int = 0) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number of at least ``low``, below 2**31.

    >>> check_count("Loader", "start", -1)
    Traceback (most recent call last):
    ...
    ValueError: Loader: start must be a whole number of at least 0, got -1
    """
    if not is_integer(value) or value < low:
        raise ValueError(f"{owner}: {name} must be a whole number of at least {low}, got {value!r}")
    if value > _LARGEST:
        raise ValueError(f"{owner}: {name} must be less than 2**31, got {value!r}")


def is_integer(value: Any) -> bool:
    """Whether ``value`` is one whole number of Python or NumPy; True and False are none.

    >>> is_integer(np.int64(3)), is_integer(True), is_integer(3.0)
    (True, False, False)
    """
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_clip(owner: str, name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a number above 0, or None for no clip.

    >>> check_clip("LSTM", "cell_clip", 0.0)
    Traceback (most recent call last):
    ...
    ValueError: LSTM: cell_clip must be a number above 0, or None for no clip, got 0.0
    """
    if value is None:
        return
    if not _is_number(value) or not value > 0:  # infinity clips nothing, which is allowed
        raise ValueError(
            f"{owner}: {name} must be a number above 0, or None for no clip, got {value!r}"
        )


def check_activation(owner: str, value: Any, name: str = "activation") -> None:
    """Raise ``ValueError`` unless ``value`` can be called.

    >>> check_activation("LSTM", "tanh")
    Traceback (most recent call last):
    ...
    ValueError: LSTM: activation must be a function of an array, such as jax.numpy.tanh, got 'tanh'
    """
    if not callable(value):
        raise ValueError(
            f"{owner}: {name} must be a function of an array, such as jax.numpy.tanh, got {value!r}"
        )


def check_flag(owner: str, name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is True or False.

    >>> check_flag("LSTM", "peepholes", "no")
    Traceback (most recent call last):
    ...
    ValueError: LSTM: peepholes must be True or False, got 'no'
    """
    if not isinstance(value, bool):
        raise ValueError(f"{owner}: {name} must be True or False, got {value!r}")


def check_number(owner: str, name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a finite number.

    >>> check_number("LSTM", "forget_bias", float("nan"))
    Traceback (most recent call last):
    ...
    ValueError: LSTM: forget_bias must be a finite number, got nan
    """
    if not _is_number(value) or not abs(value) <= sys.float_info.max:
        raise ValueError(f"{owner}: {name} must be a finite number, got {value!r}")


def check_range(owner: str, name: str, value: Any, low: float, high: float) -> None:
    """Raise ``ValueError`` unless ``value`` is a number in ``[low, high]``.

    >>> check_range("PhasedLSTM", "leak", 2, 0, 1)
    Traceback (most recent call last):
    ...
    ValueError: PhasedLSTM: leak must lie in [0, 1], got 2
    """
    if not _is_number(value) or not low <= value <= high:
        raise ValueError(f"{owner}: {name} must lie in [{low}, {high}], got {value!r}")


def check_pair(owner: str, name: str, value: Any) -> tuple[Any, Any]:
    """Return the two numbers of ``value``, or raise ``ValueError``.

    >>> check_pair("GridLSTM", "blocks", 4)
    Traceback (most recent call last):
    ...
    ValueError: GridLSTM: blocks must be made of pairs of numbers, got 4
    """
    if (
        not isinstance(value, Sequence | np.ndarray)
        or len(value) != 2
        or not all(map(_is_number, value))
    ):
        raise ValueError(f"{owner}: {name} must be made of pairs of numbers, got {value!r}")
    first, second = value
    return first, second


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``.

    >>> check_choice("method", "fast", ("scan", "static"))
    Traceback (most recent call last):
    ...
    ValueError: method must be one of 'scan', 'static', got 'fast'
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_fixed_size(owner: str, name: str, value: Any, fixed: Any) -> None:
    """Raise ``ValueError`` unless a size is the one that ``owner`` was built for.

    >>> check_fixed_size("ConvLSTM", "input_size", (8, 8, 1), (8, 8, 3))
    Traceback (most recent call last):
    ...
    ValueError: ConvLSTM: input_size must be (8, 8, 3), as the cell was built for, got (8, 8, 1)
    """
    if value != fixed:
        raise ValueError(
            f"{owner}: {name} must be {fixed}, as the cell was built for, got {value!r}"
        )


def check_rate(owner: str, name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a probability below 1.

    >>> check_rate("Dropout", "input_rate", np.float32(0.5))
    >>> check_rate("Dropout", "input_rate", 1)
    Traceback (most recent call last):
    ...
    ValueError: Dropout: input_rate must be a probability in [0, 1), got 1
    """
    if not _is_number(value) or not 0 <= value < 1:
        raise ValueError(f"{owner}: {name} must be a probability in [0, 1), got {value!r}")


def check_input_size(owner: str, input_size: Any, size: int) -> None:
    """Raise ``ValueError`` unless the inputs are as wide as a cell that passes them on.

    >>> check_input_size("RGLRU", 3, 4)
    Traceback (most recent call last):
    ...
    ValueError: RGLRU: inputs must have units = 4 features, got 3; put it into an InputProjection
    """
    if input_size != size:
        raise ValueError(
            f"{owner}: inputs must have units = {size} features, got {input_size!r}; "
            "put it into an InputProjection"
        )


def check_key(key: Any) -> None:
    """Raise ``ValueError`` unless ``key`` is one key of `jax.random`.

    >>> check_key(0)
    Traceback (most recent call last):
    ...
    ValueError: key must be one key, such as jax.random.key(0), got 0
    """
    is_key = isinstance(key, jax.Array) and (
        (jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ())
        or (key.dtype == np.uint32 and key.shape == jax.eval_shape(jax.random.PRNGKey, 0).shape)
    )
    if not is_key:
        given = f"{key.dtype}{list(key.shape)}" if isinstance(key, jax.Array) else repr(key)
        raise ValueError(f"key must be one key, such as jax.random.key(0), got {given}")


def check_dtype(dtype: Any) -> None:
    """Raise ``ValueError`` unless ``dtype`` is a floating one.

    >>> check_dtype(int)
    Traceback (most recent call last):
    ...
    ValueError: dtype must be floating, such as jax.numpy.float32, got <class 'int'>
    """
    try:  # NumPy takes None for float64
        floating = dtype is not None and jnp.issubdtype(np.dtype(dtype), np.floating)
    except (KeyError, SyntaxError, TypeError, ValueError):
        floating = False
    if not floating:
        raise ValueError(f"dtype must be floating, such as jax.numpy.float32, got {dtype!r}")


def check_batch_shape(shape: Any) -> None:
    """Raise ``ValueError`` unless ``shape`` is a tuple of sizes.

    >>> check_batch_shape(2)
    Traceback (most recent call last):
    ...
    ValueError: batch_shape must be a tuple of sizes, such as (32,), got 2
    """

    def is_size(n: Any) -> bool:
        return (is_integer(n) and 0 <= n <= _LARGEST) or jax.export.is_symbolic_dim(n)

    if not isinstance(shape, list | tuple) or not all(map(is_size, shape)):
        raise ValueError(f"batch_shape must be a tuple of sizes, such as (32,), got {shape!r}")


def check_integers(owner: str, name: str, value: Any, low: int, high: int) -> np.ndarray:
    """Return ``int64[N]``, or raise ``ValueError`` unless all lie in ``[low, high]``.

    >>> check_integers("plan", "lengths", np.array([3, -1]), 0, 10)
    Traceback (most recent call last):
    ...
    ValueError: plan: lengths must be whole numbers in [0, 10] along one axis, got [3, -1]
    """
    array = given_array(f"{owner}: {name}", value)
    whole = jnp.issubdtype(array.dtype, np.integer) or not array.size  # [] is of floats
    if array.ndim != 1 or not whole or ((array < low) | (array > high)).any():
        raise ValueError(
            f"{owner}: {name} must be whole numbers in [{low}, {high}] along one axis, got "
            f"{_describe(value)}"
        )
    return np.asarray(array).astype(np.int64)


def given_array(name: str, value: Any) -> jax.Array | np.ndarray:
    """Return ``value`` as an array that still holds the values that were given.

    JAX's integers have 32 bits by default, and wider ones wrap around. So check the values of
    ``given_array``, and convert it to a JAX array after that.

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
    except (TypeError, ValueError):  # a ragged list, for one
        numeric = False
    if not numeric:
        raise ValueError(f"{name} must be an array of numbers, got {_describe(value)}")
    return array


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
                    f"{_describe(given)}"
                )
        return jnp.asarray(given)

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
    for path, leaf in jax.tree.leaves_with_path(params):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            where = f"{name}{jax.tree_util.keystr(path)}"
            raise ValueError(f"{where} must be a floating array, got an array of {leaf.dtype}")
    return params


def as_int32(values: jax.Array | np.ndarray) -> jax.Array:
    """Convert integers to int32. Those out of its range become its ends: none wraps around.

    >>> print(as_int32(np.array([3, 2**32, -(2**32)])))
    [          3  2147483647 -2147483648]
    """
    limits = np.iinfo(values.dtype)
    low, high = max(limits.min, -_LARGEST - 1), min(limits.max, _LARGEST)
    if (low, high) != (limits.min, limits.max):
        values = values.clip(low, high)
    return jnp.asarray(values, jnp.int32)


def check_leading_axes(name: str, tree: Any, axes: int) -> tuple[int, ...]:
    """Return the first ``axes`` sizes that all arrays of a pytree share, or raise ``ValueError``.

    >>> check_leading_axes("batches", [np.ones((3, 2)), np.ones(4)], axes=1)
    Traceback (most recent call last):
    ...
    ValueError: batches must be arrays with the same first axis, got shapes (3, 2), (4,)
    """
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(tree)]
    leading = {shape[:axes] for shape in shapes}
    if len(leading) != 1 or len(next(iter(leading))) != axes:
        which = "axis" if axes == 1 else f"{axes} axes"
        raise ValueError(
            f"{name} must be arrays with the same first {which}, got shapes "
            f"{', '.join(map(str, shapes)) or 'of no array'}"
        )
    return leading.pop()


def _describe(value: Any) -> str:
    """A value in an error message, cut to a length that can be read."""
    if isinstance(value, jax.Array | np.ndarray) and value.dtype != object and value.size < 10:
        value = value.tolist()
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_number(value: Any) -> bool:
    return is_integer(value) or isinstance(value, float | np.floating)
