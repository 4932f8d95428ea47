"""Which cell models text best, with as many parameters and as much time as the others?

Each cell is made as wide as a number of parameters allows, and trains a character model for the
same time on the same machine, at each of a few learning rates, of which the best counts: cells
differ in how large steps they bear. A cell that is cheap to compute reads more text in that time.

A full run, of one seed, takes about half an hour on 2 CPU cores; here each rate was a run of its
own::

    python -m experiments.cell_comparison

    cell             units  learning rate  chars/s  streaming  windowed
    mgu                240          0.006   40,233     1.5962    1.6222
    gru                195          0.006   39,354     1.6066    1.6315
    rnn                342          0.006   49,057     1.6351    1.6494
    ugrnn              240          0.006   40,116     1.6713    1.7102
    coupled_lstm       195          0.006   35,370     1.6890    1.7082
    cfn                219          0.006   34,326     1.6913    1.7051
    minimal            268          0.006   37,358     1.6950    1.7253
    slstm              168          0.006   29,782     1.7123    1.7346
    sru                276          0.006   38,605     1.7405    1.7646
    indrnn             566          0.006   44,613     1.7483    1.7562
    indygru            321          0.006   34,421     1.7709    1.7988
    lstm               168          0.006   37,656     1.7801    1.7948
    mogrifier_lstm     134          0.006   23,602     1.7969    1.8101
    mingru             398          0.006   41,815     1.8093    1.8281
    indylstm           275          0.015   26,299     1.8145    1.8261
    minlstm            322          0.006   35,370     1.8431    1.8640
    nas                116          0.015   25,389     1.8481    1.8589
    peephole_lstm      168          0.006   34,344     1.8634    1.9152
    layer_norm_lstm    167          0.006   22,636     1.9353    1.9514
    lru                219          0.006   33,689     2.1642    2.1711

In 30 s, about one pass over the text, the cells with few gates and many units learn most. It says
little about what a cell comes to in the end, and of one seed neighbours in the table may change
places. A rate of 0.002, tried with all but the mogrifier, was worse for each.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib.figure
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from experiments.cells import NAMES, CellName, make_cell
from experiments.char_model import config as char_model
from experiments.char_model.config import build_model
from experiments.char_model.run import NotFiniteError, StoppedError, read_text, train
from experiments.command_line import run_experiment
from experiments.run_directory import RunDirectory
from seqjax.checks import check_number, check_size

# step by step a matrix memory takes minutes; and what the RG-LRU sums up grows beyond all use in a
# stack without the normalisation that is part of its paper's blocks
UNSUITED = ("mlstm", "rglru")


@dataclasses.dataclass(frozen=True)
class Config:
    """Compare cells on a character model, at equal parameters and equal time."""

    cells: tuple[CellName, ...] = ()
    """Which cells, by their names or imported; without, all that have names but mlstm and rglru."""
    corpus: str = "tiny_shakespeare"
    """tiny_shakespeare, python_docs (built in), or the path of a UTF-8 file or folder of .txt."""
    parameters: int = 400_000
    """The most that a model may have, embedding and readout included."""
    seconds: float = 30.0
    """Of training each, compiling included."""
    learning_rates: tuple[float, ...] = (6e-3, 1.5e-2)
    """Tried one after the other, each for all the seconds."""
    layers: int = 2
    """How many cells are stacked."""
    embedding_size: int = 64
    """Features of the embedding."""
    seed: int = 0
    """From which everything random is drawn."""
    out: Path | None = None
    """A new folder for the results; runs/cell_comparison/<time> without."""

    def __post_init__(self) -> None:
        check_size("cell_comparison", "--parameters", self.parameters)
        check_number("cell_comparison", "--seconds", self.seconds)
        for cell in self.cells:
            make_cell(cell, units=1)
        if not self.learning_rates:
            raise ValueError("cell_comparison: --learning-rates needs at least one")
        for rate in self.learning_rates:
            self.run("lstm", units=1, learning_rate=rate)  # tells what does not fit

    def run(self, cell: CellName, units: int, learning_rate: float) -> char_model.Config:
        """The options of one run of the character model."""
        return char_model.Config(
            corpus=self.corpus,
            cell=cell,
            units=units,
            layers=self.layers,
            embedding_size=self.embedding_size,
            max_seconds=self.seconds,
            learning_rate=learning_rate,
            average=0.99,
            evaluations=1,
            seed=self.seed,
        )


class Result(NamedTuple):
    """What came of one cell at one learning rate."""

    cell: CellName
    units: int
    parameters: int
    learning_rate: float
    chars_per_second: int
    streaming_nats: float  # infinity where the loss was no number at some step
    windowed_nats: float


def count_parameters(config: char_model.Config, vocabulary_size: int) -> int:
    """Parameters of the whole model."""
    model = build_model(config, vocabulary_size)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), vocabulary_size))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def widest(config: Config, cell: CellName, vocabulary_size: int) -> int:
    """The most units with which the model has no more than the parameters allowed.

    Raises:
      ValueError: one unit has more already.
    """

    def fits(units: int) -> bool:
        run = config.run(cell, units, config.learning_rates[0])
        return count_parameters(run, vocabulary_size) <= config.parameters

    if not fits(1):
        raise ValueError(
            f"cell_comparison: a model with one unit of {cell} has more than --parameters "
            f"{config.parameters}; allow more, or a smaller --embedding-size"
        )
    low, high = 1, 2
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def best_of_each(results: list[Result]) -> list[Result]:
    """The best learning rate of each cell, best cell first."""
    best: dict[str, Result] = {}
    for result in sorted(results, key=lambda result: result.streaming_nats):
        best.setdefault(result.cell, result)
    return list(best.values())


def result_table(best: list[Result], config: Config, ngrams: dict[str, float]) -> Table:
    """Best cell first."""
    baselines = ", ".join(f"{order}-grams {nats:.4f}" for order, nats in ngrams.items())
    table = Table(
        title=f"{config.layers} layers, up to {config.parameters:,} parameters, "
        f"{config.seconds:g} s of training each",
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
    """The loss of each cell beside its speed."""
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
    right.set_xlabel("thousand characters of training a second")
    fig.suptitle(
        f"Cells (units) at up to {config.parameters:,} parameters, {config.seconds:g} s of training"
    )
    return fig


def main(config: Config, folder: RunDirectory) -> None:
    """Train every cell at every learning rate, and write the table and figure."""
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


if __name__ == "__main__":
    run_experiment("cell_comparison", Config, main)
