"""Run a Python program with allocator settings that keep freed memory: ``python -m seqjax.launch``.

::

    python -m seqjax.launch train.py --epochs 3
    python -m seqjax.launch -m package.module --help
    python -m seqjax.launch --processes 2 -m package.module --epochs 3

On Linux, glibc returns large freed arrays to the system, and requests them again, page by page, at
each call of a compiled program. A program that calls a training step in a loop can spend up to 40%
of its time on this. A program that takes many steps per call, with `seqjax.training.train_steps`,
does not need the launcher. The performance page of the documentation has measurements.

The process then keeps its peak memory until it ends. Importing seqjax does not change these
settings, and environment variables that are already set keep their values.

``--processes N`` starts the program N times on this machine. A program that calls
`seqjax.hosts.join` then joins its processes. They share the CPU cores; on GPUs, each uses one. The
output is that of process 0 and the errors of all. When a process fails, the others are ended, and
the exit code is that of the process. Ctrl-C, SIGTERM and SIGHUP reach all, SIGHUP as SIGTERM.
"""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType

from seqjax.machine import usable_cores

SETTINGS: Mapping[str, str] = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # large pages, where the system grants them
    "MALLOC_MMAP_MAX_": "0",  # no separate mappings, which are unmapped when they are freed
    "MALLOC_TOP_PAD_": str(2**28),  # the heap grows by 256 MiB at once
    "MALLOC_TRIM_THRESHOLD_": str(2**40),  # and never shrinks
}
"""Environment variables that glibc reads when a process starts; other C libraries ignore them."""

GRACE = 10.0
"""Seconds that the other processes have to end after one has failed."""

SAVING = 60.0
"""Seconds that they have after a signal, on which a program may save its state."""


def launch(arguments: list[str]) -> None:
    """Replace this process with ``python ARGUMENTS``, with `SETTINGS` in the environment."""
    os.execve(sys.executable, [sys.executable, *arguments], {**SETTINGS, **os.environ})


def environments(processes: int, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """The environment of each of N processes on this machine, for `seqjax.hosts.join`.

    >>> first, second = environments(2, {})
    >>> first["SEQJAX_COORDINATOR"] == second["SEQJAX_COORDINATOR"]
    True
    >>> second["SEQJAX_PROCESSES"], second["SEQJAX_PROCESS"], second["JAX_LOCAL_DEVICE_IDS"]
    ('2', '1', '1')
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cores = max(1, usable_cores() // processes)
    return [
        {
            **SETTINGS,
            "JAX_NUM_CPU_DEVICES": str(cores),
            "JAX_LOCAL_DEVICE_IDS": str(process),  # of GPUs
            **environment,
            "SEQJAX_COORDINATOR": f"127.0.0.1:{port}",
            "SEQJAX_PROCESSES": str(processes),
            "SEQJAX_PROCESS": str(process),
        }
        for process in range(processes)
    ]


def launch_processes(processes: int, arguments: Sequence[str]) -> int:
    """Run ``python ARGUMENTS`` in N processes, and return the exit code.

    It is 0 if all end well, otherwise that of the process that fails first, or 128 plus the number
    of the signal that ended it.
    """
    running: list[subprocess.Popen[bytes]] = []
    readers: list[threading.Thread] = []
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        number = signal.SIGTERM if number == signal.SIGHUP else number
        received.append(number)
        for child in running:
            _signal(child, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup does
            signal.signal(number, forward)
    for process, environment in enumerate(environments(processes, os.environ)):
        child = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if process else None,
            stderr=subprocess.PIPE if process else None,
            process_group=0,  # a terminal would send Ctrl-C to all, and so twice
        )
        before = len(received)
        running.append(child)
        for early in received[:before]:  # it was not there yet
            _signal(child, early)
        reader = threading.Thread(target=_watch, args=(process, child, ended), daemon=True)
        readers.append(reader)
        reader.start()
    for _ in running:
        process = ended.get()
        code = running[process].returncode
        if code:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed ({code})"
            _say(f"process {process} {how}; the others are ended\n")
            _end(running, SAVING if received else GRACE)
            for reader in readers:  # the last lines of the others
                reader.join(1)
            return code if code > 0 else 128 - code
    return 0


def _watch(process: int, child: "subprocess.Popen[bytes]", ended: "queue.SimpleQueue[int]") -> None:
    """Show the errors of a process, and report its end."""
    if child.stderr is not None:
        prefix = f"process {process}: "
        for line in child.stderr:
            text = line.decode(errors="replace")
            _say(text if text.startswith(prefix) else prefix + text)
    child.wait()
    ended.put(process)


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
        sys.stderr.write(text)
        sys.stderr.flush()


def _end(running: "Sequence[subprocess.Popen[bytes]]", grace: float) -> None:
    """End processes that wait for one that has failed."""
    for child in running:
        _signal(child, signal.SIGTERM)
    until = time.monotonic() + grace
    for child in running:
        try:
            child.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _signal(child: "subprocess.Popen[bytes]", number: int) -> None:
    if child.poll() is None:
        child.send_signal(number)


def main(arguments: list[str]) -> int:
    """Run the command line, and return the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    if arguments[0] == "--processes":
        given = arguments[1] if arguments[1:] else ""
        if not given.isdecimal() or int(given) < 1 or not arguments[2:]:
            print(
                "error: --processes must be followed by a whole number of at least 1 and a "
                f"program, got {' '.join(arguments)}; for example: python -m seqjax.launch "
                "--processes 2 train.py",
                file=sys.stderr,
            )
            return 2
        return launch_processes(int(given), arguments[2:])
    launch(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
