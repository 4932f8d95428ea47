"""The table of the archive: the network beside MiniRocket and published results."""

import collections
import dataclasses
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.table import Table
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.seeds import spread
from experiments.sequence_classification.experiment import prepare
from experiments.sequence_classification.inputs import scaled
from experiments.sequence_classification.presets import preset
from experiments.sequence_classification.run import build_model, predict, train
from experiments.sequence_classification.sets import Split

# accuracies on the archive's own test sets, from the files of results that the authors publish
PUBLISHED: dict[str, dict[str, str]] = {
    # github.com/hfawaz/InceptionTime: results-InceptionTime-128.csv and results-mts.csv,
    # 5 networks together
    "InceptionTime": {
        "ACSF1": "92.0%", "ArrowHead": "84.6%", "BasicMotions": "100.0%", "GunPoint": "100.0%",
        "ItalyPowerDemand": "96.5%", "JapaneseVowels": "99.2%", "OSULeaf": "94.2%",
        "PickupGestureWiimoteZ": "76.0%",
    },
    # github.com/titu1994/LSTM-FCN: Results/train_loss_old_datasets.csv, the weights of the lowest
    # training loss; JapaneseVowels from github.com/titu1994/MLSTM-FCN, in two digits
    "LSTM-FCN": {
        "ArrowHead": "89.7%", "GunPoint": "100.0%", "ItalyPowerDemand": "96.2%",
        "JapaneseVowels": "99%", "OSULeaf": "98.3%",
    },
    # github.com/angus924/rocket: results/results_ucr.csv, the mean of 10 runs
    "Rocket": {
        "ACSF1": "88.6%", "ArrowHead": "81.4%", "GunPoint": "100.0%", "ItalyPowerDemand": "97.0%",
        "OSULeaf": "94.1%", "PickupGestureWiimoteZ": "83.0%",
    },
}  # fmt: skip


class Row(NamedTuple):
    """The results on one data set.

    Attributes:
      name: the name of the data set.
      network: the test accuracy of each seed.
      together: the test accuracy of the mean of their probabilities.
      minirocket: the test accuracy of MiniRocket with each seed.
      seconds: the duration of the training and the test of all seeds.
    """

    name: str
    network: np.ndarray
    together: float
    minirocket: np.ndarray
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The numbers as JSON data."""
        return {
            **spread(self.network),
            "per_seed": self.network.tolist(),
            "all_seeds_together": self.together,
            "minirocket": spread(self.minirocket),
            "seconds": self.seconds,
        }


def measure(name: str, seeds: int, seed: int) -> Row:
    """Train and test on one data set, with its options of `presets`.

    Raises:
      ValueError: aeon does not ship the data set, or is not installed.
    """
    config = dataclasses.replace(preset(name), seeds=seeds, seed=seed)
    began = time.perf_counter()
    stored, split, reader = prepare(config)
    model = build_model(config, len(split.classes), reader.features(stored))
    _, _, params = collections.deque(train(config, model, split.train), maxlen=1).pop()
    probabilities = predict(model, params, split.test)
    seconds = round(time.perf_counter() - began, 1)
    labels = split.test.labels
    network = (probabilities.argmax(-1) == labels).mean(1)
    together = float((probabilities.mean(0).argmax(-1) == labels).mean())
    by_seed = np.array([minirocket(scaled(stored), seed + number) for number in range(seeds)])
    return Row(name, network, together, by_seed, seconds)


def minirocket(split: Split, seed: int) -> float:
    """The test accuracy of MiniRocket (Dempster, Schmidt and Webb, 2021) with a ridge classifier.

    MiniRocket reads series of one length, so shorter ones are padded with zeros.
    """
    with warnings.catch_warnings():  # of its dependencies
        warnings.simplefilter("ignore")
        from aeon.transformations.collection.convolution_based import MiniRocket

        longest = max(9, split.train.xs.shape[1], split.test.xs.shape[1])
        train, test = (
            np.pad(part.xs, ((0, 0), (0, longest - part.xs.shape[1]), (0, 0))).swapaxes(1, 2)
            for part in (split.train, split.test)
        )
        ridge = RidgeClassifierCV(np.logspace(-3, 3, 10))
        model = make_pipeline(MiniRocket(random_state=seed), StandardScaler(with_mean=False), ridge)
        return float(model.fit(train, split.train.labels).score(test, split.test.labels))


def archive_table(rows: list[Row]) -> Table:
    """The accuracies of all data sets beside published ones."""
    seeds = len(rows[0].network) if rows else 0
    table = Table(
        title=f"Test accuracy on the archive's own split: mean (worst to best) of {seeds} seeds",
        box=box.SIMPLE,
    )
    table.add_column("data set")
    for column in ("network", "together", "MiniRocket", *PUBLISHED, "seconds"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.name,
            _range(row.network),
            f"{row.together:.1%}",
            _range(row.minirocket),
            *(results.get(row.name, "") for results in PUBLISHED.values()),
            f"{row.seconds:.0f}",
        )
    return table


def _range(accuracies: np.ndarray) -> str:
    mean, worst, best = (100 * value for value in spread(accuracies).values())
    return f"{mean:.1f}% ({worst:.1f} to {best:.1f})"
