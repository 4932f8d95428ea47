"""Runs of several processes: the first speaks for all, and all fail and stop together."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import NamedSharding
from rich.console import Console

from experiments.errors import NotFiniteError, StoppedError
from experiments.run_directory import RunDirectory
from experiments.stop import Stop
from seqjax.hosts import gather
from seqjax.hosts.agreement import gather_rows
from seqjax.types import PyTree

T = TypeVar("T")
Watch = Callable[[Iterable[int]], Iterable[int]]
"""Yields the given steps; between two of them a run may be stopped."""

ERRORS = (ValueError, OSError, NotFiniteError)


@dataclasses.dataclass(frozen=True)
class Group:
    """The processes that do something together: all, or this one alone.

    All processes of a group must call the methods in the same order.

    Args:
      alone: whether this process is alone, although it may be one of several.

    >>> Group(alone=True).size
    1
    """

    alone: bool = False

    @property
    def size(self) -> int:
        """The number of processes."""
        return 1 if self.alone else jax.process_count()

    @property
    def index(self) -> int:
        """The number of this process, from 0."""
        return 0 if self.alone else jax.process_index()

    @property
    def is_first(self) -> bool:
        """Whether this is the first process, which writes the files and the progress."""
        return self.index == 0

    @property
    def console(self) -> Console:
        """The console of the first process; that of another process prints nothing."""
        return Console(quiet=not self.is_first)

    def gather(self, value: Any) -> list[Any]:
        """The values, JSON data, of all processes."""
        return [value] if self.alone else gather(value)

    def join_rows(self, rows: np.ndarray) -> np.ndarray:
        """The rows of all processes, one process after the other.

        Args:
          rows: ``[n, ...]`` of any dtype, of one shape in all processes; objects are bytes.

        >>> ALL.join_rows(np.array([b"a", b"b"], object))
        array([b'a', b'b'], dtype=object)
        """
        if self.size == 1:
            return rows
        if rows.dtype == object:
            texts = self.gather([value.decode("latin-1") for value in rows])  # any byte is one
            return np.array([text.encode("latin-1") for part in texts for text in part], object)
        # bytes, because JAX would narrow 64 bits
        plain = np.ascontiguousarray(rows).ravel().view(np.uint8)
        joined = gather_rows(plain)
        return joined.view(rows.dtype).reshape(-1, *rows.shape[1:])

    def together(self, act: Callable[[], T]) -> T:
        """Call ``act`` in all processes; if one of them fails, all raise its error.

        >>> ALL.together(lambda: 1 + 1)
        2
        """
        own: Exception | None = None
        try:
            result = act()
        except ERRORS as error:
            own = error
        kinds = [isinstance(own, kind) for kind in ERRORS]
        problems = self.gather(None if own is None else (kinds.index(True), str(own)))
        if own is not None:
            raise own
        for process, problem in enumerate(problems):
            if problem is not None:
                kind, message = problem
                raise ERRORS[kind](f"process {process}: {message}")
        return result

    def by_first(self, act: Callable[[], T]) -> T:
        """Call ``act`` in the first process, and return its result, JSON data, in all.

        >>> ALL.by_first(lambda: "runs/1")
        'runs/1'
        """
        result = self.together(lambda: act() if self.is_first else None)
        found: T = self.gather(result)[0]
        return found

    def start(self, folder: RunDirectory) -> None:
        """Start the folder of a run in the first process; it counts as started in all.

        Raises:
          ValueError: the folder holds files, or cannot be created.
        """
        self.by_first(folder.start)
        folder.started = True


ALL = Group()
"""All processes of the program."""

ALONE = Group(alone=True)
"""This process alone."""


def place(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Put arrays, which each process holds whole, on the devices of all processes."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def put(leaf: jax.Array | np.ndarray) -> jax.Array:
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return leaf  # restored with its sharding
        return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])

    return jax.tree.map(put, tree)


class Meeting:
    """Where processes exchange values, and learn that one of them was told to stop.

    All processes must call the methods in the same order.

    Args:
      group: the processes that meet.
      stop: the signals that this process received.

    >>> Meeting(ALL, Stop()).exchange(seconds=0.5)
    [{'stop': None, 'seconds': 0.5}]
    """

    def __init__(self, group: Group, stop: Stop) -> None:
        self.group, self._stop = group, stop
        self._stopped: str | None = None

    def exchange(self, **values: Any) -> list[dict[str, Any]]:
        """Return the values, JSON data, of each process."""
        records = self.group.gather({"stop": self._stop.name, **values})
        for process, record in enumerate(records):
            if record["stop"] is not None and self._stopped is None:
                self._stopped = f"{record['stop']} in process {process}"
        return records

    def check(self) -> None:
        """Raise ``StoppedError`` if a process had received a signal at the last exchange."""
        if self.group.size == 1:
            self._stop.check()
        elif self._stopped is not None:
            raise StoppedError(self._stopped)

    def by_first(self, act: Callable[[Watch], T]) -> T:
        """Call ``act`` in the first process, and return its result, JSON data, in all.

        Args:
          act: must not change the state of the run. It passes its steps through the `Watch` that it
            gets, and is interrupted when any process receives a signal.

        Raises:
          StoppedError: a process received a signal.
        """
        if self.group.size == 1:
            with self._stop.at_once():
                return act(iter)
        self.check()
        if not self.group.is_first:
            while not (record := self._exchange_and_check()[0])["done"]:
                pass
            found: T = record["result"]
            return found
        result = act(self._watched)
        self._exchange_and_check(done=True, result=result)
        return result

    def _watched(self, steps: Iterable[int]) -> Iterator[int]:
        for step in steps:
            self._exchange_and_check(done=False)
            yield step

    def _exchange_and_check(self, **values: Any) -> list[dict[str, Any]]:
        records = self.exchange(**values)
        self.check()
        return records
