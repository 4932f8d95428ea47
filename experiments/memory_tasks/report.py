"""The results: verdicts, the tables and the figure."""

from typing import Any, NamedTuple

import matplotlib.figure
import matplotlib.lines
import numpy as np
from rich import box
from rich.table import Table

from experiments.cells import CellName
from experiments.memory_tasks.config import Config, TaskName, Trial
from experiments.memory_tasks.tasks import TASKS
from experiments.seeds import spread
from seqjax.tasks import Adding, AssociativeRecall, Copy

SOLVED = 0.06  # a test loss of at most this fraction of chance counts as solved
AT_CHANCE = 0.95  # a test loss of at least this fraction of chance counts as at chance


class Published(NamedTuple):
    """A loss that an article reports.

    Attributes:
      task: the name of the task.
      length: the length of the sequences.
      cell: the name of the cell.
      loss: the reported loss.
      chance: the chance loss with the article's definition of the loss.
    """

    task: TaskName
    length: int
    cell: CellName
    loss: float
    chance: float


def copy_chance(length: int) -> float:
    """The chance loss of the copying problem if the mean covers all steps, not only the answers."""
    task = Copy()
    return task.count * task.chance / (2 * task.count + length)


# Bai, Kolter and Koltun, "An empirical evaluation of generic convolutional and recurrent networks
# for sequence modeling", 2018, table 1
PUBLISHED = (
    Published("adding", 600, "rnn", 0.177, Adding().chance),
    Published("adding", 600, "gru", 5.3e-5, Adding().chance),
    Published("adding", 600, "lstm", 0.164, Adding().chance),
    Published("copy", 1000, "rnn", 0.0202, copy_chance(1000)),
    Published("copy", 1000, "gru", 0.0197, copy_chance(1000)),
    Published("copy", 1000, "lstm", 0.0204, copy_chance(1000)),
)


class Outcome(NamedTuple):
    """The results of a trial.

    Attributes:
      trial: the trial.
      steps: the number of training steps.
      losses: for each length the test losses, ``[seeds]``.
      wall_seconds: the wall time of training and tests.
    """

    trial: Trial
    steps: int
    losses: dict[int, np.ndarray]
    wall_seconds: float

    @property
    def chance(self) -> float:
        """The exact loss of a model that ignores its input."""
        return TASKS[self.trial.task].test.chance


def verdict(losses: np.ndarray, chance: float) -> str:
    """Count the losses ``[seeds]`` that are solved and those that are at chance.

    >>> verdict(np.array([0.009, 0.002]), 1 / 6)
    'solved'
    >>> verdict(np.array([0.009, 0.1, 0.17, np.nan]), 1 / 6)
    '1 solved, 2 at chance'
    """
    counts = {
        "solved": int((losses <= SOLVED * chance).sum()),
        "at chance": int((~(losses < AT_CHANCE * chance)).sum()),  # NaN too
    }
    for name, count in counts.items():
        if count == len(losses):
            return name
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "between"


def result(outcomes: list[Outcome]) -> dict[str, Any]:
    """The content of ``result.json``."""
    return {
        "solved_share_of_chance": SOLVED,
        "at_chance_share_of_chance": AT_CHANCE,
        "runs": [
            {
                **outcome.trial._asdict(),
                "chance": outcome.chance,
                "optimum": TASKS[outcome.trial.task].test.optimum,
                "steps": outcome.steps,
                "tests": [
                    {
                        "length": length,
                        "loss": {**spread(losses), "per_seed": losses.tolist()},
                        "verdict": verdict(losses, outcome.chance),
                    }
                    for length, losses in outcome.losses.items()
                ],
                "wall_seconds": outcome.wall_seconds,
            }
            for outcome in outcomes
        ],
        "published": [
            {**row._asdict(), "verdict": verdict(np.array([row.loss]), row.chance)}
            for row in PUBLISHED
        ],
    }


