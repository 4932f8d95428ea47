"""The results of a run, compared with the baselines: numbers, a table and figures."""

import dataclasses
from typing import Any

import matplotlib.axes
import matplotlib.figure
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from rich import box
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from experiments.seeds import spread
from experiments.sequence_classification.data import Scale, Split

NEIGHBOURS = 3
SHOWN = 24  # the maximum number of misread examples in the figure
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)  # ticks of the error axis
COUNTS = [digit * 10**power for power in range(7) for digit in (1, 2, 5)]  # ticks of the colour bar
STYLES = (":", "-.", "--")  # line styles of the baselines
LABELLED_CLASSES = 20  # larger confusion matrices have no numbers in their cells


@dataclasses.dataclass(frozen=True)
class Epoch:
    """The results of one epoch."""

    losses: np.ndarray  # the mean over its training steps, [seeds]
    accuracies: np.ndarray  # on the test set after it, [seeds]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The results of a run."""

    split: Split
    baselines: dict[str, float]  # test accuracies
    epochs: list[Epoch]
    probabilities: np.ndarray  # on the test set after training, [seeds, N, V]
    wall_seconds: float

    @property
    def predictions(self) -> np.ndarray:
        """The class that each seed predicts for each test example, ``int[seeds, N]``."""
        return self.probabilities.argmax(-1)

    @property
    def accuracies(self) -> np.ndarray:
        """The final test accuracy of each seed, ``[seeds]``."""
        return (self.predictions == self.split.test.labels).mean(1)

    @property
    def joint_accuracy(self) -> float:
        """The test accuracy of the mean of the probabilities of all seeds."""
        joint = self.probabilities.mean(0).argmax(-1)
        return float((joint == self.split.test.labels).mean())

    @property
    def confusion(self) -> np.ndarray:
        """Counts of true class (row) and predicted class (column) over all seeds, ``int[V, V]``."""
        classes = len(self.split.classes)
        labels = np.broadcast_to(self.split.test.labels, self.predictions.shape)
        pairs = labels * classes + self.predictions
        return np.bincount(pairs.ravel(), minlength=classes**2).reshape(classes, classes)


def baselines(split: Split) -> dict[str, float]:
    """The test accuracies of the most common class, and of two models that see all steps at once.

    Args:
      split: the data set, with scaled numbers.
    """
    (xs, _, labels), (test_xs, _, test_labels) = split.train, split.test
    xs, test_xs = xs.reshape(len(xs), -1), test_xs.reshape(len(test_xs), -1)
    models = {
        "logistic regression": LogisticRegression(max_iter=1000),
        f"{NEIGHBOURS} nearest neighbours": KNeighborsClassifier(NEIGHBOURS),
    }
    commonest = np.bincount(labels).argmax()
    accuracies = {"most common class": float((test_labels == commonest).mean())}
    for name, model in models.items():
        accuracies[name] = float(model.fit(xs, labels).score(test_xs, test_labels))
    return accuracies


def result(outcome: Outcome) -> dict[str, Any]:
    """The content of ``result.json``."""
    split = outcome.split
    return {
        "split": {
            "train": len(split.train.labels),
            "test": len(split.test.labels),
            "classes": split.classes,
            "how": split.how,
        },
        "scale": {name: array.tolist() for name, array in Scale.of(split)._asdict().items()},
        "baseline_accuracy": outcome.baselines,
        "test_accuracy": {
            **spread(outcome.accuracies),
            "per_seed": outcome.accuracies.tolist(),
            "all_seeds_together": outcome.joint_accuracy,
        },
        "confusion": outcome.confusion.tolist(),
        "wall_seconds": outcome.wall_seconds,
    }


def result_table(outcome: Outcome) -> Table:
    """Accuracies of single networks, of all seeds together, and of the baselines."""
    split, seeds = outcome.split, len(outcome.accuracies)
    total = len(split.test.labels)
    table = Table(
        title=f"Test accuracy on {total} examples, trained on {len(split.train.labels)}",
        caption=f"The split is {split.how}; all models use it.",
        box=box.SIMPLE,
    )
    table.add_column("")
    for column in ("mean", "worst", "best", "errors"):
        table.add_column(column, justify="right")

    def add(name: str, accuracies: np.ndarray) -> None:
        errors = np.sort(np.rint((1 - accuracies) * total).astype(int))
        numbers = [f"{spread(accuracies)[key]:.2%}" for key in ("mean", "min", "max")]
        several = len(errors) > 1
        counted = f"{errors[0]} to {errors[-1]}" if several else str(errors[0])
        table.add_row(name, *(numbers if several else [numbers[0], "", ""]), counted)

    add(f"network, {seeds} seed{'s' * (seeds > 1)}", outcome.accuracies)
    if seeds > 1:
        add("mean of their probabilities", np.array([outcome.joint_accuracy]))
    for name, accuracy in outcome.baselines.items():
        add(name, np.array([accuracy]))
    return table


