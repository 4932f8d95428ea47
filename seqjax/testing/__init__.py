"""Tests that every cell passes, for authors of new cells."""

import jax

from seqjax.engine.validation import check_cell as check_description
from seqjax.testing.checks import CHECKS
from seqjax.testing.example import DrawInputs, Example, make_example
from seqjax.testing.trees import close, randomise
from seqjax.types import Cell, Size

__all__ = ["CHECKS", "DrawInputs", "Example", "check_cell", "close", "make_example", "randomise"]


def check_cell(
    cell: Cell,
    input_size: Size = 3,
    draw_inputs: DrawInputs | None = None,
    memory_size: int | None = None,
) -> None:
    """Run every check in ``CHECKS`` on a cell.

    All checks are in float64, except the check of low precision.

    Args:
      cell: the cell to check.
      input_size: the number of input features.
      draw_inputs: ``(key, leading_shape) -> inputs [*leading_shape, ...]``, for a cell whose input
        is not one array of features.
      memory_size: the width of the context of a cell that attends to one (`seqjax.with_context`).

    Raises:
      AssertionError: the cell breaks the contract of `Cell`; for example, two ways to run it give
        different values. The message names the failed check.
      ValueError: ``cell`` is not a cell.

    >>> import seqjax
    >>> from seqjax.testing import check_cell
    >>> check_cell(seqjax.BasicRNN(4), input_size=3)
    """
    check_description(cell)
    with jax.enable_x64(True):
        example = make_example(cell, input_size, draw_inputs, memory_size)
        for check in CHECKS:
            try:
                check(example)
            except AssertionError as error:
                raise AssertionError(f"{cell} fails {check.__name__}: {error}") from error
            except Exception as error:
                error.add_note(f"{cell} fails {check.__name__} of seqjax.testing.check_cell")
                raise
