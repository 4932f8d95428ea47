"""Argument checks, whose errors state what was expected, what was given and what to do."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

LARGEST = 2**31 - 1  # the largest integer of JAX's default dtype


def check_size(owner: str, name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number of at least 1.

    >>> check_size("GRU", "units", 0)
    Traceback (most recent call last):
    ...
    ValueError: GRU: units must be a whole number of at least 1, got 0
    """
    check_count(owner, name, value, low=1)


def check_count(owner: str, name: str, value: Any, low: int = 0, high: int = LARGEST) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number in ``[low, high]``.

    >>> check_count("Loader", "process", -1)
    Traceback (most recent call last):
    ...
    ValueError: Loader: process must be a whole number of at least 0, got -1
    """
    if not is_integer(value) or value < low:
        raise ValueError(f"{owner}: {name} must be a whole number of at least {low}, got {value!r}")
    if value > high:
        raise ValueError(f"{owner}: {name} must be at most {high}, got {value!r}")


def check_integers(
    owner: str, name: str, value: Any, low: int = 0, high: int = LARGEST, least: int = 0
) -> np.ndarray:
    """Return ``int64[N]``, or raise ``ValueError`` unless all N >= ``least`` are in range.

    >>> check_integers("plan", "lengths", [3, -1])
    Traceback (most recent call last):
    ...
    ValueError: plan: lengths must be integers [N] in [0, 2147483647], got [3, -1]
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # for example, a ragged list
        array = np.empty((0, 0))
    whole = getattr(array.dtype, "kind", None) in ("i", "u") or array.shape == (
        0,
    )  # NumPy gives [] a floating dtype
    if array.ndim != 1 or not whole or not ((array >= low) & (array <= high)).all():
        raise ValueError(
            f"{owner}: {name} must be integers [N] in [{low}, {high}], got {describe(value)}"
        )
    if len(array) < least:
        raise ValueError(f"{owner}: {name} must hold at least {least}, got {len(array)}")
    return array.astype(np.int64)


def _is_array(value: Any) -> bool:
    return isinstance(getattr(value, "shape", None), tuple) and hasattr(value, "dtype")


def describe(value: Any) -> str:
    """Return ``value`` as text for an error message, shortened if it is long.

    >>> describe(np.array([1, 2])), describe(np.zeros((3, 4)))
    ('[1, 2]', 'float64[3, 4]')
    """
    if _is_array(value):
        if getattr(value.dtype, "kind", "O") not in "biuf" or value.ndim > 1 or value.size > 10:
            return f"{value.dtype}{list(value.shape)}"
        value = value.tolist()
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def describe_type(value: Any) -> str:
    """Return the shape of an array, or the type of another value, for an error message.

    >>> describe_type(np.zeros((3, 4))), describe_type([1]), describe_type(2)
    ('float64[3, 4]', 'a list', 'an int')
    """
    if _is_array(value):
        return f"{value.dtype}{list(value.shape)}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


def check_iterable(owner: str, name: str, value: Any, of: str) -> None:
    """Raise ``ValueError`` unless ``value`` is a list or another iterable.

    >>> check_iterable("GridLSTM", "blocks", 2.5, of="pairs of numbers")
    Traceback (most recent call last):
    ...
    ValueError: GridLSTM: blocks must be a list of pairs of numbers, got 2.5
    """
    if (
        not isinstance(value, Iterable)
        or isinstance(value, str | bytes)
        or not getattr(value, "ndim", 1)
    ):
        raise ValueError(f"{owner}: {name} must be a list of {of}, got {describe(value)}")


def is_integer(value: Any) -> bool:
    """Whether ``value`` is an integer of Python or NumPy; True and False are not.

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
    if not is_number(value) or not value > 0:  # infinity clips nothing, which is allowed
        raise ValueError(
            f"{owner}: {name} must be a number above 0, or None for no clip, got {value!r}"
        )


def check_activation(owner: str, value: Any, name: str = "activation") -> None:
    """Raise ``ValueError`` unless ``value`` is callable.

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
    if not is_number(value) or not abs(value) <= sys.float_info.max:
        raise ValueError(f"{owner}: {name} must be a finite number, got {value!r}")


