"""The options of the experiment."""

import dataclasses
from pathlib import Path
from typing import Literal, NamedTuple

import seqjax
from experiments.cells import CellName, make_cell
from experiments.command_line import check_learning_rate, check_seed
from seqjax.checks import check_size


class Setting(NamedTuple):
    """What differs between the runs."""

    num_steps: int
    state_size: int
    epochs: int


ARTICLE = (Setting(5, 4, 1), Setting(1, 4, 2), Setting(10, 16, 10))


@dataclasses.dataclass(frozen=True)
class Config:
    """Train many seeds on the binary-dependency task, beside its exactly known losses.

    Without --num-steps, --state-size or --epochs it trains the three settings of the article. With
    any of them it trains one run for each value given; an option that is not given takes the value
    of the article's first setting, and a single value serves all runs.
    """

    num_steps: tuple[int, ...] = ()
    """Steps over which errors flow back, the length of a chunk; the article's are 5 1 10."""
    truncation: Literal["chunks", "true"] = "chunks"
    """Whether errors stop at the start of their chunk, or each flows back over all num_steps."""
    state_size: tuple[int, ...] = ()
    """Units of the cell; the article's are 4 4 16."""
    epochs: tuple[int, ...] = ()
    """Passes, each over a fresh sequence; the article's are 1 2 10."""
    cell: CellName = "rnn"
    """The recurrent cell, by its name or imported."""
    seeds: int = 16
    """How many seeds to train at once, each with its own data."""
    seed: int = 0
    """From which the seeds are drawn."""
    optimizer: Literal["adagrad", "adam", "rmsprop", "sgd"] = "adagrad"
    """The optimizer."""
    learning_rate: float = 0.1
    """Its learning rate."""
    batch_size: int = 200
    """Rows that the sequence is cut into, trained on side by side."""
    sequence_length: int = 1_000_000
    """Time steps of an epoch, over all rows."""
    dependencies: tuple[tuple[int, float], ...] = ((3, 0.5), (8, -0.25))
    """Pairs of a lag (negative: ahead) and the change in P(Y = 1) where X is 1 there."""
    base_rate: float = 0.5
    """P(Y = 1) where every X that counts is 0."""
    freeze_cell: bool = False
    """Train the readout alone, on what the cell remembers with its random weights."""
    out: Path | None = None
    """A new folder for the results; runs/binary_dependency/<time> without."""

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
                f"--sequence-length {self.sequence_length} in whole rows of --batch-size "
                f"{self.batch_size} must be more than the longest lag of --dependencies, {longest}"
            )
        for setting in self.settings:
            if make_cell(self.cell, setting.state_size).is_noisy:
                raise ValueError(f"--cell {self.cell} draws noise, which this experiment does not")
            if not training_steps(self, setting):
                raise ValueError(
                    f"--sequence-length {self.sequence_length} in --batch-size {self.batch_size} "
                    f"rows leaves {row} steps a row, too few for --num-steps {setting.num_steps}; "
                    "give a longer sequence or a smaller batch"
                )

    @property
    def task(self) -> "seqjax.tasks.BinaryDependency":
        """What to learn."""
        return seqjax.tasks.BinaryDependency(self.dependencies, self.base_rate)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The runs to make."""
        given = (self.num_steps, self.state_size, self.epochs)
        count = max(map(len, given))
        if not count:
            return ARTICLE
        columns = []
        for name, values, default in zip(Setting._fields, given, ARTICLE[0], strict=True):
            values = values or (default,)
            if len(values) not in (1, count):
                raise ValueError(
                    f"--{name.replace('_', '-')} has {len(values)} values where another option has "
                    f"{count}; give 1 or {count}"
                )
            columns.append(values * count if len(values) == 1 else values)
        return tuple(Setting(*row) for row in zip(*columns, strict=True))


def training_steps(config: Config, setting: Setting) -> int:
    """How many steps `train` takes."""
    chunks_a_row = config.sequence_length // config.batch_size // setting.num_steps
    return setting.epochs * (chunks_a_row - (config.truncation == "true"))
