"""The shape glossary and the cell contract, on which the whole library agrees.

Docstrings and comments write shapes with these letters:

====  =====================================================================
B     batch: any number of leading axes, or none
T     time steps
D     input features
H     units of a cell, the width of its state
V     vocabulary size, or number of classes
G     gates of a cell
S     positions of a context, such as the steps of an encoder
====  =====================================================================

``[B, T, D]`` is batch-major and ``[T, B, D]`` is time-major. Public functions take batch-major
arrays unless ``time_major=True``. Inside a cell, time is always the first axis.
"""

from seqjax.types.arrays import Activation as Activation
from seqjax.types.arrays import Array as Array
from seqjax.types.arrays import Noise as Noise
from seqjax.types.arrays import Params as Params
from seqjax.types.arrays import Projected as Projected
from seqjax.types.arrays import PyTree as PyTree
from seqjax.types.arrays import Size as Size
from seqjax.types.arrays import State as State
from seqjax.types.cell import Cell, Loop
from seqjax.types.faster import ChunkwiseCell, LinearCell
from seqjax.types.state import Context, HiddenState, Role, with_roles

__all__ = [
    "Cell",
    "ChunkwiseCell",
    "Context",
    "HiddenState",
    "LinearCell",
    "Loop",
    "Role",
    "with_roles",
]
