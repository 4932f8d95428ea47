"""The cells that ``--cell`` takes: those of the catalogue by name, and a user's own."""

import importlib
from collections.abc import Callable
from typing import Annotated, Any, cast

from tyro.constructors import PrimitiveConstructorSpec

import seqjax
from seqjax.catalogue import CATALOGUE

NAMES = tuple(entry.short for entry in CATALOGUE if entry.short)
_FACTORIES = {entry.short: entry.make for entry in CATALOGUE if entry.short}

CellName = Annotated[
    str,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(NAMES)},PACKAGE.MODULE:NAME}}",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda name: [name],
    ),
]


def make_cell(name: str, units: int) -> "seqjax.Cell":
    """Make the cell that ``--cell`` names.

    Args:
      name: one of `NAMES`, or ``package.module:Name``: a class or function that is imported and
        called with ``units``.
      units: its width.

    Raises:
      ValueError: there is no such name, or what it names makes no cell.

    >>> make_cell("peephole_lstm", 4)
    LSTM(4, peepholes=True)
    >>> make_cell("seqjax.cells:MGU", 4)
    MGU(4)
    """
    factory = _FACTORIES.get(name) or _imported(name)
    cell = factory(units)
    if not isinstance(cell, seqjax.Cell):
        raise ValueError(f"--cell {name} with {units} units made {cell!r}, which is no seqjax cell")
    return cell


def _imported(name: str) -> Callable[[int], Any]:
    path, _, attribute = name.partition(":")
    hint = f"give one of {', '.join(NAMES)}, or package.module:Name"
    if not (path and attribute):
        raise ValueError(f"--cell {name} is no cell; {hint}")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if not error.name or not f"{path}.".startswith(f"{error.name}."):
            raise  # something that the module itself needs
        raise ValueError(f"--cell {name}: there is no module {error.name}; {hint}") from None
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise ValueError(f"--cell {name}: {path} has no class or function {attribute}; {hint}")
    return cast(Callable[[int], Any], factory)
