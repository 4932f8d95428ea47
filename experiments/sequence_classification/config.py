"""The options of the experiment."""

import dataclasses
from pathlib import Path
from typing import Literal

from experiments.cells import CellName, make_cell
from experiments.command_line import check_learning_rate, check_seed, check_sizes
from seqjax.checks import check_rate

Pooling = Literal["last", "mean", "attention"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Classify sequences by a recurrent network, beside baselines that see no sequence.

    The defaults are the network of the article: three layers of 200 GRU units with dropout on
    their outputs, whose last output is classified.
    """

    dataset: str = "digits"
    """digits (8 x 8, scikit-learn's), mnist (28 x 28), or the path of TFRecords; images row by
    row."""
    inputs: str | None = None
    """The sequence feature of the records; their only one of numbers without."""
    label: str | None = None
    """The context feature of the records that is the class; their only integer without."""
    pixels: bool = False
    """One pixel a step, not one row."""
    permuted: bool = False
    """All pixels of an image in one random order, the same for all images."""
    pooling: Pooling = "last"
    """What is classified: the last valid output, their mean, or a mean with learned weights."""
    cell: CellName = "gru"
    """The recurrent cell, by its name or imported."""
    layers: int = 3
    """Layers of it."""
    units: int = 200
    """Units of a layer."""
    dropout: float = 0.5
    """The part of each layer's outputs that is dropped while training."""
    epochs: int = 20
    """Passes over the training set."""
    batch_size: int = 50
    """Sequences of a training step."""
    learning_rate: float = 2e-3
    """Adam's at the start; it falls to 0 along a cosine."""
    seeds: int = 8
    """How many networks to train at once, on the same data."""
    seed: int = 0
    """From which the seeds are drawn."""
    out: Path | None = None
    """A new folder for the results; runs/sequence_classification/<time> without."""

    def __post_init__(self) -> None:
        sizes = ("layers", "units", "epochs", "batch_size", "seeds")
        check_sizes("sequence_classification", self, *sizes)
        check_rate("sequence_classification", "--dropout", self.dropout)
        make_cell(self.cell, self.units)
        check_learning_rate(self.learning_rate)
        check_seed(self.seed)
        named = self.inputs is not None or self.label is not None
        if named and self.dataset in ("digits", "mnist"):
            raise ValueError(
                f"--inputs and --label name features of records, but --dataset is {self.dataset}"
            )
