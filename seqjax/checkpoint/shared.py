"""A folder of checkpoints that all processes write and read together.

Each operation is one agreement or a few: all processes act, and process 0 decides.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax

from seqjax.checkpoint import checksums, own, stored, trees
from seqjax.checkpoint.agreement import Agreement
from seqjax.checkpoint.folder import Folder
from seqjax.checkpoint.stored import CorruptCheckpointError, Header, Stored
from seqjax.types import PyTree

T = TypeVar("T")

SHARED_WITHIN = 10.0
"""Seconds within which all processes see a folder that process 0 has made."""

_logger = logging.getLogger(__name__)


class Restored(NamedTuple):
    """The result of `Checkpoints.restore`.

    Attributes:
      state: the arrays, in the structure of ``like``.
      about: what was passed to `Checkpoints.save`.
      step: the step of the checkpoint.
    """

    state: PyTree
    about: dict[str, Any]
    step: int


class SharedFolder:
    """The checkpoints in a folder; all processes call each method.

    Args:
      path: the folder, which need not exist yet.
      alone: whether only this process calls the methods, although it may be one of several.
    """

    def __init__(self, path: Path, alone: bool) -> None:
        self.path, self._alone = path, alone
        self._agreement = Agreement(
            (ValueError, OSError, FileNotFoundError, TimeoutError, CorruptCheckpointError), alone
        )
        self._files = Folder(path, self.warn)
        self._warned: set[str] = set()

    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, sorted."""
        return self._decided("list all checkpoints", self._files.steps)

    def last_and_best(self) -> dict[str, int]:
        """The steps of the checkpoints ``last`` and ``best``, or nothing if there are none."""

        def decide() -> dict[str, int]:
            steps = self._files.steps()
            return {"last": steps[-1], "best": self._files.best(steps)} if steps else {}

        return self._decided("list the last and the best checkpoint", decide)

    def exists(self, step: int) -> bool:
        """Whether there is a complete checkpoint of this step."""
        return self._decided("find a checkpoint", self._files.checkpoint(step).exists)

    def header(self, step: int) -> Header:
        """Read the header of a checkpoint."""
        what = f"read the header of step {step}"
        return Header(*self._decided(what, lambda: self._files.header(step)))

    def read(self, step: int, like: PyTree) -> Restored:
        """Read a checkpoint and check it.

        Raises:
          CorruptCheckpointError: it is damaged.
          FileNotFoundError: a process does not see it.
          ValueError: its structure differs from that of ``like``.
        """
        header, checkpoint = self.header(step), Stored(self._files.checkpoint(step))
        state: PyTree = None

        def check_files() -> None:
            self._see(checkpoint.path)
            files, process = header.files or {}, self._agreement.process
            checkpoint.check_files(dict([*files.items()][process :: self._agreement.processes]))

        def act() -> checksums.Local:
            nonlocal state
            template = jax.tree.map(trees.template, trees.plain(like))
            where = f"the checkpoint of step {step} in {self.path}"
            _check_structure(where, trees.types_of(template), header.arrays)
            stored.check_wide_types(template, where)
            state = checkpoint.state(template)
            return checksums.local(state)

        def check(reports: list[Any]) -> None:
            if header.checksums is None:
                return
            try:
                found = checksums.combined(reports, trees.sizes_of(state))
            except checksums.DifferentArraysError as error:
                raise checkpoint.corrupt(str(error)) from None
            for name, checksum in header.checksums.items():
                if found.get(name) != checksum:
                    path = checkpoint.path / "state"
                    raise checkpoint.corrupt(f"the array {name} in {path} does not match its "
                                             "checksum")  # fmt: skip

        self._agreement.reach(f"check the files of step {step}", check_files)
        self._agreement.reach(f"read step {step}", act, check)
        return Restored(trees.with_keys(like, state), header.about, step)

    def write(
        self, step: Any, state: PyTree, header: dict[str, Any], error: ValueError | None = None
    ) -> None:
        """Write a checkpoint and remove all others but the best.

        Args:
          step: its number.
          state: arrays without keys, see `trees.plain`.
          header: its metadata without checksums, signed.
          error: what is wrong with the arguments in this process; raised in all processes.

        Raises:
          OSError: the checkpoint cannot be written.
          ValueError: ``error``, or the processes differ in what they write.
        """
        where = f"the checkpoint of step {step} cannot be written to {self.path}"

        def report() -> list[Any]:
            if error:
                raise error
            return [header, checksums.local(state)]

        def prepare(reports: list[Any]) -> list[Any]:
            _check_same([one for one, _ in reports])
            try:
                total = checksums.combined([one for _, one in reports], trees.sizes_of(state))
            except checksums.DifferentArraysError as error:
                raise ValueError(
                    f"{where}: {error}; give all processes the same value, or one array that is "
                    "split over the devices of all"
                ) from None
            try:
                self._files.remove_incomplete()
            except OSError as error:
                raise OSError(f"{where}: {error}") from error
            return [total, step in self._files.steps()]

        def begin() -> str:
            try:
                return self._files.begin(step, sum(trees.sizes_of(state).values())).name
            except OSError as error:
                raise OSError(f"{where}: {error}") from error

        total, exists = self._agreement.reach(f"save step {step}", report, prepare)
        if exists and self._holds(step, state, total, header["loss"]):
            return
        path = self.path / self._decided(f"begin step {step}", begin)
        own_arrays = self._alone and jax.process_count() > 1
        write_arrays = own.write_arrays if own_arrays else stored.write_arrays

        def act() -> None:
            try:
                self._see(path)
                write_arrays(path, state)
            except Exception as error:  # orbax and its storage raise many types
                raise OSError(f"{where}; {_intact(error)}") from error

        def commit(_: Any) -> None:
            try:
                stored.complete(path, header | {"checksums": total})
                self._files.commit(path, step)
            except Exception as error:
                raise OSError(f"{where}; {_intact(error)}") from error

        self._agreement.reach(f"write step {step}", act, commit)

    def _holds(self, step: int, state: PyTree, total: dict[str, int], loss: float) -> bool:
        """Whether an intact checkpoint of ``step`` holds these arrays and a loss that is as low.

        A run that is stopped in an evaluation saves an infinite loss, and later the true one.
        """
        try:
            self.read(step, state)
        except ValueError:
            return False
        held = self.header(step)
        return held.checksums == total and stored.rank(held.loss) <= stored.rank(loss)

    def _decided(self, what: str, decide: Callable[[], T]) -> T:
        """What process 0 decides without the reports of others."""
        return self._agreement.reach(what, lambda: None, lambda _: decide())

    def _see(self, path: Path) -> None:
        """Raise ``FileNotFoundError`` if this process does not see a folder that process 0 sees."""
        until = time.monotonic() + (SHARED_WITHIN if self._agreement.process else 0)
        while not path.is_dir():
            if time.monotonic() >= until:
                raise FileNotFoundError(
                    f"process {self._agreement.process} does not see {path}, which process 0 saw; "
                    "all processes must share the folder, for example on a network file system"
                )
            time.sleep(0.1)

    def warn(self, message: str) -> None:
        """Log a message once, in process 0."""
        if message not in self._warned and self._agreement.process == 0:
            self._warned.add(message)
            _logger.warning(message)


def _check_same(headers: list[dict[str, Any]]) -> None:
    for number, header in enumerate(headers):
        for name in ("step", "arrays", "loss", "about"):
            # compared as text, where NaN equals NaN
            if repr(header[name]) != repr(headers[0][name]):
                raise ValueError(
                    f"process 0 saves the {name} {headers[0][name]!r}, and process {number} "
                    f"{header[name]!r}; give save the same values in all processes"
                )


def _check_structure(where: str, wanted: dict[str, str], held: dict[str, str]) -> None:
    for name in [*wanted, *held]:
        if wanted.get(name) != held.get(name):
            raise ValueError(
                f"{where} has another structure: expected {wanted.get(name, 'nothing')} for "
                f"{name}, got {held.get(name, 'nothing')}"
            )


def _intact(error: BaseException) -> str:
    return f"earlier checkpoints are intact ({stored.reason_of(error)})"
