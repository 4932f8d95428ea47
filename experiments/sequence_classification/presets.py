"""The options that cross-validation chose for the data sets of the archive."""

from typing import Any

from experiments.sequence_classification.config import ARCHIVES, Config

_SERIES: dict[str, Any] = {
    "pooling": "mean",
    "bidirectional": True,
    "layers": 1,
    "units": 32,
    "noise": 0.5,
    "epochs": 30,
    "batch_size": 27,
    "learning_rate": 1e-2,
}
PRESETS: dict[str, dict[str, Any]] = {
    "JapaneseVowels": {},
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
