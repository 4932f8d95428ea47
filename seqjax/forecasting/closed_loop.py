"""The loop that feeds forecasts back to the model, in one program."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import as_arrays, as_int32, as_params, given_array, is_known
from seqjax.checks import check_count, check_key, check_size, describe_type
from seqjax.engine.step import step
from seqjax.engine.unroll import unroll
from seqjax.engine.validation import (
    check_can_step,
    check_cell,
    check_params,
    check_state,
    state_dtype,
)
from seqjax.forecasting.distributions import Distribution
from seqjax.types import Array, Cell, Params, State


class Forecast(NamedTuple):
    """The state of a forecast, from which the next step is forecast.

    Attributes:
      state: the state of the model, arrays ``[B, ...]``. The model has not read ``last`` yet.
      last: the value of the last step, ``[B, D]``.
      position: the number of steps forecast so far, ``int32[]``.
    """

    state: State
    last: Array
    position: Array


def inputs_of(values: Array, covariates: Array | None = None) -> Array:
    """The inputs of a model, which forecasts each value from those before it.

    The targets of the outputs are ``values[..., 1:, :]``.

    Args:
      values: floating ``[B, T, D]``, with any number of batch axes.
      covariates: floating ``[B, T, C]``, known ahead; None for none.

    Returns:
      ``[B, T - 1, D + C]``: the values but the last, and the covariates but the first.

    Raises:
      ValueError: an argument has another shape or dtype.

    >>> print(inputs_of(jnp.array([[1.0], [2.0], [3.0]]), jnp.array([[0.1], [0.2], [0.3]])))
    [[1.  0.2]
     [2.  0.3]]
    """
    values = _floating("values", values, "[B, T, D]")
    if not values.shape[-2]:
        raise ValueError(f"values must have at least one step, got shape {list(values.shape)}")
    if covariates is None:
        return values[..., :-1, :]
    covariates = _floating("covariates", covariates, "[B, T, C]")
    if covariates.shape[:-1] != values.shape[:-1]:
        raise ValueError(
            f"covariates must be {[*values.shape[:-1], 'C']}, one vector for each step of the "
            f"values, got shape {list(covariates.shape)}"
        )
    parts = [values[..., :-1, :], covariates[..., 1:, :].astype(values.dtype)]
    return jnp.concatenate(parts, axis=-1)


def prime(
    model: Cell,
    params: Params,
    history: Array,
    *,
    lengths: Array | None = None,
    covariates: Array | None = None,
) -> Forecast:
    """Run a model over histories, to start a forecast.

    Noisy layers run in evaluation mode, here and in `forecast`.

    Args:
      model: a cell that reads vectors of D + C features, such as an `OutputProjection`.
      params: the parameters of the model.
      history: floating ``[B, T, D]``, with any number of batch axes.
      lengths: ``int[B]`` in ``[1, T]``, the number of known values of each row; defaults to T.
        Values past it have no effect.
      covariates: floating ``[B, T, C]``, those of the history; None for none.

    Returns:
      The `Forecast` after the last value of each history.

    Raises:
      ValueError: ``model`` cannot run step by step, or the arguments do not fit together. The
        values of lengths are checked outside of `jax.jit` only.

    >>> import seqjax
    >>> model = seqjax.OutputProjection(seqjax.GRU(4), 2)
    >>> params = model.init(jax.random.key(0), input_size=1)
    >>> start = prime(model, params, jnp.ones((2, 9, 1), jnp.float32), lengths=jnp.array([9, 4]))
    >>> start.last.shape
    (2, 1)
    """
    params = _check_model(model, params)
    history = _floating("history", history, "[B, T, D]")
    xs = inputs_of(history, covariates)
    features, size = history.shape[-1], model.input_size(params)
    if xs.shape[-1] != size:
        raise ValueError(
            f"{model} reads {size} features with these params, but the history has {features} and "
            f"the covariates have {xs.shape[-1] - features}"
        )
    model.leading_shape(params, xs)
    history = history.astype(state_dtype(model, params, xs))
    position = jnp.zeros((), jnp.int32)
    if lengths is None:
        state, _ = unroll(model, params, xs, deterministic=True)
        return Forecast(state, history[..., -1, :], position)
    before = _check_lengths(lengths, history.shape) - 1
    state, _ = unroll(model, params, xs, lengths=before, deterministic=True)
    last = jnp.take_along_axis(history, before[..., None, None], axis=-2)[..., 0, :]
    return Forecast(state, last, position)


def repeat(start: Forecast, paths: int) -> Forecast:
    """Repeat each row of a forecast, to draw many paths from it.

    Args:
      start: a forecast of rows ``[B]``.
      paths: the number of paths N of each row.

    Returns:
      A forecast of rows ``[B, N]``.

    Raises:
      ValueError: ``start`` is not a `Forecast`, or ``paths`` is not a whole number of at least 1.

    >>> start = Forecast(jnp.zeros((2, 4)), jnp.zeros((2, 1)), jnp.zeros((), jnp.int32))
    >>> repeat(start, 100).last.shape
    (2, 100, 1)
    """
    start = _check_forecast(start)
    check_size("repeat", "paths", paths)
    axis = start.last.ndim - 1

    def one(array: Array) -> Array:
        return jnp.repeat(jnp.expand_dims(array, axis), paths, axis)

    return Forecast(jax.tree.map(one, start.state), one(start.last), start.position)


def forecast(
    model: Cell,
    params: Params,
    start: Forecast,
    horizon: int,
    distribution: Distribution,
    *,
    covariates: Array | None = None,
    key: Array | None = None,
) -> tuple[Forecast, Array]:
    """Forecast the next ``horizon`` steps in one program.

    Without a key, the mean of each step is the next value that the model reads. With a key, it is a
    draw: each row then is a path from the joint distribution of all steps. For many paths of each
    row, pass ``repeat(start, paths)``.

    The randomness of a value depends only on the key, its row and its position. So 10 steps
    followed by 20 more, with the same key, equal 30 steps in one call.

    Args:
      model: as in `prime`, with an output of ``distribution.output_size(D)`` features.
      params: the parameters of the model.
      start: from `prime`, from `repeat`, or from the previous call.
      horizon: the number of steps, 0 or more. Each horizon compiles a separate program.
      distribution: how the output describes the next value, such as `Gaussian`.
      covariates: floating ``[B, horizon, C]``, those of the steps to forecast; None for none. The
        last axes of B may be left out, such as that of the paths of `repeat`, if all of their rows
        have the same covariates.
      key: a key from `jax.random.key` to draw values; None for means.

    Returns:
      ``(forecast, values)``: the forecast after the last step, and the means or the draws
      ``[B, horizon, D]``.

    Raises:
      ValueError: the arguments do not fit together.

    >>> import seqjax
    >>> model = seqjax.OutputProjection(seqjax.GRU(4), 2)
    >>> params = model.init(jax.random.key(0), input_size=1)
    >>> start = prime(model, params, jnp.ones((2, 9, 1), jnp.float32))
    >>> from seqjax.forecasting import Gaussian
    >>> end, means = forecast(model, params, start, 5, Gaussian())
    >>> means.shape
    (2, 5, 1)
    """
    params = _check_model(model, params)
    start = _check_forecast(start)
    check_count("forecast", "horizon", horizon)
    if key is not None:
        check_key(key)
    if not isinstance(distribution, Distribution):
        raise ValueError(
            f"distribution must be a Distribution, such as Gaussian(), got {distribution!r}"
        )
    *rows, features = start.last.shape
    outputs = distribution.output_size(features)
    if model.output_size != outputs:
        raise ValueError(
            f"{distribution} describes {features} features by {outputs} outputs, but the output of "
            f"{model} has size {model.output_size}; wrap the cell in OutputProjection(cell, "
            f"{outputs})"
        )
    size = model.input_size(params)
    dtype = state_dtype(model, params, jax.ShapeDtypeStruct((1, size), start.last.dtype))
    if start.last.dtype != dtype:
        raise ValueError(
            f"the last value of start must be {dtype}, the dtype of the state, got "
            f"{start.last.dtype}; call prime with these params"
        )
    check_state(model, params, start.state, tuple(rows), dtype, "the state of start")
    known = _check_covariates(covariates, (*rows, int(horizon), size - features), dtype)
    return _forecast(model, params, start, int(horizon), distribution, known, key)


@functools.partial(jax.jit, static_argnames=("model", "horizon", "distribution"))
def _forecast(
    model: Cell,
    params: Params,
    start: Forecast,
    horizon: int,
    distribution: Distribution,
    covariates: Array | None,
    key: Array | None,
) -> tuple[Forecast, Array]:
    def one(forecast: Forecast, known: Array | None) -> tuple[Forecast, Array]:
        state, last, position = forecast
        x = last
        if known is not None:
            known = jnp.broadcast_to(known, (*last.shape[:-1], known.shape[-1]))
            x = jnp.concatenate([last, known], -1)
        state, outputs = step(model, params, state, x, deterministic=True)
        if key is None:
            value = distribution.mean(outputs)
        else:
            value = distribution.sample(jax.random.fold_in(key, position), outputs)
        if value.shape != last.shape or value.dtype != last.dtype:
            raise ValueError(
                f"{distribution} must give the next value as {last.dtype}{list(last.shape)}, got "
                f"{value.dtype}{list(value.shape)}"
            )
        return Forecast(state, value, position + 1), value

    end, values = jax.lax.scan(one, start, covariates, length=horizon)
    return end, jnp.moveaxis(values, 0, -2)


def _check_model(model: Any, params: Any) -> Params:
    """Return ``params`` as arrays, after checking that ``model`` steps from vectors to vectors."""
    check_cell(model)
    check_can_step(model)
    params = as_params(params)
    check_params(model, params)
    sizes = model.input_size(params), model.output_size
    if any(isinstance(size, tuple) for size in sizes):
        raise ValueError(
            f"a model of forecasts must map vectors to vectors, but {model} maps features of shape "
            f"{sizes[0]} to {sizes[1]}"
        )
    return params


def _check_forecast(start: Any) -> Forecast:
    """Check that ``start`` is a `Forecast`; return arrays."""
    if not isinstance(start, Forecast):
        raise ValueError(
            f"start must be a Forecast from seqjax.forecasting.prime, got {describe_type(start)}"
        )
    start = Forecast(*as_arrays("start", tuple(start)))
    for name, part in (("last", start.last), ("position", start.position)):
        if not isinstance(part, jax.Array):
            raise ValueError(f"the {name} of start must be an array, got {part!r}")
    if not start.last.ndim or not jnp.issubdtype(start.last.dtype, jnp.floating):
        raise ValueError(
            f"the last value of start must be floating [B, D], got {start.last.dtype}"
            f"{list(start.last.shape)}"
        )
    if start.position.shape != () or start.position.dtype != jnp.int32:
        raise ValueError(
            "the position of start must be int32[], got "
            f"{start.position.dtype}{list(start.position.shape)}"
        )
    return start


def _check_lengths(lengths: Any, shape: tuple[int, ...]) -> Array:
    """Return ``int32[B]`` for a history of ``shape``."""
    lengths = given_array("lengths", lengths)
    if lengths.shape != shape[:-2] or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(
            f"lengths must be integers of shape {shape[:-2]}, the batch axes of the history, got "
            f"{lengths.dtype} of shape {lengths.shape}"
        )
    if is_known(lengths):
        host = np.asarray(lengths)
        if ((host < 1) | (host > shape[-2])).any():
            raise ValueError(
                f"lengths must lie in [1, {shape[-2]}], the steps of the history, got {host.min()} "
                f"to {host.max()}"
            )
    return as_int32(lengths)


def _check_covariates(covariates: Any, shape: tuple[int, ...], dtype: Any) -> Array | None:
    """Return covariates as ``[horizon, B, C]``, where an axis of paths may have size 1."""
    *rows, horizon, count = shape
    if covariates is None:
        if count == 0:
            return None
        raise ValueError(
            f"the model reads {count} features beside the last value; give covariates {list(shape)}"
        )
    given = _floating("covariates", covariates, "[B, horizon, C]")
    *leading, steps, features = given.shape
    if leading != rows[: len(leading)] or (steps, features) != (horizon, count) or not count:
        raise ValueError(
            f"covariates must be {list(shape)} for this model, start and horizon, got shape "
            f"{list(given.shape)}"
        )
    leading += [1] * (len(rows) - len(leading))
    return jnp.moveaxis(given.astype(dtype), -2, 0).reshape(horizon, *leading, count)


def _floating(name: str, value: Any, shape: str) -> Array:
    """Return a floating array with a time axis and at least one feature."""
    if not isinstance(value, jax.Array | np.ndarray):
        raise ValueError(f"{name} must be an array {shape}, got {describe_type(value)}")
    floating = jnp.issubdtype(value.dtype, jnp.floating)
    if value.ndim < 2 or not floating or not value.shape[-1]:
        raise ValueError(
            f"{name} must be floating {shape}, got {value.dtype} of shape {list(value.shape)}"
        )
    return jnp.asarray(value)
