"""The cells that ``--cell`` accepts: cells of the catalogue by name, and cells of the user."""

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
      name: one of `NAMES`, or ``package.module:Name``, a class or function that is imported and
        called with ``units``.
      units: the number of units of the cell.

    Raises:
      ValueError: the name is unknown, or the class or function does not make a cell.

    >>> make_cell("peephole_lstm", 4)
    LSTM(4, peepholes=True)
    >>> make_cell("seqjax.cells:MGU", 4)
    MGU(4)
    """
    factory = _FACTORIES.get(name) or _imported(name)
    try:
        cell = factory(units)
    except Exception as error:  # a user's own code may raise anything
        raise ValueError(f"--cell {name} with {units} units: {_said(error)}") from error
    if not isinstance(cell, seqjax.Cell):
        raise ValueError(
            f"--cell {name} with {units} units made {cell!r}, which is not a seqjax.Cell; "
            "return a cell"
        )
    return cell


def _imported(name: str) -> Callable[[int], Any]:
    path, _, attribute = name.partition(":")
    if not (path and attribute):
        raise ValueError(
            f"--cell {name} is unknown; give one of {', '.join(NAMES)}, or package.module:Name"
        )
    try:
        module = importlib.import_module(path)
    except Exception as error:  # a user's own code may raise anything
        raise ValueError(
            f"--cell {name}: {path} cannot be imported: {_said(error)}; run the command in the "
            "folder of the module, or put that folder on PYTHONPATH"
        ) from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise ValueError(f"--cell {name}: {path} has no class or function {attribute}")
    return cast(Callable[[int], Any], factory)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
