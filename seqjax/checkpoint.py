"""Checkpoints of the last and the best state of a run, which survive a kill at any moment."""

import gc
import json
import logging
import math
import os
import re
import shutil
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding

from seqjax.checks import check_choice
from seqjax.types import PyTree

T = TypeVar("T")

# part of the name under which orbax writes a checkpoint before it renames it
_TEMPORARY = ".orbax-checkpoint-tmp"
_OTHER = {"last": "best", "best": "last"}
_RETRIES = 20

_logger = logging.getLogger(__name__)


class CorruptCheckpointError(ValueError):
    """Raised when a checkpoint is damaged; the message names its step and the array or file.

    >>> issubclass(CorruptCheckpointError, ValueError)
    True
    """


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


class _Header(NamedTuple):
    """The metadata of a checkpoint."""

    about: dict[str, Any]
    arrays: dict[str, str]  # dtype and shape by name
    loss: float
    checksums: dict[str, int] | None  # by name; None in checkpoints of early versions


class Checkpoints:
    """The last and the best checkpoint of a run, in one folder.

    orbax writes a checkpoint under a temporary name and renames it when it is complete, so a run
    that is killed leaves its earlier checkpoints intact. A checkpoint holds only arrays and JSON;
    loading it runs no code from it. It stores a CRC-32 of each array and of the JSON, and every
    read checks them. One process may save while others read.

    Args:
      folder: the folder of the checkpoints, created by the first save.

    >>> import tempfile
    >>> with Checkpoints(Path(tempfile.mkdtemp())) as checkpoints:
    ...     checkpoints.save(3, {"w": np.ones(2, "float32")}, {"units": 4}, loss=0.5)
    ...     restored = checkpoints.restore({"w": np.zeros(2, "float32")})
    >>> print(restored.state["w"], restored.about, restored.step)
    [1. 1.] {'units': 4} 3
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).absolute()
        self._checkpointer = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
        self._warned: set[str] = set()

    def __enter__(self) -> Self:
        """Return this object."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the orbax checkpointer."""
        self._checkpointer.close()

    def save(self, step: int, state: PyTree, about: dict[str, Any], loss: float) -> None:
        """Write a checkpoint and remove all others but the best.

        Checkpoints of later steps are removed as well: they belong to a run that was abandoned for
        an earlier step. Incomplete checkpoints of a killed process are removed first.

        Args:
          step: the number of the checkpoint. A checkpoint of this step that already holds the same
            arrays is left unchanged.
          state: a pytree of arrays, including keys from `jax.random.key`.
          about: any JSON data, such as the config.
          loss: ranks the checkpoints; the lowest one is the best. Losses that are not finite rank
            last, NaN after infinity.

        Raises:
          OSError: the checkpoint cannot be written, for example because the disk is full;
            checkpoints of other steps are kept.
          ValueError: ``step`` is not a whole number of at least 0, ``about`` is not JSON data, a
            leaf of ``state`` is not an array, or JAX runs in several processes.
        """
        if jax.process_count() > 1:
            raise ValueError(
                f"Checkpoints saves from one process, but JAX runs in {jax.process_count()}; with "
                "jax.distributed, save with orbax.checkpoint"
            )
        if not isinstance(step, int | np.integer) or step < 0:
            raise ValueError(f"step must be a whole number of at least 0, got {step!r}")
        step = int(step)
        state = _plain(state)
        checksums = _checksums(state)
        header = _signed(
            {
                "about": about,
                "arrays": _arrays(state),
                "checksums": checksums,
                "step": step,
                "loss": float(loss),
            }
        )
        where = f"the checkpoint of step {step} cannot be written to {self.folder}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.glob(f"*{_TEMPORARY}*"):
                shutil.rmtree(path)
            if step in self._steps():
                if self._holds(step, state, checksums):
                    return
                self._remove(step)
        except OSError as error:
            raise OSError(f"{where}: {error}") from error
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self.folder).free
        if free < needed:  # orbax would fail in several threads, each of which prints a traceback
            raise OSError(f"{where}: it has {needed:,} bytes, but {free:,} are free; make room")
        try:
            self._checkpointer.save(
                self._path(step),
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(header)
                ),
            )
            steps = self._steps()
            best = self._best([other for other in steps if other <= step])
            for other in steps:
                if other not in (step, best):
                    self._remove(other)
        except Exception as error:  # orbax and its storage raise many types
            raise OSError(f"{where}; earlier checkpoints are intact ({_reason(error)})") from error

    def steps(self) -> dict[str, int]:
        """Return the steps of the checkpoints ``last`` and ``best``, or nothing if there are none.

        A checkpoint whose loss cannot be read ranks last, and a warning is logged.
        """
        steps = self._steps()
        return {"last": steps[-1], "best": self._best(steps)} if steps else {}

    def about(self, which: str = "last") -> dict[str, Any]:
        """Return the ``about`` of a checkpoint; its arrays are not read.

        Falls back to the other checkpoint, as `restore` does.

        Raises:
          CorruptCheckpointError: no checkpoint can be read.
          ValueError: there is no checkpoint.
        """
        return self._read(which, lambda step: self._header(step).about)

    def restore(self, like: PyTree, which: str = "last") -> Restored:
        """Read a checkpoint bit for bit.

        If the checkpoint is damaged and the other one is intact, the other one is returned and a
        warning is logged; the ``step`` of the result tells which one it is. If a run replaces the
        checkpoint during the read, its successor is read.

        Args:
          like: a pytree of arrays, or of `jax.ShapeDtypeStruct`, with the structure that was saved.
          which: ``"last"`` or ``"best"``.

        Raises:
          CorruptCheckpointError: no checkpoint is intact.
          ValueError: there is no checkpoint, or its structure differs from that of ``like``.
        """
        return self._read(which, lambda step: self._restore(step, like))

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
        problems: dict[int, str | None] = {}
        for step in self._steps():
            try:
                self._restore(step, like)
                problems[step] = None
            except ValueError as error:
                problems[step] = str(error)
        return problems

    def _path(self, step: int) -> Path:
        return self.folder / str(step)

    def _steps(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        names = (path.name for path in self.folder.iterdir())
        return sorted(int(name) for name in names if re.fullmatch("0|[1-9][0-9]*", name))

    def _remove(self, step: int) -> None:
        # renamed first, so that no reader finds an incomplete checkpoint
        path = self._path(step)
        shutil.rmtree(path.rename(path.with_name(f"{step}{_TEMPORARY}-removed")))

    def _best(self, steps: list[int]) -> int:
        def rank(step: int) -> tuple[int, float]:
            try:
                loss = self._header(step).loss
            except CorruptCheckpointError as error:
                if len(steps) > 1 and self._path(step).exists():  # not replaced in the meantime
                    self._warn(f"{error}; it does not count as the best")
                return 3, 0.0
            if math.isfinite(loss):
                return 0, loss
            return (1 if loss == math.inf else 2), 0.0

        return min(reversed(steps), key=rank)

    def _read(self, which: str, read: Callable[[int], T]) -> T:
        """Read a checkpoint, or the other one if it is damaged."""
        check_choice("which", which, tuple(_OTHER))
        try:
            return self._read_current(which, read)
        except CorruptCheckpointError as error:
            steps = self.steps()
            if steps.get(which) == steps.get(_OTHER[which]):
                raise
            self._warn(f"{error}; reading the {_OTHER[which]} checkpoint instead")
            return self._read_current(_OTHER[which], read)

    def _read_current(self, which: str, read: Callable[[int], T]) -> T:
        """Read a checkpoint, or its successor if a run replaces it in the meantime."""
        for attempt in range(_RETRIES):
            steps = self.steps()
            if which not in steps:
                break
            try:
                return read(steps[which])
            except CorruptCheckpointError:
                if self._path(steps[which]).exists() or attempt == _RETRIES - 1:
                    raise
        raise ValueError(f"{self.folder} holds no checkpoint; give the folder of a run")

    def _header(self, step: int) -> _Header:
        header: dict[str, Any] = self._read_item(step, about=ocp.args.JsonRestore()).about
        path = self._path(step) / "about"
        if isinstance(header, dict) and header.keys() == {"about", "arrays"}:
            # an early version without checksums, where orbax stored the loss
            path = self._path(step) / "metrics" / "metrics"
            try:
                loss = float(json.loads(path.read_text(encoding="utf-8"))["loss"])
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise self._corrupt(step, f"{path} holds no loss ({error!r})") from None
            self._warn(
                f"the checkpoint of step {step} in {self.folder} was saved without checksums, "
                "so changed bits in it cannot be detected"
            )
            return _Header(header["about"], header["arrays"], loss, None)
        if not isinstance(header, dict) or header != _signed(header):
            raise self._corrupt(step, f"{path} does not match its checksum")
        if header["step"] != step:
            raise self._corrupt(step, f"{path} belongs to step {header['step']}")
        return _Header(header["about"], header["arrays"], header["loss"], header["checksums"])

    def _restore(self, step: int, like: PyTree) -> Restored:
        header = self._header(step)
        template = jax.tree.map(_template, _plain(like))
        wanted, held = _arrays(template), header.arrays
        for name in [*wanted, *held]:
            if wanted.get(name) != held.get(name):
                raise ValueError(
                    f"the checkpoint of step {step} in {self.folder} has another structure: "
                    f"expected {wanted.get(name, 'nothing')} for {name}, got "
                    f"{held.get(name, 'nothing')}"
                )
        for leaf in jax.tree.leaves(template):
            if jax.dtypes.canonicalize_dtype(leaf.dtype) != leaf.dtype:
                raise ValueError(
                    f"the checkpoint of step {step} in {self.folder} holds {leaf.dtype}, which JAX "
                    "would convert to 32 bits; set jax_enable_x64 to read it"
                )
        state = self._read_item(step, state=ocp.args.StandardRestore(template)).state
        if header.checksums is not None:
            found = _checksums(state)
            for name, checksum in header.checksums.items():
                if found.get(name) != checksum:
                    path = self._path(step) / "state"
                    raise self._corrupt(step, f"the array {name} in {path} does not match its "
                                              "checksum")  # fmt: skip
        return Restored(_with_keys(like, state), header.about, step)

    def _holds(self, step: int, state: PyTree, checksums: dict[str, int]) -> bool:
        try:
            return _checksums(self._restore(step, state).state) == checksums
        except ValueError:
            return False

    def _read_item(self, step: int, **args: Any) -> Any:
        try:
            return self._checkpointer.restore(self._path(step), args=ocp.args.Composite(**args))
        except Exception as error:  # orbax and its storage raise many types
            reason = _reason(error)
        _drop_coroutines()
        where = self._path(step) / next(iter(args))
        raise self._corrupt(step, f"{where} cannot be read ({reason})")

    def _corrupt(self, step: int, problem: str) -> CorruptCheckpointError:
        return CorruptCheckpointError(
            f"the checkpoint of step {step} in {self.folder} is damaged, or was written by "
            f"another program: {problem}"
        )

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            _logger.warning(message)


def _signed(header: dict[str, Any]) -> dict[str, Any]:
    """Return the header as JSON decodes it, with a checksum of its content."""
    content = {name: value for name, value in header.items() if name != "checksum"}
    try:
        content = json.loads(json.dumps(content))
    except (TypeError, ValueError) as error:
        raise ValueError(f"about must be JSON data: {error}") from None
    return content | {"checksum": zlib.crc32(json.dumps(content, sort_keys=True).encode())}


def _checksums(tree: PyTree) -> dict[str, int]:
    """Return the CRC-32 of the bytes of each array, by name."""

    def checksum(leaf: Any) -> int:
        return zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)

    names, leaves = _named(tree)
    with ThreadPoolExecutor() as pool:  # zlib releases the interpreter lock
        return dict(zip(names, pool.map(checksum, leaves), strict=True))


