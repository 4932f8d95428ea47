"""The command line of the experiment."""

from experiments.command_line import run_experiment
from experiments.sequence_labelling.config import Config

if __name__ == "__main__":
    run_experiment("sequence_labelling", Config, several=True)
