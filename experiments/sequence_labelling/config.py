"""The options of both tasks."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro

import seqjax
from experiments.command_line import check_learning_rate, check_seed, check_sizes
from experiments.sequence_labelling.lines import Lines, check_records_can_be_read, cut_lines
from seqjax.checks import check_rate
from seqjax.data.text import read_corpus

if TYPE_CHECKING:
    from experiments.sequence_labelling.networks import Network


@dataclasses.dataclass(frozen=True)
class Lookahead:
    """Learn a binary sequence that depends on the past and the future of another sequence.

    A forward network can learn only dependencies on the past. A bidirectional network can learn
    both. The losses of both are known exactly.
    """

    dependencies: tuple[tuple[int, float], ...] = ((3, 0.5), (-4, -0.25))
    """Pairs of a lag (negative: in the future) and the change of P(Y = 1) if X is 1 there."""
    base_rate: float = 0.5
    """P(Y = 1) if X is 0 at every lag."""
    units: int = 16
    """Units of each GRU."""
    window: int = 32
    """Steps per window. Steps whose dependencies lie outside the window are not scored."""
    batch_size: int = 100
    """Windows per batch."""
    training_steps: int = 800
    """Training steps, each on a batch of new windows."""
    learning_rate: float = 0.02
    """Initial learning rate of Adam, which falls to 0 along a cosine."""
    seeds: int = 8
    """Number of seeds, trained in one batch, each with its own data."""
    seed: int = 0
    """Random seed from which all seeds are derived."""

    def __post_init__(self) -> None:
        sizes = ("units", "window", "batch_size", "training_steps", "seeds")
        check_sizes("lookahead", self, *sizes)
        check_learning_rate(self.learning_rate)
        check_seed(self.seed)
        from experiments.sequence_labelling.lookahead import counted

        if not counted(self.task, self.window).any():
            raise ValueError(
                f"--window {self.window} holds no step with all its dependencies, "
                f"{list(self.task.dependencies)}; give a longer window"
            )

    @property
    def task(self) -> "seqjax.tasks.BinaryDependency":
        """The task to learn."""
        return seqjax.tasks.BinaryDependency(self.dependencies, self.base_rate)

    @property
    def networks(self) -> "tuple[Network, Network]":
        """The networks to compare."""
        from experiments.sequence_labelling.networks import Network

        return Network(self.units, bidirectional=False), Network(self.units, bidirectional=True)


@dataclasses.dataclass(frozen=True)
class Truecasing:
    """Predict which letters of a line in lower case were upper case.

    Compares a forward GRU and a bidirectional GRU of about equal size to rules and counts,
    on the last tenth of the lines of a text.
    """

    corpus: str = "tiny_shakespeare"
    """tiny_shakespeare, python_docs, a UTF-8 file, a folder of .txt files, or a file pattern."""
    longest: int = 128
    """Longer lines are cut into pieces of this many characters."""
    forward_units: int = 64
    """Units of the forward GRU."""
    bidirectional_units: int = 44
    """Units of each of the two GRUs of the bidirectional network."""
    dropout: float = 0.3
    """Dropout rate of the outputs of the GRUs."""
    batch_steps: int = 1024
    """Maximum number of characters per batch, including padding. Batches of short lines hold more
    lines."""
    epochs: int = 2
    """Passes over the training lines."""
    learning_rate: float = 0.01
    """Initial learning rate of Adam, which falls to 0 along a cosine."""
    seeds: int = 4
    """Number of seeds, trained in one batch; they differ in initial parameters and dropout."""
    seed: int = 0
    """Random seed from which all seeds and the order of the lines are derived."""

    def __post_init__(self) -> None:
        sizes = ("forward_units", "bidirectional_units", "longest", "epochs", "seeds")
        check_sizes("truecasing", self, *sizes, "batch_steps")
        check_rate("truecasing", "--dropout", self.dropout)
        check_learning_rate(self.learning_rate)
        check_seed(self.seed)
        if self.batch_steps < self.longest:
            raise ValueError(
                f"--batch-steps must have room for one line of --longest {self.longest}, got "
                f"{self.batch_steps}"
            )
        from experiments.sequence_labelling.truecasing import steps_per_epoch

        check_records_can_be_read()
        lengths = np.array([len(line) for line in self.read_lines().train])
        if not steps_per_epoch(self, lengths):
            raise ValueError(
                f"the {len(lengths)} training lines do not fill one batch of --batch-steps "
                f"{self.batch_steps}; give a longer corpus or smaller batches"
            )

    @property
    def networks(self) -> "tuple[Network, Network]":
        """The networks to compare."""
        from experiments.sequence_labelling.networks import Network

        return (
            Network(self.forward_units, bidirectional=False, dropout=self.dropout),
            Network(self.bidirectional_units, bidirectional=True, dropout=self.dropout),
        )

    def read_lines(self) -> Lines:
        """Read the corpus and cut it into lines."""
        return cut_lines(read_corpus(self.corpus).text, self.longest)


@tyro.conf.configure(
    tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs
)
@dataclasses.dataclass(frozen=True)
class Config:
    """Label every step of a sequence with a forward and a bidirectional network."""

    task: Truecasing | Lookahead
    """Task to train on."""
    out: Path | None = None
    """New folder for the results. None: runs/sequence_labelling/<time>."""
