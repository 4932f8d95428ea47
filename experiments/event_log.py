"""A log of scalars for TensorBoard."""

import contextlib
import socket
import time
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import scalar

from experiments.run_directory import naming


class EventLog(contextlib.AbstractContextManager["EventLog"]):
    """A new event file in a folder.

    The file is written by the calling thread, so the caller gets the error of a full disk.
    `tensorboardX.SummaryWriter` writes in another thread, and again when the process exits.

    Args:
      folder: the folder, which is created if necessary.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "events"
    >>> with EventLog(folder) as log:
    ...     log.add(10, loss=0.5)
    >>> len([*folder.iterdir()])
    1
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
            self._writer = RecordWriter(str(folder / name))
            self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add(self, step: int, **values: float) -> None:
        """Add a value for each name.

        Raises:
          OSError: the file cannot be written.
        """
        with naming(self._folder):
            for name, value in values.items():
                self._write(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))

    def _write(self, event: Event) -> None:
        self._writer.write(event.SerializeToString())

    def flush(self) -> None:
        """Write what is still in memory, so that TensorBoard shows it."""
        with naming(self._folder):
            self._writer.flush()

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if error is None:
            with naming(self._folder):
                self._writer.close()
        else:
            with contextlib.suppress(OSError):  # the first error matters
                self._writer.close()
