"""The folder that a run writes: whole files or none, and never over those of another run."""

import contextlib
import dataclasses
import datetime
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self


class RunDirectory:
    """A new folder for the files of one run.

    Args:
      name: of the experiment.
      out: the folder; ``runs/NAME/<time>`` without.

    Raises:
      ValueError: the folder holds files, or cannot be made.

    >>> import tempfile
    >>> run = RunDirectory("demo", Path(tempfile.mkdtemp()) / "new")
    >>> run.write_json("result.json", {"loss": 0.5})
    >>> print((run.path / "result.json").read_text(), end="")
    {
      "loss": 0.5
    }
    """

    def __init__(self, name: str, out: Path | None = None) -> None:
        now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
        self.path = out or Path("runs") / name / now
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            used = any(self.path.iterdir())
        except OSError as error:
            raise ValueError(f"--out {self.path}: cannot make this folder: {error}") from None
        if used:
            raise ValueError(f"--out {self.path}: this folder holds files; name a new one")

    @classmethod
    def reopen(cls, path: Path) -> Self:
        """The folder of a run that goes on."""
        run = cls.__new__(cls)
        run.path = path
        return run

    def write_json(self, name: str, content: Any) -> None:
        """Write ``content``, dataclasses and paths included; what is not finite becomes null."""
        with self.replacing(name) as path:
            path.write_text(
                json.dumps(_plain(content), indent=2, allow_nan=False) + "\n", encoding="utf-8"
            )

    def append_jsonl(self, name: str, record: dict[str, Any]) -> None:
        """Add one line to a log of JSON records."""
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(_plain(record), allow_nan=False) + "\n")

    def keep_jsonl(self, name: str, keep: Callable[[dict[str, Any]], bool]) -> None:
        """Keep only some records of a log, and no line that was cut off half-way."""
        if not (self.path / name).exists():
            return
        lines = []
        for line in (self.path / name).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                if keep(json.loads(line)):
                    lines.append(line + "\n")
        with self.replacing(name) as path:
            path.write_text("".join(lines), encoding="utf-8")

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Give a temporary path to write to, which becomes ``name`` if the block ends well."""
        temporary = self.path / f".{name}"  # keeps the suffix, which may name a format
        try:
            yield temporary
            os.replace(temporary, self.path / name)
        finally:
            temporary.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """What JSON can say of ``value``; it has no NaN and no infinity."""
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
