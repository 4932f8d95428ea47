"""Seasonal naive, ETS and ARIMA, fitted again at each origin to all values before it."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import threadpoolctl

from experiments.forecasting.datasets import Dataset
from experiments.forecasting.network import Forecasts

SAMPLES = 500  # draws from each normal distribution
SAMPLES_SEED = 0
Moments = tuple[np.ndarray, np.ndarray]  # mean and deviation of each step, [horizon]


def seasonal_naive(values: np.ndarray, season: int, horizon: int) -> Moments:
    """Each value repeats that of the last season; the changes over a season are normal.

    Args:
      values: ``[T]``.
      season: in steps.
      horizon: in steps.

    >>> seasonal_naive(np.array([1.0, 5.0, 2.0, 7.0]), season=2, horizon=3)
    (array([2., 7., 2.]), array([1.58113883, 1.58113883, 2.23606798]))
    """
    steps = np.arange(horizon)
    deviation = np.sqrt(np.square(values[season:] - values[:-season]).mean())
    return values[len(values) - season + steps % season], deviation * np.sqrt(1 + steps // season)


def ets(values: np.ndarray, season: int, form: dict[str, Any]) -> Any:
    """Fit exponential smoothing with additive errors, by maximum likelihood."""
    import pandas as pd
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    periods = {"seasonal_periods": season} if "seasonal" in form else {}
    return ETSModel(pd.Series(values), error="add", **form, **periods).fit(disp=False)


def ets_moments(fitted: Any, horizon: int) -> Moments:
    """The forecasts of a fitted ETS."""
    end = fitted.nobs
    found = fitted.get_prediction(start=end, end=end + horizon - 1)
    return np.asarray(found.predicted_mean), np.sqrt(np.asarray(found.forecast_variance))


def arima(values: np.ndarray, covariates: np.ndarray | None, form: dict[str, Any]) -> Any:
    """Fit an ARIMA, whose errors are around a regression on the covariates if there are any."""
    from statsmodels.tsa.arima.model import ARIMA

    options = {name: option for name, option in form.items() if name != "covariates"}
    return ARIMA(values, exog=covariates, **options).fit()


def arima_moments(fitted: Any, horizon: int, covariates: np.ndarray | None) -> Moments:
    """The forecasts of a fitted ARIMA."""
    found = fitted.get_forecast(horizon, exog=covariates)
    return np.asarray(found.predicted_mean), np.asarray(found.se_mean)


def forecasters(
    data: Dataset, values: np.ndarray, covariates: np.ndarray | None
) -> dict[str, Callable[[int], Moments]]:
    """Functions from an origin to the forecasts of one series ``[T]``.

    Of the forms of ETS and ARIMA, those with the lowest corrected information criterion (AICc) on
    the data before the first origin are used.
    """
    horizon, season = data.horizon, data.season

    def known(form: dict[str, Any], part: slice) -> np.ndarray | None:
        use = covariates is not None and form.get("covariates", True)
        return covariates[part] if use else None  # type: ignore[index]

    def ets_form(form: dict[str, Any], end: int) -> Any:
        return ets(values[:end], season, form)

    def arima_form(form: dict[str, Any], end: int) -> Any:
        return arima(values[:end], known(form, slice(end)), form)

    best_ets = _lowest_aicc(ets_form, data.ets, data.first)
    best_arima = _lowest_aicc(arima_form, data.arima, data.first)
    return {
        "seasonal naive": lambda end: seasonal_naive(values[:end], season, horizon),
        "ETS": lambda end: ets_moments(ets_form(best_ets, end), horizon),
        "ARIMA": lambda end: arima_moments(
            arima_form(best_arima, end), horizon, known(best_arima, slice(end, end + horizon))
        ),
    }


def forecast_all(data: Dataset) -> Iterator[dict[str, Forecasts]]:
    """Forecast the compared series, one after the other.

    Yields:
      For each series, the forecasts ``[origins, ...]`` of each model.
    """
    for index in range(data.compared):
        covariates = None if data.covariates is None else data.covariates[index]
        # the matrices are small: more threads would wait for each other
        with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
            warnings.simplefilter("ignore")  # of fits that stop early, whose forecasts count
            models = forecasters(data, data.transformed[index], covariates)
            yield {name: _at_origins(data, model) for name, model in models.items()}


def _lowest_aicc(
    fit: Callable[[dict[str, Any], int], Any], forms: tuple[dict[str, Any], ...], end: int
) -> dict[str, Any]:
    return min(forms, key=lambda form: fit(form, end).aicc) if len(forms) > 1 else forms[0]


def _at_origins(data: Dataset, model: Callable[[int], Moments]) -> Forecasts:
    mean, deviation = zip(*map(model, data.origins), strict=True)
    return of_normal(data, np.stack(mean), np.stack(deviation))


def of_normal(data: Dataset, mean: np.ndarray, deviation: np.ndarray) -> Forecasts:
    """Draw from normal forecasts ``[windows, horizon]``, in the units that models read."""
    rng = np.random.default_rng(SAMPLES_SEED)
    noise = rng.normal(size=(len(mean), SAMPLES, data.horizon))
    return Forecasts(data.restore(mean), data.restore(mean[:, None] + deviation[:, None] * noise))
