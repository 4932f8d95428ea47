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
# long series are joined to at most 75 steps; docs/experiments/sequence_classification.md has the
# results of cross-validation
PRESETS: dict[str, dict[str, Any]] = {
    "ACSF1": {"join": 20, "batch_size": 20, "noise": 0.1},
    "ArrowHead": {"join": 5, "noise": 0.1, "epochs": 240},
    "BasicMotions": {"join": 2, "noise": 0.1},
    "GunPoint": {"join": 5, "noise": 0.1},
    "ItalyPowerDemand": {"noise": 0.5},
    "JapaneseVowels": {"batch_size": 27, "noise": 0.7},
    "OSULeaf": {"join": 10, "batch_size": 20, "noise": 0.5},
    "PickupGestureWiimoteZ": {"join": 5, "noise": 0.5},
}


def preset(name: str) -> Config:
    """The options for a data set of the archive.

    >>> preset("JapaneseVowels").pooling
    'mean'
    """
    return Config(f"uea:{name}", **{**_SERIES, **PRESETS.get(name, {})})


def defaults(dataset: str) -> Config | None:
    """The defaults of the options for ``--dataset``; None for those of `Config`.

    >>> defaults("digits") is None
    True
    """
    kind, _, name = dataset.partition(":")
    return preset(name) if kind in ARCHIVES else None
