"""A label for every step: what does a network gain by reading a sequence from both ends?

"Introduction to Recurrent Networks in TensorFlow" (Hafner, 2016) labels each step of a sequence,
and "RNNs in TensorFlow, a Practical Guide" (Britz, 2016) recommends for that to read it from both
ends. Here both ways meet a task whose exact answer is known, and real text.
"""

import dataclasses
from pathlib import Path

import tyro
from rich.console import Console

from experiments.command_line import run_experiment
from experiments.run_directory import RunDirectory
from experiments.sequence_labelling import lookahead, truecasing
from experiments.sequence_labelling.lookahead import Lookahead
from experiments.sequence_labelling.truecasing import Truecasing


@tyro.conf.configure(
    tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs
)
@dataclasses.dataclass(frozen=True)
class Config:
    """Label every step of a sequence, read forward or from both ends."""

    task: Truecasing | Lookahead
    """What to label."""
    out: Path | None = None
    """A new folder for the results; runs/sequence_labelling/<time> without."""


def main(config: Config, folder: RunDirectory) -> None:
    """Run the task, and say where its files are."""
    if isinstance(config.task, Truecasing):
        truecasing.main(config.task, folder)
    else:
        lookahead.main(config.task, folder)
    Console().print(f"Files in {folder.path}", highlight=False)


if __name__ == "__main__":
    run_experiment("sequence_labelling", Config, main)
