"""What does it cost to unroll? The table of the article, and build times over ``num_steps``.

"Recurrent Neural Networks in TensorFlow II" (Pitis, 2016) builds one character model, three layers
of 100 LSTM units over 200 steps, in three ways, and trains each for 3 epochs on tiny-shakespeare:
as a static graph that holds every step, as a loop that is run (``dynamic_rnn``, which minds
lengths), and by ``scan``. Here the same model is built and trained by `seqjax.unroll`:

- ``static``: a Python loop, so that the program holds every step;
- ``dynamic``: a scan that is given the lengths of all rows, and does not know that all are full;
- ``scan``: a scan;
- ``auto``: what the library takes by itself, a scan with a backward pass of its own.

To build is to trace and to compile; TensorFlow built a graph and compiled nothing. The model trains
on the whole text, as the article's did.

A full run::

    python -m experiments.unroll_comparison

    RESULTS
"""

import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np
from matplotlib.ticker import NullLocator
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from experiments.cells import CellName
from experiments.char_model import config as char_model
from experiments.char_model.config import PRESETS, build_model
from experiments.char_model.train import (
    Data,
    data_mesh,
    init_state,
    make_block,
    spread,
    steps_per_epoch,
)
from experiments.command_line import run_experiment
from experiments.run_directory import RunDirectory
from seqjax import Cell, unroll
from seqjax.checks import check_size
from seqjax.data.text import Vocabulary, read_corpus, streams
from seqjax.types import Array, Params, State

BLOCK = 20  # training steps in one program


def unroll_with_lengths(
    model: Cell, params: Params, xs: Array, **options: Any
) -> tuple[State, Array]:
    """Scan over rows of lengths that the compiler cannot know: it could leave their mask out."""
    lengths = (xs >= 0).sum(1)  # no token is negative
    return unroll(model, params, xs, lengths=lengths, method="scan", **options)


Way = Literal["static", "dynamic", "scan", "auto"]
WAYS: dict[Way, Callable[..., tuple[State, Array]]] = {
    "static": functools.partial(unroll, method="static"),
    "dynamic": unroll_with_lengths,
    "scan": functools.partial(unroll, method="scan"),
    "auto": unroll,
}


class Article(NamedTuple):
    """What the article prints of one way."""

    build_seconds: float
    train_seconds: float  # 3 epochs
    epoch_losses: tuple[float, ...]


ARTICLE: dict[Way, Article] = {
    "static": Article(25.64, 117.78, (3.5332, 3.3144, 3.2176)),
    "dynamic": Article(0.531, 96.69, (3.5579, 3.3225, 3.2829)),
    "scan": Article(0.648, 101.60, (3.5536, 3.3205, 3.2743)),
}
ARTICLE_STEPS = 200


@dataclasses.dataclass(frozen=True)
class Config:
    """Build and train the article's character model by every way to unroll it."""

    ways: tuple[Way, ...] = ("static", "dynamic", "scan", "auto")
    """Which ways."""
    corpus: str = "tiny_shakespeare"
    """tiny_shakespeare, python_docs (built in), or the path of a UTF-8 file or folder of .txt."""
    cell: CellName = "lstm"
    """The recurrent cell."""
    units: int = 100
    """Its width."""
    layers: int = 3
    """How many are stacked."""
    embedding_size: int | None = 100
    """Features of the embedding; None feeds the characters one-hot."""
    batch_size: int = 32
    """Contiguous rows that the text is cut into."""
    num_steps: int = ARTICLE_STEPS
    """Characters over which errors flow back, in training."""
    epochs: float = 3.0
    """Passes over the text by each way; fractions too, and 0 only builds."""
    sweep: tuple[int, ...] = (25, 50, 100, 200, 400, 800, 1600)
    """Further num_steps at which the program is built, and not run."""
    cap: float = 400.0
    """Seconds that a static build may take, as the one before it says; longer ones are left out."""
    seed: int = 0
    """From which the parameters are drawn."""
    out: Path | None = None
    """A new folder for the results; runs/unroll_comparison/<time> without."""

    def __post_init__(self) -> None:
        for steps in self.sweep:
            check_size("unroll_comparison", "--sweep", steps)
        if not self.ways:
            raise ValueError(f"--ways needs at least one of {', '.join(WAYS)}")
        for name in ("epochs", "cap"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"--{name} must be at least 0, got {value}")
        self.at(self.num_steps)  # tells what else does not fit

    def at(self, num_steps: int) -> char_model.Config:
        """The options of the character model with chunks of this length."""
        return dataclasses.replace(
            PRESETS["article"],
            corpus=self.corpus,
            cell=self.cell,
            units=self.units,
            layers=self.layers,
            embedding_size=self.embedding_size,
            batch_size=self.batch_size,
            num_steps=num_steps,
            seed=self.seed,
        )


