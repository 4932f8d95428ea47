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
    """Classify sequences with a recurrent network, beside baselines that ignore their order.

    The defaults are the network of the article: three layers of 200 GRU units with dropout on
    their outputs, and a softmax on the last output.
    """

    dataset: str = "digits"
    """digits (8 x 8, from scikit-learn), mnist (28 x 28), or the path of TFRecords. Images are read
    row by row. Each feature of other sequences is scaled by its own mean and deviation in the
    training set; all pixels of images are scaled alike."""
    inputs: str | None = None
    """The sequence feature of the records; defaults to their only numeric one."""
    label: str | None = None
    """The context feature of the records that holds the class, a number or a text. Defaults to the
    only integer feature, or to the only text feature if there is no integer feature."""
    classes: tuple[str, ...] = ()
    """Names of the classes 0, 1, ... for the figures; defaults to their numbers."""
    pixels: bool = False
    """Read one pixel per step instead of one row."""
    permuted: bool = False
    """Permute the pixels of all images in the same random order."""
    pooling: Pooling = "last"
    """What to classify: the last valid output, the mean of all, or a mean with learned weights."""
    cell: CellName = "gru"
    """Recurrent cell: a name, or an import path."""
    layers: int = 3
    """Number of stacked layers."""
    units: int = 200
    """Units of each layer."""
    dropout: float = 0.5
    """Dropout rate of the outputs of each layer, in training."""
    epochs: int = 20
    """Passes over the training set."""
    batch_size: int = 50
    """Sequences per training step."""
    learning_rate: float = 2e-3
    """Initial learning rate of Adam; it decays to 0 along a cosine."""
    seeds: int = 8
    """Number of seeds, trained in one batch on the same data."""
    seed: int = 0
    """Random seed from which all seeds are derived."""
    out: Path | None = None
    """New folder for the results. None: runs/sequence_classification/<time>."""

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
