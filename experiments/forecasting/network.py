"""The network, the training of all seeds at once, and its forecasts."""

import functools
import operator
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from experiments.cells import make_cell
from experiments.forecasting.config import Config
from experiments.forecasting.datasets import Dataset
from seqjax import Cell, Dropout, OutputProjection, unroll
from seqjax.data import Windows
from seqjax.data.windows import Scale
from seqjax.devices import split_leading_axis
from seqjax.forecasting import Gaussian, forecast, inputs_of, prime, repeat
from seqjax.losses import gaussian_loss
from seqjax.training import TrainState, init_train_state, train_steps
from seqjax.types import Array, Params

BLOCK = 40  # training steps per program, and between two validations
MAX_NORM = 1.0  # the maximum global norm of gradients
VALIDATION = 2  # horizons before the first origin
DISTRIBUTION = Gaussian()


class Examples(NamedTuple):
    """Windows.

    Attributes:
      values: ``float32[N, history + horizon, 1]``, scaled.
      covariates: ``float32[N, history + horizon, C]``, or None.
    """

    values: Array
    covariates: Array | None


class Parts(NamedTuple):
    """Windows for training, for the choice of the parameters, and of the forecasts.

    Attributes:
      train: those before the validation.
      validation: those whose horizons are the last ones before the first origin.
      test: a window for each series and origin.
      scale: that of the test windows, ``float64[N, 1]``.
    """

    train: Examples
    validation: Examples
    test: Examples
    scale: Scale


def split(data: Dataset) -> Parts:
    """Cut the series: all targets of one part lie after those of the part before."""
    kept = data.first - VALIDATION * data.horizon
    many = len(data.values) > 1  # then windows a stride apart are enough, and need less memory
    train, _ = _cut(data.windows(0, kept, data.stride if many else 1))
    validation, _ = _cut(data.windows(kept - data.history, data.first, data.horizon))
    end = data.values.shape[1]
    test, scale = _cut(data.windows(data.first - data.history, end, data.stride))
    return Parts(train, validation, test, scale)


def _cut(windows: Windows) -> tuple[Examples, Scale]:
    found = windows.arrays()
    values, covariates = found["values"], found.get("covariates")
    known = None if covariates is None else jnp.asarray(covariates, jnp.float32)
    examples = Examples(jnp.asarray(values, jnp.float32), known)
    return examples, Scale(found["center"], found["scale"])


def build_model(config: Config) -> Cell:
    """A cell with the mean and the logarithm of the deviation of the next value as its output."""
    cell = Dropout(make_cell(config.cell, config.units), output_rate=config.training.dropout)
    return OutputProjection(cell, DISTRIBUTION.output_size(1))


def mean_loss(
    model: Cell, params: Params, examples: Examples, first: int, key: Array | None
) -> Array:
    """The negative log-likelihood of the values from ``first`` on, each given all before it."""
    xs = inputs_of(examples.values, examples.covariates)
    _, outputs = unroll(model, params, xs, key=key, deterministic=key is None)
    mean, log_deviation = DISTRIBUTION.split(outputs[:, first - 1 :])
    return gaussian_loss(mean, log_deviation, examples.values[:, first:])


