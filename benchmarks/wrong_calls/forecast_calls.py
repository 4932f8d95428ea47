"""Valid calls of windows and forecasts."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import seqjax
from benchmarks.wrong_calls.accepts import between, floats, is_integer, is_key, like, optional
from benchmarks.wrong_calls.example import Argument, Example, of
from seqjax import forecasting
from seqjax.data import windows


def forecast_examples() -> Iterator[Example]:
    """Windows of series, and the closed loop."""
    series = [np.arange(9.0), np.arange(7.0)]
    positive = between(1, 2, is_integer)
    yield of(
        "data.Windows",
        windows.Windows,
        series=Argument(series, _is_series),
        history=Argument(2, positive),
        horizon=Argument(1, positive),
        stride=3,
        scaling=Argument(windows.mean_absolute, lambda v: v is None or callable(v)),
        covariates=Argument(series, lambda v: v is None or _is_series(v)),
    )
    for scaling in (windows.mean_absolute, windows.mean_and_deviation):
        history = np.arange(6.0).reshape(3, 2)
        yield of(scaling.__name__, scaling, history=Argument(history, _is_history))
    model = seqjax.OutputProjection(seqjax.GRU(4), 2)
    params = model.init(jax.random.key(0), 3)
    of_model: dict[str, Any] = {"model": model, "params": Argument(params, like(params))}
    values = jnp.full((2, 5, 1), 0.5, jnp.float32)
    known = jnp.full((2, 5, 2), 0.5, jnp.float32)
    start = forecasting.prime(model, params, values, covariates=known)
    given = Argument(values, like(values))
    beside = Argument(known, like(known))
    lengths = np.array([5, 2])
    gaussian = forecasting.Gaussian()
    yield of("forecasting.Gaussian", forecasting.Gaussian)
    yield of("forecasting.Deterministic", forecasting.Deterministic)
    yield of(
        "inputs_of",
        forecasting.inputs_of,
        values=Argument(values, _is_values),
        covariates=Argument(known, optional(_is_values)),
    )
    yield of(
        "forecasting.prime",
        forecasting.prime,
        **of_model,
        history=given,
        lengths=Argument(lengths, optional(like(lengths, 1, 5))),
        covariates=beside,
    )
    yield of(
        "repeat",
        forecasting.repeat,
        start=Argument(start, _is_start),
        paths=Argument(3, between(1, 2**31 - 1, is_integer)),
    )
    yield of(
        "forecast",
        forecasting.forecast,
        **of_model,
        start=Argument(start, like(start)),
        horizon=Argument(5, lambda v: v == 5),
        distribution=Argument(gaussian, lambda v: isinstance(v, forecasting.Distribution)),
        covariates=Argument(known, lambda v: like(known)(v) or like(known[0])(v)),
        key=Argument(jax.random.key(0), optional(is_key)),
    )


def _is_series(value: Any) -> bool:
    """Whether ``value`` is two floating series of one feature, of 9 and 7 steps."""
    return isinstance(value, list | tuple) and [np.shape(one) for one in value] == [(9,), (7,)]


def _is_history(value: Any) -> bool:
    return floats(None, None)(value) and np.ndim(value) == 2 and len(value) > 0


def _is_values(value: Any) -> bool:
    """Whether ``value`` is floating ``[2, 5, D]``."""
    return floats(2, 5, None)(value) and np.ndim(value) == 3 and np.shape(value)[-1] > 0


def _is_start(value: Any) -> bool:
    """Whether ``value`` is a start of any number of rows."""
    return isinstance(value, forecasting.Forecast) and np.ndim(value.last) > 0
