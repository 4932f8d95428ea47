"""The options that cross-validation chose for the data sets of the archive."""

from typing import Any

from experiments.sequence_classification.config import ARCHIVES, Config

_SERIES: dict[str, Any] = {
    "pooling": "mean",
    "bidirectional": True,
    "layers": 1,
    "units": 32,
    "epochs": 60,
    "batch_size": 10,
    "learning_rate": 5e-3,
}
# long series are joined to at most 75 steps, and the noise is the best one of 0.1 and 0.5; of
# JapaneseVowels more was tried
PRESETS: dict[str, dict[str, Any]] = {
    "ACSF1": {"join": 20, "batch_size": 20, "noise": 0.1},
    "ArrowHead": {"join": 5, "noise": 0.1},
    "BasicMotions": {"join": 2, "noise": 0.1},
    "GunPoint": {"join": 5, "noise": 0.1},
    "ItalyPowerDemand": {"noise": 0.5},
    "JapaneseVowels": {"batch_size": 27, "noise": 0.7},
    "OSULeaf": {"join": 10, "batch_size": 20, "noise": 0.1},
    "PickupGestureWiimoteZ": {"join": 5, "noise": 0.1},
}


def defaults(dataset: str) -> Config:
    """The defaults of the options for a data set.

    >>> defaults("digits") == Config()
    True
    >>> defaults("uea:JapaneseVowels").pooling
    'mean'
    """
    kind, _, name = dataset.partition(":")
    if kind not in ARCHIVES:
        return Config(dataset)
    return Config(dataset, **{**_SERIES, **PRESETS.get(name, {})})
