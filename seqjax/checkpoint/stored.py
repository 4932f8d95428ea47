"""One checkpoint on disk: arrays in the format of orbax, and a JSON header with checksums."""

import errno
import gc
import json
import logging
import math
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath  # the paths of orbax

from seqjax.checkpoint import checksums
from seqjax.types import PyTree

# faults of the machine or of a network file system, not of the file
_PASSING = {
    errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT,
}  # fmt: skip


class CorruptCheckpointError(ValueError):
    """Raised when a checkpoint is damaged; the message names its step and the array or file.

    >>> issubclass(CorruptCheckpointError, ValueError)
    True
    """


class Header(NamedTuple):
    """The metadata of a checkpoint."""

    about: dict[str, Any]
    arrays: dict[str, str]  # dtype and shape by name
    loss: float
    checksums: dict[str, int] | None  # of arrays by name; None in checkpoints of early versions
    files: dict[str, int] | None  # checksums by name in ``state``; None in those of early versions


class Stored:
    """The checkpoint of one step.

    Args:
      path: its folder, which is named by the step, in the folder of all checkpoints.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.step = path, int(path.name)

    def header(self, warn: Callable[[str], None]) -> Header:
        """Read the header.

        Args:
          warn: gets a message if the checkpoint has no checksums.

        Raises:
          CorruptCheckpointError: the header is damaged.
          OSError: the machine or the network has a fault that may pass.
        """
        path = self.path / "about"
        try:
            header: Any = json.loads((path / "metadata").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            _raise_if_passing(error)
            raise self.corrupt(f"{path} cannot be read ({error})") from None
        if isinstance(header, dict) and header.keys() == {"about", "arrays"}:
            return self._early_header(header, warn)
        if not isinstance(header, dict) or header != signed(header):
            raise self.corrupt(f"{path} does not match its checksum")
        if header["step"] != self.step:
            raise self.corrupt(f"{path} belongs to step {header['step']}")
        return Header(
            header["about"], header["arrays"], header["loss"], header["checksums"],
            header.get("files"),
        )  # fmt: skip

    def _early_header(self, header: dict[str, Any], warn: Callable[[str], None]) -> Header:
        """The header of an early version without checksums, where orbax stored the loss."""
        path = self.path / "metrics" / "metrics"
        try:
            loss = float(json.loads(path.read_text(encoding="utf-8"))["loss"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            _raise_if_passing(error)
            raise self.corrupt(f"{path} holds no loss ({error!r})") from None
        warn(
            f"the checkpoint of step {self.step} in {self.path.parent} was saved without "
            "checksums, so changed bits in it cannot be detected"
        )
        return Header(header["about"], header["arrays"], loss, None, None)

    def check_files(self, files: Mapping[str, int]) -> None:
        """Compare files of the arrays with their checksums, by name.

        The storage of orbax reads the files in native code, where a read of damaged files has
        ended the process. So `state` is called for files that are intact.

        Raises:
          CorruptCheckpointError: a file is damaged or missing.
          OSError: the machine or the network has a fault that may pass.
        """
        folder = self.path / "state"
        try:
            found = checksums.of_files(folder, files)
        except OSError as error:
            _raise_if_passing(error)
            raise self.corrupt(f"{error.filename or folder} cannot be read ({error})") from None
        for name, checksum in files.items():
            if found[name] != checksum:
                raise self.corrupt(f"{folder / name} does not match its checksum")

    def state(self, template: PyTree) -> PyTree:
        """Read the arrays onto the shardings of ``template``; this does not check them.

        Raises:
          CorruptCheckpointError: the arrays cannot be read.
          OSError: the machine or the network has a fault that may pass.
        """
        handler = ocp.StandardCheckpointHandler()
        try:
            return handler.restore(
                epath.Path(self.path / "state"), args=ocp.args.StandardRestore(template)
            )
        except Exception as error:  # orbax and its storage raise many types
            _raise_if_passing(error)
            reason = reason_of(error)
        finally:
            handler.close()
        _drop_coroutines()
        raise self.corrupt(f"{self.path / 'state'} cannot be read ({reason})")

    def corrupt(self, problem: str) -> CorruptCheckpointError:
        """The error that names this checkpoint and its problem."""
        return CorruptCheckpointError(
            f"the checkpoint of step {self.step} in {self.path.parent} is damaged, or was written "
            f"by another program: {problem}"
        )


def signed(header: dict[str, Any]) -> dict[str, Any]:
    """Return the header as JSON decodes it, with a checksum of its content.

    Raises:
      ValueError: the header is not JSON data.
    """
    content = {name: value for name, value in header.items() if name != "checksum"}
    try:
        content = json.loads(json.dumps(content))
    except (TypeError, ValueError) as error:
        raise ValueError(f"about must be JSON data: {error}") from None
    return content | {"checksum": zlib.crc32(json.dumps(content, sort_keys=True).encode())}


def write_arrays(path: Path, state: PyTree) -> None:
    """Write the pieces of the arrays that this process holds into the existing folder ``path``."""
    handler = ocp.StandardCheckpointHandler()
    try:
        handler.save(epath.Path(path / "state"), args=ocp.args.StandardSave(state))
    finally:
        handler.close()


def complete(path: Path, header: dict[str, Any]) -> None:
    """Join the pieces that all processes have written, and write the header with checksums."""
    handler, folder = ocp.StandardCheckpointHandler(), path / "state"
    try:
        handler.finalize(epath.Path(folder))
    finally:
        handler.close()
    names = sorted(
        file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()
    )
    header = signed(header | {"files": checksums.of_files(folder, names)})
    (path / "about").mkdir()
    (path / "about" / "metadata").write_text(json.dumps(header), encoding="utf-8")
    # lets orbax read the checkpoint without being told what it holds
    handlers = {
        "state": ocp.StandardCheckpointHandler.typestr(),
        "about": ocp.JsonCheckpointHandler.typestr(),
    }
    text = json.dumps({"item_handlers": handlers})
    (path / "_CHECKPOINT_METADATA").write_text(text, encoding="utf-8")


def rank(loss: float) -> tuple[int, float]:
    """Sorts losses from the best to the worst: finite ones, infinity, NaN."""
    if math.isfinite(loss):
        return 0, loss
    return (1 if loss == math.inf else 2), 0.0


def reason_of(error: BaseException) -> str:
    """The first line of the root cause, which names the array and the file."""
    while error.__cause__:
        error = error.__cause__
    return str(error).strip().partition("\n")[0][:300]


def _raise_if_passing(error: BaseException) -> None:
    """Raise ``OSError`` for a fault that may pass, after which an intact checkpoint can be read."""
    while error.__cause__:
        error = error.__cause__
    if isinstance(error, MemoryError) or getattr(error, "errno", None) in _PASSING:
        raise OSError(f"a checkpoint cannot be read now ({error!r}); try again") from error


def check_wide_types(arrays: PyTree, where: str) -> None:
    """Raise ``ValueError`` if JAX would narrow an array of ``arrays``."""
    for leaf in jax.tree.leaves(arrays):
        if jax.dtypes.canonicalize_dtype(leaf.dtype) != leaf.dtype:
            raise ValueError(
                f"{where} holds {leaf.dtype}, which JAX would convert to 32 bits; set "
                "jax_enable_x64 to read it"
            )


def _drop_coroutines() -> None:
    """Collect the coroutines of a failed orbax call, which would each print a traceback."""
    hook, asyncio = sys.unraisablehook, logging.getLogger("asyncio")
    disabled = asyncio.disabled
    sys.unraisablehook, asyncio.disabled = lambda _: None, True
    try:
        gc.collect()
    finally:
        sys.unraisablehook, asyncio.disabled = hook, disabled
