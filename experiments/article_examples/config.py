"""The options of the experiment."""

import dataclasses
from pathlib import Path

from experiments.command_line import check_seed


@dataclasses.dataclass(frozen=True)
class Config:
    """Run the worked examples of the articles."""

    seed: int = 0
    """From which parameters and inputs are drawn."""
    out: Path | None = None
    """A new folder for the results; runs/article_examples/<time> without."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
