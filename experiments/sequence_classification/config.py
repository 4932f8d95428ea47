"""The options of the experiment."""

import dataclasses
from pathlib import Path
from typing import Literal

from experiments.cells import CellName, make_cell
from experiments.command_line import check_learning_rate, check_seed, check_sizes, option
from seqjax.checks import check_rate

ARCHIVES = ("uea", "ucr")  # what precedes the name of a data set; they mean the same
Pooling = Literal["last", "mean", "attention"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Classify sequences with a recurrent network, beside baselines that ignore their order.

    The defaults are the network of the article: three layers of 200 GRU units with dropout on
    their outputs, and a softmax on the last output.
    """

    dataset: str = "digits"
    """digits (8 x 8, from scikit-learn), mnist (28 x 28), uea:NAME for a data set that the package
    aeon ships, such as uea:JapaneseVowels, or the path of TFRecords. A path that holds the
    directories train and test, and optionally validation, is used as it is split. Images are read
    row by row. Each feature of other sequences is scaled by its own mean and deviation in the
    training set; all pixels of images are scaled alike. uea:NAME changes the defaults of other
    options to those that cross-validation chose."""
    inputs: str | None = None
    """The sequence feature of the records; defaults to their only numeric one."""
    label: str | None = None
    """The context feature of the records that holds the class, a number or a text. Defaults to the
    only integer feature, or to the only text feature if there is no integer feature."""
    classes: tuple[str, ...] = ()
    """Names of the classes 0, 1, ... for the figures; defaults to the names that the records have,
    or to their numbers."""
    validation: float | None = None
    """Fraction of the training set that is held out to choose, for each seed, the epoch with the
    highest accuracy. 0: keep the last epoch. None: the validation set of the data set; if records
    have none, 0.1 if this is at least 20 sequences."""
    pixels: bool = False
    """Read one pixel per step instead of one row."""
    permuted: bool = False
    """Permute the pixels of all images in the same random order."""
    join: int = 1
    """Steps to join to one, with the numbers of all."""
    pooling: Pooling = "last"
    """What to classify: the last valid output, the mean of all, or a mean with learned weights."""
    cell: CellName = "gru"
    """Recurrent cell: a name, or an import path."""
    layers: int = 3
    """Number of stacked layers."""
    units: int = 200
    """Units of each layer."""
    bidirectional: bool = False
    """Read each sequence in both directions; needs --pooling mean or attention."""
    embedding: int | None = None
    """Width of an embedding. The inputs are then tokens, one integer a step, such as bytes of text.
    A token that is not in the training set is read as zeros. None: the inputs are numbers."""
    dropout: float = 0.5
    """Dropout rate of the outputs of each layer, in training."""
    noise: float = 0.0
    """Deviation of normal noise on the scaled inputs, in training."""
    weight_decay: float = 0.0
    """Decoupled weight decay of AdamW."""
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
        sizes = ("join", "layers", "units", "epochs", "batch_size", "seeds")
        check_sizes("sequence_classification", self, *sizes)
        check_rate("sequence_classification", "--dropout", self.dropout)
        make_cell(self.cell, self.units)
        check_learning_rate(self.learning_rate)
        check_seed(self.seed)
        for name in ("noise", "weight_decay"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(
                    f"{option(name)} must be a finite number of at least 0, got "
                    f"{getattr(self, name)}"
                )
        if self.validation is not None:
            check_rate("sequence_classification", "--validation", self.validation)
        if self.bidirectional and self.pooling == "last":
            raise ValueError(
                "--bidirectional needs --pooling mean or attention, because the last output of the "
                "backward direction has read one step only"
            )
        if self.embedding is not None:
            check_sizes("sequence_classification", self, "embedding")
            changed = ("noise", "pixels", "permuted", "join")
            for name in changed:
                if getattr(self, name) != getattr(Config, name):
                    raise ValueError(
                        f"{option(name)} changes numbers, but --embedding reads tokens; omit one"
                    )
        named = self.inputs is not None or self.label is not None
        if not self.reads_records and (named or self.embedding is not None):
            given = "--inputs and --label name" if named else "--embedding reads"
            raise ValueError(f"{given} features of records, but --dataset is {self.dataset}")

    @property
    def reads_records(self) -> bool:
        """Whether the data set is a path."""
        built_in = self.dataset in ("digits", "mnist")
        return not built_in and self.dataset.partition(":")[0] not in ARCHIVES
