"""Plain values: objects whose equality, hashes, copies and pickles follow from their fields."""

import dataclasses
import importlib
from typing import Any, NamedTuple


class PlainValue:
    """Base class of frozen dataclasses that are fully described by their fields.

    Copies and pickles are made from the fields, so they equal the original. A pickle stores a
    function, such as an activation, by its module and name. The repr shows only fields that differ
    from their defaults.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return _make, (type(self), {name: _by_name(value) for name, value in values.items()})

    def __copy__(self) -> "PlainValue":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "PlainValue":
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # dataclass generates a repr unless the class defines one
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = PlainValue.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        shown: list[str] = []
        for n, field in enumerate(dataclasses.fields(self)):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.default is not dataclasses.MISSING and value == field.default:
                continue
            text = getattr(value, "__name__", None) if callable(value) else None
            text = text or repr(value)
            is_first = n == len(shown) and field.default is dataclasses.MISSING
            shown.append(text if is_first else f"{field.name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"


class _Named(NamedTuple):
    """The module and name of a function, for a pickle."""

    module: str
    name: str


def _by_name(value: Any) -> Any:
    name, module = getattr(value, "__qualname__", None), getattr(value, "__module__", None)
    if not callable(value) or isinstance(value, type | PlainValue) or not (name and module):
        return value
    named = _Named(module, name)
    return named if _find(named) is value else value


def _find(named: _Named) -> Any:
    found: Any = importlib.import_module(named.module)
    for part in named.name.split("."):
        found = getattr(found, part, None)
    return found


def _make(cls: type, values: dict[str, Any]) -> Any:
    return cls(**{n: _find(v) if isinstance(v, _Named) else v for n, v in values.items()})
