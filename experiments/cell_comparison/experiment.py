"""Training of each cell, the table of results and the figure."""

import itertools
from typing import Any, NamedTuple

import jax
import matplotlib.figure
import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from experiments.cell_comparison.config import Config
from experiments.cells import NAMES, CellName
from experiments.char_model import config as char_model
from experiments.char_model.config import build_model, check_model
from experiments.char_model.run import train
from experiments.char_model.text import read_in_turn
from experiments.errors import NotFiniteError, StoppedError
from experiments.processes import ALL, ALONE
from experiments.run_directory import RunDirectory
from experiments.seeds import spread
from experiments.shares import announce, collect, own_share

UNSUITED = ("rglru",)
"""Cells that need the normalised inputs of blocks: in a plain stack, the state grows too large."""


class Training(NamedTuple):
    """A training of one cell.

    Attributes:
      cell: the name of the cell.
      units: the units of each layer.
      learning_rate: the peak learning rate.
      seed: the random seed.
    """

    cell: CellName
    units: int
    learning_rate: float
    seed: int


class Result(NamedTuple):
    """The result of one cell at one learning rate from one seed.

    Attributes:
      cell: the name of the cell.
      units: the units of each layer.
      parameters: the number of parameters of the model.
      learning_rate: the peak learning rate.
      seed: the random seed.
      chars_per_second: the speed of training.
      streaming_nats: the validation loss with the state carried; infinity if training diverged.
      windowed_nats: the validation loss of independent windows; infinity if training diverged.
    """

    cell: CellName
    units: int
    parameters: int
    learning_rate: float
    seed: int
    chars_per_second: int
    streaming_nats: float
    windowed_nats: float


class Summary(NamedTuple):
    """The results of one cell at one learning rate, over all seeds.

    Attributes:
      cell: the name of the cell.
      units: the units of each layer.
      parameters: the number of parameters of the model.
      learning_rate: the peak learning rate.
      chars_per_second: the mean speed of training.
      streaming_nats: the mean, ``min`` and ``max`` of the loss with the state carried.
      windowed_nats: the mean, ``min`` and ``max`` of the loss of independent windows.
    """

    cell: CellName
    units: int
    parameters: int
    learning_rate: float
    chars_per_second: int
    streaming_nats: dict[str, float]
    windowed_nats: dict[str, float]


def summarise(results: list[Result]) -> Summary:
    """The results of several seeds, which are equal in everything else."""
    first = results[0]
    losses = (
        spread(np.array([getattr(r, name) for r in results]))
        for name in ("streaming_nats", "windowed_nats")
    )
    speed = round(sum(r.chars_per_second for r in results) / len(results))
    return Summary(first.cell, first.units, first.parameters, first.learning_rate, speed, *losses)


def count_parameters(config: char_model.Config, vocabulary_size: int) -> int:
    """The number of parameters of the whole model."""
    model = build_model(config, vocabulary_size)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), vocabulary_size))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def widest(config: Config, cell: CellName, vocabulary_size: int) -> int:
    """The largest number of units with which the model has at most ``config.parameters``.

    Raises:
      ValueError: a model with one unit has more parameters.
    """

    def fits(units: int) -> bool:
        run = config.run(cell, units, config.learning_rates[0])
        return count_parameters(run, vocabulary_size) <= config.parameters

    if not fits(1):
        raise ValueError(
            f"cell_comparison: a model with one unit of {cell} has more than --parameters "
            f"{config.parameters}; give more --parameters or a smaller --embedding-size"
        )
    low, high = 1, 2
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def list_trainings(config: Config, vocabulary_size: int) -> list[Training]:
    """Each cell at each learning rate, a seed at a time.

    So a slow hour of the machine is not one cell's alone.

    Raises:
      ValueError: a cell has too many parameters, see `widest`.
    """
    unsuited = () if config.blocks else UNSUITED
    cells = config.cells or tuple(cell for cell in NAMES if cell not in unsuited)
    units = {cell: widest(config, cell, vocabulary_size) for cell in cells}
    seeds = range(config.seed, config.seed + config.seeds)
    return [
        Training(cell, width, rate, seed)
        for seed, (cell, width), rate in itertools.product(
            seeds, units.items(), config.learning_rates
        )
    ]


def best_of_each(results: list[Result]) -> list[Summary]:
    """The results of each cell at the learning rate with the lowest mean, best cell first."""
    groups: dict[tuple[str, float], list[Result]] = {}
    for result in results:
        groups.setdefault((result.cell, result.learning_rate), []).append(result)
    best: dict[str, Summary] = {}
    for summary in sorted(map(summarise, groups.values()), key=lambda s: s.streaming_nats["mean"]):
        best.setdefault(summary.cell, summary)
    return list(best.values())


