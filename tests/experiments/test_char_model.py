"""The character model as a product: what a run writes, how it goes on, and what it refuses."""

import contextlib
import dataclasses
import errno
import importlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from experiments.cells import NAMES
from experiments.char_model import __main__ as cli
from experiments.char_model import baselines, evaluation
from experiments.char_model import run as runs
from experiments.char_model import train as training
from experiments.char_model.config import PRESETS, Config, build_model, check_model
from experiments.char_model.evaluation import streaming, token_losses, windowed
from experiments.char_model.figure import learning_curve
from experiments.char_model.rows import make_rows
from experiments.char_model.text import read_text
from experiments.char_model.train import learning_rate
from experiments.char_model.trained import load, read_config
from experiments.errors import StoppedError
from experiments.run_directory import RunDirectory
from experiments.stop import Stop, on_signals
from seqjax import (
    GRU,
    InputProjection,
    LanguageModel,
    MinGRU,
    ResidualBlock,
    Stack,
    sequence_loss,
    unroll,
)
from seqjax.checkpoint import Checkpoints
from seqjax.data.ngram import ngram_losses, ngram_token_losses
from seqjax.devices import data_mesh

TEXT = "the quick brown fox jumps over the lazy dog. " * 60
SMALL = Config(
    cell="gru", units=8, embedding_size=4, input_dropout=0.2, weight_dropout=0.2, batch_size=4,
    num_steps=10, epochs=1, average=0.9, evaluations=3, window=32, ngram_targets=0.4, ngram_order=3,
)  # fmt: skip


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT)
    return str(path)


@pytest.fixture(autouse=True)
def _as_users_run_it():
    """With the promotion of dtypes that optax and users have."""
    with jax.numpy_dtype_promotion("standard"), jax.enable_x64(False):
        yield


def train(config, folder):
    return runs.train(config, folder, Console(quiet=True))


def parameters(folder):
    trained = load(folder, "last")
    return jax.tree.map(np.asarray, trained.params), trained.step


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


def test_a_signal_stops_what_changes_nothing_at_once():
    def interrupted(number):
        with stop.at_once():
            os.kill(os.getpid(), number)
            pytest.fail("the signal must interrupt the block")

    def ignored(number):
        with stop.at_once(), contextlib.suppress(StoppedError):  # as callbacks of C code do
            os.kill(os.getpid(), number)

    def before(number):
        os.kill(os.getpid(), number)  # only recorded
        with stop.at_once():
            pytest.fail("the block must not start")

    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        for act in (interrupted, ignored, before):
            with on_signals() as stop, pytest.raises(StoppedError, match=number.name):
                act(number)
            assert signal.getsignal(number) is handler


def test_a_second_interrupt_has_its_usual_effect(sigint_handled):
    with on_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_sigterm_does_not_interrupt_the_save():
    with on_signals() as stop:
        with pytest.raises(StoppedError, match="SIGTERM"), stop.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(2):  # while the state is saved
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.name == "SIGTERM"


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


def test_with_true_truncation_a_step_reads_two_chunks_and_scores_the_second():
    config = Config(cell="gru", units=8, batch_size=2, num_steps=5, truncation="true")
    rows = np.random.default_rng(1).integers(0, 7, (2, 22)).astype(np.int32)
    data = training.block_data(config, training.Rows(rows[:, :-1], rows[:, 1:]), 0, 2)
    assert training.steps_per_epoch(config, 21) == 3
    model = build_model(config, 7)
    state = training.init_state(config, model)
    between, _ = unroll(model, state.params, rows[:, :5])
    _, logits = unroll(model, state.params, rows[:, :10])
    block = training.make_block(config, model, data_mesh(2))
    state = training.spread(data_mesh(2), state)
    after, losses = block(state, data, jnp.zeros(2), jnp.int32(1))
    np.testing.assert_allclose(after.carry.h, between.h, rtol=1e-5)
    np.testing.assert_allclose(losses[0], sequence_loss(logits[:, 5:], rows[:, 6:11]), rtol=1e-5)


