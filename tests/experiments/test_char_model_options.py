"""The options and commands of the character model, and what they refuse."""

import dataclasses
import errno
import importlib
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from experiments.cells import NAMES
from experiments.char_model import run as runs
from experiments.char_model.config import PRESETS, Config, build_model, check_model
from experiments.char_model.text import read_text
from experiments.char_model.trained import load, read_config
from experiments.run_directory import RunDirectory
from seqjax import (
    InputProjection,
    LanguageModel,
    MinGRU,
    ResidualBlock,
    Stack,
)
from seqjax.checkpoint import Checkpoints
from tests.experiments.small_char_model import OPTIONS, SMALL, shell, train


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


def test_commands_that_cannot_run_end_with_a_message(tmp_path, refused):
    refused("none.txt", "train", "--corpus", tmp_path / "none.txt", "--out", tmp_path / "a")
    refused("holds no run: it has no checkpoints", "evaluate", tmp_path)
    refused("give one of them", "score", tmp_path, "--text", "a", "--file", "b")


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
