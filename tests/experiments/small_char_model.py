"""A small character model, and its commands."""

import sys

import jax
import numpy as np
from rich.console import Console

from experiments.char_model import run as runs
from experiments.char_model.config import Config
from experiments.char_model.trained import load

TEXT = "the quick brown fox jumps over the lazy dog. " * 60


SMALL = Config(
    cell="gru", units=8, embedding_size=4, input_dropout=0.2, weight_dropout=0.2, batch_size=4,
    num_steps=10, epochs=1, average=0.9, evaluations=3, window=32, ngram_targets=0.4, ngram_order=3,
)  # fmt: skip


def train(config, folder):
    return runs.train(config, folder, Console(quiet=True))


def parameters(folder):
    trained = load(folder, "last")
    return jax.tree.map(np.asarray, trained.params), trained.step


def shell(*arguments):
    return [sys.executable, "-m", "experiments.char_model", *map(str, arguments)]


OPTIONS = ("--cell", "gru", "--units", 8, "--layers", 1, "--batch-size", 4, "--num-steps", 10,
           "--evaluations", 2, "--window", 32, "--no-residual")  # fmt: skip
