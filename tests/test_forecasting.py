"""Forecasts: against a plain loop, and independent of padding, batches and cuts into calls."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import (
    GRU,
    LSTM,
    Bidirectional,
    ConvLSTM,
    Dropout,
    IndRNN,
    LearnedState,
    OutputProjection,
    PhasedLSTM,
    Stack,
    step,
)
from seqjax.forecasting import (
    Deterministic,
    Distribution,
    Forecast,
    Gaussian,
    forecast,
    inputs_of,
    prime,
    repeat,
)
from seqjax.forecasting.closed_loop import _forecast
from tests.drawn import params_of

D, C, B, T, HORIZON = 2, 3, 2, 7, 4
MODEL = OutputProjection(Stack([LSTM(5), Dropout(GRU(4), 0.5)]), 2 * D)
PARAMS = params_of(MODEL, D + C)
KEY = jax.random.key(3)
RNG = np.random.default_rng(0)
HISTORY = RNG.normal(size=(B, T, D))
BEFORE, AFTER = RNG.normal(size=(B, T, C)), RNG.normal(size=(B, HORIZON, C))
START = prime(MODEL, PARAMS, HISTORY, covariates=BEFORE)


def plain(model, params, history, covariates, horizon, choose):
    """One row, one step at a time; ``covariates`` are those of the history and of the horizon."""
    state, values = None, [*history]
    for t in range(len(history) + horizon - 1):
        x = np.concatenate([values[t], covariates[t + 1]])
        state, output = step(model, params, state, x, deterministic=True)
        if t + 1 == len(values):
            values.append(choose(np.asarray(output), len(values) - len(history)))
    return np.array(values[len(history) :])


@pytest.mark.parametrize("drawn", [False, True])
def test_a_forecast_is_a_plain_loop_for_each_row(drawn):
    key = KEY if drawn else None
    _, values = forecast(MODEL, PARAMS, START, HORIZON, Gaussian(), covariates=AFTER, key=key)
    for row in range(B):

        def choose(output, n, row=row):
            noise = jax.random.normal(jax.random.fold_in(KEY, n), (B, D), jnp.float64)[row]
            return output[:D] + drawn * np.exp(output[D:]) * np.asarray(noise)

        covariates = np.concatenate([BEFORE[row], AFTER[row]])
        expected = plain(MODEL, PARAMS, HISTORY[row], covariates, HORIZON, choose)
        np.testing.assert_allclose(values[row], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("cell", [LearnedState(GRU(3)), IndRNN(3)], ids=lambda c: type(c).__name__)
def test_any_cell_forecasts_without_covariates_and_without_a_batch(cell):
    model = OutputProjection(cell, 1)
    params = model.init(jax.random.key(1), 1, jnp.float64)
    history = RNG.normal(size=(5, 1))
    _, values = forecast(model, params, prime(model, params, history), 3, Deterministic())
    expected = plain(model, params, history, np.zeros((8, 0)), 3, lambda output, n: output)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-10)


def test_padding_has_no_effect_and_each_row_starts_at_its_own_length():
    lengths = np.array([7, 1])
    past = np.arange(T) >= lengths[:, None]
    dirty, covariates = (np.where(past[..., None], np.nan, a) for a in (HISTORY, BEFORE))
    start = prime(MODEL, PARAMS, dirty, lengths=lengths, covariates=covariates)
    for row, length in enumerate(lengths):
        known = {"covariates": BEFORE[row, :length]}
        alone = prime(MODEL, PARAMS, HISTORY[row, :length], **known)
        for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(start), strict=True):
            np.testing.assert_allclose(a, b[row] if b.ndim else b, rtol=0, atol=1e-12)


def test_calls_in_parts_equal_one_call_and_compile_once_for_each_horizon():
    _, whole = forecast(MODEL, PARAMS, START, 4, Gaussian(), covariates=AFTER, key=KEY)
    before = _forecast._cache_size()
    middle, parts = START, []
    for first in (0, 2):
        known = AFTER[:, first : first + 2]
        middle, part = forecast(MODEL, PARAMS, middle, 2, Gaussian(), covariates=known, key=KEY)
        parts.append(part)
    np.testing.assert_array_equal(jnp.concatenate(parts, 1), whole)
    assert _forecast._cache_size() == before + 1
    assert int(middle.position) == 4


def test_paths_of_a_row_are_draws_from_its_forecast():
    """An autoregression whose forecasts are known: ``y' = a * y`` plus noise of deviation 0.5."""
    model = OutputProjection(IndRNN(1, activation=lambda h: h), 2)
    params = model.init(jax.random.key(0), 1)
    a, deviation = 0.8, 0.5
    cell = jax.tree.map(jnp.ones_like, params.cell)._replace(
        recurrent_kernel=jnp.zeros_like(params.cell.recurrent_kernel),
        bias=jnp.zeros_like(params.cell.bias),
    )
    kernel, bias = jnp.array([[a, 0.0]], jnp.float32), jnp.array([0, np.log(deviation)])
    params = params._replace(cell=cell, kernel=kernel, bias=bias.astype(jnp.float32))
    start = prime(model, params, np.array([[[3.0], [1.0]], [[0.0], [-2.0]]], np.float32))
    _, means = forecast(model, params, start, 3, Gaussian())
    expected = np.array([[1.0], [-2.0]]) * a ** np.arange(1, 4)
    np.testing.assert_allclose(means[..., 0], expected, rtol=1e-5)
    _, paths = forecast(model, params, repeat(start, 20_000), 3, Gaussian(), key=KEY)
    assert paths.shape == (2, 20_000, 3, 1)
    np.testing.assert_allclose(paths.mean(1)[..., 0], expected, atol=0.03)
    deviations = deviation * np.sqrt(np.cumsum(a ** (2 * np.arange(3))))
    np.testing.assert_allclose(paths.std(1)[..., 0], [deviations] * 2, rtol=0.03)


