"""How results differ from seed to seed."""

import numpy as np


def spread(values: np.ndarray) -> dict[str, float]:
    """Mean, least and greatest of one value a seed, ``[seeds]``.

    >>> spread(np.array([0.25, 0.75, 0.5]))
    {'mean': 0.5, 'min': 0.25, 'max': 0.75}
    """
    return {"mean": float(values.mean()), "min": float(values.min()), "max": float(values.max())}
