"""Reading back the options that a run has stored as JSON."""

import dataclasses
import types
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from experiments.command_line import option

T = TypeVar("T")


def config_from_json(kind: type[T], plain: Any) -> T:
    """The config that `dataclasses.asdict` and JSON converted to ``plain``.

    Args:
      kind: the dataclass of the options.
      plain: the JSON data. Options that it lacks have their default.

    Raises:
      ValueError: ``plain`` is no object of options, or an option is unknown, has the wrong type or
        is out of range.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Config:
    ...     cell: str = "gru"
    ...     rate: float = 0.1
    ...     out: Path | None = None
    >>> config_from_json(Config, {"rate": 1, "out": "runs"}).rate
    1.0
    >>> config_from_json(Config, {"cell": 0})
    Traceback (most recent call last):
    ...
    ValueError: the config holds --cell 0, which must be str
    """
    if not isinstance(plain, dict):
        raise ValueError(f"the config must be an object of options, got {plain!r:.80}")
    hints = _hints(kind)
    if unknown := plain.keys() - hints.keys():
        raise ValueError(
            f"the config holds unknown options: {', '.join(sorted(unknown))}; was it written by "
            "another version?"
        )
    values = {}
    for name, value in plain.items():
        try:
            values[name] = _read(hints[name], value)
        except TypeError:
            wanted = getattr(hints[name], "__name__", str(hints[name]).replace("typing.", ""))
            raise ValueError(
                f"the config holds {option(name)} {value!r:.80}, which must be {wanted}"
            ) from None
    return kind(**values)


def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _read(hint: Any, value: Any) -> Any:
    """Convert JSON data to a type, or raise ``TypeError``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        for one in arguments:
            try:
                return _read(one, value)
            except TypeError:
                pass
    elif origin is Literal:
        if value in arguments:
            return value
    elif origin is tuple and isinstance(value, list | tuple):
        each = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        if len(each) == len(value):
            return tuple(map(_read, each, value))
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif hint is Path and isinstance(value, str | Path):
        return Path(value)
    elif isinstance(hint, type) and type(value) is hint:  # True is no int
        return value
    raise TypeError
