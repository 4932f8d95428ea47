"""The tasks in training and in tests."""

from typing import NamedTuple

from experiments.memory_tasks.config import TaskName
from seqjax.tasks import Adding, AssociativeRecall, Copy, DelayedParity, MemoryTask


class Setup(NamedTuple):
    """A task in training and in tests.

    Attributes:
      train: the task in training.
      test: the task in tests.
      length: the default training length.
      unit: the unit of the length.
    """

    train: MemoryTask
    test: MemoryTask
    length: int
    unit: str


TASKS: dict[TaskName, Setup] = {
    "adding": Setup(Adding(), Adding(), 200, "steps"),
    "parity": Setup(DelayedParity(every_step=True), DelayedParity(), 16, "coins"),
    "copy": Setup(Copy(count=3), Copy(count=3), 10, "steps to bridge"),
    "recall": Setup(AssociativeRecall(), AssociativeRecall(), 3, "pairs"),
}
