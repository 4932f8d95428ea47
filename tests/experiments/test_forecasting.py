"""The experiment: exact errors, scores in closed form, windows that do not look ahead, a run."""

import dataclasses
import functools
import json
import math
import sys

import jax
import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from experiments.forecasting import datasets, experiment
from experiments.forecasting.baselines import seasonal_naive
from experiments.forecasting.config import Config
from experiments.forecasting.datasets import Dataset
from experiments.forecasting.experiment import best_forecasts
from experiments.forecasting.metrics import covered, crps, naive_error
from experiments.forecasting.network import Forecasts, build_model, mean_loss, predict, split
from experiments.forecasting.process import Process
from experiments.forecasting.report import (
    BEST,
    NETWORK,
    TOGETHER,
    Outcome,
    Simulated,
    result_table,
    scores_of,
    together,
    verdict,
)
from seqjax.data.windows import mean_and_deviation

RNG = np.random.default_rng(0)


def small(**changes):
    """Two simulated series of 80 steps, with forecasts of 4 steps from 3 origins."""
    process = Process()
    values, covariates = process.sample(np.random.default_rng(1), 2, 80)
    data = Dataset(
        "two series", values, covariates, season=12, history=8, horizon=4, first=70, stride=3,
        compared=2, process=process,
    )  # fmt: skip
    return dataclasses.replace(data, **changes)


def test_the_error_of_the_best_forecast_is_that_of_many_draws():
    process, horizon = Process(), 6
    values, covariates = process.sample(np.random.default_rng(0), 20_000, 10 + horizon)
    forecasts = process.best_forecast(values[:, :10], covariates)
    found = np.sqrt(np.square(forecasts - values[:, 10:]).mean(0))
    np.testing.assert_allclose(found, process.errors(horizon), rtol=0.02)
    # no linear forecast from all values before is better than the best one
    before = values[:10_000, :10] - process.known_part(covariates[:10_000, :10])
    after = values[:10_000, 12] - process.known_part(covariates[:10_000, 12])
    weights, *_ = np.linalg.lstsq(before, after, rcond=None)
    assert np.sqrt(np.square(before @ weights - after).mean()) == pytest.approx(
        process.errors(3)[2], rel=0.02
    )


def test_the_crps_of_samples_is_the_closed_form_of_the_normal_distribution():
    mean, deviation, values = np.array([0.0, 1.0]), np.array([1.0, 3.0]), np.array([0.7, -4.0])
    z = (values - mean) / deviation
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    expected = deviation * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))
    samples = mean + deviation * RNG.normal(size=(40_000, 2))
    np.testing.assert_allclose(crps(samples, values), expected, rtol=0.02)
    few = samples[:39_996].reshape(-1, 3, 2)  # without bias at any number of samples
    np.testing.assert_allclose(crps(few, values).mean(0), expected, rtol=0.02)


def test_the_interval_covers_its_share_even_with_few_samples():
    samples, values = RNG.normal(size=(20_000, 19, 1)), RNG.normal(size=(20_000, 1))
    assert covered(samples, values).mean() == pytest.approx(0.8, abs=0.01)
    assert covered(samples, values, 0.5).mean() == pytest.approx(0.5, abs=0.01)


def test_the_seasonal_naive_forecast_repeats_the_last_season_and_its_error_grows():
    values = np.arange(8.0) + np.tile([0.0, 5.0], 4)
    mean, deviation = seasonal_naive(values, 2, 5)
    np.testing.assert_array_equal(mean, [6, 12, 6, 12, 6])
    np.testing.assert_allclose(deviation, 2 * np.sqrt([1, 1, 2, 2, 3]))
    assert naive_error(values[None], 2) == 2


def test_parts_follow_each_other_and_the_test_windows_are_the_origins():
    data = small()
    assert data.origins == [70, 73, 76]
    parts = split(data)
    assert parts.train.values.shape == (2 * 17, 12, 1)
    np.testing.assert_allclose(parts.train.values[16, :, 0], data.values[0, 50:62], rtol=1e-6)
    for series in range(2):
        held_out = parts.validation.values[2 * series : 2 * series + 2, 8:, 0]
        np.testing.assert_allclose(held_out.ravel(), data.values[series, 62:70], rtol=1e-6)
        for n, origin in enumerate(data.origins):
            window = parts.test.values[3 * series + n, :, 0]
            expected = data.values[series, origin - 8 : origin + 4]
            np.testing.assert_allclose(window, expected, rtol=1e-6)
    truth = parts.test.values[:, 8:, 0]
    np.testing.assert_allclose(data.future().reshape(-1, 4), truth, rtol=1e-6)


