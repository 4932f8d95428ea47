"""The options of the experiment."""

import dataclasses
from pathlib import Path
from typing import Literal, NamedTuple

from experiments.cells import CellName, make_cell
from experiments.command_line import check_learning_rate, check_seed
from seqjax.checks import check_size

TaskName = Literal["adding", "parity", "copy", "recall"]


class Trial(NamedTuple):
    """One cell to train on one task.

    Attributes:
      task: the name of the task.
      length: the length of the sequences in training.
      cell: the name of the cell.
    """

    task: TaskName
    length: int
    cell: CellName


@dataclasses.dataclass(frozen=True)
class Config:
    """Train cells on memory tasks, whose chance and optimum losses are known exactly."""

    tasks: tuple[TaskName, ...] = ("adding", "parity", "copy", "recall")
    """Tasks to train on."""
    cells: tuple[CellName, ...] = ("rnn", "gru", "mingru")
    """Recurrent cells: names, or import paths."""
    lengths: tuple[int, ...] = ()
    """Training lengths of every task. Defaults: adding 200, parity 16, copy 10, recall 3."""
    longer: tuple[int, ...] = (2, 4)
    """Multiples of the training length at which to test as well."""
    units: int = 32
    """Units of each layer."""
    layers: int = 1
    """Number of stacked layers."""
    seeds: int = 8
    """Number of seeds, trained in one batch, each with its own data."""
    seed: int = 0
    """Random seed from which all seeds are derived."""
    steps: int = 1500
    """Maximum number of training steps; training ends early when all seeds have solved the task."""
    batch_size: int = 32
    """Examples per training step; no example is repeated."""
    learning_rate: float = 1e-2
    """Learning rate of Adam. Gradients are clipped to norm 1."""
    out: Path | None = None
    """New folder for the results. None: runs/memory_tasks/<time>."""

    def __post_init__(self) -> None:
        for name in ("tasks", "cells"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(
                    f"--{name} must hold at least one name and no name twice, got {list(values)}"
                )
        sizes = [(name, getattr(self, name)) for name in ("units", "layers", "seeds", "steps")]
        sizes += [("batch-size", self.batch_size)]
        sizes += [(name, n) for name in ("lengths", "longer") for n in getattr(self, name)]
        for name, value in sizes:
            check_size("memory_tasks", f"--{name}", value)
        check_learning_rate(self.learning_rate)
        check_seed(self.seed)
        import jax

        from experiments.memory_tasks.tasks import TASKS

        for trial in self.trials:
            make_cell(trial.cell, self.units)
            for length in self.tested(trial):
                task = TASKS[trial.task].train
                jax.eval_shape(lambda: task.sample(jax.random.key(0), length))  # noqa: B023

    @property
    def trials(self) -> list[Trial]:
        """The trials in order."""
        from experiments.memory_tasks.tasks import TASKS

        return [
            Trial(task, length, cell)
            for task in self.tasks
            for length in self.lengths or (TASKS[task].length,)
            for cell in self.cells
        ]

    def tested(self, trial: Trial) -> list[int]:
        """The lengths of the tests; the training length is the first."""
        return [trial.length, *(trial.length * n for n in self.longer)]
