"""Experiments as their command lines run them, in this process."""

import sys

import jax
import pytest

from experiments import command_line
from experiments.char_model import __main__ as char_model
from tests.experiments.small_char_model import TEXT


@pytest.fixture(autouse=True)
def _as_users_run_it():
    """With the promotion of dtypes that optax and users have."""
    with jax.numpy_dtype_promotion("standard"), jax.enable_x64(False):
        yield


@pytest.fixture
def run_module(monkeypatch):
    """Run ``run_module(experiments.NAME.experiment, *arguments)``; JAX has started already."""
    monkeypatch.setattr(command_line, "set_up", lambda: None)

    def run(module, *arguments):
        name = module.__name__.split(".")[1]
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        command_line.run_experiment(name, module.Config)

    return run


@pytest.fixture
def corpus(tmp_path):
    """A text for `small_char_model.SMALL`."""
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT)
    return str(path)


@pytest.fixture
def command(monkeypatch):
    """Run a command of the character model, ``command("train", ...)``."""
    monkeypatch.setattr(char_model, "set_up", lambda: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["char_model", *map(str, arguments)])
        char_model.main()

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
