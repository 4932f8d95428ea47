"""A valid call and what its arguments accept."""

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.wrong_calls.accepts import Accepts, declared


class Argument(NamedTuple):
    """A valid value of an argument, and which other values it accepts."""

    value: Any
    accepts: Accepts


class Example(NamedTuple):
    """A valid call."""

    name: str
    call: Callable[..., Any]
    arguments: dict[str, Argument]


def of(name: str, call: Callable[..., Any], /, **given: Any) -> Example:
    """The example of a call with ``given`` arguments, each a value or an `Argument`."""
    parameters = inspect.signature(call.__init__ if inspect.isclass(call) else call).parameters
    arguments = {}
    for key, value in given.items():
        if not isinstance(value, Argument):
            parameter = parameters[key]
            value = Argument(value, declared(parameter.annotation, value))
        arguments[key] = value
    return Example(name, call, arguments)


def fill(call: Callable[..., Any], key: Any, *arguments: Any) -> Any:
    """Arrays of the shapes that ``call`` returns; does not compile it."""
    shapes = jax.eval_shape(lambda key: call(key, *arguments), key)
    return jax.tree.map(lambda a: jnp.full(a.shape, 0.1, a.dtype), shapes)


def public(module: types.ModuleType) -> list[str]:
    """The public functions and classes of a module, without contracts and named tuples."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    ]
    values = {name: getattr(module, name) for name in names}
    return [
        name
        for name, value in values.items()
        if callable(value)
        and typing.get_origin(value) is None
        and not (isinstance(value, type) and issubclass(value, tuple))
        and not inspect.isabstract(value)
        and not getattr(value, "_is_protocol", False)
    ]
