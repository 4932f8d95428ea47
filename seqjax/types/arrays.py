"""The kinds of arrays that pass between cells and the rest of the library."""

from collections.abc import Callable
from typing import Any

import jax

Array = jax.Array
PyTree = Any
Params = PyTree  # arrays, as `Cell.init` returns them
State = PyTree  # arrays [B, ...] that one step passes to the next
Noise = PyTree | None  # arrays [T, B, ...], constant over T if dropout is locked
Projected = PyTree  # arrays [T, B, ...], the result of `Cell.project`
Size = Any  # int, or tuple[int, ...] for several feature axes
# Use a named function: every evaluation of a lambda is a new function and so a new cell.
Activation = Callable[[Array], Array]