def read(config: Config) -> tuple[int, int, Data]:
    """Read the text: its characters, how many different ones there are, and its rows.

    Raises:
      ValueError: there is no such text, or it is too short.
    """
    text = read_corpus(config.corpus).text
    vocabulary = Vocabulary.of(text)
    rows = Data(*map(jnp.asarray, streams(vocabulary.encode(text), config.batch_size)))
    length, needed = rows.inputs.shape[1], max(config.num_steps, *config.sweep, 1)
    if length < needed:
        raise ValueError(
            f"--corpus {config.corpus} in --batch-size {config.batch_size} rows leaves {length} "
            f"characters a row, too few for {needed} steps; give a longer text or fewer rows"
        )
    return len(text), vocabulary.size, rows


class Build(NamedTuple):
    """How long one program took to come about."""

    num_steps: int
    trace_seconds: float  # Python runs the model once; with static, every step of it
    compile_seconds: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.trace_seconds + self.compile_seconds


class Training(NamedTuple):
    """A training run, of one loss a step."""

    losses: np.ndarray  # [steps]
    seconds: np.ndarray  # [steps], since the start, at the end of the block that the step was in

    def epoch_losses(self, steps: int) -> list[float]:
        """Mean loss of each whole epoch of ``steps`` steps."""
        whole = self.losses[: len(self.losses) // steps * steps].reshape(-1, steps)
        return [float(loss) for loss in whole.mean(1, dtype=np.float64)]


@dataclasses.dataclass
class Outcome:
    """What came of one way."""

    way: Way
    builds: list[Build] = dataclasses.field(default_factory=list)
    left_out: list[int] = dataclasses.field(default_factory=list)  # num_steps
    training: Training | None = None

    def build(self, num_steps: int) -> Build | None:
        """The build at ``num_steps``, if there was one."""
        return next((build for build in self.builds if build.num_steps == num_steps), None)


def build(
    config: Config, way: Way, num_steps: int, vocabulary_size: int, rows: Data
) -> tuple[Build, Callable[[], Any], jax.stages.Compiled]:
    """Trace and compile the training block of one way.

    Returns:
      How long it took, what makes the arguments ``(state, data)`` of the program, and the program.
    """
    options = config.at(num_steps)
    model, mesh = build_model(options, vocabulary_size), data_mesh(config.batch_size)

    def start() -> Any:
        return spread(mesh, init_state(options, model), rows)

    arguments = (*jax.block_until_ready(start()), jnp.zeros(BLOCK), jnp.int32(BLOCK))
    began = time.perf_counter()
    lowered = make_block(options, model, mesh, WAYS[way]).lower(*arguments)
    traced = time.perf_counter()
    program = lowered.compile()
    took = Build(num_steps, traced - began, time.perf_counter() - traced)
    return took, start, program


def train(
    config: Config, start: Callable[[], Any], program: jax.stages.Compiled, total: int
) -> Iterator[tuple[np.ndarray, float]]:
    """Take ``total`` steps; yields the losses of each block and the seconds since the start."""
    state, data = jax.block_until_ready(start())
    rates = jnp.full(BLOCK, config.at(config.num_steps).learning_rate, jnp.float32)
    began = time.perf_counter()
    for first in range(0, total, BLOCK):
        count = min(BLOCK, total - first)
        state, losses = program(state, data, rates, jnp.int32(count))
        yield np.asarray(losses)[:count], time.perf_counter() - began


def result(config: Config, outcomes: list[Outcome], characters: int, steps: int) -> dict[str, Any]:
    """What goes into ``result.json``; ``steps`` are those of an epoch."""
    ways = {}
    for outcome in outcomes:
        here = outcome.build(config.num_steps)
        training = outcome.training
        seconds = float(training.seconds[-1]) if training else None
        taken = len(training.losses) if training else 0
        ways[outcome.way] = {
            "build_seconds": here.seconds if here else None,
            "train_seconds": seconds,
            "steps": taken,
            "seconds_per_epoch": seconds / taken * steps if seconds else None,
            "epoch_losses": training.epoch_losses(steps) if training else [],
            "last_loss": float(training.losses[-1]) if training else None,
            "builds": {
                str(b.num_steps): {**b._asdict(), "seconds": b.seconds} for b in outcome.builds
            },
            "left_out": outcome.left_out,
        }
    return {
        "characters": characters,
        "steps_per_epoch": steps,
        "article": {way: article._asdict() for way, article in ARTICLE.items()},
        "ways": ways,
    }


def result_table(config: Config, measured: dict[str, Any]) -> Table:
    """The article's table, with ours in it."""
    table = Table(
        title=f"{config.layers} x {config.units} {config.cell}, {config.num_steps} steps, batch "
        f"{config.batch_size}: seconds, and mean loss of each epoch",
        caption="An epoch is "
        f"{measured['steps_per_epoch']} steps. In TensorFlow to build is to make the graph; here "
        "it is to trace and compile.",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),  # fits 80 columns
    )
    table.add_column("")
    for column in ("build", "an epoch"):
        table.add_column(column, justify="right")
    table.add_column("loss of epochs 1, 2, 3")
    for way, ours in measured["ways"].items():
        if way in ARTICLE:
            article = ARTICLE[way]
            losses = "  ".join(f"{loss:.4f}" for loss in article.epoch_losses)
            table.add_row(
                f"{way}, 2016", f"{article.build_seconds:.2f}",
                f"{article.train_seconds / 3:.1f}", losses, style="dim",
            )  # fmt: skip
        losses = "  ".join(f"{loss:.4f}" for loss in ours["epoch_losses"])
        if not losses and ours["steps"]:
            losses = f"{ours['last_loss']:.4f} after {ours['steps']} steps"
        table.add_row(
            f"{way}, here", number(ours["build_seconds"], 2),
            number(ours["seconds_per_epoch"], 1), losses or "-",
        )  # fmt: skip
    return table