def _reason(error: BaseException) -> str:
    while error.__cause__:  # the root cause names the array and the file
        error = error.__cause__
    return str(error).strip().partition("\n")[0][:300]


def _drop_coroutines() -> None:
    """Collect the coroutines of a failed orbax call, which would each print a traceback."""
    hook, asyncio = sys.unraisablehook, logging.getLogger("asyncio")
    disabled = asyncio.disabled
    sys.unraisablehook, asyncio.disabled = lambda _: None, True
    try:
        gc.collect()
    finally:
        sys.unraisablehook, asyncio.disabled = hook, disabled


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) and jnp.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    )


def _plain(tree: PyTree) -> PyTree:
    """Return the tree with random keys as plain arrays."""
    for name, leaf in zip(*_named(tree), strict=True):
        if not hasattr(leaf, "dtype"):
            raise ValueError(
                f"a checkpoint holds arrays, but {name} is {leaf!r}; give np.asarray of it, or "
                "store it in about"
            )

    def one(leaf: Any) -> Any:
        if not _is_key(leaf):
            return leaf
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.eval_shape(jax.random.key_data, leaf)
        return jax.random.key_data(leaf)

    return jax.tree.map(one, tree)


def _arrays(tree: PyTree) -> dict[str, str]:
    """Return the dtype and the shape of each array, by name."""
    return {
        name: f"{leaf.dtype}{list(np.shape(leaf))}"
        for name, leaf in zip(*_named(tree), strict=True)
    }


def _named(tree: PyTree) -> tuple[list[str], list[Any]]:
    paths = [path for path, _ in jax.tree.leaves_with_path(tree)]
    return [*map(jax.tree_util.keystr, paths)], jax.tree.leaves(tree)


def _template(leaf: Any) -> jax.ShapeDtypeStruct:
    # defaults to one device, because the devices that it was saved from may not exist here
    sharding = getattr(leaf, "sharding", None) or SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=sharding)


def _with_keys(like: PyTree, tree: PyTree) -> PyTree:
    return jax.tree.map(
        lambda want, have: jax.random.wrap_key_data(have) if _is_key(want) else have, like, tree
    )
