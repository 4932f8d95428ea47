"""The series, the origins of their forecasts, and the forms of ETS and ARIMA that may fit them."""

import dataclasses
import importlib
import warnings
from typing import Any

import numpy as np

from experiments.forecasting.config import DatasetName
from experiments.forecasting.process import Process
from seqjax.data import Windows
from seqjax.data.windows import Scaling, mean_and_deviation

DATA_SEED = 0  # of the simulated series, independent of the seed of the network


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Series of one length, and how they are forecast.

    The origins are ``first, first + stride, ...``, as long as a horizon fits.
    """

    title: str
    values: np.ndarray  # float64[N, T], in their units
    covariates: np.ndarray | None  # float64[N, T, C], known ahead
    season: int  # steps
    history: int  # steps that the network reads
    horizon: int
    first: int
    stride: int
    scaling: Scaling | None = None  # of the histories of the network
    logarithm: bool = False  # whether all models forecast the logarithm
    least: float = -np.inf  # the least possible value, to which all forecasts are raised
    ets: tuple[dict[str, Any], ...] = ({},)  # forms of statsmodels' ETSModel to choose from
    arima: tuple[dict[str, Any], ...] = ({},)  # forms of statsmodels' ARIMA to choose from
    compared: int = 1  # the number of series, the first ones, for which all models are compared
    process: Process | None = None  # of simulated series

    @property
    def origins(self) -> list[int]:
        """The first step of each forecast."""
        return [*range(self.first, self.values.shape[1] - self.horizon + 1, self.stride)]

    @property
    def transformed(self) -> np.ndarray:
        """The values as models read them, ``float64[N, T]``."""
        return np.log(self.values) if self.logarithm else self.values

    def restore(self, forecasts: np.ndarray) -> np.ndarray:
        """Return forecasts in the units of the values; a median stays a median."""
        restored = np.exp(forecasts) if self.logarithm else forecasts
        return np.maximum(restored, self.least)

    def windows(self, first: int, end: int, stride: int = 1) -> Windows:
        """The windows of all series within the steps ``[first, end)``."""
        part = slice(max(0, first), end)
        covariates = None if self.covariates is None else [*self.covariates[:, part]]
        return Windows(
            [*self.transformed[:, part]], self.history, self.horizon, stride,
            scaling=self.scaling, covariates=covariates,
        )  # fmt: skip

    def future(self) -> np.ndarray:
        """The values to forecast, ``[N, origins, horizon]``."""
        return np.stack([self.values[:, one : one + self.horizon] for one in self.origins], 1)


def load(name: DatasetName) -> Dataset:
    """Simulate or read a data set.

    Raises:
      ValueError: a package is missing, or has no such series.
    """
    # before the fits, whose warnings are ignored: on import it sets filters of its own
    check_installed("statsmodels.tsa.arima.model")
    return {"simulated": _simulated, "airline": _airline, "lynx": _lynx, "solar": _solar}[name]()


def check_installed(module: str) -> None:
    """Import a module of the extra ``series``, or raise ``ValueError``."""
    try:
        importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise ValueError(
            f"this experiment needs {package}; pip install -e '.[series]' (Python 3.11 or 3.12)"
        ) from None


def seasonal_waves(steps: int, season: int, count: int) -> np.ndarray:
    """The first ``count`` pairs of sine and cosine of a season, ``[steps, 2 * count]``.

    >>> seasonal_waves(24, season=12, count=2).shape
    (24, 4)
    """
    angles = 2 * np.pi * np.arange(steps)[:, None] / season * np.arange(1, count + 1)
    return np.concatenate([np.sin(angles), np.cos(angles)], 1)


def _simulated() -> Dataset:
    process = Process()
    values, covariates = process.sample(np.random.default_rng(DATA_SEED), 500, 424)
    return Dataset(
        "500 simulated series with known errors", values, covariates, season=process.season,
        history=36, horizon=12, first=400, stride=6, compared=20, process=process,
        ets=({"seasonal": "add"},), arima=({"order": (2, 0, 0), "trend": "n"},),
    )  # fmt: skip


def _airline() -> Dataset:
    values = _of_aeon("airline")
    seasonal = (0, 1, 1, 12)
    return Dataset(
        "airline passengers by month, 1949 to 1960", values[None],
        seasonal_waves(len(values), 12, 2)[None], season=12, history=24, horizon=12, first=96,
        stride=3, scaling=mean_and_deviation, logarithm=True,
        ets=({"trend": "add", "seasonal": "add"},
             {"trend": "add", "damped_trend": True, "seasonal": "add"}),
        arima=tuple({"order": order, "seasonal_order": seasonal, "covariates": False}
                    for order in ((0, 1, 1), (1, 1, 0), (2, 1, 0))),
    )  # fmt: skip


def _lynx() -> Dataset:
    values = _of_aeon("lynx")
    return Dataset(
        "lynx trapped in Canada by year, 1821 to 1934", values[None], None, season=10, history=20,
        horizon=10, first=74, stride=3, scaling=mean_and_deviation, logarithm=True,
        ets=({}, {"seasonal": "add"}),
        arima=tuple({"order": order, "trend": "c"}
                    for order in ((2, 0, 0), (3, 0, 0), (4, 0, 0), (2, 0, 1), (11, 0, 0))),
    )  # fmt: skip


def _solar() -> Dataset:
    values = _of_aeon("solar")
    return Dataset(
        "solar output of Britain by half hour, 6 days", values[None],
        seasonal_waves(len(values), 48, 3)[None], season=48, history=48, horizon=24, first=193,
        stride=6, scaling=mean_and_deviation, least=0.0,
        ets=({"seasonal": "add", "initialization_method": "heuristic"},),
        arima=tuple({"order": order, "trend": "c"} for order in ((1, 0, 0), (2, 0, 0), (1, 0, 1))),
    )  # fmt: skip


def _of_aeon(name: str) -> np.ndarray:
    check_installed("aeon")
    datasets = importlib.import_module("aeon.datasets")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of a series that aeon will drop
            return np.asarray(getattr(datasets, f"load_{name}")(), np.float64)
    except AttributeError:
        raise ValueError(
            f"--dataset {name}: this version of aeon does not have it; pip install 'aeon==1.6'"
        ) from None
