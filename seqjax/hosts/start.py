"""Joins the processes of a program, with clear errors where jaxlib would end the process."""

import contextlib
import functools
import json
import math
import os
import platform
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, NoReturn

from seqjax.checks import describe
from seqjax.hosts import clusters, runtime
from seqjax.hosts.agreement import check_agreement
from seqjax.hosts.options import Hosts, address_of
from seqjax.hosts.watch import leave_last, tell, watch

# JAX is imported by the functions, because a command line shows its options without it

_OWN_NAME = 30.0  # seconds; a cluster may know the name of a host only after its start


def join(hosts: Hosts | None = None, config: Mapping[str, Any] | None = None) -> None:
    """Join the processes of this program.

    Does nothing if there is one process: without options, without the variables of
    ``python -m seqjax.launch --processes N``, and outside of a cluster that started several.
    Otherwise calls ``jax.distributed.initialize``, with the options or with what JAX finds out
    from the cluster, and checks that all processes agree in their versions and ``config``. From
    then on `watch` ends this process if another one is lost.

    An error that the program does not catch ends its process at once, see `leave`. SIGTERM keeps
    its effect, since the preemption service of JAX is disabled.

    Args:
      hosts: how the processes find each other; defaults to `Hosts`.
      config: JSON data that must be the same in all processes, such as the options of the program.

    Raises:
      ValueError: an argument or variable is invalid, the address cannot be used, or the processes
        differ in their versions or in ``config``; the message names the process.
      TimeoutError: not all processes came within ``start_timeout`` seconds.
      RuntimeError: JAX has already started.

    >>> join(Hosts(processes=1))
    """
    if hosts is None:
        hosts = Hosts()
    if not isinstance(hosts, Hosts):
        raise ValueError(f"join: hosts must be a seqjax.hosts.Hosts, got {describe(hosts)}")
    if (hosts.coordinator, hosts.processes) == (None, None):
        hosts = Hosts.from_environment(os.environ, hosts.start_timeout, hosts.lost_after)
    if hosts.processes == 1:
        return

    limits = {
        "heartbeat_timeout_seconds": max(100, math.ceil(2 * hosts.lost_after)),
        # processes may end hours apart; a lost one is found by `watch`
        "shutdown_timeout_seconds": 7 * 24 * 3600,
    }
    if hosts.coordinator is not None:
        began = time.monotonic()
        _check_address(hosts)
        left = max(0.0, hosts.start_timeout - (time.monotonic() - began))
        how = {
            "coordinator_address": hosts.coordinator,
            "num_processes": hosts.processes,
            "process_id": hosts.process,
            "cluster_detection_method": "deactivate",
        }
        how |= limits
        _initialize(how, left, functools.partial(_who_is_missing, hosts))
    else:
        found = clusters.find(os.environ)
        if found is None:
            return
        missing = f"not all processes of {found.name} came within {hosts.start_timeout:g} s"
        try:
            _initialize(dict(found.arguments) | limits, hosts.start_timeout, lambda: missing)
        except ValueError as error:
            if found.name == "TPU" and "should be defined" in str(error):
                return  # JAX finds no other host of this TPU
            raise
    if runtime.processes() > 1:
        watch(hosts.lost_after)  # before JAX starts its devices, which waits for all processes
        options = {"--lost-after": hosts.lost_after, **dict(config or {})}
        with _without_lines_of_gloo():
            check_agreement(_versions() | json.loads(json.dumps(options, default=str)))


def leave(code: int, error: BaseException | None = None) -> NoReturn:
    """End this process at once, with the exit code ``code``.

    Otherwise JAX waits at exit for all other processes, which may wait for this one. Unless
    ``code`` is 0, the others end within a second too, with a line that names this process and its
    error. After `stopping`, process 0 waits up to 60 seconds for the others. If this process is
    alone, it ends as with ``sys.exit``.

    Args:
      code: the exit code.
      error: why the process ends; defaults to the error that is being handled.
    """
    jax = sys.modules.get("jax")
    if jax is None or not jax.distributed.is_initialized():
        sys.exit(code)
    if code:
        error = error or sys.exception()
        tell(f"exit code {code}" if error is None else f"{type(error).__name__}: {error}")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if code:
        leave_last()
    os._exit(code)


