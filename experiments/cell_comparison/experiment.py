"""Training of each cell, the table of results and the figure."""

from typing import Any, NamedTuple

import jax
import matplotlib.figure
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from experiments.cell_comparison.config import Config
from experiments.cells import NAMES, CellName
from experiments.char_model import config as char_model
from experiments.char_model.config import build_model
from experiments.char_model.run import train
from experiments.char_model.text import read_text
from experiments.errors import NotFiniteError, StoppedError
from experiments.run_directory import RunDirectory

# the matrix memory of mlstm takes minutes step by step, and the state of rglru grows too large in a
# stack that lacks the normalisation of its paper's blocks
UNSUITED = ("mlstm", "rglru")


class Result(NamedTuple):
    """The result of one cell at one learning rate.

    Attributes:
      cell: the name of the cell.
      units: the units of each layer.
      parameters: the number of parameters of the model.
      learning_rate: the peak learning rate.
      chars_per_second: the speed of training.
      streaming_nats: the validation loss with the state carried; infinity if training diverged.
      windowed_nats: the validation loss of independent windows; infinity if training diverged.
    """

    cell: CellName
    units: int
    parameters: int
    learning_rate: float
    chars_per_second: int
    streaming_nats: float
    windowed_nats: float


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


def best_of_each(results: list[Result]) -> list[Result]:
    """The result of each cell at its best learning rate, best cell first."""
    best: dict[str, Result] = {}
    for result in sorted(results, key=lambda result: result.streaming_nats):
        best.setdefault(result.cell, result)
    return list(best.values())


def result_table(best: list[Result], config: Config, ngrams: dict[str, float]) -> Table:
    """The table of results, best cell first."""
    baselines = ", ".join(f"{order}-grams {nats:.4f}" for order, nats in ngrams.items())
    table = Table(
        title=f"{config.layers} layers, up to {config.parameters:,} parameters, "
        f"{config.seconds:g} s of training per run",
        caption=f"nats per character of the validation text; {baselines}",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    table.add_column("cell")
    for column in ("units", "parameters", "learning\nrate", "chars/s", "streaming", "windowed"):
        table.add_column(column, justify="right")
    for r in best:
        table.add_row(
            r.cell, f"{r.units}", f"{r.parameters:,}", f"{r.learning_rate:g}",
            f"{r.chars_per_second:,}", f"{r.streaming_nats:.4f}", f"{r.windowed_nats:.4f}",
        )  # fmt: skip
    return table


def figure(
    best: list[Result], config: Config, ngrams: dict[str, float]
) -> matplotlib.figure.Figure:
    """The loss and the training speed of each cell."""
    finite = [result for result in best if result.streaming_nats < float("inf")]
    fig = matplotlib.figure.Figure(figsize=(9, 1.5 + 0.26 * len(finite)), layout="constrained")
    left, right = fig.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    places = range(len(finite))
    names = [f"{result.cell} ({result.units})" for result in finite]
    left.plot([r.windowed_nats for r in finite], places, "o", mfc="none", color="C0")
    left.plot([r.streaming_nats for r in finite], places, "o", color="C0")
    left.legend(["windows, each from a zero state", "streaming"], loc="upper right", fontsize=8)
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
    right.barh(places, [result.chars_per_second / 1000 for result in finite], color="C1")
    right.set_xlabel("thousand training characters per second")
    fig.suptitle(
        f"Cells (units) at up to {config.parameters:,} parameters, {config.seconds:g} s of training"
    )
    return fig


def main(config: Config, folder: RunDirectory) -> None:
    """Train every cell at every learning rate, print the table and write the results."""
    console = Console()
    vocabulary_size = read_text(config.run("lstm", 1, 1.0)).vocabulary.size
    cells = config.cells or tuple(cell for cell in NAMES if cell not in UNSUITED)
    units = {cell: widest(config, cell, vocabulary_size) for cell in cells}
    folder.start()
    results: list[Result] = []
    ngrams: dict[str, float] = {}
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), console=console,
    ) as progress:  # fmt: skip
        bar = progress.add_task("", total=len(units) * len(config.learning_rates))
        for cell, width in units.items():
            for rate in config.learning_rates:
                progress.update(bar, description=f"{cell}, {width} units, {rate:g}")
                run = config.run(cell, width, rate)
                name = f"{cell.replace(':', '.')}_{rate:g}"
                part = RunDirectory(name, run, folder.path / name)
                summary: dict[str, Any]
                try:
                    summary = train(run, part, Console(quiet=True))
                except NotFiniteError:
                    nats = {"streaming_nats": float("inf"), "windowed_nats": float("inf")}
                    summary = {"val": nats, "chars_per_second": 0, "ngram_nats": {}}
                except StoppedError:
                    raise KeyboardInterrupt from None
                ngrams |= summary["ngram_nats"]
                val = summary["val"]
                result = Result(
                    cell, width, count_parameters(run, vocabulary_size), rate,
                    summary["chars_per_second"], val["streaming_nats"], val["windowed_nats"],
                )  # fmt: skip
                results.append(result)
                folder.append_jsonl("metrics.jsonl", result._asdict())
                progress.advance(bar)
    best = best_of_each(results)
    folder.write_json("result.json", {"cells": [r._asdict() for r in best], "ngram_nats": ngrams})
    with folder.replacing("cells.png") as path:
        figure(best, config, ngrams).savefig(path, dpi=120)
    console.print(result_table(best, config, ngrams))
    console.print(f"Files in {folder.path}", highlight=False)