def result_table(config: Config, outcomes: list[Outcome]) -> Table:
    """The table of the losses over all seeds, with the chance losses."""
    caption = (
        f"Solved: at most {SOLVED:.0%} of chance; at chance: at least {AT_CHANCE:.0%}.\n"
        "The optimum is 0. Adding: squared error; other tasks: nats."
    )
    for length in dict.fromkeys(o.trial.length for o in outcomes if o.trial.task == "recall"):
        loss = AssociativeRecall().values_alone(length)
        caption += f"\nA model that recalls the {length} values, but not their keys: {loss:.4f}."
    table = Table(
        title=f"Test loss of {config.seeds} seeds, and how many also solve longer sequences",
        caption=caption,
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),  # fits 80 columns
    )
    table.add_column("task")
    table.add_column("length", justify="right")
    table.add_column("cell")
    for column in ("chance", "mean", "least", "most"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for times in config.longer:
        table.add_column(f"x{times}", justify="right")
    for outcome, after in zip(outcomes, [*outcomes[1:], None], strict=True):
        trial, (losses, *longer) = outcome.trial, outcome.losses.values()
        table.add_row(
            trial.task, str(trial.length), trial.cell, f"{outcome.chance:.4f}",
            *(f"{value:.4f}" for value in spread(losses).values()),
            verdict(losses, outcome.chance),
            *(str((losses <= SOLVED * outcome.chance).sum()) for losses in longer),
            end_section=after is None or after.trial.task != trial.task,
        )  # fmt: skip
    return table


def published_table() -> Table:
    """The table of published losses on longer sequences, judged by the same criteria."""
    table = Table(
        title="Published losses (Bai et al., 2018, table 1; copy: mean over all steps)",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    for column in Published._fields:
        table.add_column(column, justify="left" if column in ("task", "cell") else "right")
    table.add_column("verdict")
    for row in PUBLISHED:
        table.add_row(
            row.task, str(row.length), row.cell, f"{row.loss:.4g}", f"{row.chance:.4f}",
            verdict(np.array([row.loss]), row.chance),
        )  # fmt: skip
    return table


def figure(config: Config, outcomes: list[Outcome]) -> matplotlib.figure.Figure:
    """Plot success over length, mean and range over the seeds, with one panel per task."""
    width = 3 + 2.8 * len(config.tasks)
    fig = matplotlib.figure.Figure(figsize=(width, 4), layout="constrained")
    panels = np.ravel(fig.subplots(1, len(config.tasks), sharey=True))
    for axes, task in zip(panels, config.tasks, strict=True):
        mine = [outcome for outcome in outcomes if outcome.trial.task == task]
        for outcome in mine:
            place = config.cells.index(outcome.trial.cell)
            # lines that would coincide are drawn side by side
            apart = 2 ** (0.08 * (place - (len(config.cells) - 1) / 2))
            lengths = apart * np.array([*outcome.losses])
            success = 1 - np.stack([*outcome.losses.values()]) / outcome.chance
            success = np.nan_to_num(success, nan=0.0).clip(0, 1)
            mean = success.mean(1)
            color = f"C{place % 10}"
            axes.vlines(lengths, success.min(1), success.max(1), color=color, alpha=0.4)
            axes.plot(lengths, mean, "o-", color=color, markerfacecolor="white")
            axes.plot(lengths[0], mean[0], "o", color=color)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({length for outcome in mine for length in outcome.losses}))
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.minorticks_off()
        axes.set_title(task)
        axes.set_xlabel(f"length ({TASKS[task].unit})")
    panels[0].set_ylim(-0.05, 1.05)
    panels[0].set_yticks([0, 0.5, 1], ["0: chance", "0.5", "1: optimum"])
    panels[0].set_ylabel("success, 1 - loss / chance")
    fig.legend(
        [matplotlib.lines.Line2D([], [], color=f"C{n % 10}") for n in range(len(config.cells))],
        config.cells,
        loc="outside right center",
    )
    fig.suptitle(
        f"Mean and range of {config.seeds} seeds\nfilled: training length, open: only tested",
        fontsize="medium",
    )
    return fig
