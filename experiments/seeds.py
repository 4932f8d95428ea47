"""The spread of results over seeds."""

import numpy as np


def spread(values: np.ndarray) -> dict[str, float]:
    """The mean, minimum and maximum of one value per seed, ``[seeds]``.

    >>> spread(np.array([0.25, 0.75, 0.5]))
    {'mean': 0.5, 'min': 0.25, 'max': 0.75}
    """
    return {"mean": float(values.mean()), "min": float(values.min()), "max": float(values.max())}
