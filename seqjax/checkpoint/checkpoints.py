"""The last and the best checkpoint of a run, in one folder."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import jax
import numpy as np

from seqjax.checkpoint import stored, trees
from seqjax.checkpoint.shared import Restored, SharedFolder
from seqjax.checkpoint.stored import CorruptCheckpointError
from seqjax.checks import check_choice
from seqjax.types import PyTree

T = TypeVar("T")

_OTHER = {"last": "best", "best": "last"}
_RETRIES = 20

_logger = logging.getLogger(__name__)


class Checkpoints:
    """The last and the best checkpoint of a run, in one folder.

    A checkpoint is written under a temporary name and renamed when it is complete, so a run that is
    killed leaves its earlier checkpoints intact. A checkpoint holds only arrays and JSON; loading
    it runs no code from it. It stores a CRC-32 of each array, of each file of arrays and of the
    JSON. Every read checks them, and the files before they are parsed. One process may save while
    others read. The arrays have the format of orbax.

    Under `jax.distributed`, all processes make the same calls in the same order, with the same
    arguments, on one shared folder. Arrays may be split over the devices of all processes; each
    process writes and reads only its own pieces. Process 0 decides which checkpoints exist, which
    is the best and which are removed. An error in one process is raised in all of them, and a
    process that does not come within 30 minutes is named. A checkpoint can be read by another
    number of processes or devices.

    Args:
      folder: the folder of the checkpoints, created by the first save.
      background: let `save` return when it has copied the arrays to the memory of the host. A
        thread then writes the checkpoint while training goes on. The next call of any method waits
        for it, and raises its error if it has failed; so does the end of the ``with`` block. Needs
        host memory for a copy of the state.
      alone: whether only this process makes the calls, although it is one of several. Its arrays
        must then lie on its own devices, and the folder must be its own.

    >>> import tempfile
    >>> with Checkpoints(Path(tempfile.mkdtemp())) as checkpoints:
    ...     checkpoints.save(3, {"w": np.ones(2, "float32")}, {"units": 4}, loss=0.5)
    ...     restored = checkpoints.restore({"w": np.zeros(2, "float32")})
    >>> print(restored.state["w"], restored.about, restored.step)
    [1. 1.] {'units': 4} 3
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, background: bool = False, alone: bool = False
    ) -> None:
        self.folder = Path(folder).absolute()
        self._background = background
        self._thread: ThreadPoolExecutor | None = None
        self._running: Future[None] | None = None
        self._shared = SharedFolder(self.folder, alone)

    def __enter__(self) -> Self:
        """Return this object."""
        if self._background:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for a save in the background, and raise its error unless there is one already."""
        try:
            self.wait()
        except Exception as failure:
            if kind is None:
                raise
            _logger.warning("%s", failure)
        finally:
            if self._thread:
                self._thread.shutdown()
                self._thread = None

    def save(self, step: int, state: PyTree, about: dict[str, Any], loss: float) -> None:
        """Write a checkpoint and remove all others but the best.

        Checkpoints of later steps are removed as well: they belong to a run that was abandoned for
        an earlier step. Incomplete checkpoints of a killed process are removed first.

        Args:
          step: the number of the checkpoint. A checkpoint of this step that already holds the same
            arrays, and a loss that ranks as well, is left unchanged.
          state: a pytree of arrays, including keys from `jax.random.key`. Under `jax.distributed`,
            arrays of NumPy and of local devices have the same values in all processes.
          about: any JSON data, such as the config.
          loss: ranks the checkpoints; the lowest one is the best. Losses that are not finite rank
            last, NaN after infinity.

        Raises:
          OSError: the checkpoint cannot be written, for example because the disk is full, or
            because processes do not share the folder; checkpoints of other steps are kept.
          ValueError: ``step`` is not a whole number of at least 0, ``about`` is not JSON data, a
            leaf of ``state`` is not an array, processes differ in what they save, or
            ``background=True`` is used outside of a ``with`` block.
        """
        self.wait()
        if self._background and self._thread is None:
            raise ValueError(
                "Checkpoints(background=True) saves inside of a with block, whose end waits for "
                "the last save; write: with Checkpoints(...) as checkpoints"
            )
        try:
            if not isinstance(step, int | np.integer) or step < 0:
                raise ValueError(f"step must be a whole number of at least 0, got {step!r}")
            state = trees.plain(state)
            header = stored.signed({
                "about": about,
                "arrays": trees.types_of(state),
                "step": int(step),
                "loss": float(loss),
            })  # fmt: skip
            if self._thread:
                state = jax.block_until_ready(jax.tree.map(trees.copy_on_host, state))
            state = jax.tree.map(trees.of_one_host, state)
        except ValueError as error:
            self._shared.write(step, None, {}, error)
        else:
            if self._thread:
                self._running = self._thread.submit(self._shared.write, int(step), state, header)
            else:
                self._shared.write(int(step), state, header)

    def wait(self) -> None:
        """Wait until a save in the background has ended.

        Raises:
          OSError: the save has failed, see `save`.
          ValueError: processes differ in what they save.
        """
        running, self._running = self._running, None
        if running:
            running.result()

    def steps(self) -> dict[str, int]:
        """Return the steps of the checkpoints ``last`` and ``best``, or nothing if there are none.

        A checkpoint whose loss cannot be read ranks last, and a warning is logged.
        """
        self.wait()
        return self._shared.last_and_best()

    def about(self, which: str = "last") -> dict[str, Any]:
        """Return the ``about`` of a checkpoint; its arrays are not read.

        Falls back to the other checkpoint, as `restore` does.

        Raises:
          CorruptCheckpointError: no checkpoint can be read.
          ValueError: there is no checkpoint.
        """
        return self._read(which, lambda step: self._shared.header(step).about)

    def restore(self, like: PyTree, which: str = "last") -> Restored:
        """Read a checkpoint bit for bit.

        If the checkpoint is damaged and the other one is intact, the other one is returned and a
        warning is logged; the ``step`` of the result tells which one it is. If a run replaces the
        checkpoint during the read, its successor is read.

        Args:
          like: a pytree of arrays, or of `jax.ShapeDtypeStruct`, with the structure that was saved.
            Each array is read onto the sharding of its leaf in ``like``, or onto the first device
            of this process if the leaf has none.
          which: ``"last"`` or ``"best"``.

        Raises:
          CorruptCheckpointError: no checkpoint is intact.
          OSError: a process does not see the checkpoint that process 0 sees.
          ValueError: there is no checkpoint, or its structure differs from that of ``like``.
        """
        return self._read(which, lambda step: self._shared.read(step, like))

    def verify(self, like: PyTree) -> dict[int, str | None]:
        """Read every checkpoint and return the problem of each.

        Args:
          like: see `restore`.

        Returns:
          A message for each step, or None if its checkpoint is intact.

        >>> import tempfile
        >>> with Checkpoints(Path(tempfile.mkdtemp())) as checkpoints:
        ...     checkpoints.save(3, {"w": np.ones(2, "float32")}, {}, loss=0.5)
        ...     checkpoints.verify({"w": np.zeros(2, "float32")})
        {3: None}
        """
        self.wait()
        problems: dict[int, str | None] = {}
        for step in self._shared.steps():
            try:
                self._shared.read(step, like)
                problems[step] = None
            except ValueError as error:
                problems[step] = str(error)
        return problems

    def _read(self, which: str, read: Callable[[int], T]) -> T:
        """Read a checkpoint, or the other one if it is damaged."""
        check_choice("which", which, tuple(_OTHER))
        try:
            return self._read_current(which, read)
        except CorruptCheckpointError as error:
            steps = self.steps()
            if steps.get(which) == steps.get(_OTHER[which]):
                raise
            self._shared.warn(f"{error}; reading the {_OTHER[which]} checkpoint instead")
            return self._read_current(_OTHER[which], read)

    def _read_current(self, which: str, read: Callable[[int], T]) -> T:
        """Read a checkpoint, or its successor if a run replaces it in the meantime."""
        for attempt in range(_RETRIES):
            steps = self.steps()
            if which not in steps:
                break
            try:
                return read(steps[which])
            except (CorruptCheckpointError, FileNotFoundError):
                if self._shared.exists(steps[which]) or attempt == _RETRIES - 1:
                    raise
        raise ValueError(f"{self.folder} holds no checkpoint; give the folder of a run")