def check_range(owner: str, name: str, value: Any, low: float, high: float) -> None:
    """Raise ``ValueError`` unless ``value`` is a number in ``[low, high]``.

    >>> check_range("PhasedLSTM", "leak", 2, 0, 1)
    Traceback (most recent call last):
    ...
    ValueError: PhasedLSTM: leak must lie in [0, 1], got 2
    """
    if not is_number(value) or not low <= value <= high:
        raise ValueError(f"{owner}: {name} must lie in [{low}, {high}], got {value!r}")


def check_pair(owner: str, name: str, value: Any) -> tuple[Any, Any]:
    """Return the two numbers of ``value``, or raise ``ValueError``.

    >>> check_pair("PhasedLSTM", "period_range", 4)
    Traceback (most recent call last):
    ...
    ValueError: PhasedLSTM: period_range must be a pair of numbers, got 4
    """
    if (
        not isinstance(value, Sequence | np.ndarray)
        or not getattr(value, "ndim", 1)
        or len(value) != 2
        or not all(map(is_number, value))
    ):
        raise ValueError(f"{owner}: {name} must be a pair of numbers, got {value!r}")
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
    """Raise ``ValueError`` unless ``value`` is the size for which ``owner`` was built.

    >>> check_fixed_size("ConvLSTM", "input_size", (8, 8, 1), (8, 8, 3))
    Traceback (most recent call last):
    ...
    ValueError: ConvLSTM: input_size must be (8, 8, 3), the size of this cell, got (8, 8, 1)
    """
    if value != fixed:
        raise ValueError(f"{owner}: {name} must be {fixed}, the size of this cell, got {value!r}")


def check_rate(owner: str, name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a probability below 1.

    >>> check_rate("Dropout", "input_rate", np.float32(0.5))
    >>> check_rate("Dropout", "input_rate", 1)
    Traceback (most recent call last):
    ...
    ValueError: Dropout: input_rate must be a probability in [0, 1), got 1
    """
    if not is_number(value) or not 0 <= value < 1:
        raise ValueError(f"{owner}: {name} must be a probability in [0, 1), got {value!r}")


def check_input_size(owner: str, input_size: Any, size: int) -> None:
    """Raise ``ValueError`` unless the number of input features equals the number of units.

    >>> check_input_size("RGLRU", 3, 4)
    Traceback (most recent call last):
    ...
    ValueError: RGLRU: inputs must have units=4 features, got 3; wrap the cell in an InputProjection
    """
    if input_size != size:
        raise ValueError(
            f"{owner}: inputs must have units={size} features, got {input_size!r}; "
            "wrap the cell in an InputProjection"
        )


def check_key(key: Any) -> None:
    """Raise ``ValueError`` unless ``key`` is one key of ``jax.random``.

    >>> check_key(0)
    Traceback (most recent call last):
    ...
    ValueError: key must be one key, such as jax.random.key(0), got 0
    """
    import jax  # imported late, because options are checked before JAX is needed

    is_key = isinstance(key, jax.Array) and (
        (jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ())
        or (key.dtype == np.uint32 and key.shape == jax.eval_shape(jax.random.PRNGKey, 0).shape)
    )
    if not is_key:
        given = f"{key.dtype}{list(key.shape)}" if isinstance(key, jax.Array) else repr(key)
        raise ValueError(f"key must be one key, such as jax.random.key(0), got {given}")


def check_dtype(dtype: Any) -> None:
    """Raise ``ValueError`` unless ``dtype`` is a floating-point dtype.

    >>> check_dtype(int)
    Traceback (most recent call last):
    ...
    ValueError: dtype must be floating, such as jax.numpy.float32, got <class 'int'>
    """
    import jax

    # np.dtype would interpret None as float64, and an array as its dtype
    given = dtype is not None and not isinstance(dtype, jax.Array | np.ndarray | np.generic)
    try:
        floating = given and jax.numpy.issubdtype(np.dtype(dtype), np.floating)
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
    import jax.export

    def is_size(n: Any) -> bool:
        return (is_integer(n) and 0 <= n <= LARGEST) or jax.export.is_symbolic_dim(n)

    if not isinstance(shape, list | tuple) or not all(map(is_size, shape)):
        raise ValueError(f"batch_shape must be a tuple of sizes, such as (32,), got {shape!r}")


def is_number(value: Any) -> bool:
    """Whether ``value`` is a real number of Python or NumPy; True and False are not.

    >>> is_number(np.float32(0.5)), is_number(True), is_number("3")
    (True, False, False)
    """
    if is_integer(value):
        return abs(value) <= sys.float_info.max  # a larger integer has no float
    return isinstance(value, float | np.floating)
