"""Ends a program of several processes when one of them fails or is lost.

A process that ends with an error tells the others. One that is killed, stopped or cut off from the
network leaves the others in the middle of an exchange between devices. JAX ends them after
``heartbeat_timeout_seconds`` of `jax.distributed.initialize`, 100 seconds by default, by an abort
with a log of jaxlib. `watch` ends them earlier, with one line that names the process.
`seqjax.hosts.join` starts it.
"""

import atexit
import contextlib
import os
import sys
import threading
import time
from types import TracebackType

from seqjax.checks import describe
from seqjax.hosts import runtime

# JAX is imported by the functions, because a command line shows its options without it

_TO_FIRST, _TO_OTHERS, _END, _LEFT = (
    f"seqjax/watch/{name}" for name in ("to_first", "to_others", "end", "left")
)
_TIMES = 8  # messages within the time limit
_GRACE = 0.5  # seconds for a process to show an error of its own, or of all
_DELIVERY = 0.2  # seconds in which process 0 passes the error of a process on to others
_LONGEST = 300  # characters of an error
_AGAIN = "Start all processes again, from the last checkpoint"
_delay = 0.0  # seconds within which a loss is found; 0 if nothing is watched
_leaves = threading.Event()  # this process ends with an error of its own
_stops = threading.Event()  # a signal told this process to save and end
_SAVING = 60.0  # seconds for that; less than the heartbeat of JAX


