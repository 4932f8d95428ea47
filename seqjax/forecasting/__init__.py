"""Forecasts of real values: a model reads a history, and then its own means or samples.

A model reads the value of the last step, followed by the covariates of the step to forecast. Its
output describes the distribution of that step's value::

    inputs[t] = [values[t], covariates[t + 1]]        outputs[t] -> values[t + 1]

`inputs_of` makes the inputs of a whole window, for training. In a forecast, a value that is not
known is replaced by the mean of its distribution or by a draw from it.

>>> import jax, seqjax
>>> import jax.numpy as jnp
>>> model = seqjax.OutputProjection(seqjax.GRU(8), Gaussian().output_size(1))
>>> params = model.init(jax.random.key(0), input_size=1)
>>> history = jnp.ones((3, 20, 1), jnp.float32)
>>> start = prime(model, params, history)
>>> _, means = forecast(model, params, start, 12, Gaussian())
>>> _, paths = forecast(model, params, repeat(start, 100), 12, Gaussian(), key=jax.random.key(1))
>>> means.shape, paths.shape
((3, 12, 1), (3, 100, 12, 1))
>>> low, high = jnp.quantile(paths, jnp.array([0.1, 0.9], jnp.float32), axis=1)  # 80% interval
"""

from seqjax.forecasting.closed_loop import Forecast, forecast, inputs_of, prime, repeat
from seqjax.forecasting.distributions import Deterministic, Distribution, Gaussian

__all__ = [
    "Deterministic",
    "Distribution",
    "Forecast",
    "Gaussian",
    "forecast",
    "inputs_of",
    "prime",
    "repeat",
]