def result_table(best: list[Summary], config: Config, ngrams: dict[str, float]) -> Table:
    """The table of results, best cell first."""
    baselines = ", ".join(f"{order}-grams {nats:.4f}" for order, nats in ngrams.items())
    table = Table(
        title=f"{layers(config)}, up to {config.parameters:,} parameters, "
        f"{config.seconds:g} s of training per run",
        caption=f"nats per character of the validation text; {baselines}",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    table.add_column("cell")
    shows_range = config.seeds > 1
    for column in ("units", "parameters", "learning\nrate", "chars/s"):
        table.add_column(column, justify="right")
    for column in ("streaming", "windowed"):
        table.add_column(f"{column}\nmean" if shows_range else column, justify="right")
        if shows_range:
            table.add_column("range", justify="right")
    for s in best:
        losses = []
        for nats in (s.streaming_nats, s.windowed_nats):
            losses.append(f"{nats['mean']:.4f}")
            if shows_range:
                losses.append(f"{nats['min']:.4f}-{nats['max']:.4f}")
        table.add_row(
            s.cell, f"{s.units}", f"{s.parameters:,}", f"{s.learning_rate:g}",
            f"{s.chars_per_second:,}", *losses,
        )  # fmt: skip
    return table


def layers(config: Config) -> str:
    """The layers of the models in words.

    >>> layers(Config(layers=3, blocks=True))
    '3 residual blocks'
    """
    return f"{config.layers} {'residual blocks' if config.blocks else 'layers'}"


def figure(
    best: list[Summary], config: Config, ngrams: dict[str, float]
) -> matplotlib.figure.Figure:
    """The loss and the training speed of each cell."""
    finite = [summary for summary in best if summary.streaming_nats["mean"] < float("inf")]
    fig = matplotlib.figure.Figure(figsize=(9, 1.5 + 0.26 * len(finite)), layout="constrained")
    left, right = fig.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    places = range(len(finite))
    names = [f"{summary.cell} ({summary.units})" for summary in finite]
    for losses, fill, label in (
        ([s.windowed_nats for s in finite], "none", "windows, each from a zero state"),
        ([s.streaming_nats for s in finite], None, "streaming"),
    ):
        ends = [[n["min"] for n in losses], [n["max"] for n in losses]]
        if config.seeds > 1:
            left.hlines(places, *ends, color="C0", linewidth=1)
        left.plot([n["mean"] for n in losses], places, "o", mfc=fill, color="C0", label=label)
    left.legend(loc="best", fontsize=8)
    for order, nats in ngrams.items():
        left.axvline(nats, color="black", linewidth=0.8, linestyle="--")
        left.annotate(
            f"{order}-grams", (nats, 1), (0, 3), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="center", fontsize=8,
        )  # fmt: skip
    left.set_yticks(places, names)
    left.invert_yaxis()
    left.set_xlabel("validation loss (nats per character)")
    left.grid(axis="y", linewidth=0.3)
    right.barh(places, [summary.chars_per_second / 1000 for summary in finite], color="C1")
    right.set_xlabel("thousand training characters per second")
    title = f"Cells (units), {layers(config)}, up to {config.parameters:,} parameters"
    fig.suptitle(f"{title}, {config.seconds:g} s of training")
    return fig


def train_one(
    config: Config, training: Training, vocabulary_size: int, folder: RunDirectory
) -> tuple[Result, dict[str, float]]:
    """Train one cell at one learning rate, in a folder of its own within ``folder``.

    Returns:
      The result, and the losses of n-grams; infinity and none if training diverged.
    """
    run = config.run(*training)
    name = f"{training.cell.replace(':', '.')}_{training.learning_rate:g}_{training.seed}"
    part = RunDirectory(name, run, folder.path / name)
    summary: dict[str, Any]
    try:
        summary = train(run, part, Console(quiet=True), group=ALONE)
    except NotFiniteError:
        nats = {"streaming_nats": float("inf"), "windowed_nats": float("inf")}
        summary = {"val": nats, "chars_per_second": 0, "ngram_nats": {}}
    except StoppedError:
        raise KeyboardInterrupt from None
    val = summary["val"]
    result = Result(
        training.cell, training.units, count_parameters(run, vocabulary_size),
        training.learning_rate, training.seed, summary["chars_per_second"],
        val["streaming_nats"], val["windowed_nats"],
    )  # fmt: skip
    return result, summary["ngram_nats"]


def main(config: Config, folder: RunDirectory) -> None:
    """Train every cell at every learning rate, print the table and write the results.

    Several processes share the trainings, and process 0 writes the files of all.
    """
    console = ALL.console
    check_model(config.run("lstm", 1, 1.0))  # starts JAX, so the processes must have joined
    vocabulary_size = read_in_turn(config.run("lstm", 1, 1.0), None, ALL).vocabulary.size
    trainings = list_trainings(config, vocabulary_size)
    ALL.start(folder)
    announce(console, trainings, "trainings")
    own: list[tuple[Result, dict[str, float]]] = []
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), console=console,
    ) as progress:  # fmt: skip
        bar = progress.add_task("", total=len(own_share(trainings)))
        for training in own_share(trainings):
            cell, units, rate, seed = training
            description = f"{cell}, {units} units, {rate:g}, seed {seed}"
            progress.update(bar, description=description)
            own.append(train_one(config, training, vocabulary_size, folder))
            if ALL.is_first:
                folder.append_jsonl("metrics.jsonl", own[-1][0]._asdict())
            progress.advance(bar)
    done = collect(own, console)
    if not ALL.is_first:
        return
    results = [Result(*result) for result, _ in done]
    ngrams = {order: nats for _, found in done for order, nats in found.items()}
    folder.write_jsonl("metrics.jsonl", [result._asdict() for result in results])
    best = best_of_each(results)
    folder.write_json("result.json", {"cells": [r._asdict() for r in best], "ngram_nats": ngrams})
    with folder.replacing("cells.png") as path:
        figure(best, config, ngrams).savefig(path, dpi=120)
    console.print(result_table(best, config, ngrams))
    console.print(f"Files in {folder.path}", highlight=False)
