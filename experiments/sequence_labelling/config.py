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
    """Learn a binary sequence that depends on another one, some steps back and some ahead.

    A network that reads forward can know the first kind only, one that reads both ways knows both;
    the losses of either are exactly known.
    """

    dependencies: tuple[tuple[int, float], ...] = ((3, 0.5), (-4, -0.25))
    """Pairs of a lag (negative: ahead) and the change in P(Y = 1) where X is 1 there."""
    base_rate: float = 0.5
    """P(Y = 1) where every X that counts is 0."""
    units: int = 16
    """Of each GRU."""
    window: int = 32
    """Steps that a network sees at a time; those whose dependencies lie outside do not count."""
    batch_size: int = 100
    """Windows in a batch."""
    training_steps: int = 800
    """Batches to train on, each of fresh windows."""
    learning_rate: float = 0.02
    """Of Adam at the start; it falls to 0 along a cosine."""
    seeds: int = 8
    """How many seeds to train at once, each with its own data."""
    seed: int = 0
    """From which the seeds are drawn."""

    def __post_init__(self) -> None:
        sizes = ("units", "window", "batch_size", "training_steps", "seeds")
        check_sizes("lookahead", self, *sizes)
        check_learning_rate(self.learning_rate)
        check_seed(self.seed)
        from experiments.sequence_labelling.lookahead import counted

        if not counted(self.task, self.window).any():
            raise ValueError(
                f"--window {self.window} holds no step with all its dependencies, "
                f"{list(self.task.dependencies)}; give a longer one"
            )

    @property
    def task(self) -> "seqjax.tasks.BinaryDependency":
        """What to learn."""
        return seqjax.tasks.BinaryDependency(self.dependencies, self.base_rate)

    @property
    def networks(self) -> "tuple[Network, Network]":
        """What learns it."""
        from experiments.sequence_labelling.networks import Network

        return Network(self.units, bidirectional=False), Network(self.units, bidirectional=True)


@dataclasses.dataclass(frozen=True)
class Truecasing:
    """Say for each letter of a line in lower case whether it was upper case.

    A GRU that reads forward and one that reads both ways, of about as many parameters, beside rules
    and counts; on the last tenth of the lines of a text.
    """

    corpus: str = "tiny_shakespeare"
    """tiny_shakespeare, python_docs (built in), or the path of a UTF-8 file or folder of .txt."""
    longest: int = 128
    """Longer lines are cut into pieces of so many characters."""
    forward_units: int = 64
    """Of the GRU that reads forward."""
    bidirectional_units: int = 44
    """Of each of the two GRUs that read both ways."""
    dropout: float = 0.3
    """The rate at which outputs of the GRUs are dropped in training."""
    batch_steps: int = 1024
    """Characters in a batch at most, padding included: a bucket of short lines has more of them."""
    epochs: int = 2
    """Passes over the training lines."""
    learning_rate: float = 0.01
    """Of Adam at the start; it falls to 0 along a cosine."""
    seeds: int = 4
    """How many seeds to train at once; they differ in first weights and in what is dropped."""
    seed: int = 0
    """From which the seeds and the order of the lines are drawn."""

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
        """What is compared."""
        from experiments.sequence_labelling.networks import Network

        return (
            Network(self.forward_units, bidirectional=False, dropout=self.dropout),
            Network(self.bidirectional_units, bidirectional=True, dropout=self.dropout),
        )

    def read_lines(self) -> Lines:
        """Read the corpus."""
        return cut_lines(read_corpus(self.corpus).text, self.longest)


@tyro.conf.configure(
    tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs
)
@dataclasses.dataclass(frozen=True)
class Config:
    """Label every step of a sequence, read forward or from both ends."""

    task: Truecasing | Lookahead
    """What to label."""
    out: Path | None = None
    """A new folder for the results; runs/sequence_labelling/<time> without."""
