"""Dynamic evaluation of the character model: causal, repeatable, and no gain without cause."""

import dataclasses
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from experiments.char_model import __main__ as cli
from experiments.char_model import dynamic, evaluation, tune_dynamic
from experiments.char_model import trained as trained_module
from experiments.char_model.config import Config, build_model
from experiments.char_model.dynamic import gradient_statistics, learn_and_score
from experiments.char_model.dynamic_options import DynamicOptions, Settings
from experiments.char_model.evaluation import token_losses
from experiments.char_model.run import train
from experiments.char_model.text import read_text
from experiments.char_model.train import init_state
from experiments.char_model.trained import load
from experiments.run_directory import RunDirectory
from seqjax.checkpoint import Checkpoints
from seqjax.sampling import Sampling, generate, prime

CONFIG = Config(
    cell="gru", units=16, batch_size=4, num_steps=10, epochs=12, learning_rate=2e-2, evaluations=1,
    window=32, tuning=True,
)  # fmt: skip
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]
SETTINGS = [Settings("sgd", 0.2, 0.01, 7), Settings("rms", 1e-3, 0.01, 7)]
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Words in random order."""
    path = tmp_path_factory.mktemp("text") / "corpus.txt"
    path.write_text(" ".join(np.random.default_rng(0).choice(WORDS, 600)))
    return str(path)


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory):
    """The folder of a run that was stopped before its first step."""
    path = tmp_path_factory.mktemp("run")
    config = dataclasses.replace(CONFIG, corpus=corpus)
    text = read_text(config)
    about = {
        "config": dataclasses.asdict(config),
        "vocabulary": text.vocabulary.to_json(),
        "corpus_sha256": text.sha256,
    }
    with jax.numpy_dtype_promotion("standard"), jax.enable_x64(False):
        state = init_state(config, build_model(config, text.vocabulary.size))
        with Checkpoints(path / "checkpoints") as checkpoints:
            checkpoints.save(0, state, about, 1.0)
    return path


@pytest.fixture(scope="module")
def trained(folder):
    with jax.numpy_dtype_promotion("standard"), jax.enable_x64(False):
        return load(folder)


@pytest.fixture(scope="module")
def tokens(trained):
    return np.asarray(read_text(trained.config, trained.text).validation[:61])


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch):
    """A text of several blocks, the last one not full."""
    monkeypatch.setattr(dynamic, "BLOCK", 3)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: s.rule)
def test_a_score_depends_on_earlier_characters_only(trained, tokens, settings):
    score = functools.partial(learn_and_score, settings, trained, console=QUIET)
    losses = score(tokens)
    np.testing.assert_array_equal(score(tokens), losses)  # repeatable
    for place in (1, 8, 10, 60):
        other = tokens.copy()
        other[place] = (other[place] + 1) % trained.vocabulary.size
        changed = score(other)
        np.testing.assert_array_equal(changed[: place - 1], losses[: place - 1])
        assert changed[place - 1] != losses[place - 1]
        assert place == 60 or (changed[place:] != losses[place:]).any()


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: s.rule)
def test_without_a_learning_rate_it_is_static_evaluation(trained, tokens, settings, monkeypatch):
    monkeypatch.setattr(evaluation, "CHUNK", 7)  # sums of the same shapes
    static = token_losses(trained.model, trained.params, tokens)
    found = learn_and_score(settings._replace(learning_rate=0.0), trained, tokens, QUIET)
    np.testing.assert_array_equal(found, static)
    learned = learn_and_score(settings, trained, tokens, QUIET)
    np.testing.assert_array_equal(learned[:7], static[:7])
    assert (learned[7:] != static[7:]).all()


def test_the_commands_learn(folder, trained, tokens, capsys):
    console = Console(width=100)
    options = DynamicOptions("rms", 1e-3, 0.01, 7)
    text = trained.vocabulary.decode(tokens)
    losses = learn_and_score(SETTINGS[1], trained, tokens, QUIET) / math.log(2)
    cli.ScoreText(folder, text, per_character=True, dynamic=options).main(console)
    *lines, last = capsys.readouterr().out.strip().splitlines()
    assert [line.split("\t")[1] for line in lines] == [f"{loss:.3f}" for loss in losses]
    assert last.startswith(f"{losses.mean(dtype=np.float64):.4f} bits per character")

    validation = read_text(trained.config, trained.text).validation
    nats = learn_and_score(SETTINGS[1], trained, validation, QUIET).mean(dtype=np.float64)
    cli.Evaluate((folder,), dynamic=options).main(console)
    shown = capsys.readouterr().out
    assert re.search(rf"dynamic, rms +│ +{nats:.4f}", shown)
    assert "dynamic: --dynamic rms --learning-rate 0.001 --decay 0.01 --chunk 7" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.1}, "--learning-rate has no effect without --dynamic sgd or rms"),
        ({"dynamic": "sgd", "learning_rate": -1.0}, "--learning-rate must be at least 0, got -1.0"),
        ({"dynamic": "rms", "decay": -0.1}, "--decay must be at least 0, got -0.1"),
        ({"dynamic": "sgd", "decay": 1.5}, "--dynamic sgd: --decay must be at most 1, got 1.5"),
        ({"dynamic": "sgd", "chunk": 0}, "--chunk must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_options_are_value_errors(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        DynamicOptions(**options).settings  # noqa: B018, raises


def test_rms_needs_the_training_text(trained, tokens):
    config = dataclasses.replace(trained.config, corpus="none.txt")
    with pytest.raises(ValueError, match=r"none\.txt"):
        learn_and_score(SETTINGS[1], trained._replace(config=config), tokens, QUIET)
    with pytest.raises(ValueError, match="7 characters are too few for a chunk, which needs 8"):
        gradient_statistics(trained.model, trained.params, tokens[:7], 7)


def test_settings_are_chosen_on_held_out_training_text(folder, monkeypatch, capsys):
    tried = []

    def losses(model, params, tokens, rule, chunk):
        rates = rule.init(jnp.zeros(1)).rates
        tried.append((float(rates), chunk, len(tokens)))
        return np.full(3, abs(np.log(float(rates) / 0.2)), np.float32)

    monkeypatch.setattr(dynamic, "dynamic_losses", losses)
    tune_dynamic.TuneDynamic(folder, "sgd").main(Console(width=200))
    best = capsys.readouterr().out.splitlines()[-1]
    assert best.startswith("best: 0.0000 nats with --dynamic sgd --learning-rate 0.2 --decay")
    held_out = len(read_text(load(folder).config).validation)
    assert {size for *_, size in tried} == {held_out}
    plain = dataclasses.replace(load(folder).config, tuning=False)
    monkeypatch.setattr(trained_module, "load", lambda run: load(folder)._replace(config=plain))
    with pytest.raises(ValueError, match="give a run of train --tuning"):
        tune_dynamic.TuneDynamic(folder).main(QUIET)


@pytest.mark.slow
def test_it_gains_on_other_texts_but_not_on_text_of_the_model(corpus, tmp_path):
    config = dataclasses.replace(CONFIG, corpus=corpus)
    train(config, RunDirectory("char_model", config, tmp_path / "run"), QUIET)
    trained = load(tmp_path / "run")
    model, params = trained.model, trained.params
    start = prime(model, params, jnp.zeros((1, 1), jnp.int32))
    _, own = generate(model, params, start, jax.random.key(0), 20_000, Sampling())
    other = trained.vocabulary.encode("dog lazy brown jumps " * 20)
    for settings in SETTINGS:
        gains = []
        for tokens in (np.asarray(own)[0], other):
            static = token_losses(model, params, tokens)
            gain = static - learn_and_score(settings, trained, tokens, QUIET)
            gains.append(gain.astype(np.float64))
        own_gain, gain = (values.mean() for values in gains)
        parts = np.array([part.mean() for part in np.array_split(gains[0], 100)])
        error = parts.std() / np.sqrt(len(parts) - 1)
        assert -0.1 < own_gain < 3 * error
        assert gain > 10 * error
