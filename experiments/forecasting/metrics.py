"""Scores of probabilistic forecasts."""

import numpy as np


def crps(samples: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The continuous ranked probability score, estimated without bias from samples::

        crps = E |X - value| - E |X - X'| / 2

    X and X' are independent draws of the forecast. The score is in the units of the value, lower is
    better, and that of a forecast of one number is its absolute error.

    Args:
      samples: ``[..., N, H]``, with N of at least 2.
      values: ``[..., H]``.

    Returns:
      ``[..., H]``.

    Reference: Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation",
    2007.

    >>> print(crps(np.array([[1.0], [3.0]]), np.array([2.0])))
    [0.]
    """
    count = samples.shape[-2]
    error = np.abs(samples - values[..., None, :]).mean(-2)
    # of sorted samples, the sum of all distances is a weighted sum
    weights = 2.0 * np.arange(1, count + 1) - count - 1
    distance = (weights[:, None] * np.sort(samples, -2)).sum(-2) * 2 / (count * (count - 1))
    score: np.ndarray = error - distance / 2
    return score


def covered(samples: np.ndarray, values: np.ndarray, share: float = 0.8) -> np.ndarray:
    """Whether the central interval of the samples covers the value, ``bool[..., H]``.

    Args:
      samples: ``[..., N, H]``.
      values: ``[..., H]``.
      share: the probability of the interval.
    """
    low, high = np.quantile(samples, [(1 - share) / 2, (1 + share) / 2], axis=-2, method="weibull")
    inside: np.ndarray = (low <= values) & (values <= high)
    return inside


def naive_error(values: np.ndarray, season: int) -> np.ndarray:
    """The mean absolute change over a season, by which errors are scaled, ``[N]``.

    Args:
      values: ``[N, T]``, those before the first origin.
      season: in steps.

    Reference: Hyndman and Koehler, "Another look at measures of forecast accuracy", 2006.

    >>> print(naive_error(np.array([[1.0, 2.0, 4.0, 2.0]]), season=2))
    [1.5]
    """
    error: np.ndarray = np.abs(values[:, season:] - values[:, :-season]).mean(1)
    return error