def test_a_fresh_state_is_zero_and_comes_to_each_row_by_itself():
    config = Config(cell="gru", units=8, batch_size=16, num_steps=5, fresh_state=0.5)
    rows = np.random.default_rng(1).integers(0, 7, (16, 21)).astype(np.int32)
    model, mesh = build_model(config, 7), data_mesh(16)

    def step(config, carry):
        data = training.block_data(config, training.Rows(rows[:, :-1], rows[:, 1:]), 1, 1)
        state = training.init_state(config, model)
        # the second chunk, of which no row would be fresh by itself
        state = state._replace(step=state.step + 1, carry=carry)
        block = training.make_block(config, model, mesh)
        return block(training.spread(mesh, state), data, jnp.zeros(1), jnp.int32(1))

    ones = jax.tree.map(jnp.ones_like, model.initial_state((16,)))
    zeros = jax.tree.map(jnp.zeros_like, ones)
    given, fresh, carried = (
        step(config, ones)[0].carry.h,
        step(config, zeros)[0].carry.h,
        step(dataclasses.replace(config, fresh_state=0.0), ones)[0].carry.h,
    )
    is_fresh = (given == fresh).all(1)
    assert 0 < is_fresh.sum() < 16
    np.testing.assert_array_equal(given, jnp.where(is_fresh[:, None], fresh, carried))


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


