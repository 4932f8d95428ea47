"""Equal parameters, the best learning rate of each cell, and a run from end to end."""

import json

import jax
import pytest
from rich.console import Console

from experiments.cell_comparison import experiment
from experiments.cell_comparison.experiment import (
    Config,
    Result,
    best_of_each,
    count_parameters,
    figure,
    result_table,
    widest,
)
from experiments.char_model.config import build_model
from experiments.errors import StoppedError


@pytest.mark.parametrize("cell", ["coupled_lstm", "mingru"])
@pytest.mark.parametrize("parameters", [4_000, 31_234])
def test_a_cell_is_as_wide_as_the_parameters_allow(cell, parameters):
    config = Config(parameters=parameters)
    units = widest(config, cell, vocabulary_size=20)
    counts = [count_parameters(config.run(cell, n, 1e-3), 20) for n in (units, units + 1)]
    assert counts[0] <= parameters < counts[1]


def test_parameters_are_counted_as_they_are_drawn():
    config = Config().run("gru", 7, 1e-3)
    params = build_model(config, 5).init(jax.random.key(0), 5)
    assert count_parameters(config, 5) == sum(leaf.size for leaf in jax.tree.leaves(params))


def test_the_best_learning_rate_of_each_cell_counts_and_the_best_cell_comes_first():
    def result(cell, rate, nats, seed=0):
        return Result(cell, 8, 100, rate, seed, 1000, nats, nats + 0.1)

    results = [
        result("gru", 1e-3, 1.6), result("gru", 1e-2, 1.5), result("rnn", 1e-3, float("inf")),
        result("lstm", 1e-3, 1.4), result("lstm", 1e-2, float("inf")),
    ]  # fmt: skip
    results += [result("gru", 1e-3, 1.3, seed=1), result("gru", 1e-2, 1.7, seed=1)]
    best = best_of_each(results)
    assert [(r.cell, r.learning_rate) for r in best] == [
        ("lstm", 1e-3), ("gru", 1e-3), ("rnn", 1e-3),
    ]  # fmt: skip
    gru = best[1].streaming_nats
    assert (gru["mean"], gru["min"], gru["max"]) == pytest.approx((1.45, 1.3, 1.6))
    config = Config(seeds=2, blocks=True)
    axes = figure(best, config, {"5": 1.56}).axes
    labels = [label.get_text() for label in axes[0].get_yticklabels()]
    assert labels == ["lstm (8)", "gru (8)"]  # one that diverged has no place on the axis
    console = Console(record=True, width=120)
    console.print(result_table(best, config, {"5": 1.56}))
    printed = " ".join(console.export_text().split())
    assert "2 residual blocks, up to 400,000 parameters, 30 s of training per run" in printed
    assert "gru 8 100 0.001 1,000 1.4500 1.3000-1.6000 1.5500 1.4000-1.7000" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", 0], "--seeds must be a whole number of at least 1"),
        (["--parameters", 0], "--parameters must be a whole number of at least 1"),
        (["--seconds", -1], "--max-seconds must be above 0"),
        (["--learning-rates"], "--learning-rates"),
        (["--cells", "transformer"], "transformer is unknown; give one of rnn, gru, lstm, "),
    ],
)
def test_bad_options_end_with_code_2_and_say_why(run_module, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        run_module(experiment, *arguments)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert message in " ".join((captured.err + captured.out).split())


def test_a_stopped_run_says_where_what_it_measured_is(run_module, monkeypatch, tmp_path, capsys):
    def stopped(*_, **__):
        raise StoppedError("SIGTERM")

    monkeypatch.setattr(experiment, "train", stopped)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        run_module(experiment, "--cells", "gru", "--corpus", "python_docs", "--out", out)
    assert stop.value.code == 130
    assert f"stopped; the results so far are in {out}" in capsys.readouterr().err


def test_too_few_parameters_for_one_unit_are_an_error():
    with pytest.raises(ValueError, match=r"one unit of gru has more than --parameters 100"):
        widest(Config(parameters=100), "gru", vocabulary_size=65)


@pytest.mark.slow
def test_a_run_writes_the_table_and_the_figure(run_module, tmp_path, capsys):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the quick brown fox jumps over the lazy dog. " * 200)
    out = tmp_path / "out"
    run_module(
        experiment, "--cells", "gru", "mingru", "--corpus", corpus, "--seconds", 1,
        "--learning-rates", 1e-2, "--seeds", 2, "--blocks", "--parameters", 9000, "--out", out,
    )  # fmt: skip
    printed = capsys.readouterr().out
    result = json.loads((out / "result.json").read_text())
    assert {row["cell"] for row in result["cells"]} == {"gru", "mingru"}
    for row in result["cells"]:
        assert row["cell"] in printed
        assert row["parameters"] <= 9000
        nats = row["streaming_nats"]
        assert (
            0 < nats["min"] <= nats["mean"] <= nats["max"] < 5
        )  # one second may teach it next to nothing
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 4
    assert (out / "cells.png").stat().st_size > 10_000
