"""The command line of the experiment."""

from experiments.cell_comparison.config import Config
from experiments.command_line import run_experiment

if __name__ == "__main__":
    run_experiment("cell_comparison", Config, several=True)