def learning_curves(outcome: Outcome) -> matplotlib.figure.Figure:
    """Loss and test error by epoch, mean and range over the seeds, against the baselines."""
    fig = matplotlib.figure.Figure(figsize=(10, 4), layout="constrained")
    left, right = fig.subplots(1, 2)
    numbers = np.arange(1, 1 + len(outcome.epochs))
    for axes, curves in (
        (left, np.array([epoch.losses for epoch in outcome.epochs])),
        (right, 1 - np.array([epoch.accuracies for epoch in outcome.epochs])),
    ):
        axes.fill_between(numbers, curves.min(1), curves.max(1), alpha=0.25, linewidth=0)
        axes.plot(numbers, curves.mean(1))
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    left.set_ylim(bottom=0)
    left.set_ylabel("training loss (nats), with dropout")
    # logarithmic down to one error, and linear below it, to show an error rate of 0
    one = 1 / len(outcome.split.test.labels)
    right.set_yscale("symlog", linthresh=one, linscale=0.3)
    right.set_ylim(bottom=0)
    right.yaxis.set_major_locator(FixedLocator([0, *(tick for tick in TICKS if tick >= one)]))
    right.yaxis.set_major_formatter(lambda error, _: f"{100 * error:g}%")
    right.yaxis.set_minor_locator(NullLocator())
    right.set_ylabel("test error")
    for style, (name, accuracy) in zip(STYLES, outcome.baselines.items(), strict=True):
        label = f"{name}, {1 - accuracy:.1%}"
        right.axhline(1 - accuracy, color="black", linewidth=0.8, linestyle=style, label=label)
    right.legend()
    fig.suptitle(f"{len(outcome.accuracies)} seeds, mean and range")
    return fig


def confusion_matrix(outcome: Outcome) -> matplotlib.figure.Figure:
    """The confusion matrix over all seeds."""
    counts, names = outcome.confusion, [_short(name, 20) for name in outcome.split.classes]
    longest = max(map(len, names))
    side = min(24, 6.2 + 0.22 * max(0, len(names) - LABELLED_CLASSES) + 0.07 * longest)
    fig = matplotlib.figure.Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = fig.subplots()
    shown = np.where(counts > 0, counts, np.nan)
    image = axes.imshow(shown, cmap="Blues", norm=LogNorm(1, max(2, counts.max())))
    small = 10 if len(names) <= LABELLED_CLASSES else 7
    axes.set_xticks(range(len(names)), names, fontsize=small, rotation=90 if longest > 3 else 0)
    axes.set_yticks(range(len(names)), names, fontsize=small)
    if len(names) <= LABELLED_CLASSES:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                dark = count > counts.max() ** 0.6
                colour = "white" if dark else "black"
                axes.text(column, row, count, ha="center", va="center", color=colour)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    ticks = [tick for tick in COUNTS if tick <= max(2, counts.max())]
    bar = fig.colorbar(
        image, ticks=ticks, format="%d", label="test examples (log scale)", shrink=0.8
    )
    bar.minorticks_off()
    seeds, total = outcome.predictions.shape
    errors = counts.sum() - counts.trace()
    axes.set_title(f"{errors} errors of {seeds} seeds on {total} examples each")
    return fig


def misread(outcome: Outcome) -> matplotlib.figure.Figure:
    """The test examples that most seeds misclassified, as they are stored.

    Images are drawn as images. In other sequences, each feature is a line over the steps.
    """
    test, predictions = outcome.split.test, outcome.predictions
    wrong = predictions != test.labels
    worst = np.argsort(-wrong.sum(0), kind="stable")[: min(SHOWN, int(wrong.any(0).sum()))]
    rows = max(1, -(-len(worst) // 8))
    names = [_short(name, 14) for name in outcome.split.classes]
    is_short = max(map(len, names)) <= 3
    fig = matplotlib.figure.Figure(figsize=(11, 1.2 + 1.75 * rows), layout="constrained")
    grid = fig.subplots(rows, 8, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(worst) :]:
        axes.axis("off")
    for axes, k in zip(grid.flat, worst, strict=False):
        _draw(axes, test.xs[k, : test.lengths[k]], outcome.split.images)
        mistaken = np.bincount(predictions[wrong[:, k], k]).argmax()
        axes.set_title(
            f"{names[test.labels[k]]},{' ' if is_short else chr(10)}read as {names[mistaken]}\n"
            f"by {np.sum(predictions[:, k] == mistaken)} of {len(wrong)}",
            fontsize=10 if is_short else 8,
        )
    if not outcome.split.images:
        fig.supxlabel("step", fontsize=10)
        for axes in grid.flat[max(0, len(worst) - 8) : len(worst)]:  # the lowest one of each column
            axes.tick_params(labelbottom=True)
    found = f"{wrong.any(0).sum()} of {len(test.labels)} test examples were misread by some seed"
    fig.suptitle(f"{found}; these by the most seeds" if wrong.any(0).sum() > SHOWN else found)
    return fig


def _draw(axes: matplotlib.axes.Axes, xs: np.ndarray, is_image: bool) -> None:
    """Draw an example ``[T, D]``."""
    axes.set_box_aspect(1)
    if is_image:
        axes.axis("off")
        axes.imshow(xs, cmap="gray_r", aspect="auto")
        return
    axes.plot(np.arange(1, len(xs) + 1), xs, "-" if len(xs) > 1 else ".", linewidth=1)
    axes.tick_params(labelsize=7)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _short(name: str, longest: int) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