@pytest.mark.parametrize("logarithm", [False, True])
def test_forecasts_of_the_network_do_not_look_ahead_and_are_in_the_units_of_the_series(logarithm):
    values = np.exp(small().values / 10) * 100
    data = small(values=values, logarithm=logarithm, scaling=mean_and_deviation, process=None)
    config = Config(units=4, seeds=2, paths=3)
    model = build_model(config)
    params = jax.vmap(lambda key: model.init(key, 4))(jax.random.split(jax.random.key(0)))
    found = predict(config, data, model, params, split(data))
    assert found.median.shape == (2, 6, 4)
    assert found.samples.shape == (2, 6, 3, 4)
    assert 30 < np.median(found.samples) < 300
    later = values.copy()
    later[:, 76:] = 1e4
    changed = dataclasses.replace(data, values=later)
    other = predict(config, changed, model, params, split(changed))
    for a, b in zip(found, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_loss_counts_the_values_from_the_first_one_on():
    data, model = small(), build_model(Config(units=4))
    examples = split(data).train
    params = jax.tree.map(lambda a: 0 * a, model.init(jax.random.key(0), 4))
    expected = np.square(examples.values[:, 8:]).mean() / 2 + math.log(2 * math.pi) / 2
    loss = mean_loss(model, params, examples, 8, None)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def outcome_of(data, forecasts, seeds=2):
    config = Config(seeds=seeds)
    every = Forecasts(*(np.stack([part] * seeds) for part in forecasts))
    peers = dict.fromkeys(("ETS", "ARIMA", "seasonal naive", BEST), forecasts)
    worse = forecasts._replace(samples=forecasts.samples + 9, median=forecasts.median + 9)
    models = {NETWORK: every, TOGETHER: together(every)} | peers | {"ARIMA": worse}
    return Outcome(config, data, models, None, np.zeros(seeds, int), 0.0)


def test_the_table_has_the_scores_and_says_which_models_the_network_loses_to():
    data = small()
    mean, deviation = best_forecasts(data)
    samples = mean[:, None] + deviation[:, None] * RNG.normal(size=(6, 50, 4))
    outcome = outcome_of(data, Forecasts(mean, samples))
    says = verdict(outcome)
    assert "loses to ETS" in says
    assert "beats ARIMA" in says
    table = result_table(outcome)
    assert table.row_count == 8
    values = data.future().reshape(-1, 4)
    scale = np.repeat(naive_error(data.values[:, :70], 12), 3)[:, None]
    found = scores_of(data, Forecasts(mean, samples), 2).totals
    assert found.error == pytest.approx((np.abs(mean - values) / scale).mean())
    assert found.crps == pytest.approx((crps(samples, values) / scale).mean())


def test_the_ratio_joins_the_known_error_with_the_distance_from_the_best_forecast():
    simulated = Simulated(np.array([3.0, 4.0]), np.array([[4.0, 0.0]]), np.zeros((1, 2)))
    np.testing.assert_allclose(simulated.ratios, [[5 / 3, 1]])


@pytest.fixture
def main(run_module):
    return functools.partial(run_module, experiment)


FILES = ["config.json", "error_by_step.png", "forecasts.png", "metrics.jsonl", "result.json"]
TINY = ["--units", 4, "--steps", 50, "--seeds", 2, "--batch-size", 8, "--paths", 10]


def test_a_run_writes_every_file_and_prints_both_tables(main, tmp_path, capsys, monkeypatch):
    pytest.importorskip("statsmodels")
    tiny = small(ets=({"seasonal": None}, {"trend": "add"}), arima=({"order": (1, 0, 0)},))
    monkeypatch.setattr(datasets, "_simulated", lambda: tiny)
    main(*TINY, "--out", tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == FILES
    written = json.loads((tmp_path / "new" / "result.json").read_text())
    assert written["origins"] == [70, 73, 76]
    assert {*written["models"]} == {NETWORK, TOGETHER, "ETS", "ARIMA", "seasonal naive", BEST}
    assert len(written["models"][NETWORK]["crps"]["per_seed"]) == 2
    assert np.shape(written["simulated"]["ratio_to_it"]) == (2, 4)
    assert {*written["chosen_steps"]} <= {40, 50}
    lines = (tmp_path / "new" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [40, 50]
    printed = capsys.readouterr().out
    assert "Root mean squared error by step, 2 series, 3 origins" in printed
    assert "the network" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_the_series_of_aeon_are_read_and_their_origins_fit():
    pytest.importorskip("aeon")
    pytest.importorskip("statsmodels")
    sizes = {"airline": (144, 13), "lynx": (114, 11), "solar": (289, 13)}
    for name, (steps, origins) in sizes.items():
        data = datasets.load(name)
        assert data.values.shape == (1, steps)
        assert len(data.origins) == origins
        assert data.origins[-1] + data.horizon == steps
        parts = split(data)
        assert len(parts.test.values) == origins
        assert all(np.isfinite(part.values).all() for part in parts[:3])


def test_a_missing_package_is_an_error_that_names_the_extra(main, capsys, monkeypatch, tmp_path):
    for name in [*sys.modules]:  # another test may have imported parts of it
        if name.partition(".")[0] == "statsmodels":
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "statsmodels", None)
    with pytest.raises(SystemExit) as stop:
        main("--out", tmp_path / "new")
    assert stop.value.code == 2
    assert "needs statsmodels; pip install -e '.[series]'" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"paths": 1}, "--paths must be a whole number of at least 2, got 1"),
        ({"steps": 0}, "--steps must be a whole number of at least 1, got 0"),
        ({"units": 0}, "--units must be a whole number of at least 1"),
        ({"dropout": 1.0}, "--dropout must be a probability"),
        ({"cell": "lstn"}, "--cell lstn is unknown"),
    ],
)
def test_bad_options_are_value_errors(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


@pytest.mark.slow
def test_the_network_comes_close_to_the_best_possible_forecast(main, tmp_path):
    """Within 1.02 at every step, in a quarter of the training steps."""
    pytest.importorskip("statsmodels")
    out = tmp_path / "new"
    main("--steps", 500, "--seeds", 2, "--learning-rate", 0.01, "--out", out)
    found = json.loads((out / "result.json").read_text())["simulated"]
    assert np.max(found["ratio_to_it"]) < 1.02
    assert 0.77 < np.mean(found["coverage"]) < 0.83


def test_quantiles_of_normal_draws_are_those_of_the_distribution():
    data = small()
    forecasts = experiment.of_normal(data, np.zeros((2000, 4)), np.ones((2000, 4)))
    found = np.quantile(forecasts.samples, 0.9, axis=(0, 1))
    np.testing.assert_allclose(found, ndtri(0.9), atol=0.02)
