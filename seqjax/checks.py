"""Argument checks whose errors say what was given, what was expected and how to mend it."""

import operator
from typing import Any


def check_size(owner: str, name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number of at least 1.

    >>> check_size("GRU", "units", 0)
    Traceback (most recent call last):
    ...
    ValueError: GRU: units must be a whole number of at least 1, got 0
    """
    try:
        ok = not isinstance(value, bool) and operator.index(value) >= 1
    except TypeError:
        ok = False
    if not ok:
        raise ValueError(f"{owner}: {name} must be a whole number of at least 1, got {value!r}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``.

    >>> check_choice("method", "fast", ("scan", "static"))
    Traceback (most recent call last):
    ...
    ValueError: method must be one of 'scan', 'static', got 'fast'
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_rate(owner: str, name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a probability below 1.

    >>> check_rate("Dropout", "input_rate", 1)
    Traceback (most recent call last):
    ...
    ValueError: Dropout: input_rate must be a probability in [0, 1), got 1
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"{owner}: {name} must be a probability in [0, 1), got {value!r}")
