"""Sequence tasks with exactly known expected losses."""

from seqjax.tasks.adding import Adding
from seqjax.tasks.associative_recall import AssociativeRecall
from seqjax.tasks.binary_dependency import BinaryDependency
from seqjax.tasks.copying import Copy
from seqjax.tasks.delayed_parity import DelayedParity
from seqjax.tasks.memory_task import Example, MemoryTask

__all__ = [
    "Adding",
    "AssociativeRecall",
    "BinaryDependency",
    "Copy",
    "DelayedParity",
    "Example",
    "MemoryTask",
]
