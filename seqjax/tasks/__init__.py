"""Sequence tasks with exact answers, and with exactly known losses or success by chance."""

from seqjax.tasks.adding import Adding
from seqjax.tasks.addition import Addition
from seqjax.tasks.associative_recall import AssociativeRecall
from seqjax.tasks.binary_dependency import BinaryDependency
from seqjax.tasks.copying import Copy
from seqjax.tasks.delayed_parity import DelayedParity
from seqjax.tasks.memory_task import Example, MemoryTask
from seqjax.tasks.reversal import Reversal
from seqjax.tasks.sequence_pair import SequencePair, SequencePairTask
from seqjax.tasks.sorting import Sorting

__all__ = [
    "Adding",
    "Addition",
    "AssociativeRecall",
    "BinaryDependency",
    "Copy",
    "DelayedParity",
    "Example",
    "MemoryTask",
    "Reversal",
    "SequencePair",
    "SequencePairTask",
    "Sorting",
]
