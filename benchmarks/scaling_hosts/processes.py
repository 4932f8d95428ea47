"""Starts the processes of a measurement, and lets them take turns."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.scaling_hosts.worker import Job, Turn
from seqjax.launch import environments

WARM_UP = 2  # turns; the second one compiles the step for the state that the first has returned
GRACE = 10.0  # seconds until a process that does not end is killed


class Group(NamedTuple):
    """Processes that train one model.

    Attributes:
      processes: the number of processes.
      devices: the number of CPU devices of each process.
    """

    processes: int
    devices: int

    def __str__(self) -> str:
        """As in "2 x 1"."""
        return f"{self.processes} x {self.devices}"


@dataclasses.dataclass(frozen=True)
class Running:
    """The running processes of a group.

    Args:
      group: the group.
      processes: its processes, which wait for their turn.
    """

    group: Group
    processes: list["subprocess.Popen[str]"]

    def turn(self) -> list[Turn]:
        """Let all processes take one turn; the measurements of each."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        return [Turn(**json.loads(self._line(process))) for process in self.processes]

    def _line(self, process: "subprocess.Popen[str]") -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        while line and not line.startswith("{"):  # lines of gloo
            line = process.stdout.readline()
        if not line:
            raise SystemExit(f"error: one of the processes {self.group} has ended")
        return line


def cores_of(process: int, group: Group, cores: Sequence[int]) -> tuple[int, ...]:
    """The cores of a process, as many as its devices; more processes share them.

    >>> [cores_of(process, Group(4, 1), (0, 1)) for process in range(4)]
    [(0,), (1,), (0,), (1,)]
    >>> cores_of(0, Group(1, 2), (0, 1))
    (0, 1)
    """
    first = process * group.devices
    return tuple(cores[(first + n) % len(cores)] for n in range(group.devices))


@contextlib.contextmanager
def start(group: Group, job: Mapping[str, Any], pinned: bool) -> Iterator[Running]:
    """Start the processes of a group, which end with the block, and let them compile.

    Args:
      group: the group.
      job: the `Job` of each process, without its cores.
      pinned: give each process as many cores as it has devices, instead of all.
    """
    cores = sorted(os.sched_getaffinity(0))
    variables = os.environ | {"JAX_NUM_CPU_DEVICES": str(group.devices)}
    processes: list[subprocess.Popen[str]] = []
    try:
        for number, environment in enumerate(environments(group.processes, variables)):
            mine = cores_of(number, group, cores) if pinned else tuple(cores)
            of_process = json.dumps(Job(**job, cores=mine)._asdict())
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.scaling_hosts.worker", of_process],
                    env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
        running = Running(group, processes)
        for _ in range(WARM_UP):
            running.turn()
        yield running
    finally:
        for process in processes:  # all end by themselves, unless one has failed
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        for process in reversed(processes):
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
