"""Stops on SIGTERM or Ctrl-C without losing training."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from experiments.errors import StoppedError
from seqjax.hosts import stopping


class Stop:
    """A request to stop, by a signal.

    While the state of training changes, a signal is only recorded, and `check` raises the error.
    Within `at_once`, whose block must not change the state, the signal itself raises the error.

    >>> stop = Stop()
    >>> stop.request("SIGTERM")
    >>> stop.check()
    Traceback (most recent call last):
    ...
    experiments.errors.StoppedError: SIGTERM
    """

    def __init__(self) -> None:
        self._name: str | None = None
        self._at_once = False

    @property
    def name(self) -> str | None:
        """The name of the signal, if there was one."""
        return self._name

    def request(self, name: str) -> None:
        """Record a signal.

        Raises:
          StoppedError: the caller is within `at_once`.
        """
        self._name = self._name or name
        at_once, self._at_once = self._at_once, False  # the save that follows goes to its end
        if at_once:
            self.check()

    def check(self) -> None:
        """Raise ``StoppedError`` if there was a signal."""
        if self._name is not None:
            raise StoppedError(self._name)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal interrupt the block."""
        self.check()
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False
        self.check()  # code that must not raise, such as a callback, may have ignored the error


@contextlib.contextmanager
def on_signals() -> Iterator[Stop]:
    """Turn SIGTERM and Ctrl-C into a `Stop`.

    A second Ctrl-C has its usual effect. A second SIGTERM has none, because a cluster may send it
    both to the launcher, which forwards it, and to the processes of the launcher.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # only it can handle signals
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def catch(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])
        stopping()
        stop.request(signal.Signals(number).name)

    for number in before:
        signal.signal(number, catch)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
