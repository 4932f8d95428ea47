"""The folder of a run: files are written completely or not at all, and never overwrite a run."""

import contextlib
import dataclasses
import datetime
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import filelock


class RunDirectory:
    """A new folder for the files of one run; `start` creates it.

    Args:
      name: the name of the experiment.
      config: the options, which `start` writes to ``config.json``.
      out: the folder; defaults to ``runs/NAME/<time>``.

    Raises:
      ValueError: the folder already holds files.

    >>> import tempfile
    >>> run = RunDirectory("demo", {"seed": 0}, Path(tempfile.mkdtemp()) / "new")
    >>> run.start()
    >>> run.write_json("result.json", {"loss": 0.5})
    >>> print((run.path / "result.json").read_text(), end="")
    {
      "loss": 0.5
    }
    """

    def __init__(self, name: str, config: Any, out: Path | None = None) -> None:
        now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
        self.path = out or Path("runs") / name / now
        self.started = False
        self._config = config
        self._check_unused()

    @classmethod
    def reopen(cls, path: Path) -> Self:
        """The folder of a run that was started before and is resumed."""
        run = cls.__new__(cls)
        run.path, run.started = path, True
        return run

    def start(self) -> None:
        """Create the folder and write ``config.json``.

        An experiment calls this after it has read its inputs. If reading fails, no folder is left
        behind, and the corrected command can name the same folder.

        Raises:
          ValueError: the folder holds files, or cannot be created.
        """
        if self.started:
            return
        self._check_unused()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.write_json("config.json", self._config)
        except OSError as error:
            raise ValueError(
                f"--out {self.path}: cannot create this folder: {error}; name another folder"
            ) from None
        self.started = True

    def _check_unused(self) -> None:
        try:
            used = self.path.exists() and any(self.path.iterdir())
        except OSError as error:
            raise ValueError(
                f"--out {self.path}: cannot read this folder: {error}; name another folder"
            ) from None
        if used:
            raise ValueError(f"--out {self.path}: this folder holds files; name a new folder")

    def write_json(self, name: str, content: Any) -> None:
        """Write ``content``, which may hold dataclasses and paths; NaN and infinity become null."""
        with self.replacing(name) as path:
            path.write_text(
                json.dumps(_plain(content), indent=2, allow_nan=False) + "\n", encoding="utf-8"
            )

    def append_jsonl(self, name: str, record: dict[str, Any]) -> None:
        """Append one line to a log of JSON records."""
        path = self.path / name
        with naming(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_plain(record), allow_nan=False) + "\n")

    def read_jsonl(self, name: str) -> list[dict[str, Any]]:
        """The records of a log; skips truncated lines. Empty if the log does not exist."""
        records = []
        if (self.path / name).exists():
            text = (self.path / name).read_text(encoding="utf-8", errors="replace")
            for line in text.splitlines():
                with contextlib.suppress(json.JSONDecodeError):
                    records.append(json.loads(line))
            records = [record for record in records if isinstance(record, dict)]
        return records

    def keep_jsonl(self, name: str, keep: Callable[[dict[str, Any]], bool]) -> None:
        """Keep the records of a log for which ``keep`` is true; drops truncated lines."""
        self.write_jsonl(name, filter(keep, self.read_jsonl(name)))

    def write_jsonl(self, name: str, records: Iterable[dict[str, Any]]) -> None:
        """Write a log of JSON records, in place of the one that exists."""
        lines = (json.dumps(_plain(record), allow_nan=False) + "\n" for record in records)
        with self.replacing(name) as path:
            path.write_text("".join(lines), encoding="utf-8")

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Yield a temporary path, which replaces ``name`` if the block raises no error."""
        temporary = self.path / f".{name}"  # keeps the suffix, which may name a format
        try:
            with naming(self.path / name):
                yield temporary
                os.replace(temporary, self.path / name)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name ``path`` in an ``OSError`` that names no file, such as that of a full disk.

    >>> with naming(Path("metrics.jsonl")):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    ...
    OSError: [Errno 28] No space left on device: 'metrics.jsonl'
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:  # its own message says more
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Lock the folder of a run while this process writes to it; the lock ends with the process.

    Raises:
      ValueError: another process holds the lock.
    """
    path = folder / ".lock"
    with naming(path):
        try:
            lock = filelock.FileLock(path, blocking=False).acquire()
        except filelock.Timeout:
            raise ValueError(
                f"another process is training in {folder}; wait until it ends"
            ) from None
    with lock:
        yield


def _plain(value: Any) -> Any:
    """Convert ``value`` to types of JSON, which has neither NaN nor infinity."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
