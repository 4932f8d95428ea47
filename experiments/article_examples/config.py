"""The options of the experiment."""

import dataclasses
from pathlib import Path

from experiments.command_line import check_seed


@dataclasses.dataclass(frozen=True)
class Config:
    """Run the worked examples of the articles."""

    seed: int = 0
    """Random seed of parameters and inputs."""
    out: Path | None = None
    """New folder for the results. None: runs/article_examples/<time>."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