def test_covariates_are_shared_by_the_paths_of_a_row():
    start = repeat(START, 3)
    _, means = forecast(MODEL, PARAMS, START, HORIZON, Gaussian(), covariates=AFTER)
    for known in (AFTER, np.repeat(AFTER[:, None], 3, 1)):
        _, paths = forecast(MODEL, PARAMS, start, HORIZON, Gaussian(), covariates=known)
        np.testing.assert_allclose(paths, np.repeat(means[:, None], 3, 1), atol=1e-12)


def test_vmap_equals_a_batch_and_jit_equals_a_call():
    def run(history, before, after):
        start = prime(MODEL, PARAMS, history, covariates=before)
        return forecast(MODEL, PARAMS, start, HORIZON, Gaussian(), covariates=after)[1]

    batch = run(HISTORY, BEFORE, AFTER)
    given = (*map(jnp.asarray, (HISTORY, BEFORE, AFTER)),)
    np.testing.assert_allclose(jax.vmap(run)(*given), batch, atol=1e-12)
    np.testing.assert_allclose(jax.jit(run)(*given), batch, atol=1e-12)


def test_half_precision_and_no_steps_at_all():
    model = OutputProjection(GRU(3), 2)
    params = model.init(jax.random.key(0), 1)
    with jax.numpy_dtype_promotion("standard"):
        start = prime(model, params, jnp.ones((2, 3, 1), jnp.bfloat16))
    assert start.last.dtype == jnp.float32
    end, values = forecast(model, params, start, 0, Gaussian())
    assert values.shape == (2, 0, 1)
    np.testing.assert_array_equal(end.last, start.last)


BOTH = Bidirectional(GRU(2), GRU(2))
IMAGES = ConvLSTM((4, 4, 1), 2, (3, 3))
TIMED = OutputProjection(PhasedLSTM(2), 2)


