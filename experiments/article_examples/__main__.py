"""The command line of the experiment."""

from experiments.article_examples.config import Config
from experiments.command_line import run_experiment

if __name__ == "__main__":
    run_experiment("article_examples", Config)
