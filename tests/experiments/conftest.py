"""An experiment as its command line runs it, in this process."""

import sys

import pytest

from experiments import command_line


@pytest.fixture
def run_module(monkeypatch):
    """Run ``run_module(experiments.NAME.experiment, *arguments)``; JAX has started already."""
    monkeypatch.setattr(command_line, "set_up", lambda: None)

    def run(module, *arguments):
        name = module.__name__.split(".")[1]
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        command_line.run_experiment(name, module.Config)

    return run