def build_table(outcomes: list[Outcome]) -> Table:
    """Seconds to build, over num_steps."""
    table = Table(title="Seconds to build a training step of num_steps steps", box=box.SIMPLE)
    table.add_column("num_steps", justify="right")
    for outcome in outcomes:
        table.add_column(outcome.way, justify="right")
    for steps in sorted({b.num_steps for outcome in outcomes for b in outcome.builds}):
        built = (outcome.build(steps) for outcome in outcomes)
        table.add_row(str(steps), *(number(b and b.seconds, 2) for b in built))
    return table


def number(value: float | None, digits: int) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def figure(config: Config, outcomes: list[Outcome]) -> matplotlib.figure.Figure:
    """Build times over num_steps, and losses over the time of training."""
    fig = matplotlib.figure.Figure(figsize=(11, 4.2), layout="constrained")
    builds, curves = fig.subplots(1, 2)
    for n, outcome in enumerate(outcomes):
        colour = f"C{n}"
        steps = [b.num_steps for b in outcome.builds]
        seconds = [b.seconds for b in outcome.builds]
        builds.plot(steps, seconds, "o-", color=colour, label=outcome.way, markersize=4)
        if outcome.training:
            losses, times = outcome.training
            ends = np.append(np.flatnonzero(np.diff(times)) + 1, len(times))
            means = [part.mean() for part in np.split(losses, ends[:-1])]
            curves.plot(times[ends - 1], means, color=colour, label=outcome.way)
        article = ARTICLE.get(outcome.way)
        if article:
            style = {"color": colour, "marker": "x", "linestyle": "none", "markersize": 8}
            builds.plot(ARTICLE_STEPS, article.build_seconds, **style)
            times = article.train_seconds / 3 * (np.arange(3) + 0.5)
            curves.plot(times, article.epoch_losses, **style)
    builds.set_xscale("log")
    builds.set_yscale("log")
    shown = sorted({b.num_steps for outcome in outcomes for b in outcome.builds})
    builds.set_xticks(shown, map(str, shown))
    builds.xaxis.set_minor_locator(NullLocator())
    builds.set_xlabel("num_steps")
    builds.set_ylabel("seconds to build")
    builds.legend()
    curves.set_xlabel("seconds of training")
    curves.set_ylabel(f"loss (nats), mean of {BLOCK} steps")
    fig.suptitle(
        f"{config.layers} x {config.units} {config.cell}; crosses: the article's, of 3 x 100 lstm, "
        "each loss the mean of an epoch"
    )
    return fig


