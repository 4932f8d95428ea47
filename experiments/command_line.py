"""The frame that all experiments share: options, a folder for the results, and how a run ends."""

import importlib
import os
import sys
from pathlib import Path
from typing import Any, Protocol, TypeVar

import tyro

from experiments.run_directory import RunDirectory
from seqjax.checks import check_size
from seqjax.terminal import replace_what_cannot_be_shown


class Config(Protocol):
    """The options of an experiment, a frozen dataclass."""

    @property
    def out(self) -> Path | None:
        """A new folder for the results."""


C = TypeVar("C", bound=Config)


def option(name: str) -> str:
    """What a field is called on the command line.

    >>> option("batch_size")
    '--batch-size'
    """
    return "--" + name.replace("_", "-")


def check_sizes(owner: str, config: Any, *names: str) -> None:
    """Raise ``ValueError`` unless each of these fields is a whole number of at least 1."""
    for name in names:
        check_size(owner, option(name), getattr(config, name))


def check_seed(seed: int) -> None:
    """Raise ``ValueError`` unless ``--seed`` is one that `jax.random.key` takes everywhere."""
    if not 0 <= seed < 2**31:
        raise ValueError(f"--seed must lie in [0, 2**31), got {seed}")


def check_learning_rate(rate: float) -> None:
    """Raise ``ValueError`` unless ``--learning-rate`` is a positive number."""
    if not 0 < rate < float("inf"):
        raise ValueError(f"--learning-rate must be more than 0, got {rate}")


def set_up() -> None:
    """Set this process up for an experiment: a CPU device a core, and output for any terminal."""
    # as `seqjax.devices.one_cpu_device_per_core`, but without JAX, which --help does not need
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count() or 1))
    replace_what_cannot_be_shown()


def run_experiment(name: str, config: type[C]) -> None:
    """Run ``python -m experiments.NAME``; a bad option ends with exit code 2, Ctrl-C with 130.

    Once the options are read, ``main(config, folder)`` of ``experiments.NAME.experiment`` is
    imported, which does the work. In the folder lies ``config.json`` already.

    Args:
      name: of the experiment, and of its folder in ``runs``.
      config: what the options are read into; it raises ``ValueError`` at a bad one.
    """
    set_up()
    try:
        options = tyro.cli(config, prog=f"python -m experiments.{name}")
        folder = RunDirectory(name, options.out)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    folder.write_json("config.json", options)
    experiment = importlib.import_module(f"experiments.{name}.experiment")
    try:
        experiment.main(options, folder)
    except KeyboardInterrupt:
        print(f"stopped; what was measured is in {folder.path}", file=sys.stderr)
        sys.exit(130)
