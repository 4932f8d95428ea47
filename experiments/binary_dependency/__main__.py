"""The command line of the experiment."""

from experiments.binary_dependency.config import Config
from experiments.command_line import run_experiment

if __name__ == "__main__":
    run_experiment("binary_dependency", Config, several=True)
