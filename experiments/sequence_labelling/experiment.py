"""Runs one of the two tasks."""

from experiments.processes import ALL
from experiments.run_directory import RunDirectory
from experiments.sequence_labelling import lookahead, truecasing
from experiments.sequence_labelling.config import Config, Truecasing


def main(config: Config, folder: RunDirectory) -> None:
    """Run the task and print the folder of its files."""
    if isinstance(config.task, Truecasing):
        truecasing.main(config.task, folder)
    else:
        lookahead.main(config.task, folder)
    ALL.console.print(f"Files in {folder.path}", highlight=False)
