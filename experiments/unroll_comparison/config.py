"""The options of the experiment."""

import dataclasses
from pathlib import Path
from typing import Literal, get_args

from experiments.cells import CellName
from experiments.char_model import config as char_model
from experiments.char_model.config import PRESETS, check_model
from seqjax.checks import check_size

Way = Literal["static", "dynamic", "scan", "auto"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Build and train the article's character model by every way to unroll it."""

    ways: tuple[Way, ...] = ("static", "dynamic", "scan", "auto")
    """Which ways."""
    corpus: str = "tiny_shakespeare"
    """tiny_shakespeare, python_docs (built in), or the path of a UTF-8 file or folder of .txt."""
    cell: CellName = "lstm"
    """The recurrent cell, by its name or imported."""
    units: int = 100
    """Its width."""
    layers: int = 3
    """How many are stacked."""
    embedding_size: int | None = 100
    """Features of the embedding; None feeds the characters one-hot."""
    batch_size: int = 32
    """Contiguous rows that the text is cut into."""
    num_steps: int = 200
    """Characters over which errors flow back, in training."""
    epochs: float = 3.0
    """Passes over the text by each way; fractions too, and 0 only builds."""
    sweep: tuple[int, ...] = (25, 50, 100, 200, 400, 800, 1600)
    """Further num_steps at which the program is built, and not run."""
    cap: float = 400.0
    """Seconds that a static build may take, as the one before it says; longer ones are left out."""
    seed: int = 0
    """From which the parameters are drawn."""
    out: Path | None = None
    """A new folder for the results; runs/unroll_comparison/<time> without."""

    def __post_init__(self) -> None:
        for steps in self.sweep:
            check_size("unroll_comparison", "--sweep", steps)
        if not self.ways:
            raise ValueError(f"--ways needs at least one of {', '.join(get_args(Way))}")
        for name in ("epochs", "cap"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"--{name} must be at least 0, got {value}")
        check_model(self.at(self.num_steps))

    @property
    def is_article(self) -> bool:
        """Whether the model is the article's."""
        return (self.cell, self.units, self.layers) == ("lstm", 100, 3)

    def at(self, num_steps: int) -> char_model.Config:
        """The options of the character model with chunks of this length."""
        return dataclasses.replace(
            PRESETS["article"],
            corpus=self.corpus,
            cell=self.cell,
            units=self.units,
            layers=self.layers,
            embedding_size=self.embedding_size,
            batch_size=self.batch_size,
            num_steps=num_steps,
            seed=self.seed,
        )
