"""Builds, training and results of each way to unroll."""

from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.char_model.train import Rows, steps_per_epoch
from experiments.run_directory import RunDirectory
from experiments.unroll_comparison.config import Config, Way
from experiments.unroll_comparison.report import build_table, figure, result, result_table
from experiments.unroll_comparison.ways import (
    Outcome,
    Training,
    build,
    read,
    train,
)


def build_way(
    config: Config, way: Way, vocabulary_size: int, rows: Rows, total: int, progress: Progress
) -> tuple[Outcome, Iterator[tuple[np.ndarray, float]] | None]:
    """Build one way at all sizes; also returns its training if it was built at that size."""
    outcome, training = Outcome(way), None
    sizes = sorted({*config.sweep, config.num_steps})
    bar = progress.add_task(f"{way} builds", total=len(sizes), about="")
    for num_steps in sizes:
        progress.update(bar, about=f"{num_steps} steps")
        # only static builds grow with num_steps, at times with its square
        last = outcome.builds[-1] if way == "static" and outcome.builds else None
        if last and last.seconds * (num_steps / last.num_steps) ** 2 > config.cap:
            outcome.left_out.append(num_steps)
        else:
            took, start, program = build(config, way, num_steps, vocabulary_size, rows)
            outcome.builds.append(took)
            if num_steps == config.num_steps and total:
                training = train(config, start, program, rows, total)
        progress.advance(bar)
    progress.update(bar, about="")
    return outcome, training


def train_in_turns(
    trained: list[tuple[Outcome, Iterator[tuple[np.ndarray, float]]]],
    total: int,
    progress: Progress,
) -> None:
    """Train all ways in turns, block by block, so other load of the machine affects all equally."""
    bar = progress.add_task("all train", total=total, about="")
    turns = []
    for turn in zip(*(training for _, training in trained), strict=True):
        turns.append(turn)
        losses, _ = turn[-1]
        progress.update(bar, advance=len(losses), about=f"loss {losses.mean():.4f}")
    for (outcome, _), blocks in zip(trained, zip(*turns, strict=True), strict=True):
        losses, seconds = zip(*blocks, strict=True)
        ends = np.repeat(np.cumsum(seconds), [len(block) for block in losses])
        outcome.training = Training(np.concatenate(losses), ends)


def main(config: Config, folder: RunDirectory) -> None:
    """Build and train every way, show progress and write the results."""
    console = Console()
    characters, vocabulary_size, rows = read(config)
    folder.start()
    steps = steps_per_epoch(config.at(config.num_steps), rows.inputs.shape[1])
    total = round(config.epochs * steps)
    with Progress(
        TextColumn("{task.description:14}"), BarColumn(),
        TextColumn("{task.fields[about]}"), TimeElapsedColumn(), console=console,
    ) as progress:  # fmt: skip
        built = [
            build_way(config, way, vocabulary_size, rows, total, progress) for way in config.ways
        ]
        trained = [(outcome, training) for outcome, training in built if training]
        if trained:
            train_in_turns(trained, total, progress)
    outcomes = [outcome for outcome, _ in built]
    for outcome in outcomes:
        for took in outcome.builds:
            folder.append_jsonl("metrics.jsonl", {"way": outcome.way, **took._asdict()})
        if outcome.training:
            pairs = zip(*map(np.ndarray.tolist, outcome.training), strict=True)
            for step, (loss, seconds) in enumerate(pairs, 1):
                record = {"way": outcome.way, "step": step, "loss": loss, "seconds": seconds}
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
                f"{outcome.way}: omitted at {', '.join(map(str, outcome.left_out))} steps, where "
                f"a build may take longer than --cap {config.cap:g} seconds",
                highlight=False,
            )
    console.print(f"Files in {folder.path}", highlight=False)
