"""Windows of long series, for forecasting.

A window is a history, which a model reads, and a horizon, which it forecasts. Each window may have
a scale of its own, computed from its history alone, so that a forecast does not look ahead.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax.checks import check_integers, check_iterable, check_size, describe
from seqjax.data.batching import Example


class Scale(NamedTuple):
    """The scale of a window: ``scaled = (value - center) / scale``.

    Attributes:
      center: floating ``[D]``.
      scale: floating ``[D]``, above 0.
    """

    center: np.ndarray
    scale: np.ndarray


Scaling = Callable[[np.ndarray], Scale]  # from a history [history, D]


def mean_absolute(history: np.ndarray) -> Scale:
    """The scale of a history that is its mean absolute value, with the center 0.

    It suits positive values, such as counts or sales: their ratios stay as they are. A feature of
    which all values are 0 has the scale 1.

    Args:
      history: floating ``[history, D]``.

    Reference: Salinas, Flunkert, Gasthaus and Januschowski, "DeepAR: Probabilistic forecasting with
    autoregressive recurrent networks", 2020.

    >>> print(mean_absolute(np.array([[1.0], [3.0]])))
    Scale(center=array([0.]), scale=array([2.]))
    """
    history = _check_history("mean_absolute", history)
    return Scale(np.zeros_like(history[0]), _positive(np.abs(history).mean(0)))


def mean_and_deviation(history: np.ndarray) -> Scale:
    """The scale of a history that is its deviation, with its mean as the center.

    A feature of which all values are equal has the scale 1.

    Args:
      history: floating ``[history, D]``.

    >>> print(mean_and_deviation(np.array([[1.0], [3.0]])))
    Scale(center=array([2.]), scale=array([1.]))
    """
    history = _check_history("mean_and_deviation", history)
    return Scale(history.mean(0), _positive(history.std(0)))


class Windows:
    """A source of windows of series, cut when they are read.

    The windows of a series lie ``stride`` steps apart, and the last one ends with the series. If
    all series have ended before the first origin of a test, training sees nothing after it.

    An example has these features:

    - ``"values"``: ``[history + horizon, D]``, scaled; the horizon is the last part.
    - ``"covariates"``: ``[history + horizon, C]``, as they were given, if they were given.
    - ``"center"`` and ``"scale"``: ``[D]``. A forecast in the units of the series is
      ``forecast * scale + center``.
    - ``"series"`` and ``"start"``: the index of the series, and that of the window's first step.

    Args:
      series: floating arrays ``[T, D]``, or ``[T]`` for one feature, of any lengths T.
      history: the number of steps before the forecast.
      horizon: the number of steps to forecast.
      stride: the number of steps from one window to the next.
      scaling: a function from the history ``[history, D]`` of a window to its `Scale`, such as
        `mean_absolute`; defaults to no scaling.
      covariates: what is known ahead, such as the day of the week: floating arrays ``[T, C]``, one
        for each series and as long as it is. They are not scaled.

    Raises:
      ValueError: a series is not floating, holds numbers that are not finite, differs from the
        first one in features or dtype, or is shorter than one window; the covariates do not fit;
        or a size is not a whole number of at least 1.

    >>> windows = Windows([np.arange(8.0), np.arange(5.0)], history=3, horizon=1, stride=2)
    >>> [(int(window["series"]), int(window["start"])) for window in windows.read(np.arange(4))]
    [(0, 0), (0, 2), (0, 4), (1, 1)]
    >>> print(windows.arrays()["values"][0, :, 0])
    [0. 1. 2. 3.]
    """

    def __init__(
        self,
        series: Sequence[np.ndarray],
        history: int,
        horizon: int,
        stride: int = 1,
        *,
        scaling: Scaling | None = None,
        covariates: Sequence[np.ndarray] | None = None,
    ) -> None:
        for name, size in (("history", history), ("horizon", horizon), ("stride", stride)):
            check_size("Windows", name, size)
        if scaling is not None and not callable(scaling):
            raise ValueError(
                "scaling must be a function from a history to a Scale, such as mean_absolute, got "
                f"{describe(scaling)}"
            )
        self._series = _as_series("series", series)
        self._history, self._scaling = int(history), scaling
        steps = self._history + int(horizon)
        for index, values in enumerate(self._series):
            if len(values) < steps:
                raise ValueError(
                    f"series {index} has {len(values)} steps, but a window has {history} + "
                    f"{horizon}; shorten the history or the horizon, or omit this series"
                )
        self._covariates = None
        if covariates is not None:
            self._covariates = _as_series("covariates", covariates)
            lengths, given = ([*map(len, a)] for a in (self._series, self._covariates))
            if lengths != given:
                raise ValueError(
                    "covariates must be one array for each series, of the same number of steps: "
                    f"{describe(lengths)}, got {describe(given)}"
                )
        starts = [np.arange((len(a) - steps) % stride, len(a) - steps + 1, stride)
                  for a in self._series]  # fmt: skip
        self._starts = np.concatenate(starts)
        self._owners = np.repeat(np.arange(len(starts)), [*map(len, starts)])
        self.lengths = np.full(len(self._starts), steps, np.int64)
        self.shards = (len(self._starts),)
        self.sequence_features = frozenset(["values", "covariates"][: 1 + (covariates is not None)])
        self.ragged_features: frozenset[str] = frozenset()

    def read(self, indices: np.ndarray) -> list[Example]:
        """Return the windows at ``indices``, ``int64[B]``."""
        indices = check_integers("Windows", "indices", indices, high=len(self._starts) - 1)
        return [self._window(index) for index in indices]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all windows as arrays ``[N, ...]``, for data that fits into memory."""
        examples = self.read(np.arange(len(self._starts)))
        return {name: np.stack([example[name] for example in examples]) for name in examples[0]}

    def _window(self, index: int) -> Example:
        series, start = self._owners[index], self._starts[index]
        part = slice(start, start + self.lengths[index])
        values = self._series[series][part]
        history = values[: self._history]
        if self._scaling is None:
            scale = Scale(np.zeros_like(values[0]), np.ones_like(values[0]))
        else:
            scale = _checked(self._scaling(history.copy()), history)
        example: Example = {"values": (values - scale.center) / scale.scale}
        if self._covariates is not None:
            example["covariates"] = self._covariates[series][part]
        return example | scale._asdict() | {"series": series, "start": start}