def _check_address(hosts: Hosts) -> None:
    """Check what jaxlib would end the process for."""
    assert hosts.coordinator is not None
    host, port = address_of(hosts.coordinator)
    most = hosts.start_timeout if hosts.process else min(_OWN_NAME, hosts.start_timeout)
    until = time.monotonic() + most
    while True:
        try:
            socket.getaddrinfo(host, port)
            break
        except OSError as error:
            if time.monotonic() > until:
                raise ValueError(
                    f"the host {host} of the coordinator {hosts.coordinator} cannot be found "
                    f"({error.strerror}); give the name or address of the host of process 0"
                ) from None
            time.sleep(0.2)
    if hosts.process == 0:
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        both = family == socket.AF_INET6
        try:  # jaxlib would share the port with another coordinator
            socket.create_server(("", port), family=family, dualstack_ipv6=both).close()
        except OSError as error:
            raise ValueError(
                f"process 0 cannot listen at the port {port} of {hosts.coordinator} "
                f"({os.strerror(error.errno or 0)}); choose another port, or end the program that "
                "uses it"
            ) from None


def _initialize(how: dict[str, Any], timeout: float, missing: Callable[[], str]) -> None:
    """Call ``jax.distributed.initialize``, which ends the process if a peer is missing."""
    import jax

    if jax.distributed.is_initialized():
        raise ValueError("join must be called once, but this process has already joined")
    jax.config.update("jax_enable_preemption_service", False)
    _end_at_once_on_errors()
    errors: list[Exception] = []
    # jaxlib must not come first
    how["initialization_timeout"] = round(timeout) + 3600

    def connect() -> None:
        try:
            with runtime.through_relay():
                jax.distributed.initialize(**how)
        except Exception as error:  # it raises many types
            errors.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise TimeoutError(missing())
    for error in errors:
        if isinstance(error, RuntimeError) and "must be called before" in str(error):
            raise RuntimeError("join must be called before JAX makes its first array") from None
        raise ValueError(f"JAX cannot join the processes: {error}".splitlines()[0]) from error


def _who_is_missing(hosts: Hosts) -> str:
    """Why the processes did not meet in time."""
    assert hosts.coordinator is not None
    host, port = address_of(hosts.coordinator)
    within = f"within {hosts.start_timeout:g} s"
    advice = "start all processes with the same coordinator and number of processes"
    if hosts.process == 0:
        came = _connections(port)
        shown = f"not all {hosts.processes}" if came is None else f"{came} of {hosts.processes}"
        return f"{shown} processes came to {hosts.coordinator} {within}; {advice}"
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError as error:
        return (
            f"process {hosts.process} cannot reach process 0 at {hosts.coordinator} {within} "
            f"({error.strerror or error}); start process 0, and check the address and the firewall"
        )
    return (
        f"process 0 listens at {hosts.coordinator}, but not all {hosts.processes} processes came "
        f"{within}; {advice}"
    )


def _connections(port: int) -> int | None:
    """The number of connections to a port of this host, where Linux tells it."""
    count = 0
    try:
        for name in ("tcp", "tcp6"):
            with open(f"/proc/net/{name}", encoding="ascii") as file:
                for _, local, _, state, *_ in map(str.split, file):
                    count += local.endswith(f":{port:04X}") and state == "01"  # established
    except (OSError, ValueError):
        return None
    return count


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in ("jax", "jaxlib", "numpy", "optax", "orbax-checkpoint", "seqjax"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # an extra, or seqjax on the path
            versions[name] = "unknown"
    return versions


def _end_at_once_on_errors() -> None:
    """Let an error that is not caught end this process, so that the others learn of it."""
    show = sys.excepthook

    def end(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> NoReturn:
        show(kind, error, trace)
        leave(130 if issubclass(kind, KeyboardInterrupt) else 1, error)

    sys.excepthook = end


@contextlib.contextmanager
def _without_lines_of_gloo() -> Iterator[None]:
    """Drop the lines that gloo prints on standard output when processes connect."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