def train(
    config: Config, data: Dataset, model: Cell, parts: Parts
) -> Iterator[tuple[int, np.ndarray, np.ndarray, Params]]:
    """Train all seeds in one program.

    Yields:
      After each block of steps, the number of steps taken, the training losses ``[seeds]``, the
      validation losses ``[seeds]``, and the parameters with the lowest validation loss so far, with
      a leading axis of seeds.
    """
    schedule = optax.cosine_decay_schedule(config.training.learning_rate, config.training.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(MAX_NORM), optax.adam(schedule))
    count = len(parts.train.values)

    @jax.jit
    @jax.vmap
    def start(key: Array) -> TrainState:
        xs = inputs_of(*parts.train)
        return init_train_state(model.init(key, xs.shape[-1]), optimizer, None)

    @functools.partial(jax.jit, static_argnames="steps")
    def block(
        states: TrainState, keys: Array, first: int, steps: int, examples: Examples
    ) -> tuple[TrainState, Array]:
        def loss_fn(params: Params, carry: None, key: Array) -> tuple[Array, None]:
            rows_key, noise_key = jax.random.split(key)
            rows = jax.random.randint(rows_key, (config.batch_size,), 0, count, jnp.int32)
            batch = jax.tree.map(lambda array: array[rows], examples)
            return mean_loss(model, params, batch, 1, noise_key), carry

        def of_seed(state: TrainState, key: Array) -> tuple[TrainState, Array]:
            step_keys = jax.random.split(jax.random.fold_in(key, first), steps)
            return train_steps(loss_fn, optimizer, state, step_keys)

        return jax.vmap(of_seed)(states, keys)

    @jax.jit
    def validate(params: Params, examples: Examples) -> Array:
        return jax.vmap(lambda one: mean_loss(model, one, examples, data.history, None))(params)

    @jax.jit
    def better(new: Array, least: Array, params: Params, best: Params) -> Params:
        def one(a: Array, b: Array) -> Array:
            return jnp.where((new < least).reshape(-1, *[1] * (a.ndim - 1)), a, b)

        return jax.tree.map(one, params, best)

    keys = split_leading_axis(_seed_keys(config))
    states = split_leading_axis(start(keys[:, 0]))
    everywhere = NamedSharding(keys.sharding.mesh, PartitionSpec())
    known, held_out = jax.device_put((parts.train, parts.validation), everywhere)
    least, best = jnp.full(config.seeds, jnp.inf, jnp.float32), states.params
    for first in range(0, config.training.steps, BLOCK):
        steps = min(BLOCK, config.training.steps - first)
        states, losses = block(states, keys[:, 1], first, steps, known)
        validation = validate(states.params, held_out)
        best = better(validation, least, states.params, best)
        least = jnp.minimum(validation, least)
        yield first + steps, np.asarray(losses).mean(1), np.asarray(validation), best


class Forecasts(NamedTuple):
    """Forecasts in the units of the values.

    Attributes:
      median: ``float64[..., windows, horizon]``.
      samples: ``float64[..., windows, N, horizon]``.
    """

    median: np.ndarray
    samples: np.ndarray


def predict(config: Config, data: Dataset, model: Cell, params: Params, parts: Parts) -> Forecasts:
    """Forecast the test windows with all seeds, ``[seeds, windows, ...]``.

    The median is the mean that is fed back, which is exact for a linear model, in the units that
    the model reads.
    """

    @jax.jit
    def means_and_paths(params: Params, key: Array, examples: Examples) -> tuple[Array, Array]:
        history = jax.tree.map(lambda a: a[:, : data.history], examples)
        known = jax.tree.map(lambda a: a[:, data.history :], examples.covariates)
        start = prime(model, params, history.values, covariates=history.covariates)
        many = repeat(start, config.paths)
        run = functools.partial(forecast, model, params, covariates=known)
        _, means = run(start, data.horizon, DISTRIBUTION)
        _, paths = run(many, data.horizon, DISTRIBUTION, key=key)
        return means[..., 0], paths[..., 0]

    found = [
        means_and_paths(jax.tree.map(operator.itemgetter(n), params), key, parts.test)
        for n, key in enumerate(_seed_keys(config)[:, 2])
    ]
    center, scale = parts.scale
    means = np.stack([np.asarray(one, np.float64) for one, _ in found]) * scale + center
    paths = np.stack([np.asarray(one, np.float64) for _, one in found])
    paths = paths * scale[:, None] + center[:, None]
    return Forecasts(data.restore(means), data.restore(paths))


def _seed_keys(config: Config) -> Array:
    """Keys ``[seeds, 3]`` for parameters, training and paths."""
    return jax.random.split(jax.random.key(config.seed), (config.seeds, 3))