def _as_series(name: str, given: Any) -> list[np.ndarray]:
    """Return arrays ``[T, D]`` of one dtype and one D."""
    check_iterable("Windows", name, given, of="floating arrays [T, D]")
    arrays: list[np.ndarray] = []
    for index, value in enumerate(given):
        try:
            array = np.asarray(value)
        except (TypeError, ValueError):  # for example, a ragged list
            array = np.empty((), object)
        if array.ndim not in (1, 2) or array.dtype.kind != "f" or array.shape[1:] == (0,):
            raise ValueError(
                f"{name} must be floating arrays [T, D] or [T], got {describe(value)} at index "
                f"{index}; convert integers with .astype(np.float32)"
            )
        array = array.reshape(len(array), -1) if len(array) else array.reshape(0, 1)
        broken = np.flatnonzero(~np.isfinite(array).all(1))
        if len(broken):
            raise ValueError(
                f"{name} must be finite, got {array[broken[0]]} at step {broken[0]} of index "
                f"{index}; fill missing values first"
            )
        first = arrays[0] if arrays else array
        if (array.shape[1], array.dtype) != (first.shape[1], first.dtype):
            raise ValueError(
                f"all {name} must be {first.dtype}[T, {first.shape[1]}] like the first, got "
                f"{array.dtype}{list(array.shape)} at index {index}"
            )
        arrays.append(array)
    if not arrays:
        raise ValueError(f"{name} must hold at least one array [T, D], got none")
    return arrays


def _checked(found: Any, history: np.ndarray) -> Scale:
    """Return the result of a scaling function in the dtype of the history."""
    shapes = [np.shape(part) for part in found] if isinstance(found, tuple) else []
    if shapes != [history.shape[1:]] * 2:
        raise ValueError(
            f"scaling must return a Scale of two arrays {list(history.shape[1:])}, got "
            f"{describe(found)}"
        )
    center, scale = (np.asarray(part, history.dtype) for part in found)
    if not (np.isfinite(center).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError(
            f"scaling must return a finite center and a finite scale above 0, got {found}"
        )
    return Scale(center, scale)


def _check_history(owner: str, history: Any) -> np.ndarray:
    try:
        array = np.asarray(history)
    except (TypeError, ValueError):  # for example, a ragged list
        array = np.empty(())
    if array.ndim != 2 or array.dtype.kind != "f" or not len(array):
        raise ValueError(f"{owner}: history must be floating [history, D], got {describe(history)}")
    return array


def _positive(scale: np.ndarray) -> np.ndarray:
    return np.where(scale > 0, scale, np.ones_like(scale))
