"""The options of the experiment."""

import dataclasses
from pathlib import Path

from experiments.cells import CellName, make_cell
from experiments.char_model import config as char_model
from experiments.command_line import check_seed, check_sizes
from seqjax.checks import check_number


@dataclasses.dataclass(frozen=True)
class Config:
    """Compare cells as character models, with equal parameters and equal training time."""

    cells: tuple[CellName, ...] = ()
    """Cells to compare: names, or import paths. Defaults to all names, except rglru
    without --blocks."""
    corpus: str = "tiny_shakespeare"
    """tiny_shakespeare, python_docs, a UTF-8 file, a folder of .txt files, or a file pattern."""
    parameters: int = 400_000
    """Maximum number of parameters of a model, including embedding and readout."""
    seconds: float = 30.0
    """Seconds of training per cell and learning rate, including compilation."""
    learning_rates: tuple[float, ...] = (6e-3, 1.5e-2)
    """Peak learning rates to try; each gets all --seconds."""
    layers: int = 2
    """Number of stacked layers."""
    blocks: bool = False
    """Whether each layer is a normalised residual block around the cell, with a gated feed-forward
    part."""
    embedding_size: int = 64
    """Features of the embedding."""
    seeds: int = 1
    """Number of seeds; the table shows the mean and the range of their losses."""
    seed: int = 0
    """First random seed of the parameters."""
    out: Path | None = None
    """New folder for the results. None: runs/cell_comparison/<time>."""

    def __post_init__(self) -> None:
        check_sizes("cell_comparison", self, "parameters", "seeds")
        check_number("cell_comparison", "--seconds", self.seconds)
        check_seed(self.seed + self.seeds - 1)
        for cell in self.cells:
            make_cell(cell, units=1)
        if not self.learning_rates:
            raise ValueError("cell_comparison: --learning-rates needs at least one rate, got none")
        for rate in self.learning_rates:
            self.run("lstm", units=1, learning_rate=rate)  # checks the other options

    def run(
        self, cell: CellName, units: int, learning_rate: float, seed: int = 0
    ) -> char_model.Config:
        """The options of one run of the character model."""
        return char_model.Config(
            corpus=self.corpus,
            cell=cell,
            units=units,
            layers=self.layers,
            blocks=self.blocks,
            embedding_size=self.embedding_size,
            max_seconds=self.seconds,
            learning_rate=learning_rate,
            average=0.99,
            evaluations=1,
            seed=seed,
        )