def watch(seconds: float = 30.0) -> None:
    """End this process when another one of `jax.distributed` fails or is lost.

    A process that ends by `leave`, as `join` arranges it for each error that is not caught, tells
    the others at once. They write its number and its error to standard error, and end with exit
    code 1 after half a second.

    A thread of each process sends a message to process 0 eight times within ``seconds``. A process
    of which nothing was heard for ``seconds`` is lost: the others write its number to standard
    error and end with exit code 1, within twice the time. Process 0 tells the others of the loss,
    and the loss of process 0 is found by all. If process 0 is killed, its connections are closed,
    and the others end after half a second. An error of an exchange that ends the program is held
    back for the time that it takes, since it does not say which process was lost.

    `join` calls it. A program that calls `jax.distributed.initialize` itself calls it afterwards,
    with ``seconds`` of at most half of ``heartbeat_timeout_seconds``; if process 0 is killed, the
    runtime of JAX then aborts the others. In a single process it does nothing. A process that works
    longer than ``seconds`` inside of one call that keeps Python's interpreter lock counts as lost.

    Args:
      seconds: the time limit.

    Raises:
      ValueError: ``seconds`` is not a positive number.

    >>> watch(20)
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise ValueError(f"watch: seconds must be a positive number, got {describe(seconds)}")
    if runtime.processes() == 1:
        return
    _Watch(float(seconds)).start()
    global _delay
    _delay = 2.0 * seconds
    _await_before_errors()


def await_loss(error: BaseException) -> None:
    """Wait until `watch` has named the lost process, if ``error`` comes from an exchange.

    An error of an exchange between processes does not say which process was lost. A program that
    catches errors, to end in its own way, calls this first. It does nothing where memory is
    exhausted, for errors that JAX does not raise, and if nothing is watched.

    >>> await_loss(ValueError("units must be at least 1"))
    """
    if "RESOURCE_EXHAUSTED" in str(error):  # the memory of this process
        return
    # where a call is dispatched, JAX raises an error of gloo as ValueError
    if type(error).__name__ == "JaxRuntimeError" or "Gloo" in str(error):
        time.sleep(_delay)


def tell(why: str) -> None:
    """Tell the other processes that this one ends, and why; it then shows no error of another."""
    if not _delay:  # they have not met, and jaxlib would end this process
        return
    _leaves.set()
    line = why.partition("\n")[0][:_LONGEST].rstrip(".: ")
    _put_soon(_END, f"process {runtime.process()} has failed: {line}. {_AGAIN}")


def leave_last() -> None:
    """Let process 0 end after the others, whose saves go through its connections.

    If a signal told the processes to save, process 0 waits for the others as long as they have.
    """
    if runtime.process():
        if _delay:  # the processes have met
            _say_that_it_leaves()
        return
    if not (_delay and _stops.is_set()):
        time.sleep(_DELIVERY)
        return
    until = time.monotonic() + _SAVING
    while time.monotonic() < until:
        with contextlib.suppress(ConnectionError):  # there is no entry yet
            if len(runtime.entries(_LEFT)) == runtime.processes() - 1:
                return
        time.sleep(0.02)


def _say_that_it_leaves() -> None:
    _put_soon(f"{_LEFT}/{runtime.process()}", "")


def _put_soon(key: str, value: str) -> None:
    """Store a value, or give up after a moment."""

    def put() -> None:
        with contextlib.suppress(ConnectionError):  # another one was first, or is lost
            runtime.put(key, value)

    thread = threading.Thread(target=put, daemon=True)  # process 0 may not answer
    thread.start()
    thread.join(_GRACE)


def stopping() -> None:
    """Say that a signal told this process to save its state and end.

    When another process ends first, this one then has 60 seconds to do so, not half a second.
    Process 0 ends after the others, by `leave`, since their saves need its connections.

    >>> stopping()
    """
    _stops.set()


def _await_before_errors() -> None:
    """Call `await_loss` before an error that is not caught ends this process."""
    show = sys.excepthook

    def wait(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        await_loss(error)
        show(kind, error, trace)

    sys.excepthook = wait


class _Watch:
    def __init__(self, seconds: float) -> None:
        self._seconds, self._pause = seconds, seconds / _TIMES
        self._process = runtime.process()
        watched = [0] if self._process else range(1, runtime.processes())
        self._heard = dict.fromkeys(watched, time.monotonic())
        self._said: dict[int, str] = {}
        self._parts, self._parted = threading.Event(), threading.Event()
        self._ends = threading.Lock()

    def start(self) -> None:
        """Start the threads, and end them when the processes part."""
        acts = (self.talk, self.judge, self.listen)
        threads = [threading.Thread(target=act, daemon=True) for act in acts]
        for thread in threads:
            thread.start()
        runtime.when_first_is_gone(self._first_is_gone)

        def part() -> None:
            # waits for the others, who hear of this process meanwhile; JAX would do it later, and a
            # thread that is in a call of jaxlib when Python ends would abort the process
            import jax

            self._parts.set()
            try:
                jax.distributed.shutdown()
            finally:
                self._parted.set()
                for thread in threads:
                    thread.join(self._seconds)

        atexit.register(part)

    def _goes_on(self) -> bool:
        """Pause between two messages; whether there are processes to watch."""
        return not self._parted.wait(self._pause)

    def talk(self) -> None:
        """Send messages to process 0, and note those of others."""
        write, read = (_TO_FIRST, _TO_OTHERS) if self._process else (_TO_OTHERS, _TO_FIRST)
        number = 0
        while self._goes_on():
            number += 1
            with contextlib.suppress(ConnectionError):  # judge notices if it goes on for too long
                runtime.put(f"{write}/{self._process}", str(number), replace=True)
                for name, value in runtime.entries(read):
                    self._note(int(name), value)

    def _note(self, process: int, value: str) -> None:
        if self._said.get(process) != value:
            self._said[process], self._heard[process] = value, time.monotonic()

    def judge(self) -> None:
        """End the processes when nothing was heard of another one in time."""
        before = time.monotonic()
        while self._goes_on():
            now = time.monotonic()
            if now - before > self._seconds / 2:  # this process itself was stopped or too busy
                self._heard = dict.fromkeys(self._heard, now)
            before = now
            for process, heard in self._heard.items():
                if now - heard > self._seconds:
                    message = (
                        f"process {process} is lost: nothing was heard of it for "
                        f"{self._seconds:g} s; it was killed, stopped or cut off. {_AGAIN}"
                    )
                    if self._process == 0:
                        with contextlib.suppress(ConnectionError):
                            runtime.put(_END, message)
                    self._end(message)

    def listen(self) -> None:
        """End this process when another one tells that it must."""
        while not self._parted.is_set():
            try:
                self._end(runtime.wait_for(_END, 3600), hears_first=True)
            except TimeoutError:
                pass
            except ConnectionError:
                self._goes_on()

    def _first_is_gone(self) -> None:
        if self._parts.is_set():  # process 0 parts first
            self._parted.wait(self._seconds)
        self._end(
            f"process 0 is lost: its connection is closed; it was killed or has ended. {_AGAIN}"
        )

    def _end(self, message: str, hears_first: bool = False) -> None:
        """End this process with one line, unless it ends by itself."""
        with self._ends:
            # others without a relay depend on process 0
            grace = _GRACE * (1 if self._process else 1.5)
            parted = self._parted.wait(grace)
            if _stops.is_set():  # the signal may come to this process a moment after another ended
                parted = self._parted.wait(_SAVING)
            if parted or _leaves.is_set():
                return
            try:
                sys.stderr.write(f"process {self._process}: {message}\n")
                sys.stderr.flush()
                sys.stdout.flush()
                if hears_first and self._process:
                    _say_that_it_leaves()
            finally:  # also where nobody reads them any more
                os._exit(1)
