"""The options of the experiment."""

import dataclasses
from pathlib import Path
from typing import Literal, NamedTuple

from experiments.cells import CellName, make_cell
from experiments.command_line import check_learning_rate, check_seed
from seqjax.checks import check_size

TaskName = Literal["adding", "parity", "copy", "recall"]


class Trial(NamedTuple):
    """What is trained on what."""

    task: TaskName
    length: int
    cell: CellName


@dataclasses.dataclass(frozen=True)
class Config:
    """Train cells on tasks that need memory, beside chance and the optimum, both known exactly."""

    tasks: tuple[TaskName, ...] = ("adding", "parity", "copy", "recall")
    """What to learn."""
    cells: tuple[CellName, ...] = ("rnn", "gru", "mingru")
    """The recurrent cells, by their names or imported."""
    lengths: tuple[int, ...] = ()
    """Lengths to train at, for every task; without, 200 for adding, 16, 10 and 3 for the others."""
    longer: tuple[int, ...] = (2, 4)
    """Tested also at so many times the length trained at."""
    units: int = 32
    """Units of the cell."""
    layers: int = 1
    """How many are stacked."""
    seeds: int = 8
    """How many seeds to train at once, each with its own data."""
    seed: int = 0
    """From which the seeds are drawn."""
    steps: int = 1500
    """Training steps at most; fewer, where all seeds have solved the task before."""
    batch_size: int = 32
    """Fresh examples in a training step."""
    learning_rate: float = 1e-2
    """Of Adam, with gradients clipped to norm 1."""
    out: Path | None = None
    """A new folder for the results; runs/memory_tasks/<time> without."""

    def __post_init__(self) -> None:
        for name in ("tasks", "cells"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"--{name} must name at least one, each once, got {list(values)}")
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
        """What to train, in order."""
        from experiments.memory_tasks.tasks import TASKS

        return [
            Trial(task, length, cell)
            for task in self.tasks
            for length in self.lengths or (TASKS[task].length,)
            for cell in self.cells
        ]

    def tested(self, trial: Trial) -> list[int]:
        """The lengths to test at, that of the training first."""
        return [trial.length, *(trial.length * n for n in self.longer)]
