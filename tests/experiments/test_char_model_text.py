"""A text that is larger than memory gives the run that it would give in memory."""

import dataclasses
import json

import numpy as np
import pytest
from rich.console import Console

from experiments.char_model import baselines
from experiments.char_model import text as texts
from experiments.char_model.config import Config
from experiments.char_model.resume import TrainedOn
from experiments.char_model.run import train
from experiments.char_model.text import read_text
from experiments.run_directory import RunDirectory
from seqjax.data.text import Vocabulary

CONFIG = Config(
    cell="gru", units=4, layers=1, batch_size=2, num_steps=5, epochs=0.2, evaluations=1, window=50
)


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A file with characters of several bytes, some of them in its last tenth only."""
    monkeypatch.setenv("SEQJAX_DATA", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    words = np.array(["the", "Quick", "bröwn", "fox.\n", "日本", "over"])
    path = tmp_path / "play.txt"
    path.write_text("!" + " ".join(words[rng.integers(6, size=1000)]) + " 🎭🎭")
    return str(path)


@pytest.mark.parametrize(
    "options",
    [{}, {"bytes": True}, {"min_count": 2}, {"validation": 0.5}, {"tuning": True, "bytes": True}],
)
def test_a_large_text_is_the_text_in_memory(corpus, monkeypatch, options):
    config = dataclasses.replace(CONFIG, corpus=corpus, **options)
    expected = read_text(config)
    monkeypatch.setattr(texts, "LARGE", 1000)
    found = read_text(config)
    assert isinstance(found.train, np.memmap)
    assert isinstance(found.validation, np.memmap)
    for field in ("sha256", "vocabulary", "split"):
        assert getattr(found, field) == getattr(expected, field)
    assert expected.vocabulary.unknown == ("bytes" not in options)
    for field in ("train", "validation"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))


def test_a_run_for_tuning_reads_the_training_part_alone(corpus):
    plain, tuning = (
        read_text(dataclasses.replace(CONFIG, corpus=corpus, tuning=t)) for t in (False, True)
    )
    known = plain.vocabulary.decode(plain.train)
    parts = [tuning.vocabulary.decode(part) for part in (tuning.train, tuning.validation)]
    assert "".join(parts) == known
    assert len(parts[0]) == int(0.9 * len(known))
    assert tuning.split == "first 90% / last 10% of the training part"
    assert tuning.sha256 == plain.sha256


def test_a_large_text_is_read_with_the_vocabulary_of_a_trained_model(corpus, monkeypatch):
    config = dataclasses.replace(CONFIG, corpus=corpus)
    trained = TrainedOn(Vocabulary(" theQuick", unknown=True), None, changed=True)
    expected = read_text(config, trained)
    monkeypatch.setattr(texts, "LARGE", 1000)
    found = read_text(config, trained)
    assert found.vocabulary == trained.vocabulary
    np.testing.assert_array_equal(found.train, expected.train)
    with pytest.raises(ValueError, match="is not the text that the run was trained on"):
        read_text(config, TrainedOn(expected.vocabulary, "0" * 64))


@pytest.mark.slow
def test_a_run_on_a_large_text_is_the_run_in_memory(corpus, tmp_path, monkeypatch):
    config = dataclasses.replace(CONFIG, corpus=corpus)
    results = []
    for large, name in ((10**9, "memory"), (1000, "file")):
        monkeypatch.setattr(texts, "LARGE", large)
        folder = RunDirectory("char_model", config, tmp_path / name)
        train(config, folder, Console(quiet=True))
        results.append(json.loads((folder.path / "result.json").read_text()))
        for measured in ("train_seconds", "chars_per_second", "throughput"):
            del results[-1][measured]
    assert results[0] == results[1]


def test_ngrams_that_do_not_fit_into_memory_are_refused_before_the_training(corpus, monkeypatch):
    config = dataclasses.replace(CONFIG, corpus=corpus, ngrams="all")
    read_text(config)
    monkeypatch.setattr(baselines, "BYTES", 1e12)
    with pytest.raises(ValueError, match=r"--ngrams all needs about \d+ GB .* use --ngrams sample"):
        read_text(config)
    read_text(dataclasses.replace(config, ngrams="sample"))
