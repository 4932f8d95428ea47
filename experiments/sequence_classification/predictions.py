"""Predictions of a trained model for new records: a table and a file."""

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.table import Table

from experiments.run_directory import naming
from experiments.sequence_classification.inputs import Vocabulary
from experiments.sequence_classification.records import UNKNOWN
from experiments.sequence_classification.trained import Trained

ENDINGS = (".csv", ".json")


class Predictions(NamedTuple):
    """The predictions for the examples of a data set.

    Attributes:
      probabilities: the mean of the probabilities of all seeds, ``[N, V]``.
      labels: the labels of the records, ``int[N]``, or `UNKNOWN`.
      classes: the names of the classes.
      notes: what a reader of the table should know, one sentence each.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def has_labels(self) -> bool:
        """Whether some example has a label."""
        return bool((self.labels != UNKNOWN).any())

    def row(self, index: int) -> dict[str, Any]:
        """The index, the predicted class, its probability, and the label if there are labels."""
        predicted = int(self.probabilities[index].argmax())
        row = {
            "index": index,
            "class": self.classes[predicted],
            "probability": float(self.probabilities[index, predicted]),
        }
        if self.has_labels:
            label = self.labels[index]
            row["label"] = None if label == UNKNOWN else self.classes[label]
        return row


def predict_records(trained: Trained, path: Path) -> Predictions:
    """Predict the classes of records.

    Args:
      trained: the model.
      path: a directory or a pattern, as `seqjax.data.records.RecordSource` takes it.

    Raises:
      ValueError: the records do not have the feature that the model reads.
    """
    read = trained.read_new(path)
    probabilities = trained.probabilities(read.examples).mean(0)
    known = read.examples.labels != UNKNOWN
    total, seeds = len(known), trained.config.seeds
    notes = [f"The probabilities are the mean of {seeds} seeds."] if seeds > 1 else []
    if isinstance(trained.reader, Vocabulary):
        strange, tokens = trained.reader.unknown(read.examples), read.examples.lengths.sum()
        if strange:
            notes.append(
                f"{strange} of {tokens} tokens are not in the training set; they are read as zeros."
            )
    if read.label is not None:
        if not known.all():
            notes.append(
                f"{total - known.sum()} of {total} examples have a class that the model does not "
                "have."
            )
        if known.any():
            right = (probabilities.argmax(-1) == read.examples.labels)[known]
            notes.append(f"{right.mean():.2%} of {len(right)} labelled examples are correct.")
    return Predictions(probabilities, read.examples.labels, trained.classes, tuple(notes))


def table(predictions: Predictions, rows: int) -> Table:
    """The first rows of the predictions."""
    shown = [predictions.row(index) for index in range(min(rows, len(predictions.labels)))]
    out = Table(box=box.SIMPLE)
    for name in shown[0]:
        out.add_column(name, justify="right" if name in ("index", "probability") else "left")
    for row in shown:
        row["probability"] = f"{row['probability']:.1%}"
        out.add_row(*("" if value is None else str(value) for value in row.values()))
    return out


def check_out(path: Path) -> None:
    """Raise ``ValueError`` unless predictions can be written to ``path``."""
    if path.suffix not in ENDINGS:
        raise ValueError(f"--out {path}: the file must end in {' or '.join(ENDINGS)}")
    if path.exists():
        raise ValueError(f"--out {path}: this file exists; name a new file")


def write(predictions: Predictions, path: Path) -> None:
    """Write all predictions, with the probability of each class, as CSV or JSON.

    Raises:
      OSError: the file cannot be written.
    """
    rows = [predictions.row(index) for index in range(len(predictions.labels))]
    names = predictions.classes
    with naming(path), path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".json":
            for row, of_classes in zip(rows, predictions.probabilities.tolist(), strict=True):
                row["probabilities"] = dict(zip(names, of_classes, strict=True))
            json.dump(rows, file, indent=2)
            file.write("\n")
            return
        writer = csv.writer(file)
        writer.writerow([*rows[0], *(f"probability of {name}" for name in names)])
        for row, of_classes in zip(rows, predictions.probabilities.tolist(), strict=True):
            writer.writerow([*row.values(), *of_classes])
