"""The folder of all checkpoints of a run, as process 0 sees and changes it."""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from seqjax.checkpoint.stored import CorruptCheckpointError, Header, Stored, rank

# part of the name of a checkpoint that is not complete, or being removed; orbax used it first
_TEMPORARY = ".orbax-checkpoint-tmp"


class Folder:
    """The complete and the incomplete checkpoints in a folder.

    Args:
      path: the folder, which need not exist yet.
      warn: gets messages about damaged or old checkpoints.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self.path, self._warn = path, warn

    def checkpoint(self, step: int) -> Path:
        """The folder of a complete checkpoint."""
        return self.path / str(step)

    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, sorted."""
        if not self.path.is_dir():
            return []
        names = (path.name for path in self.path.iterdir())
        return sorted(int(name) for name in names if re.fullmatch("0|[1-9][0-9]*", name))

    def header(self, step: int) -> Header:
        """Read the header of a checkpoint, see `Stored.header`."""
        return Stored(self.checkpoint(step)).header(self._warn)

    def best(self, steps: list[int]) -> int:
        """The step of the lowest loss, the later one of equal losses."""

        def order(step: int) -> tuple[int, float]:
            try:
                return rank(self.header(step).loss)
            except CorruptCheckpointError as error:
                if len(steps) > 1 and self.checkpoint(step).exists():  # not replaced meanwhile
                    self._warn(f"{error}; it does not count as the best")
                return 3, 0.0

        return min(reversed(steps), key=order)

    def remove_incomplete(self) -> None:
        """Remove what killed processes have left, and make the folder if there is none."""
        self.path.mkdir(parents=True, exist_ok=True)
        for path in self.path.glob(f"*{_TEMPORARY}*"):
            shutil.rmtree(path)

    def begin(self, step: int, size: int) -> Path:
        """Make the folder of an incomplete checkpoint of ``size`` bytes.

        Raises:
          OSError: the disk has no room.
        """
        free = shutil.disk_usage(self.path).free
        if free < size:  # orbax would fail in several threads, each of which prints a traceback
            raise OSError(f"it has {size:,} bytes, but {free:,} are free; make room")
        # the time makes the name new, in case a lost process still writes under an earlier one
        path = self.path / f"{step}{_TEMPORARY}-{time.time_ns()}"
        (path / "state").mkdir(parents=True)
        return path

    def commit(self, path: Path, step: int) -> None:
        """Rename an incomplete checkpoint that is now complete, and remove all but it and the best.

        An earlier checkpoint of this step and those of later steps are removed too.
        """
        old = [self._set_aside(step)] if step in self.steps() else []
        path.rename(self.checkpoint(step))
        steps = self.steps()
        best = self.best([other for other in steps if other <= step])
        try:
            old += [self._set_aside(other) for other in steps if other not in (step, best)]
            for other in old:
                shutil.rmtree(other)
        except OSError as error:  # the checkpoint is saved, and the next save tries again
            self._warn(f"an old checkpoint cannot be removed: {error}")

    def _set_aside(self, step: int) -> Path:
        # renamed before it is removed, so that no reader finds an incomplete checkpoint
        path = self.checkpoint(step)
        return path.rename(path.with_name(f"{step}{_TEMPORARY}-removed"))