def test_the_learning_rate_warms_up_and_cools_down():
    config = dataclasses.replace(SMALL, learning_rate=1.0, warm_up=10)
    rates = [learning_rate(config, step, step / 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1, rel=1e-3)
    assert rates[4] == pytest.approx(0.5, rel=1e-2)
    assert np.argmax(rates) == 9
    assert rates[55] == pytest.approx((1 + 0.01) / 2 - 0.495 * np.sin(0.05 * np.pi))
    assert rates[100] == pytest.approx(0.01)
    assert np.all(np.diff(rates[9:]) < 0)
    constant = dataclasses.replace(config, schedule="constant", warm_up=0)
    assert {learning_rate(constant, step, step / 100) for step in range(101)} == {1.0}


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


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_of_the_list_makes_a_model(name):
    check_model(Config(cell=name, units=4, layers=2, embedding_size=3, residual=True))
    check_model(Config(cell=name, units=4, embedding_size=4, layer_dropout=0.1, blocks=True))


@pytest.mark.parametrize("embedding_size", [None, 3, 4])
def test_a_model_of_blocks_adds_each_block_to_features_of_its_width(embedding_size):
    config = Config(cell="mingru", units=4, layers=2, embedding_size=embedding_size, blocks=True)
    model = build_model(dataclasses.replace(config, residual=True), vocabulary_size=5)
    block = ResidualBlock(MinGRU(4))
    first = block if embedding_size == 4 else InputProjection(block, 4)
    assert model == LanguageModel(Stack([first, block]), 5, embedding_size, layer_norm=True)


def test_weight_dropout_is_refused_where_there_are_no_recurrent_weights():
    check_model(Config(cell="gru", units=4, weight_dropout=0.5))
    with pytest.raises(ValueError, match="no parameter has the name recurrent_kernel"):
        check_model(Config(cell="mingru", units=4, weight_dropout=0.5))


def test_a_cell_that_needs_features_asks_for_an_embedding():
    with pytest.raises(ValueError, match="inputs must be one array of features, got tokens"):
        check_model(Config(cell="mogrifier_lstm", units=4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 0}, "--units must be a whole number of at least 1"),
        ({"learning_rate": 0.0}, "--learning-rate must be above 0"),
        ({"layer_dropout": 1.0}, "--layer-dropout must be a probability"),
        ({"validation": 1.0}, "--validation must lie in"),
        ({"input_dropout": 0.1}, "give --embedding-size"),
        ({"tied": True}, "a tied readout needs embedding_size=320"),
        ({"warm_up": 0.02}, "--warm-up must be a whole number of steps, 0 or more, got 0.02"),
        ({"warm_up": -1}, "--warm-up must be a whole number of steps, 0 or more, got -1"),
        ({"max_seconds": -1.0}, "--max-seconds must be above 0"),
    ],
)
def test_bad_options_are_value_errors(options, message):
    with pytest.raises(ValueError, match=message):
        check_model(Config(**options))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"too short", "one step needs 41"),
        (b"good \xff bad" * 100, "UTF-8"),
    ],
)
def test_bad_corpora_are_value_errors(tmp_path, content, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_text(dataclasses.replace(SMALL, corpus=str(path)))


def test_folders_that_hold_no_run_or_a_foreign_one_are_value_errors(tmp_path):
    with pytest.raises(ValueError, match="holds no run: it has no checkpoints"):
        load(tmp_path)
    with pytest.raises(ValueError, match="holds no run to resume"):
        read_config(tmp_path)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(1, {"w": jnp.zeros(1)}, {"units": 3}, 1.0)
    with pytest.raises(ValueError, match="does not hold a character model"):
        load(tmp_path)


def test_two_runs_do_not_share_a_folder(corpus, tmp_path):
    config = dataclasses.replace(SMALL, corpus=corpus)
    folder = RunDirectory("char_model", config, tmp_path / "run")
    folder.start()
    with (
        runs.only_one(folder.path),
        pytest.raises(ValueError, match="another process is training in"),
    ):
        train(config, folder)


def shell(*arguments):
    return [sys.executable, "-m", "experiments.char_model", *map(str, arguments)]


def test_a_file_system_that_cannot_lock_is_not_another_process(corpus, tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")  # as NFS says

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", flock)
    out = tmp_path / "run"
    with pytest.raises(OSError, match="No locks available") as raised:
        train(dataclasses.replace(SMALL, corpus=corpus), RunDirectory("char_model", SMALL, out))
    assert raised.value.filename == str(out / ".lock")


def test_from_the_shell_an_error_has_no_traceback(tmp_path):
    command = shell("sample", tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "holds no run: it has no checkpoints" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def command(monkeypatch):
    """Run a command in this process, ``command("train", ...)``."""
    monkeypatch.setattr(cli, "set_up", lambda: None)  # JAX has started already

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["char_model", *map(str, arguments)])
        cli.main()

    return run


@pytest.fixture
def refused(command, capsys):
    """Run a command that has to end with exit code 2 and a message."""

    def run(message, *arguments):
        with pytest.raises(SystemExit) as stop:
            command(*arguments)
        assert stop.value.code == 2
        error = " ".join(capsys.readouterr().err.split())
        assert message in error
        assert "Traceback" not in error

    return run


def test_commands_that_cannot_run_end_with_a_message(tmp_path, refused):
    refused("none.txt", "train", "--corpus", tmp_path / "none.txt", "--out", tmp_path / "a")
    refused("holds no run: it has no checkpoints", "evaluate", tmp_path)
    refused("give one of them", "score", tmp_path, "--text", "a", "--file", "b")


OPTIONS = ("--cell", "gru", "--units", 8, "--layers", 1, "--batch-size", 4, "--num-steps", 10,
           "--evaluations", 2, "--window", 32, "--no-residual")  # fmt: skip


def test_a_start_that_fails_takes_no_folder(corpus, tmp_path, refused, command):
    out = tmp_path / "runs" / "a"
    bad = tmp_path / "bad.txt"
    for content in (b"", b"short", b"\xff" * 1000):
        bad.write_bytes(content)
        refused("bad.txt", "train", "--corpus", bad, *OPTIONS, "--epochs", 1, "--out", out)
        assert not out.parent.exists()
    command("train", "--corpus", corpus, *OPTIONS, "--epochs", 1, "--out", out)
    assert (out / "result.json").exists()
    refused("holds files", "train", "--corpus", corpus, *OPTIONS, "--epochs", 1, "--out", out)


@pytest.mark.slow
def test_a_run_that_has_ended_is_extended(corpus, tmp_path, refused, command, capsys):
    out = tmp_path / "run"
    # epochs take the place of the seconds of the preset
    command("train", "--corpus", corpus, *OPTIONS, "--epochs", 1, "--out", out)
    chunks = (int(0.9 * len(TEXT)) - 1) // 4 // 10

    def state():
        config = json.loads((out / "config.json").read_text())
        steps = json.loads((out / "result.json").read_text())["steps"]
        records = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
        evaluated = [record["step"] for record in records if "validation_nats" in record]
        return config["epochs"], config["max_seconds"], steps, evaluated

    half = -(-chunks // 2)
    assert state() == (1.0, None, chunks, [half, chunks])
    before = state()
    for options, message in (
        (["--epochs", "1", "--units", "9"], "got --units 9; start a new run"),
        (["--seed=1", "--no-locked", "--bytes"], "got --bytes True, --seed 1; start a new run"),
        (["--preset", "best"], "--preset sets the options of a new run"),
        (["--out", tmp_path / "other"], "--out names a new folder"),
        (["--epochs=0.5"], "has trained 1 epochs in"),
        (["--max_seconds", "1e-3"], "give more --epochs or --max-seconds"),
        (["--epochs", "2", "--max-seconds", "9"], "give one of them"),
    ):
        refused(message, "train", "--resume", out, *options)
        refused(message, "train", f"--resume={out}", *options)
        assert state() == before
    command("train", "--resume", out)  # nothing is left to do, which it says
    assert "more --epochs or --max-seconds extend it" in " ".join(capsys.readouterr().out.split())
    assert state() == before
    command("train", f"--resume={out}", "--epochs=2")
    assert state() == (2.0, None, 2 * chunks, [half, chunks, 2 * chunks])
    command("train", "--resume", out, "--epochs", 4)
    assert state() == (4.0, None, 4 * chunks, [half, chunks, 2 * chunks, 4 * chunks])


@pytest.mark.slow
def test_an_extended_run_follows_the_longer_schedule(corpus, tmp_path):
    config = dataclasses.replace(SMALL, corpus=corpus, epochs=1)
    folder = RunDirectory("char_model", config, tmp_path / "run")
    train(config, folder)
    longer = dataclasses.replace(config, epochs=2)
    train(longer, RunDirectory.reopen(folder.path))
    records = map(json.loads, (folder.path / "metrics.jsonl").read_text().splitlines())
    rates = {r["step"]: r["learning_rate"] for r in records if "learning_rate" in r}
    steps = max(rates)
    for step, rate in rates.items():
        of = config if step <= steps / 2 else longer
        expected = learning_rate(of, step, step / (steps / 2 if of is config else steps))
        assert rate == pytest.approx(expected)


@pytest.mark.slow
def test_a_run_is_extended_by_the_clock(corpus, tmp_path):
    config = dataclasses.replace(SMALL, corpus=corpus, max_seconds=1e-3)
    folder = RunDirectory("char_model", config, tmp_path / "run")
    first = train(config, folder)
    longer = dataclasses.replace(config, max_seconds=first["train_seconds"] + 0.05)
    second = train(longer, RunDirectory.reopen(folder.path))
    assert second["steps"] > first["steps"]
    with pytest.raises(ValueError, match="leaves nothing to train; give more --epochs or --max-s"):
        train(config, RunDirectory.reopen(folder.path))
    assert read_config(folder.path) == longer


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--weight-decay", "0.1"), "--weight-decay has no effect without --optimizer adamw"),
        (("--bytes", "--min-count", "3"), "--min-count has no effect with --bytes"),
        (("--locked",), "--locked has no effect without a dropout rate"),
    ],
)
def test_an_option_without_effect_is_refused(corpus, tmp_path, refused, options, message):
    refused(message, "train", "--corpus", corpus, *options, "--out", tmp_path / "run")


def test_a_model_whose_cell_cannot_be_made_says_so(corpus, tmp_path, refused, monkeypatch, capsys):
    (tmp_path / "my_cells.py").write_text("from seqjax import GRU as Janet\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = dataclasses.replace(
        SMALL, corpus=corpus, cell="my_cells:Janet", input_dropout=0.0, weight_dropout=0.0
    )
    out = tmp_path / "run"
    train(config, RunDirectory("char_model", config, out))
    (tmp_path / "my_cells.py").write_text("def Janet(units, gates): ...\n")
    monkeypatch.delitem(sys.modules, "my_cells")
    importlib.invalidate_caches()
    for command in (("sample", out), ("evaluate", out), ("train", "--resume", out)):
        refused(f"the model in {out} cannot be built: --cell my_cells:Janet", *command)
    (tmp_path / "my_cells.py").unlink()
    monkeypatch.delitem(sys.modules, "my_cells")
    importlib.invalidate_caches()
    for command in (("sample", out), ("evaluate", out), ("train", "--resume", out)):
        refused("No module named 'my_cells'; run the command in the folder of the module", *command)


def test_help_calls_the_folder_of_a_run_by_its_name(command, capsys):
    for name in ("sample", "evaluate", "score"):
        with pytest.raises(SystemExit):
            command(name, "--help")
        assert f"{name} [-h]" in (shown := capsys.readouterr().out)
        assert "RUN" in shown
        assert "PATH  " not in shown.partition("options")[0]


def test_a_run_in_another_thread_catches_no_signals():
    with ThreadPoolExecutor() as pool:
        pool.submit(lambda: on_signals().__enter__()).result().check()


FULL_DISK = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.argv[0] = "char_model"
runpy.run_module("experiments.char_model", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_where_a_checkpoint_cannot_be_written_the_run_says_so_and_goes_on_from_the_one_before(
    corpus, tmp_path
):
    out = tmp_path / "run"
    options = ("--corpus", corpus, "--units", 128, "--batch-size", 8, "--num-steps", 8,
               "--max-seconds", "None", "--epochs", 2, "--evaluations", 2)  # fmt: skip
    train = shell("train", *options, "--out", out)
    process = subprocess.Popen(train, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (out / "metrics.jsonl").exists() and process.poll() is None:
        time.sleep(0.05)
    process.terminate()  # it saves before it ends
    process.communicate(timeout=120)
    with Checkpoints(out / "checkpoints") as checkpoints:
        before = checkpoints.steps()
    full = [sys.executable, "-c", FULL_DISK, "20000", "train", "--resume", str(out)]
    done = subprocess.run(full, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    # what of orbax writes in the background may complain before it, after it, and on its line
    assert done.stderr.count("error: ") == 1, done.stderr
    message = done.stderr.partition("error: ")[2]
    assert message.startswith("the checkpoint of step")
    assert "earlier checkpoints are intact" in message.partition("\n")[0]
    with Checkpoints(out / "checkpoints") as checkpoints:
        assert checkpoints.steps() == before
    subprocess.run(shell("train", "--resume", out), check=True, capture_output=True)
    assert (out / "result.json").exists()


@pytest.mark.slow
def test_where_the_log_cannot_be_written_one_line_names_the_file(corpus, tmp_path):
    out = tmp_path / "run"
    options = (*OPTIONS, "--corpus", corpus, "--epochs", 40, "--evaluations", 1, "--out", out)
    full = [sys.executable, "-c", FULL_DISK, "3000", "train", *map(str, options)]
    done = subprocess.run(full, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    path = out / "metrics.jsonl"
    assert done.stderr == f"error: [Errno {errno.EFBIG}] File too large: '{path}'\n"


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_parameters(tmp_path):
    """SIGKILL at 10 random moments and SIGTERM at 3, in the middle of saving too."""
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT * 40)
    options = ("--corpus", path, "--units", 16, "--batch-size", 8, "--num-steps", 16,
               "--epochs", 12,
               "--max-seconds", "None", "--evaluations", 60)  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(shell("train", *options, "--out", whole), check=True, capture_output=True)
    rng = random.Random(0)
    signals = [signal.SIGKILL] * 10 + [signal.SIGTERM] * 3
    rng.shuffle(signals)
    began, command = 0, shell("train", *options, "--out", killed)
    while signals:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while not (killed / "config.json").exists() and process.poll() is None:
            time.sleep(0.05)
        command = shell("train", "--resume", killed)
        time.sleep(rng.uniform(0, 12))
        if process.poll() is None:
            number = signals.pop()
            os.kill(process.pid, number)
            began += (killed / "checkpoints").is_dir()
        process.communicate(timeout=120)
        if process.returncode == 0 and (killed / "result.json").exists():
            break
    assert began >= 6
    if not (killed / "result.json").exists():
        subprocess.run(command, check=True, capture_output=True)
    (expected, step), (actual, last) = parameters(whole), parameters(killed)
    assert step == last
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_the_members_of_an_ensemble_train_as_if_alone(corpus):
    config = dataclasses.replace(
        SMALL, corpus=corpus, input_dropout=0.0, weight_dropout=0.0, clip=0.05, members=2
    )
    alone = dataclasses.replace(config, members=1)
    text = read_text(config)
    rows = make_rows(config, text, Console(quiet=True))
    rates = np.full(5, 0.01, np.float32)

    def after_five_steps(config, state, model):
        mesh = data_mesh(config.batch_size)
        data = training.spread_block(mesh, config, rows, 0, 5)._replace(
            weight=np.full(5, 0.5, np.float32)
        )
        block = training.make_block(config, model, mesh)
        return block(training.spread(mesh, state), data, rates, np.int32(5))

    ensemble = build_model(config, text.vocabulary.size)
    start = training.init_state(config, ensemble)
    copies = jax.tree.map(np.asarray, (start.params, start.carry))
    together, losses = after_five_steps(config, start, ensemble)
    each = []
    for n, member in enumerate(ensemble.members):
        params, carry = (jax.tree.map(jnp.asarray, part[n]) for part in copies)
        state = training.init_state(alone, member)._replace(
            params=params, average=jax.tree.map(jnp.copy, params), carry=carry
        )
        end, own = after_five_steps(alone, state, member)
        each.append(own)
        for ours, theirs in ((together.params[n], end.params), (together.average[n], end.average)):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), ours, theirs)
    np.testing.assert_allclose(losses, np.mean(each, 0), rtol=1e-6)
    assert np.abs(each[0] - each[1]).max() > 1e-3


def test_presets_are_what_they_say():
    article = PRESETS["article"]
    assert (article.layers, article.units, article.num_steps, article.batch_size) == (
        3,
        100,
        200,
        32,
    )
    assert (article.learning_rate, article.epochs, article.optimizer) == (1e-4, 3, "adam")
    assert Path(PRESETS["small"].corpus).name == "tiny_shakespeare"
