"""The results of the ways to unroll and those of the article: numbers, tables and a figure."""

from typing import Any, NamedTuple

import matplotlib.figure
import numpy as np
from matplotlib.ticker import NullLocator
from rich import box
from rich.table import Table

from experiments.unroll_comparison.config import Config, Way
from experiments.unroll_comparison.ways import BLOCK, Outcome


class Article(NamedTuple):
    """The article's results of one way.

    Attributes:
      build_seconds: the time to build the graph.
      train_seconds: the time to train 3 epochs.
      epoch_losses: the mean loss of each epoch.
    """

    build_seconds: float
    train_seconds: float
    epoch_losses: tuple[float, ...]


ARTICLE: dict[Way, Article] = {
    "static": Article(25.64, 117.78, (3.5332, 3.3144, 3.2176)),
    "dynamic": Article(0.531, 96.69, (3.5579, 3.3225, 3.2829)),
    "scan": Article(0.648, 101.60, (3.5536, 3.3205, 3.2743)),
}
ARTICLE_STEPS = 200


def result(config: Config, outcomes: list[Outcome], characters: int, steps: int) -> dict[str, Any]:
    """The content of ``result.json``; ``steps`` is the number of steps per epoch."""
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
    """The article's table with our results added."""
    table = Table(
        title=f"{config.layers} x {config.units} {config.cell}, {config.num_steps} steps, batch "
        f"{config.batch_size}: seconds, and mean loss of each epoch",
        caption=f"An epoch has {measured['steps_per_epoch']} steps. Building means making the "
        "graph in TensorFlow, and tracing and compiling here.",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),  # fits 80 columns
    )
    table.add_column("")
    for column in ("build", "epoch"):
        table.add_column(column, justify="right")
    table.add_column("loss of epochs 1, 2, 3")
    for way, ours in measured["ways"].items():
        if way in ARTICLE and config.is_article:
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
    """The table of build times over ``num_steps``."""
    table = Table(title="Seconds to build a training step over num_steps", box=box.SIMPLE)
    table.add_column("num_steps", justify="right")
    for outcome in outcomes:
        table.add_column(outcome.way, justify="right")
    for steps in sorted({b.num_steps for outcome in outcomes for b in outcome.builds}):
        built = (outcome.build(steps) for outcome in outcomes)
        table.add_row(str(steps), *(number(b and b.seconds, 2) for b in built))
    return table


def number(value: float | None, digits: int) -> str:
    """Format a number; None becomes a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def figure(config: Config, outcomes: list[Outcome]) -> matplotlib.figure.Figure:
    """Plot build times over ``num_steps``, and losses over training time."""
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
        if article and config.is_article:
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
    crosses = "; crosses: the article, each loss the mean of an epoch" * config.is_article
    fig.suptitle(f"{config.layers} x {config.units} {config.cell}{crosses}")
    if not curves.lines:
        curves.remove()
    return fig
