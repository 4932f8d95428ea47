"""The options of the experiment."""

import dataclasses
from pathlib import Path
from typing import Literal, NamedTuple

import seqjax
from experiments.cells import CellName, make_cell
from experiments.command_line import check_learning_rate, check_seed
from seqjax.checks import check_size


class Setting(NamedTuple):
    """The options in which the runs differ.

    Attributes:
      num_steps: the length of a chunk.
      state_size: the units of the cell.
      epochs: the number of passes.
    """

    num_steps: int
    state_size: int
    epochs: int


ARTICLE = (Setting(5, 4, 1), Setting(1, 4, 2), Setting(10, 16, 10))


@dataclasses.dataclass(frozen=True)
class Config:
    """Train many seeds on the binary-dependency task and compare them with exact losses.

    By default, this trains the three settings of the article. If --num-steps, --state-size or
    --epochs is given, it trains one run for each value. A single value applies to all runs, and an
    option that is not given has the value of the article's first setting.
    """

    num_steps: tuple[int, ...] = ()
    """Steps per chunk: the length of truncated backpropagation. The article has 5 1 10."""
    truncation: Literal["chunks", "true"] = "chunks"
    """chunks: errors stop at the start of their chunk. true: each flows back num_steps steps."""
    state_size: tuple[int, ...] = ()
    """Units of the cell. The article has 4 4 16."""
    epochs: tuple[int, ...] = ()
    """Passes, each over a new sequence. The article has 1 2 10."""
    cell: CellName = "rnn"
    """Recurrent cell: a name, or an import path."""
    seeds: int = 16
    """Number of seeds, trained in one batch, each with its own data."""
    seed: int = 0
    """Random seed from which all seeds are derived."""
    optimizer: Literal["adagrad", "adam", "rmsprop", "sgd"] = "adagrad"
    """Optimizer."""
    learning_rate: float = 0.1
    """Learning rate of the optimizer."""
    batch_size: int = 200
    """Number of rows that the sequence is cut into."""
    sequence_length: int = 1_000_000
    """Time steps per epoch, over all rows."""
    dependencies: tuple[tuple[int, float], ...] = ((3, 0.5), (8, -0.25))
    """Pairs of a lag (negative: in the future) and the change of P(Y = 1) if X is 1 there."""
    base_rate: float = 0.5
    """P(Y = 1) if X is 0 at every lag."""
    freeze_cell: bool = False
    """Train only the readout; the cell keeps its initial random parameters."""
    out: Path | None = None
    """New folder for the results. None: runs/binary_dependency/<time>."""

    def __post_init__(self) -> None:
        sizes = [("seeds", self.seeds), ("batch-size", self.batch_size)]
        sizes += [("num-steps", n) for n in self.num_steps]
        sizes += [("state-size", n) for n in self.state_size]
        sizes += [("epochs", n) for n in self.epochs]
        for name, value in sizes:
            check_size("binary_dependency", f"--{name}", value)
        check_learning_rate(self.learning_rate)
        check_seed(self.seed)
        longest = max((abs(lag) for lag, _ in self.task.dependencies), default=0)
        row = self.sequence_length // self.batch_size
        if row * self.batch_size <= longest:
            raise ValueError(
                f"--sequence-length {self.sequence_length}, cut into --batch-size "
                f"{self.batch_size} rows, must be longer than the longest lag of --dependencies, "
                f"{longest}; give a longer sequence"
            )
        for setting in self.settings:
            if make_cell(self.cell, setting.state_size).is_noisy:
                raise ValueError(
                    f"--cell {self.cell} draws noise, for which this experiment has no keys; give "
                    "a deterministic cell"
                )
            if not training_steps(self, setting):
                raise ValueError(
                    f"--sequence-length {self.sequence_length}, cut into --batch-size "
                    f"{self.batch_size} rows, gives {row} steps per row, too few for --num-steps "
                    f"{setting.num_steps}; give a longer sequence or a smaller batch"
                )

    @property
    def task(self) -> "seqjax.tasks.BinaryDependency":
        """The task to learn."""
        return seqjax.tasks.BinaryDependency(self.dependencies, self.base_rate)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The settings of all runs."""
        given = (self.num_steps, self.state_size, self.epochs)
        count = max(map(len, given))
        if not count:
            return ARTICLE
        columns = []
        for name, values, default in zip(Setting._fields, given, ARTICLE[0], strict=True):
            values = values or (default,)
            if len(values) not in (1, count):
                raise ValueError(
                    f"--{name.replace('_', '-')} has {len(values)} values, but another option has "
                    f"{count}; give 1 or {count}"
                )
            columns.append(values * count if len(values) == 1 else values)
        return tuple(Setting(*row) for row in zip(*columns, strict=True))


def training_steps(config: Config, setting: Setting) -> int:
    """The number of steps that `train` takes."""
    chunks_a_row = config.sequence_length // config.batch_size // setting.num_steps
    return setting.epochs * (chunks_a_row - (config.truncation == "true"))
