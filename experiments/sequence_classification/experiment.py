"""The whole experiment: data, baselines, training and results."""

import dataclasses
import time

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.run_directory import RunDirectory
from experiments.seeds import spread
from experiments.sequence_classification.config import Config
from experiments.sequence_classification.data import Split, in_order, load, named, scaled
from experiments.sequence_classification.report import (
    Epoch,
    Outcome,
    baselines,
    confusion_matrix,
    learning_curves,
    misread,
    result,
    result_table,
)
from experiments.sequence_classification.run import (
    build_model,
    predict,
    steps_an_epoch,
    train,
)

FIGURES = {"learning_curves": learning_curves, "confusion": confusion_matrix, "misread": misread}


def prepare(config: Config) -> tuple[Split, Split]:
    """Read the data set, as stored and as the network reads it.

    Raises:
      ValueError: there is no such data set, or the options do not fit it.
    """
    split = load(config.dataset, config.inputs, config.label)
    if config.classes:
        split = named(split, config.classes)
    steps_an_epoch(config, len(split.train.labels))
    read = scaled(split)  # by feature, so before numbers become steps
    return split, dataclasses.replace(
        read,
        train=in_order(read.train, config.pixels, config.permuted),
        test=in_order(read.test, config.pixels, config.permuted),
    )


def main(config: Config, folder: RunDirectory) -> None:
    """Train all seeds, show progress and results, and write the files."""
    console = Console()
    began = time.perf_counter()
    stored, split = prepare(config)
    folder.start()
    with console.status("the baselines"):
        expected = baselines(split)
    model = build_model(config, len(split.classes))
    steps = steps_an_epoch(config, len(split.train.labels))
    epochs: list[Epoch] = []
    with Progress(
        TextColumn("training"), BarColumn(), MofNCompleteColumn(),
        TextColumn("test accuracy {task.fields[accuracy]}"), TimeRemainingColumn(),
        console=console,
    ) as progress:  # fmt: skip
        bar = progress.add_task("", total=config.epochs * steps, accuracy="-")
        windows: list[np.ndarray] = []
        for epoch, losses, params in train(config, model, split.train):
            progress.update(bar, advance=losses.shape[1])
            windows.append(losses)
            if sum(window.shape[1] for window in windows) < steps:
                continue
            probabilities = predict(model, config.pooling, params, split.test)
            accuracies = (probabilities.argmax(-1) == split.test.labels).mean(1)
            epochs.append(Epoch(np.concatenate(windows, 1).mean(1), accuracies))
            windows = []
            progress.update(bar, accuracy=f"{accuracies.mean():.2%}")
            record = {"loss": spread(epochs[-1].losses), "test_accuracy": spread(accuracies)}
            folder.append_jsonl("metrics.jsonl", {"epoch": epoch + 1, **record})
    seconds = round(time.perf_counter() - began, 2)
    outcome = Outcome(stored, expected, epochs, probabilities, seconds)
    folder.write_json("result.json", result(outcome))
    for name, draw in FIGURES.items():
        with folder.replacing(f"{name}.png") as path:
            draw(outcome).savefig(path, dpi=120)
    console.print(result_table(outcome))
    console.print(f"Files in {folder.path}", highlight=False)
