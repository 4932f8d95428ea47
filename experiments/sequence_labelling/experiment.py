"""The experiment: one of the two tasks."""

from rich.console import Console

from experiments.run_directory import RunDirectory
from experiments.sequence_labelling import lookahead, truecasing
from experiments.sequence_labelling.config import Config, Truecasing


def main(config: Config, folder: RunDirectory) -> None:
    """Run the task, and say where its files are."""
    if isinstance(config.task, Truecasing):
        truecasing.main(config.task, folder)
    else:
        lookahead.main(config.task, folder)
    Console().print(f"Files in {folder.path}", highlight=False)
