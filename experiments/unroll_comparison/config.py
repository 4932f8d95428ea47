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
    """Build and train the article's character model with each way to unroll it."""

    ways: tuple[Way, ...] = ("static", "dynamic", "scan", "auto")
    """Ways to unroll."""
    corpus: str = "tiny_shakespeare"
    """tiny_shakespeare, python_docs, a UTF-8 file, a folder of .txt files, or a file pattern."""
    cell: CellName = "lstm"
    """Recurrent cell: a name, or an import path."""
    units: int = 100
    """Units of each layer."""
    layers: int = 3
    """Number of stacked layers."""
    embedding_size: int | None = 100
    """Features of the embedding. None: tokens select rows of the first layer's kernel."""
    batch_size: int = 32
    """Number of contiguous rows that the text is cut into."""
    num_steps: int = 200
    """Characters per chunk in training: the length of truncated backpropagation."""
    epochs: float = 3.0
    """Passes over the text for each way; may be a fraction, and 0 only builds."""
    sweep: tuple[int, ...] = (25, 50, 100, 200, 400, 800, 1600)
    """Further values of num_steps at which the program is built but not run."""
    cap: float = 400.0
    """Longest static build in seconds. Builds with a longer estimate are omitted."""
    seed: int = 0
    """Random seed of the parameters."""
    out: Path | None = None
    """New folder for the results. None: runs/unroll_comparison/<time>."""

    def __post_init__(self) -> None:
        for steps in self.sweep:
            check_size("unroll_comparison", "--sweep", steps)
        if not self.ways:
            raise ValueError(f"--ways needs at least one of {', '.join(get_args(Way))}, got none")
        for name in ("epochs", "cap"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"--{name} must be finite and at least 0, got {value}")
        check_model(self.at(self.num_steps))

    @property
    def is_article(self) -> bool:
        """Whether the model is that of the article."""
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