def run_way(
    config: Config, way: Way, vocabulary_size: int, rows: Data, total: int, progress: Progress
) -> Outcome:
    """Build a way at all sizes, and train by it at one of them."""
    outcome = Outcome(way)
    bar = progress.add_task(way, total=None, about="")
    for num_steps in sorted({*config.sweep, config.num_steps}):
        if way == "static" and outcome.builds:  # the others do not grow with num_steps
            last = outcome.builds[-1]
            if last.seconds * num_steps / last.num_steps > config.cap:
                outcome.left_out.append(num_steps)
                continue
        progress.update(bar, about=f"builds {num_steps} steps")
        took, start, program = build(config, way, num_steps, vocabulary_size, rows)
        outcome.builds.append(took)
        if num_steps == config.num_steps and total:
            losses, seconds = [], []
            progress.update(bar, total=total, about="trains")
            for block_losses, elapsed in train(config, start, program, total):
                losses.append(block_losses)
                seconds.append(np.full(len(block_losses), elapsed))
                progress.update(
                    bar, advance=len(block_losses), about=f"loss {block_losses.mean():.4f}"
                )
            outcome.training = Training(np.concatenate(losses), np.concatenate(seconds))
    progress.update(bar, total=total or 1, completed=total or 1, about="")
    return outcome


def main(config: Config, folder: RunDirectory) -> None:
    """Build and train every way, show progress and results, and write the files."""
    console = Console()
    try:
        characters, vocabulary_size, rows = read(config)
    except ValueError as error:  # an option names a text that cannot be read, or is too short
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    steps = steps_per_epoch(config.at(config.num_steps), rows.inputs.shape[1])
    total = round(config.epochs * steps)
    outcomes = []
    with Progress(
        TextColumn("{task.description:8}"), BarColumn(),
        TextColumn("{task.fields[about]}"), TimeElapsedColumn(), console=console,
    ) as progress:  # fmt: skip
        for way in config.ways:
            outcome = run_way(config, way, vocabulary_size, rows, total, progress)
            outcomes.append(outcome)
            for took in outcome.builds:
                folder.append_jsonl("metrics.jsonl", {"way": way, **took._asdict()})
            if outcome.training:
                pairs = zip(*map(np.ndarray.tolist, outcome.training), strict=True)
                for step, (loss, seconds) in enumerate(pairs, 1):
                    record = {"way": way, "step": step, "loss": loss, "seconds": seconds}
                    folder.append_jsonl("metrics.jsonl", record)
    measured = result(config, outcomes, characters, steps)
    folder.write_json("result.json", measured)
    with folder.replacing("unroll_comparison.png") as path:
        figure(config, outcomes).savefig(path, dpi=120)
    console.print(result_table(config, measured))
    console.print(build_table(outcomes))
    for outcome in outcomes:
        if outcome.left_out:
            console.print(
                f"{outcome.way}: left out at {', '.join(map(str, outcome.left_out))} steps, where "
                f"a build may take more than {config.cap:g} s",
                highlight=False,
            )
    console.print(f"Files in {folder.path}", highlight=False)


if __name__ == "__main__":
    run_experiment("unroll_comparison", Config, main)
