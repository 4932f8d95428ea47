"""The options of the experiment."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure every number, table and figure of the five articles, and compare them."""

    full: bool = False
    """Use the articles' sizes and many seeds. The default takes minutes and compares less."""
    out: Path | None = None
    """New folder for the results. None: runs/reproduce/<time>."""
