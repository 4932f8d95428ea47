"""The ways to unroll: what is built and trained, what is left out, and what is told of it."""

import functools
import json
import math

import numpy as np
import pytest
from rich.console import Console

from experiments.unroll_comparison import experiment, report
from experiments.unroll_comparison.config import Config
from experiments.unroll_comparison.report import ARTICLE
from experiments.unroll_comparison.ways import Build, Outcome, Training

TEXT = "the quick brown fox jumps over the lazy dog. " * 4


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def main(run_module):
    return functools.partial(run_module, experiment)


@pytest.mark.slow
def test_all_ways_train_the_same_model(main, corpus, tmp_path, capsys):
    out = tmp_path / "new"
    main(
        "--corpus", corpus, "--cell", "rnn", "--units", 3, "--layers", 1, "--batch-size", 4,
        "--num-steps", 3, "--epochs", 2.5, "--ways", "static", "dynamic", "scan",
        "--sweep", "--out", out,
    )  # fmt: skip
    names = ["config.json", "metrics.jsonl", "result.json", "unroll_comparison.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    result = json.loads((out / "result.json").read_text())
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert result["characters"] == len(TEXT)
    steps = result["steps_per_epoch"]
    assert steps == (len(TEXT) - 1) // 4 // 3
    for way in ("static", "dynamic", "scan"):
        ours = result["ways"][way]
        losses = [m["loss"] for m in metrics if m["way"] == way and "loss" in m]
        assert ours["steps"] == len(losses) == round(2.5 * steps)
        whole = np.reshape(losses[: 2 * steps], (2, steps))
        np.testing.assert_allclose(ours["epoch_losses"], whole.mean(1), rtol=1e-6)
        assert ours["last_loss"] == losses[-1]
        assert ours["builds"].keys() == {"3"}
        assert ours["build_seconds"] == ours["builds"]["3"]["seconds"] > 0
        pace = ours["train_seconds"] / ours["steps"]
        assert ours["seconds_per_epoch"] == pytest.approx(pace * steps)
        scanned = [m["loss"] for m in metrics if m["way"] == "scan" and "loss" in m]
        np.testing.assert_allclose(losses, scanned, rtol=1e-4)
    assert losses[0] == pytest.approx(math.log(len({*TEXT})), abs=0.5)
    first, second = result["ways"]["scan"]["epoch_losses"]
    assert second < first
    printed = capsys.readouterr().out
    assert "static, here" in printed
    assert "2016" not in printed  # another model


def test_the_article_stands_beside_its_own_model():
    outcome = Outcome("static", [Build(200, 1.0, 2.0)])
    console = Console(width=80, record=True)
    measured = report.result(Config(), [outcome], 100, 174)
    console.print(report.result_table(Config(), measured))
    rows = console.export_text().splitlines()
    (article,) = (row for row in rows if "static, 2016" in row)
    (ours,) = (row for row in rows if "static, here" in row)
    assert article.split()[2:] == ["25.64", "39.3", "3.5332", "3.3144", "3.2176"]
    assert ours.split()[2:] == ["3.00", "-", "-"]
    assert len(report.figure(Config(units=3), [outcome]).axes) == 1  # nothing was trained


def test_static_builds_end_where_the_next_may_take_too_long(main, corpus, tmp_path, monkeypatch):
    def build(config, way, num_steps, vocabulary_size, rows):
        return Build(num_steps, 0.5, 0.5 * num_steps), None, None

    monkeypatch.setattr(experiment, "build", build)
    out = tmp_path / "new"
    main(
        "--corpus", corpus, "--batch-size", 4, "--num-steps", 8, "--epochs", 0, "--cap", 6,
        "--ways", "static", "scan", "--sweep", 16, 2, 4, "--out", out,
    )  # fmt: skip
    ways = json.loads((out / "result.json").read_text())["ways"]
    assert [*ways["static"]["builds"]] == ["2", "4"]
    assert ways["static"]["left_out"] == [8, 16]
    assert ways["static"]["build_seconds"] is None
    assert [*ways["scan"]["builds"]] == ["2", "4", "8", "16"]
    assert ways["scan"]["build_seconds"] == 4.5
    assert ways["scan"]["train_seconds"] is None


def test_the_mean_of_an_epoch_leaves_the_part_after_the_last_whole_one_out():
    training = Training(np.array([3.0, 1.0, 5.0, 7.0, 100.0]), np.arange(5.0))
    assert training.epoch_losses(2) == [2.0, 6.0]
    assert training.epoch_losses(6) == []


def test_the_figure_shows_every_build_and_the_article():
    outcome = Outcome("dynamic", [Build(25, 0.1, 1.0), Build(50, 0.2, 1.1)], [100])
    outcome.training = Training(np.linspace(4, 3, 40), np.repeat([1.5, 3.0], 20))
    builds, curves = experiment.figure(Config(), [outcome]).axes
    ours, article = builds.lines
    np.testing.assert_allclose(ours.get_xydata(), [[25, 1.1], [50, 1.3]])
    np.testing.assert_allclose(article.get_xydata(), [[200, ARTICLE["dynamic"].build_seconds]])
    curve, points = curves.lines
    blocks = [np.linspace(4, 3, 40)[part].mean() for part in (np.s_[:20], np.s_[20:])]
    np.testing.assert_allclose(curve.get_xydata(), np.transpose([[1.5, 3.0], blocks]))
    np.testing.assert_allclose(points.get_ydata(), ARTICLE["dynamic"].epoch_losses)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ways"], "--ways needs at least one of static, dynamic, scan, auto"),
        (["--ways", "unrolled"], "invalid choice"),
        (["--sweep", "0"], "--sweep must be a whole number of at least 1, got 0"),
        (["--epochs", "-1"], "--epochs must be finite and at least 0, got -1.0"),
        (["--cap", "nan"], "--cap must be finite and at least 0, got nan"),
        (["--units", "0"], "--units must be a whole number of at least 1"),
        (["--corpus", "/no/such/text"], "/no/such/text"),
        (["--batch-size", "40", "--num-steps", "5"], "4 characters per row, too few for 1600"),
    ],
)
def test_a_bad_option_ends_with_code_2_and_says_why(
    main, corpus, tmp_path, capsys, arguments, message
):
    if "--corpus" not in arguments:
        arguments = ["--corpus", corpus, *arguments]
    with pytest.raises(SystemExit) as stop:
        main("--out", tmp_path / "new", *arguments)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert message in " ".join((captured.err + captured.out).replace("│", " ").split())
