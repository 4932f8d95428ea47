"""Processes of one program on this machine, for tests."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from conftest import COMPILE_QUICKLY
from seqjax.launch import environments

ROOT = pathlib.Path(__file__).parent.parent
# for processes whose programs take longer to compile than to run
QUICKLY = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "XLA_FLAGS": " ".join(COMPILE_QUICKLY)}
JOIN = """
import json, sys
from seqjax.hosts import Hosts, await_all, check_agreement, gather, join, leave
def start(*hosts, config=None):
    try:
        join(Hosts(*hosts), config)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        leave(2)
"""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Process(subprocess.Popen):
    """``python COMMAND`` with one CPU device, and programs that compile quickly."""

    def __init__(self, *command, before=(), cwd=None, **variables):
        set_here = {
            "PYTHONPATH": str(ROOT),
            "JAX_NUM_CPU_DEVICES": "1",
            **QUICKLY,
        }
        self._files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        super().__init__(
            [*before, sys.executable, *map(str, command)], env=os.environ | set_here | variables,
            cwd=cwd, stdin=subprocess.DEVNULL, stdout=self._files[0], stderr=self._files[1],
        )  # fmt: skip

    @property
    def out(self):
        """What it has written so far."""
        return self._read(0)

    @property
    def error(self):
        return self._read(1)

    def _read(self, number):
        file = self._files[number].fileno()  # at the position at which the process writes
        return os.pread(file, os.fstat(file).st_size, 0).decode()

    def end(self):
        """Kill it if it runs; what it has written can no longer be read."""
        self.kill()
        self.wait()
        for file in self._files:
            file.close()

    def wait_until(self, condition, timeout=200):
        """Wait until something has happened, for example to the output."""
        until = time.monotonic() + timeout
        while not condition(self):
            assert self.poll() is None, self.out + self.error
            assert time.monotonic() < until, self.out + self.error
            time.sleep(0.02)


def together(*command, processes, devices=1, hosts=None, own=lambda _: (), **variables):
    """Start the processes of one program, with the variables that `seqjax.hosts.join` reads.

    ``own`` gives the arguments of one process.
    """
    given = {"JAX_NUM_CPU_DEVICES": str(devices)} | variables
    started = []
    for n, each in enumerate(environments(processes, given)):
        before = ()
        if hosts:
            before, each["SEQJAX_COORDINATOR"] = hosts.command(n), hosts.coordinator
        started.append(Process(*command, *own(n), before=before, **each))
    return started


@contextlib.contextmanager
def running(processes):
    """Kill at the end of the block what has not ended."""
    try:
        yield processes
    finally:
        for process in processes:
            process.end()


def ends(processes, timeout=100):
    """The exit code, the output and the errors of each process."""
    until = time.monotonic() + timeout
    with running(processes):
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
        return [(process.poll(), process.out, process.error) for process in processes]


def outputs(processes, timeout=200):
    """The outputs of processes, which must end well."""
    found = ends(processes, timeout)
    assert [code for code, *_ in found] == [0] * len(found), found
    return [out for _, out, _ in found]


def results(processes):
    """What each process prints at last, as JSON."""
    return [json.loads(out.splitlines()[-1]) for out in outputs(processes)]


class Hosts:
    """Two network namespaces of this machine, with a link between them that can be cut."""

    _addresses = ("10.213.0.1", "10.213.0.2")
    coordinator = "10.213.0.1:4711"

    def __init__(self):
        self._names = [f"seqjax{os.getpid()}{end}" for end in "ab"]

    def __enter__(self):
        a, b = self._names
        try:
            for name in self._names:
                ip("netns", "add", name)
            ip(*f"link add seqjax0 netns {a} type veth peer name seqjax0 netns {b}".split())
            for name, address in zip(self._names, self._addresses, strict=True):
                ip("-n", name, "addr", "add", f"{address}/24", "dev", "seqjax0")
                ip("-n", name, "link", "set", "seqjax0", "up")
                ip("-n", name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError):
            self.__exit__()
            pytest.skip("network namespaces need iproute2 and the rights of an administrator")
        return self

    def __exit__(self, *_):
        for name in self._names:
            with contextlib.suppress(OSError):
                subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def command(self, host):
        """The start of a command on a host; gloo finds its address by the name of the host."""
        name = f'hostname {self._addresses[host]}; exec "$@"'
        return ["ip", "netns", "exec", self._names[host], "unshare", "--uts", "sh", "-c", name, "_"]

    def cut(self):
        ip("-n", self._names[0], "link", "set", "seqjax0", "down")


def ip(*arguments):
    subprocess.run(["ip", *arguments], capture_output=True, check=True)
