"""Data sets of the UCR and UEA archives of time series, as the package aeon ships them."""

import importlib.resources
import warnings
from collections.abc import Sequence

import numpy as np

from experiments.sequence_classification.sets import Examples, Split

NAMES = (
    "ACSF1", "ArrowHead", "BasicMotions", "GunPoint", "ItalyPowerDemand", "JapaneseVowels",
    "OSULeaf", "PickupGestureWiimoteZ",
)  # fmt: skip


def load(name: str) -> Split:
    """Read a data set with the split of its archive; nothing is downloaded.

    Args:
      name: one of `NAMES`.

    Raises:
      ValueError: aeon is not installed, or does not ship this data set.
    """
    if name not in NAMES:
        raise ValueError(
            f"--dataset uea:{name}: the package aeon does not ship this data set, only "
            f"{', '.join(NAMES)}; convert other files with python -m seqjax.data.convert ts"
        )
    try:
        with warnings.catch_warnings():  # of its dependencies
            warnings.simplefilter("ignore")
            from aeon.datasets import load_from_ts_file
    except ImportError as error:
        raise ValueError(
            f"--dataset uea:{name} needs {error.name}; pip install -e '.[series]'"
        ) from None
    folder = importlib.resources.files("aeon") / "datasets" / "data" / name
    train, test = (
        load_from_ts_file(str(folder / f"{name}_{part}.ts"), return_meta_data=True)
        for part in ("TRAIN", "TEST")
    )
    classes = tuple(train[2]["class_values"])
    return Split(
        _examples(train[0], train[1], classes),
        _examples(test[0], test[1], classes),
        "that of the archive",
        classes,
    )


def _examples(
    series: Sequence[np.ndarray], names: Sequence[str], classes: tuple[str, ...]
) -> Examples:
    """Pad series ``[D, T]`` of any T."""
    lengths = np.array([one.shape[1] for one in series], np.int32)
    xs = np.zeros((len(series), lengths.max(), series[0].shape[0]), np.float32)
    for row, one in zip(xs, series, strict=True):
        row[: one.shape[1]] = one.T
    return Examples(xs, lengths, np.array([classes.index(name) for name in names], np.int32))
