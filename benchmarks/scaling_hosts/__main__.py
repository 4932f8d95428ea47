"""The cost of a training step that several processes of this machine share.

::

    python -m benchmarks.scaling_hosts             about 3 minutes on 2 cores, on Linux
    python -m benchmarks.scaling_hosts --plan      the efficiency to expect of many accelerators

The model and the training step are those of `benchmarks.training_step`. All groups of processes
run, but only one works at a time. They take turns, so that other load affects all alike.

- ratio: the time beside that of 1 process with 2 devices, the median of the ratios within a
  repetition, and their range.
- CPU: the time of all threads of all processes.
- alone: a step of the rows of one process, without exchange, in all processes at the same time.
- waited: the difference between a step and alone, for the exchange and for slower processes.
- formula: the exchange that the plan predicts, from the time of 2 processes to sum arrays of two
  lengths.
- MB: what a process receives in a step, as Linux counts it, and over the size of the gradients.
"""

import contextlib
import dataclasses
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.scaling_hosts.plan import Link, exchange, table
from benchmarks.scaling_hosts.processes import Group, start
from benchmarks.scaling_hosts.worker import LARGE, Turn
from seqjax.terminal import replace_what_cannot_be_shown

BASE = Group(1, 2)  # what all are compared with


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure a training step in several processes, or plan for many accelerators."""

    plan: bool = False
    """Print the plan in Markdown, and measure nothing."""
    size: tuple[int, int, int, int] = (2, 512, 32, 100)
    """Layers, units, rows of all processes and steps."""
    cell: Literal["lstm", "gru"] = "lstm"
    """The recurrent cell."""
    processes: tuple[int, ...] = (1, 2, 4)
    """The numbers of processes with one CPU device each."""
    steps_per_call: int = 2
    """Training steps in one call."""
    calls: int = 1
    """Calls in one turn."""
    repetitions: int = 9
    """Turns of each group."""
    pinned: bool = True
    """Give each process as many cores as it has devices, instead of all cores."""
    json: Path | None = None
    """The file for all turns."""


def check(config: Config) -> None:
    """End with an error if an option is out of range."""
    counts = (*config.processes, config.steps_per_call, config.calls, config.repetitions)
    if min((*counts, *config.size)) < 1:
        raise SystemExit("error: all numbers must be at least 1")
    for devices in (BASE.devices, *config.processes):
        if config.size[2] % devices:
            raise SystemExit(
                f"error: {devices} devices cannot share {config.size[2]} rows; give a multiple "
                f"of {devices} as the third number of --size"
            )


Turns = dict[Group, list[list[Turn]]]


def measure(config: Config) -> Turns:
    """Let all groups take turns."""
    groups = [BASE, *(Group(count, 1) for count in config.processes)]
    job = {
        "size": config.size,
        "cell": config.cell,
        "steps_per_call": config.steps_per_call,
        "calls": config.calls,
    }
    turns: Turns = {group: [] for group in groups}
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(start(group, job, config.pinned)) for group in groups]
        for _ in range(config.repetitions):
            for each in running:
                turns[each.group].append(each.turn())
    return turns


def link_of(turns: list[list[Turn]]) -> Link:
    """The link between 2 processes, from the sums of two lengths."""
    short, long = (
        statistics.median(getattr(turn, name) for each in turns for turn in each)
        for name in ("short_sum", "long_sum")
    )
    return Link("loopback", 4 * LARGE / max(long - short, 1e-9), short / 2)


def middle(turns: list[list[Turn]], value: Callable[[Turn], float]) -> float:
    """The median over turns of the mean over processes."""
    return statistics.median(statistics.mean(map(value, each)) for each in turns)


def times(turns: Turns) -> Table:
    """The time of a step in each group."""
    shown = table_of("ms", "fastest", "ratio", "range", "CPU ms")
    steps = {
        group: [statistics.mean(turn.together for turn in each) for each in found]
        for group, found in turns.items()
    }
    for group, found in turns.items():
        ratios = [a / b for a, b in zip(steps[group], steps[BASE], strict=True)]
        shown.add_row(
            str(group),
            f"{1e3 * statistics.median(steps[group]):.2f}",
            f"{1e3 * min(steps[group]):.2f}",
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f} to {max(ratios):.2f}",
            f"{1e3 * group.processes * middle(found, lambda turn: turn.cpu):.1f}",
        )
    return shown


def exchanges(turns: Turns) -> Table:
    """The exchange of a step in each group of several processes."""
    shown = table_of("alone ms", "waited ms", "formula ms", "MB", "x gradients")
    pairs = turns.get(Group(2, 1))
    for group, found in turns.items():
        if group.processes == 1:
            continue
        first, received = found[0][0], middle(found, lambda turn: turn.received)
        expected = "-"
        if pairs:
            ring = exchange(first.gradients, group.processes, link_of(pairs), first.arrays)
            expected = f"{1e3 * ring:.2f}"
        shown.add_row(
            str(group),
            f"{1e3 * middle(found, lambda turn: turn.alone):.2f}",
            f"{1e3 * middle(found, lambda turn: turn.together - turn.alone):.2f}",
            expected,
            f"{received / 1e6:.3f}",
            f"{received / first.gradients:.2f}",
        )
    return shown


def table_of(*columns: str) -> Table:
    """An empty table with a row for each group."""
    shown = Table("processes x devices")
    for column in columns:
        shown.add_column(column, justify="right")
    return shown


def main() -> None:
    """Print the plan, or measure and print a table."""
    replace_what_cannot_be_shown()
    config = tyro.cli(Config, prog="python -m benchmarks.scaling_hosts", description=__doc__)
    check(config)
    if config.plan:
        print(table())
        return
    if not hasattr(os, "sched_setaffinity"):
        raise SystemExit("error: the benchmark needs Linux, which counts bytes and assigns cores")
    console = Console()
    cores = len(os.sched_getaffinity(0))
    layers, units, rows, steps = config.size
    console.print(
        f"{layers} x {units} {config.cell}, {rows} rows in all, {steps} steps; {cores} cores, "
        f"median of {config.repetitions}; load {os.getloadavg()[0]:.1f}"
    )
    turns = measure(config)
    console.print(times(turns))
    if max(config.processes) > 1:
        console.print(exchanges(turns))
    first = turns[BASE][0][0]
    console.print(f"The gradients are {first.arrays} arrays of {first.gradients / 1e6:.3f} MB.")
    if max(config.processes) > cores:
        console.print(f"More processes than {cores} share the cores.")
    if Group(2, 1) in turns:
        link = link_of(turns[Group(2, 1)])
        console.print(
            f"Between 2 processes, a message takes {1e6 * link.latency:.0f} us, and 1 MB takes "
            f"{1e12 / link.bandwidth:.0f} us."
        )
    if config.json is not None:
        record = {
            str(group): [[turn._asdict() for turn in each] for each in found]
            for group, found in turns.items()
        }
        config.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