def params_of(model, size=D + C):
    return model.init(jax.random.key(0), size, jnp.float64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": BOTH, "params": params_of(BOTH)}, "reads a sequence from both ends"),
        ({"model": IMAGES, "params": params_of(IMAGES, (4, 4, 1))}, "must map vectors to vectors"),
        ({"params": PARAMS.cell}, "params must have the structure"),
        ({"history": HISTORY[..., :1]}, "reads 5 features .* has 1 and the covariates have 3"),
        ({"history": HISTORY[:, :0], "covariates": BEFORE[:, :0]}, "at least one step"),
        ({"history": HISTORY[0, 0]}, r"history must be floating \[B, T, D\], got float64"),
        ({"history": HISTORY.astype(int)}, r"history must be floating \[B, T, D\], got int64"),
        ({"covariates": None}, "has 2 and the covariates have 0"),
        ({"covariates": BEFORE[:, 1:]}, r"covariates must be \[2, 7, 'C'\], one vector for each"),
        ({"lengths": np.array([0, 3])}, r"lengths must lie in \[1, 7\], .* got 0 to 3"),
        ({"lengths": np.array([3])}, r"lengths must be integers of shape \(2,\)"),
        ({"lengths": np.array([3.0, 2.0])}, "lengths must be integers"),
    ],
)
def test_a_prime_that_cannot_be_is_a_value_error(changes, message):
    given = {"model": MODEL, "params": PARAMS, "history": HISTORY, "covariates": BEFORE}
    with pytest.raises(ValueError, match=message):
        prime(**given | changes)


@dataclasses.dataclass(frozen=True)
class Sums(Distribution):
    """One number for all features."""

    def output_size(self, size):
        return 2 * size

    def mean(self, outputs):
        return outputs.sum(-1, keepdims=True)

    def sample(self, key, outputs):
        return self.mean(outputs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": None}, "a Forecast from seqjax.forecasting.prime, got a NoneType"),
        ({"start": START._replace(last=3.0)}, r"last value of start must be floating \[B, D\]"),
        ({"start": START._replace(position=1.0)}, r"position of start must be int32\[\], got"),
        ({"start": START._replace(state=None)}, "the state of start must have the structure"),
        ({"start": repeat(START, 2)._replace(state=START.state)}, "the state of start"),
        ({"horizon": -1}, "horizon must be a whole number of at least 0, got -1"),
        ({"horizon": 3}, r"covariates must be \[2, 3, 3\] for this model, start and horizon"),
        (
            {"distribution": "gaussian"},
            r"distribution must be a Distribution, such as Gaussian\(\)",
        ),
        ({"distribution": Deterministic()}, "by 2 outputs, but the output of .* has size 4; wrap"),
        (
            {"distribution": Sums()},
            r"must give the next value as float64\[2, 2\], got float64\[2, 1",
        ),
        ({"covariates": None}, r"reads 3 features beside .*; give covariates \[2, 4, 3\]"),
        ({"covariates": AFTER[:1]}, r"covariates must be \[2, 4, 3\] .* got shape \[1, 4, 3\]"),
        ({"key": 0}, "key must be one key"),
    ],
)
def test_a_forecast_that_cannot_be_is_a_value_error(changes, message):
    given = {"model": MODEL, "params": PARAMS, "start": START, "horizon": HORIZON}
    given |= {"distribution": Gaussian(), "covariates": AFTER}
    with pytest.raises(ValueError, match=message):
        forecast(**given | changes)


def test_a_start_of_another_dtype_is_a_value_error():
    start = START._replace(last=START.last.astype(jnp.float32))
    message = "last value of start must be float64, the dtype of the state, got float32; call prime"
    with jax.numpy_dtype_promotion("standard"), pytest.raises(ValueError, match=message):
        forecast(MODEL, PARAMS, start, HORIZON, Gaussian(), covariates=AFTER)


def test_covariates_that_a_model_does_not_read_are_refused():
    model = OutputProjection(GRU(3), 2)
    params = model.init(jax.random.key(0), 1)
    start = prime(model, params, np.ones((2, 3, 1), np.float32))
    with pytest.raises(ValueError, match=r"covariates must be \[2, 4, 0\]"):
        forecast(model, params, start, 4, Gaussian(), covariates=AFTER)
    with pytest.raises(ValueError, match="TimedInputs"):
        prime(TIMED, TIMED.init(jax.random.key(0), 1), np.ones((2, 3, 1), np.float32))
    with pytest.raises(ValueError, match="paths must be a whole number"):
        repeat(start, 0)


def test_inputs_hold_each_value_beside_the_next_covariates():
    xs = inputs_of(HISTORY, BEFORE)
    np.testing.assert_array_equal(xs[..., :D], HISTORY[:, :-1])
    np.testing.assert_array_equal(xs[..., D:], BEFORE[:, 1:])
    assert isinstance(START, Forecast)
