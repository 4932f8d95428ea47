"""How the processes of a program find each other: options or environment variables."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from seqjax.checks import check_count, check_number, check_size

VARIABLES = ("SEQJAX_COORDINATOR", "SEQJAX_PROCESSES", "SEQJAX_PROCESS")
"""Environment variables of the options ``coordinator``, ``processes`` and ``process``."""


@dataclasses.dataclass(frozen=True)
class Hosts:
    """How the processes of one program find each other.

    Args:
      coordinator: the address HOST:PORT at which process 0 listens. None: the cluster that started
        the processes (SLURM, Open MPI, Kubernetes or TPU) knows it; without one, run alone.
      processes: the number of processes. 1 runs alone, on a cluster too.
      process: the number of this process, from 0.
      start_timeout: the seconds to wait until all processes have started.
      lost_after: the seconds after which a process of which nothing is heard is lost, see `watch`.

    Raises:
      ValueError: an option is out of range, or only some of the first three are given.

    >>> Hosts("host0:8476", processes=2, process=2)
    Traceback (most recent call last):
    ...
    ValueError: Hosts: process must lie in [0, 2), got 2; number the 2 processes from 0
    """

    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None
    start_timeout: float = 300.0
    lost_after: float = 30.0

    def __post_init__(self) -> None:
        for name in ("start_timeout", "lost_after"):
            check_number("Hosts", name, getattr(self, name))
            if getattr(self, name) <= 0:
                raise ValueError(f"Hosts: {name} must be above 0, got {getattr(self, name)}")
        if self.processes is not None:
            check_size("Hosts", "processes", self.processes)
        if self.process is not None:
            check_count("Hosts", "process", self.process)
        if self.coordinator is not None:
            address_of(self.coordinator)
        given = (self.coordinator, self.processes, self.process)
        if given == (None, None, None) or given == (None, 1, None):
            return
        if None in given:
            names = ("coordinator", "processes", "process")
            lacking = [name for name, value in zip(names, given, strict=True) if value is None]
            raise ValueError(
                "Hosts: coordinator, processes and process belong together, but "
                f"{' and '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} not given; give "
                "all three, or none to ask the cluster, or processes 1 to run alone"
            )
        if self.process >= self.processes:  # type: ignore[operator]  # both are given
            raise ValueError(
                f"Hosts: process must lie in [0, {self.processes}), got {self.process}; number "
                f"the {self.processes} processes from 0"
            )

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str],
        start_timeout: float = 300.0,
        lost_after: float = 30.0,
    ) -> Self:
        """Read the variables that ``python -m seqjax.launch --processes N`` sets.

        Raises:
          ValueError: as `Hosts`, or a variable is not a number.

        >>> Hosts.from_environment({"SEQJAX_PROCESSES": "1"}).processes
        1
        """
        coordinator, *numbers = (environment.get(name) for name in VARIABLES)
        try:
            processes, process = (None if n is None else int(n) for n in numbers)
        except ValueError:
            raise ValueError(
                f"{VARIABLES[1]} and {VARIABLES[2]} must be whole numbers, got {numbers}; let "
                "python -m seqjax.launch --processes N set them, or unset them"
            ) from None
        return cls(coordinator, processes, process, start_timeout, lost_after)


def address_of(coordinator: Any) -> tuple[str, int]:
    """The host and the port of ``HOST:PORT``.

    >>> address_of("[::1]:8476")
    ('::1', 8476)
    """
    host, _, port = coordinator.rpartition(":") if isinstance(coordinator, str) else ("", "", "")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"Hosts: coordinator must be HOST:PORT with a port in [1, 65535], got {coordinator!r}"
        )
    return host.strip("[]"), int(port)
