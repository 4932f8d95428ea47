"""The command line of the experiment."""

from experiments.command_line import run_experiment
from experiments.memory_tasks.config import Config

if __name__ == "__main__":
    run_experiment("memory_tasks", Config, several=True)
