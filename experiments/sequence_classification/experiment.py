"""The whole experiment: data, baselines, training and results."""

import dataclasses
import hashlib
import time

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.processes import ALL
from experiments.run_directory import RunDirectory
from experiments.seeds import spread
from experiments.sequence_classification.choice import Choice, choose
from experiments.sequence_classification.config import Config
from experiments.sequence_classification.data import load
from experiments.sequence_classification.inputs import Reader, read_by, reader_of
from experiments.sequence_classification.layout import Layout
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
from experiments.sequence_classification.sets import Examples, Split, in_order, named, validated
from experiments.sequence_classification.trained import Trained
from seqjax.hosts import check_agreement

FIGURES = {"learning_curves": learning_curves, "confusion": confusion_matrix, "misread": misread}


def prepare(config: Config) -> tuple[Split, Split, Reader]:
    """Read the data set in all processes, as stored and as the network reads it.

    Raises:
      ValueError: there is no such data set, or the options do not fit it.
    """
    split = load(config.dataset, config.inputs, config.label, config.embedding is not None)
    return ALL.together(lambda: _prepare(config, split))


def _prepare(config: Config, split: Split) -> tuple[Split, Split, Reader]:
    if config.classes:
        split = named(split, config.classes)
    split = validated(split, config.validation)
    steps_an_epoch(config, len(split.train.labels))
    reader = reader_of(split)
    read = read_by(reader, split)  # by feature, so before numbers become steps

    def ordered(examples: Examples) -> Examples:
        return in_order(examples, config.pixels, config.permuted, config.join)

    read = dataclasses.replace(
        read,
        train=ordered(read.train),
        test=ordered(read.test),
        validation=read.validation and ordered(read.validation),
    )
    return split, read, reader


def may_be_tokens(split: Split) -> bool:
    """Whether records that are read as numbers have one whole number a step."""
    if split.inputs is None or split.train.holds_tokens or split.train.xs.shape[2] > 1:
        return False
    first = split.train.xs[:1000]
    return bool((first == np.rint(first)).all())


def checksums(split: Split) -> dict[str, str]:
    """What must be the same in all processes."""
    digest = hashlib.sha256()
    for examples in (split.train, split.validation, split.test):
        for array in examples or ():
            digest.update(array.tobytes())
    return {"a data set with the checksum": digest.hexdigest()[:16]}


def main(config: Config, folder: RunDirectory) -> None:
    """Train all seeds, show progress and results, and write the files.

    Several processes train together, and process 0 writes all but the checkpoint.
    """
    console = ALL.console
    began = time.perf_counter()
    layout = Layout.of(config.seeds, config.batch_size)
    stored, split, reader = prepare(config)
    check_agreement(checksums(split))
    ALL.start(folder)
    if may_be_tokens(stored):
        console.print(
            "All inputs are whole numbers. They are read as quantities; --embedding 16 reads them "
            "as tokens, such as the bytes of a text.",
            highlight=False,
        )
    with console.status("the baselines"):
        expected = baselines(split) if ALL.is_first else {}
    features = reader.features(stored)
    model = build_model(config, len(split.classes), features)
    steps = steps_an_epoch(config, len(split.train.labels))
    epochs: list[Epoch] = []
    choice: Choice | None = None
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
            probabilities = predict(model, params, split.test, layout)
            accuracies = (probabilities.argmax(-1) == split.test.labels).mean(1)
            record = {"test_accuracy": spread(accuracies)}
            checked = None
            if split.validation is not None:
                checks = predict(model, params, split.validation, layout)
                checked = (checks.argmax(-1) == split.validation.labels).mean(1)
                choice = choose(choice, epoch + 1, params, checks, split.validation.labels)
                record["validation_accuracy"] = spread(checked)
            epochs.append(Epoch(np.concatenate(windows, 1).mean(1), accuracies, checked))
            windows = []
            progress.update(bar, accuracy=f"{accuracies.mean():.2%}")
            record = {"loss": spread(epochs[-1].losses), **record}
            if ALL.is_first:
                folder.append_jsonl("metrics.jsonl", {"epoch": epoch + 1, **record})
    if choice is not None:
        params = choice.params
        probabilities = predict(model, params, split.test, layout)
    seconds = round(time.perf_counter() - began, 2)
    chosen = None if choice is None else choice.epochs
    outcome = Outcome(stored, expected, epochs, probabilities, seconds, chosen)
    trained = Trained(
        config, params, reader, split.classes, stored.train.xs.shape[1], features, split.inputs,
        split.label,
    )  # fmt: skip
    trained.save(folder.path)
    if not ALL.is_first:
        return
    folder.write_json("result.json", {**result(outcome), **reader.summary})
    for name, draw in FIGURES.items():
        with folder.replacing(f"{name}.png") as path:
            draw(outcome).savefig(path, dpi=120)
    console.print(result_table(outcome))
    console.print(f"Files in {folder.path}", highlight=False)
    if stored.inputs is not None:
        command = f"python -m experiments.sequence_classification predict {folder.path} RECORDS"
        console.print(f"Predict the classes of other records: {command}", highlight=False)
