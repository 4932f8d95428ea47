"""The character model from end to end: what a run writes, and how it is scored."""

import contextlib
import dataclasses
import json
import math
from html.parser import HTMLParser

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments.char_model import __main__ as cli
from experiments.char_model import baselines, evaluation
from experiments.char_model import run as runs
from experiments.char_model.evaluation import streaming, token_losses, windowed
from experiments.char_model.figure import learning_curve
from experiments.char_model.text import read_text
from experiments.char_model.trained import load
from experiments.errors import StoppedError
from experiments.run_directory import RunDirectory
from experiments.stop import Stop
from seqjax import (
    GRU,
    LanguageModel,
    sequence_loss,
    unroll,
)
from seqjax.data.ngram import ngram_losses, ngram_token_losses
from tests.experiments.small_char_model import SMALL, TEXT, parameters, train


def test_a_run_writes_what_it_promises_and_is_read_back(corpus, tmp_path, capsys):
    config = dataclasses.replace(SMALL, corpus=corpus)
    folder = RunDirectory("char_model", config, tmp_path / "run")
    result = train(config, folder)
    assert json.loads((folder.path / "result.json").read_text()) == result
    chunks = (int(0.9 * len(TEXT)) - 1) // 4 // 10
    assert result["steps"] == chunks
    assert result["split"] == "first 90% / last 10%"
    assert 0 < result["val"]["streaming_nats"] < math.log(28)
    assert result["val"]["streaming_bits"] == result["val"]["streaming_nats"] / math.log(2)
    assert result["val"]["streaming_bits_per_byte"] == result["val"]["streaming_bits"]  # ASCII
    assert {*result["ngram_nats"]} == {"3", "5"}
    lines = (folder.path / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert sum("validation_nats" in record for record in records) == config.evaluations
    assert any((folder.path / "tensorboard").iterdir())
    assert (folder.path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")

    trained = load(folder.path)
    text = read_text(config)
    again = streaming(trained.model, trained.params, text.validation)
    assert again.nats == result["val"]["streaming_nats"]

    console = Console(width=80)
    cli.Evaluate((folder.path,)).main(console)
    assert f"{again.nats:.4f}" in capsys.readouterr().out
    cli.Evaluate((folder.path, folder.path)).main(console)  # an ensemble of twice the same model
    assert capsys.readouterr().out.count(f"{again.nats:.4f}") == 3
    cli.Evaluate((folder.path,), mix_ngrams=0.25).main(console)
    net = token_losses(trained.model, trained.params, text.validation)
    of_ngrams = ngram_token_losses(text.train, text.validation, 7, text.vocabulary.size)[1:]
    both = -np.log(0.75 * np.exp(-net) + 0.25 * np.exp(-of_ngrams)).mean()
    assert f"{both:.4f}" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--mix-ngrams must be a probability in"):
        cli.Evaluate((folder.path,), mix_ngrams=1.0).main(console)
    with pytest.raises(ValueError, match="there is no run to read; give the folder of a run"):
        cli.Evaluate(()).main(console)
    cli.Sample(folder.path, prime="the ", length=50).main(console)
    first = capsys.readouterr().out
    assert first.startswith("the ")
    assert len(first) == len("the ") + 50 + 1
    cli.Sample(folder.path, prime="the ", length=50).main(console)
    assert capsys.readouterr().out == first
    cli.ScoreText(folder.path, text="the dog", per_character=True).main(console)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("'h'\t")
    bits = [float(line.split("\t")[1]) for line in lines[:-1]]
    assert float(lines[-1].split()[0]) == pytest.approx(sum(bits) / len(bits), abs=1e-3)
    with pytest.raises(ValueError, match="lacks these characters: 'Q' at 0"):
        cli.Sample(folder.path, prime="Q").main(console)

    cli.Report(folder.path, length=30).main(console)
    check_page((folder.path / "report.html").read_text(), text, result)
    (folder.path / "result.json").unlink()
    with pytest.raises(ValueError, match="has not ended; train --resume"):
        cli.Report(folder.path).main(console)


class Tags(HTMLParser):
    """The open tags, which the end of each tag must match, and all links to other files."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.titles = [], [], 0

    def handle_starttag(self, tag, attributes):
        if tag != "meta":
            self.open.append(tag)
        named = dict(attributes)
        self.titles += "title" in named
        self.links += [named[k] for k in ("src", "href", "xlink:href") if k in named]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_page(page, text, result):
    """It is whole, needs no other file, and shows each character of the validation text."""
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert all(link.startswith("#") for link in tags.links)
    shown = len(text.validation) - 1
    assert tags.titles >= shown  # surprises, and as many activations for each unit
    assert f"{result['val']['streaming_nats']:.4f}" in page
    for title in ("Scores", "Learning curve", "Samples", "Surprise", "Single units", "Calibration"):
        assert f"<h2>{title}</h2>" in page


def test_the_learning_curve_shows_both_losses_beside_those_of_n_grams():
    records = [{"epoch": n / 4, "loss": 4 / n} for n in range(1, 9)]
    records += [{"epoch": 1.0, "validation_nats": 1.5}, {"epoch": 2.0, "validation_nats": 1.25}]
    val = {"streaming_nats": 1.25, "streaming_bits": 1.25 / math.log(2)}
    result = {"corpus": "/a/b.txt", "val": val, "ngram_nats": {"3": 2.0, "5": 1.4}}
    (axes,) = learning_curve(records, result).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines["training"] == [[n / 4, 4 / n] for n in range(1, 9)]
    assert lines["validation"] == [[1.0, 1.5], [2.0, 1.25]]
    assert [lines[name][0][1] for name in ("3-grams, 2.000", "5-grams, 1.400")] == [2.0, 1.4]
    assert axes.get_title().startswith("b.txt: 1.2500 nats, 1.8034 bits per character")
    assert len(learning_curve([], result).axes[0].lines) == 4  # where metrics.jsonl was removed


class StopsAfter(Stop):
    """A stop that comes at its n-th check, in training, evaluation or the final scores."""

    def __init__(self, checks):
        super().__init__()
        self.checks = checks

    def check(self):
        self.checks -= 1
        if self.checks < 0:
            self._name = "SIGTERM"
        super().check()


@pytest.mark.parametrize("members", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    members, corpus, tmp_path, monkeypatch
):
    config = dataclasses.replace(SMALL, corpus=corpus, epochs=2, members=members)
    whole = RunDirectory("char_model", config, tmp_path / "whole")
    train(config, whole)
    stopped = RunDirectory("char_model", config, tmp_path / "stopped")
    checks, stops = iter([0, 1, 2, 3, 4, 5, 6, 7, 8, 10**9]), 0
    monkeypatch.setattr(
        runs, "on_signals", lambda: contextlib.nullcontext(StopsAfter(next(checks)))
    )
    while True:
        try:
            train(config, RunDirectory.reopen(stopped.path) if stops else stopped)
            break
        except StoppedError:
            stops += 1
    assert stops >= 5
    (expected, step), (actual, last) = parameters(whole.path), parameters(stopped.path)
    assert step == last
    jax.tree.map(np.testing.assert_array_equal, actual, expected)

    def steps(folder):
        lines = (folder.path / "metrics.jsonl").read_text().splitlines()
        return {r["step"]: r["validation_nats"] for r in map(json.loads, lines) if len(r) == 4}

    assert steps(whole) == steps(stopped)
    results = [json.loads((run.path / "result.json").read_text()) for run in (whole, stopped)]
    for result in results:
        del result["train_seconds"], result["chars_per_second"], result["throughput"]
    assert results[0] == results[1]


@pytest.mark.parametrize("ngrams", ["sample", "all", "none"])
def test_n_grams_count_a_sample_whose_size_the_result_states(ngrams, monkeypatch):
    monkeypatch.setattr(baselines, "COUNTED", 50)
    monkeypatch.setattr(baselines, "SCORED", 20)
    train, validation = np.split(np.random.default_rng(0).integers(0, 3, 130), [100])
    made = baselines.baselines(train, validation, 3, ngrams)
    counted, scored = {"sample": (50, 20), "all": (100, 30), "none": (0, 0)}[ngrams]
    assert (made.counted, made.scored) == (counted, scored)
    expected = {}
    if counted:
        expected = ngram_losses(train[100 - counted :], validation[:scored], (3, 5), 3)
    assert made.nats == expected


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(corpus, tmp_path):
    config = dataclasses.replace(
        SMALL, corpus=corpus, learning_rate=1e38, schedule="constant", warm_up=0, clip=None
    )
    folder = RunDirectory("char_model", config, tmp_path / "run")
    with pytest.raises(runs.NotFiniteError, match=r"the loss of step \d+ is (nan|inf)"):
        train(config, folder)
    assert not (folder.path / "result.json").exists()


def test_scores_are_those_of_one_plain_unroll(monkeypatch):
    monkeypatch.setattr(evaluation, "CHUNK", 256)
    model = LanguageModel(GRU(4), 5)
    params = model.init(jax.random.key(0), 5)
    tokens = np.random.default_rng(0).integers(0, 5, 2100).astype(np.int32)
    _, logits = unroll(model, params, tokens[None, :-1])
    losses = sequence_loss(
        logits, tokens[None, 1:], average_over_time=False, average_over_batch=False
    )[0]
    np.testing.assert_allclose(token_losses(model, params, tokens), losses, rtol=1e-5)
    assert streaming(model, params, tokens).nats == pytest.approx(float(losses.mean()), rel=1e-6)
    assert streaming(model, params, tokens, rows=3).nats == pytest.approx(
        float(losses.mean()), rel=1e-4
    )
    whole = tokens[:2001]
    rows = whole[:-1].reshape(20, 100)
    _, logits = unroll(model, params, rows)
    expected = sequence_loss(logits, whole[1:].reshape(20, 100))
    assert windowed(model, params, whole, 100).nats == pytest.approx(float(expected), rel=1e-5)


def test_the_warm_up_by_the_clock_is_not_lost_to_compiling(corpus, tmp_path, monkeypatch):
    config = dataclasses.replace(SMALL, corpus=corpus, warm_up=40, max_seconds=1e-3)
    blocks = []
    make = runs.make_block

    def spy(*arguments):
        block = make(*arguments)

        def run(state, data, rates, count):
            blocks.append(np.asarray(rates))
            return block(state, data, rates, count)

        return run

    monkeypatch.setattr(runs, "make_block", spy)
    train(config, RunDirectory("char_model", config, tmp_path / "run"))
    expected = config.learning_rate * np.arange(1, 21) / 40
    np.testing.assert_allclose(blocks, [expected], rtol=1e-6)
