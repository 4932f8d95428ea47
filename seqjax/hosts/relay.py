"""Connections to process 0 that stay open when it is gone.

jaxlib aborts a process, with a log of its own, as soon as its connection to process 0 is closed.
Behind a relay the connection stays open for the time that it takes to say which process was lost.
"""

import contextlib
import socket
import threading
from collections.abc import Callable


class Relay:
    """Passes connections to a port of this process on to another address.

    Args:
      host: the host of the other address.
      port: its port.

    Attributes:
      address: the address of the relay, HOST:PORT.
    """

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._gone: Callable[[], None] | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, gone: Callable[[], None]) -> None:
        """Keep connections open from now on, and call ``gone`` when the other end closes one."""
        self._gone = gone

    def _accept(self) -> None:
        while True:
            near, _ = self._server.accept()
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near, socket.create_connection(self._to) as far:
            ended = threading.Event()  # by this process
            back = threading.Thread(target=_copy, args=(near, far, ended), daemon=True)
            back.start()
            _copy(far, near)
            if self._gone is not None and not ended.is_set():
                self._gone()
                back.join()


def _copy(source: socket.socket, to: socket.socket, ended: threading.Event | None = None) -> None:
    """Copy bytes until ``source`` is closed, then close ``to`` for writing."""
    to.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError):
        while data := source.recv(2**16):
            to.sendall(data)
    if ended is not None:
        ended.set()
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_WR)
