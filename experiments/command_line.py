"""The command line that all experiments share: options, the folder of results and exit codes."""

import contextlib
import dataclasses
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import tyro

from experiments.errors import NotFiniteError
from experiments.run_directory import RunDirectory
from seqjax.checks import check_size
from seqjax.hosts import Hosts, await_loss, join, leave
from seqjax.machine import usable_cores
from seqjax.terminal import replace_what_cannot_be_shown


class Config(Protocol):
    """The options of an experiment, a frozen dataclass."""

    @property
    def out(self) -> Path | None:
        """A new folder for the results."""


C = TypeVar("C", bound=Config)


def option(name: str) -> str:
    """The option of a field on the command line.

    >>> option("batch_size")
    '--batch-size'
    """
    return "--" + name.replace("_", "-")


def check_sizes(owner: str, config: Any, *names: str) -> None:
    """Raise ``ValueError`` unless each named field is a whole number of at least 1."""
    for name in names:
        check_size(owner, option(name), getattr(config, name))


def check_seed(seed: int) -> None:
    """Raise ``ValueError`` unless ``--seed`` lies in ``[0, 2**31)``."""
    if not 0 <= seed < 2**31:
        raise ValueError(f"--seed must lie in [0, 2**31), got {seed}")


def check_learning_rate(rate: float) -> None:
    """Raise ``ValueError`` unless ``--learning-rate`` is a positive finite number."""
    if not 0 < rate < float("inf"):
        raise ValueError(f"--learning-rate must be a positive finite number, got {rate}")


def set_up() -> None:
    """Set up this process: one CPU device per core, and output that any terminal can show."""
    # repeats `seqjax.devices.one_cpu_device_per_core`, because --help must not import JAX
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(usable_cores()))
    replace_what_cannot_be_shown()


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """End the process after an error of a command, with one line that says what is wrong.

    The exit code is 2 for an invalid option or file, 1 for other errors and 130 for Ctrl-C.
    """
    try:
        yield
    except ValueError as error:
        await_loss(error)
        print(f"error: {error}", file=sys.stderr)
        leave(2)
    except (NotFiniteError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        leave(1)
    except KeyboardInterrupt:  # before training starts, or in a command that saves nothing
        leave(130)


def values_of(options: Any) -> dict[str, Any]:
    """The values of a dataclass of options by name, without those of `Hosts`.

    Processes that run together must agree in them.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Options:
    ...     batch_size: int = 32
    ...     hosts: Hosts = Hosts()
    >>> values_of(Options())
    {'--batch-size': 32}
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, Hosts):
            continue
        if dataclasses.is_dataclass(value):
            values |= values_of(value)
        else:
            values[option(field.name)] = value
    return values


def join_alone(name: str, hosts: Hosts) -> None:
    """Raise ``ValueError`` if this process is one of several, for a command that runs in one."""
    join(hosts)
    import jax

    if (count := jax.process_count()) > 1:
        raise ValueError(
            f"{name} runs in one process, but {count} were started together; start one"
        )


def run_experiment(name: str, config: type[C], several: bool = False) -> None:
    """Run ``python -m experiments.NAME``.

    Reads the options, then imports and calls ``main(config, folder)`` of
    ``experiments.NAME.experiment``. ``main`` reads its inputs, starts the folder, runs the
    experiment and writes the results into the folder. A ``ValueError`` before the folder is started
    counts as an invalid option.

    The exit code is 2 after an invalid option, 1 if a file cannot be written, and 130 after
    Ctrl-C.

    Args:
      name: the name of the experiment and of its folder in ``runs``.
      config: the dataclass of the options; it raises ``ValueError`` for an invalid option.
      several: whether several processes can run it together. All then call ``main``, which starts
        the folder by `experiments.processes.Group.start` and writes to it in process 0.
    """
    set_up()
    with exit_codes():
        command: Any = dataclasses.make_dataclass(
            "Command",
            [
                ("experiment", Annotated[config, tyro.conf.OmitArgPrefixes]),
                ("hosts", Annotated[Hosts, tyro.conf.OmitArgPrefixes], Hosts()),
            ],
        )
        given = tyro.cli(command, prog=f"python -m experiments.{name}", description=config.__doc__)
    run_options(name, given.experiment, given.hosts, several)


def run_options(name: str, options: Config, hosts: Hosts, several: bool = False) -> None:
    """Run an experiment with options that are valid, and end as `run_experiment` does.

    Args:
      name: the name of the experiment and of its folder in ``runs``.
      options: its options.
      hosts: how the processes find each other, if there are several.
      several: as in `run_experiment`.
    """
    folder: RunDirectory | None = None
    try:
        if several:
            join(hosts, values_of(options))
        else:
            join_alone(name, hosts)
        from experiments.processes import ALL  # it imports JAX

        # the time in its name is that of process 0, which must not start it before all have checked
        path = Path(ALL.by_first(lambda: str(RunDirectory(name, options, options.out).path)))
        folder = ALL.together(lambda: RunDirectory(name, options, path))
        experiment = importlib.import_module(f"experiments.{name}.experiment")
        experiment.main(options, folder)
    except ValueError as error:
        await_loss(error)
        if folder and folder.started:
            raise
        print(f"error: {error}", file=sys.stderr)
        leave(2)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        leave(1)
    except KeyboardInterrupt:
        kept = f"; the results so far are in {folder.path}" if folder and folder.started else ""
        print(f"stopped{kept}", file=sys.stderr)
        leave(130)
