"""An experiment as its command line runs it, in this process."""

import sys

import pytest

from experiments import command_line


@pytest.fixture
def run_module(monkeypatch):
    """Run ``run_module(experiments.NAME, *arguments)``; JAX has started already."""
    monkeypatch.setattr(command_line, "one_cpu_device_per_core", lambda: None)

    def run(module, *arguments):
        name = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        command_line.run_experiment(name, module.Config, module.main)

    return run
