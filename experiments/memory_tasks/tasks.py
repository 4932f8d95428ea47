"""The tasks, as they are trained and as they are tested."""

from typing import NamedTuple

from experiments.memory_tasks.config import TaskName
from seqjax.tasks import Adding, AssociativeRecall, Copy, DelayedParity, MemoryTask


class Setup(NamedTuple):
    """A task as it is trained, and as it is tested."""

    train: MemoryTask
    test: MemoryTask
    length: int  # trained at by default
    unit: str  # of the length


TASKS: dict[TaskName, Setup] = {
    "adding": Setup(Adding(), Adding(), 200, "steps"),
    "parity": Setup(DelayedParity(every_step=True), DelayedParity(), 16, "coins"),
    "copy": Setup(Copy(count=3), Copy(count=3), 10, "steps to bridge"),
    "recall": Setup(AssociativeRecall(), AssociativeRecall(), 3, "pairs"),
}
