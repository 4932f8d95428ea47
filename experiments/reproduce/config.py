"""The options of the experiment."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure every number, table and figure of the five articles, and say what agrees."""

    full: bool = False
    """With the articles' own sizes and many seeds; without, in minutes, what can be compared."""
    out: Path | None = None
    """A new folder for the results; runs/reproduce/<time> without."""
