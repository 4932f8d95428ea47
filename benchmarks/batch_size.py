"""The loss of the character model by the size of its batch, after the same number of characters.

::

    python -m benchmarks.batch_size       takes more than an hour on 2 cores

More devices pay off as long as a larger batch needs no more characters to reach a loss. For each
size, one seed finds the best learning rate: the rate doubles until the loss rises. More seeds are
then trained with it. Warm-up takes the same number of characters for all sizes. The loss is that of
the validation text, streaming, in nats per character.
"""

import dataclasses
import functools
import io
import json
import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from experiments.char_model.config import Config as CharModel
from experiments.char_model.run import train
from experiments.errors import NotFiniteError
from experiments.run_directory import RunDirectory
from seqjax.devices import one_cpu_device_per_core
from seqjax.terminal import replace_what_cannot_be_shown

WARM_UP = 50 * 32  # rows, of 50 steps of the default batch


@dataclasses.dataclass(frozen=True)
class Config:
    """Train the character model with batches of different sizes."""

    corpus: str = "tiny_shakespeare"
    """As in experiments.char_model."""
    batch_sizes: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    """Rows of a batch."""
    learning_rate: float = 2e-3
    """The lowest peak learning rate to try. The search starts at the best rate of the previous
    batch size."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Random seeds; the first one chooses the learning rate of each batch size."""
    units: int = 320
    """Units of the LSTM."""
    num_steps: int = 64
    """Characters per chunk."""
    epochs: float = 3.0
    """Passes over the training text."""


def loss_of(config: Config, batch_size: int, rate: float, seed: int) -> float:
    """Train one model; return its validation loss in nats, infinity if it diverged."""
    options = CharModel(
        corpus=config.corpus,
        units=config.units,
        num_steps=config.num_steps,
        epochs=config.epochs,
        batch_size=batch_size,
        learning_rate=rate,
        warm_up=max(1, WARM_UP // batch_size),
        seed=seed,
        evaluations=1,
        ngrams="none",
    )
    with tempfile.TemporaryDirectory() as parent:
        folder = RunDirectory("batch_size", options, Path(parent) / "run")
        try:
            train(options, folder, Console(file=io.StringIO()))
        except NotFiniteError:
            return math.inf
        records = folder.read_jsonl("metrics.jsonl")
    return next(r["validation_nats"] for r in reversed(records) if "validation_nats" in r)


def search(loss: Callable[[float], float], rate: float) -> dict[float, float]:
    """The losses of learning rates, doubled from ``rate`` on until the loss rises.

    >>> search(lambda rate: abs(rate - 5), rate=1)
    {1: 4, 2: 3, 4: 1, 8: 3}
    """
    losses = {rate: loss(rate)}
    while min(losses, key=losses.__getitem__) == rate:
        rate *= 2
        losses[rate] = loss(rate)
    return losses


def main() -> None:
    """Train all models and print a table."""
    replace_what_cannot_be_shown()
    config = tyro.cli(Config, description=__doc__)
    one_cpu_device_per_core()
    console = Console()
    table = Table(
        title=f"{config.units} units, {config.num_steps} characters per row, {config.epochs:g} "
        f"passes over {config.corpus}"
    )
    for column in ("rows", "characters a step", "learning rate", "mean", "range"):
        table.add_column(column, justify="right")
    first, *others = config.seeds
    rate = config.learning_rate
    for size in config.batch_sizes:
        losses = search(functools.partial(loss_of, config, size, seed=first), rate)
        rate = min(losses, key=losses.__getitem__)
        of_best = [losses[rate], *(loss_of(config, size, rate, seed) for seed in others)]
        console.print(json.dumps({"rows": size, "losses": losses, "of_best": of_best}))
        table.add_row(
            str(size),
            f"{size * config.num_steps:,}",
            f"{rate:g}",
            f"{statistics.mean(of_best):.3f}",
            f"{min(of_best):.3f} to {max(of_best):.3f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
