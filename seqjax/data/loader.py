"""A loader that reads batches ahead and can resume at any batch."""

import collections
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from seqjax.checks import check_count, check_flag, check_size
from seqjax.data.batching import Report, Source, check_source, plan
from seqjax.data.collation import Batch, Collation
from seqjax.data.placement import Placement
from seqjax.data.policies import Policy, check_policy


class Position(NamedTuple):
    """A position in the data: the next batch of a process.

    Attributes:
      epoch: the number of the epoch, from 0.
      batch: the number of the batch among those of the process in this epoch, from 0.
    """

    epoch: int = 0
    batch: int = 0


class _Part(NamedTuple):
    """The part of a batch that a process reads."""

    indices: np.ndarray
    placement: Placement
    like: int  # an example of the batch, for the dtypes of a part without examples


class _Task(NamedTuple):
    """A batch that is being read."""

    future: Future[Batch]
    after: Position  # the loader's position once this batch is returned
    report: Report


class Loader(Iterator[Batch]):
    """An iterator over the batches of a source that can resume at any batch.

    The batches of an epoch are those of `seqjax.data.plan`, so they depend only on the arguments.
    Process i of n takes every n-th batch, starting with batch i; the last batches of an epoch are
    dropped if they are fewer than n. With ``split_rows``, it takes the i-th part of the rows of
    every batch instead. Two threads read ahead, and an error is raised when its batch is due.
    Iterating a loader again after its last epoch is an error. Close a loader that is not exhausted,
    or use it in a ``with`` block.

    Args:
      source: the examples.
      policy: `Padded`, `Bucketed` or `Packed`.
      seed: shuffles the examples, differently in each epoch; defaults to the order of the source.
      epochs: the epoch at which to stop; defaults to no end.
      interleave: the number of shards to mix, as in `plan`.
      pad_values: the padding of each sequence feature and each feature of lists; defaults to 0, or
        ``b""`` for bytes.
      widths: the width W of features of lists; defaults to the longest list of each batch. A number
        rounds W up to a multiple of it; of several ascending numbers, W is the first one that is
        large enough. Fewer shapes are compiled then.
      process: the index of this process, in ``[0, processes)``.
      processes: the number of processes that share the batches.
      split_rows: split the rows of each batch between the processes. Each step then has one shape
        ``(B / processes, T)`` in all processes, as one program over several hosts needs it. The
        rows of every batch must be a multiple of ``processes``: give ``fill_remainder`` or
        ``drop_remainder`` to the policy. Features of lists need one fixed width.
      prefetch: the number of batches to read ahead.
      start: the `position` of an earlier loader with the same arguments. The number of processes
        may differ only at the start of an epoch, or with ``split_rows``.

    Raises:
      ValueError: an argument is invalid, an example is longer than the policy allows, an epoch does
        not have a batch for each process or has no batch at ``start``, or the rows of a batch
        cannot be split; also if an exhausted loader is iterated again.

    >>> from seqjax.data import ListSource, Padded
    >>> source = ListSource([{"x": np.arange(1, n + 1)} for n in range(5)], {"x"})
    >>> with Loader(source, Padded(3), epochs=1) as loader:
    ...     print(next(loader).features["x"])
    ...     position = loader.position
    [[0 0]
     [1 0]
     [1 2]]
    >>> position, loader.batches_in_epoch()
    (Position(epoch=0, batch=1), 2)
    >>> for batch in Loader(source, Padded(3), epochs=1, start=position):
    ...     print(batch.features["x"], batch.lengths)
    [[1 2 3 0]
     [1 2 3 4]] [3 4]
    """

    def __init__(
        self,
        source: Source,
        policy: Policy,
        *,
        seed: int | None = None,
        epochs: int | None = None,
        interleave: int | None = None,
        pad_values: Mapping[str, Any] | None = None,
        widths: Mapping[str, int | Sequence[int]] | None = None,
        process: int = 0,
        processes: int = 1,
        split_rows: bool = False,
        prefetch: int = 2,
        start: Position = Position(),  # noqa: B008, a tuple
    ) -> None:
        check_source("Loader", source)
        check_policy("Loader", policy)
        if epochs is not None:
            check_size("Loader", "epochs", epochs)
        check_size("Loader", "processes", processes)
        check_size("Loader", "prefetch", prefetch)
        check_flag("Loader", "split_rows", split_rows)
        check_count("Loader", "process", process)
        if process >= processes:
            raise ValueError(f"process must lie in [0, {processes - 1}], got {process}")
        if not isinstance(start, tuple | list) or len(start) != 2:
            raise ValueError(
                f"start must be a Position, such as the position of another loader, got {start!r}"
            )
        for name, value in zip(Position._fields, start, strict=True):
            check_count("Loader", f"{name} of start", value)
        self._collation = Collation.of("Loader", source, pad_values, widths)
        self._source, self._policy, self._lengths = source, policy, source.lengths
        self._seed, self._epochs, self._interleave = seed, epochs, interleave
        self._process, self._processes, self._prefetch = process, processes, prefetch
        # into how many parts the batches are split, and how many processes take turns
        self._parts, self._turns = (processes, 1) if split_rows else (1, processes)
        if self._parts > 1:
            self._collation.check_fixed_widths("Loader with split_rows")
        self._position, self._report = Position(*start), Report()
        self._closed = self._used_up = False
        self._pool = ThreadPoolExecutor(2, "seqjax-loader")
        self._tasks: collections.deque[_Task] = collections.deque()
        self._planned: tuple[int, tuple[list[np.ndarray], int]] = -1, ([], 0)
        self._read_ahead()

    @property
    def position(self) -> Position:
        """The position after the last batch that was returned."""
        return self._position

    @property
    def report(self) -> Report:
        """The report of all batches so far; the end of an epoch adds its dropped examples."""
        return self._report

    def close(self) -> None:
        """Stop reading ahead; there is no further batch."""
        self._closed = True
        self._pool.shutdown(cancel_futures=True)
        self._tasks.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def batches_in_epoch(self, epoch: int = 0) -> int:
        """Return the number of batches of this process in an epoch, for example for a schedule.

        The number is the same in all epochs, except for `Packed` with a ``seed``: how many examples
        fit into a row depends on their order.
        """
        check_count("Loader", "epoch", epoch)
        return len(self._plan(epoch)[0])

    def __iter__(self) -> Self:
        if self._used_up:
            raise ValueError(
                f"this loader has returned all of its epochs={self._epochs}, so a second pass "
                "would be empty; increase epochs, or make a loader for each pass"
            )
        return self

    def __next__(self) -> Batch:
        if self._closed:
            raise ValueError(
                "this loader is closed; make one with start=loader.position to continue"
            )
        self._read_ahead()
        if not self._tasks:
            self._pool.shutdown()
            self._used_up = True
            raise StopIteration
        # a task leaves the queue only after its batch is read, so an error or interrupt loses none
        batch = self._tasks[0].future.result()
        _, self._position, report = self._tasks.popleft()
        self._report += report
        return batch

    def _read_ahead(self) -> None:
        while len(self._tasks) <= self._prefetch:
            epoch, number = self._tasks[-1].after if self._tasks else self._position
            if self._epochs is not None and epoch >= self._epochs:
                return
            mine, dropped = self._plan(epoch)
            if number >= len(mine):
                raise ValueError(
                    f"epoch {epoch} has {len(mine)} batches for each of {self._processes} "
                    f"processes, so there is no batch {number}; use fewer processes, smaller "
                    f"batches or an earlier start; the source has {len(self._lengths)} examples, "
                    f"and the policy is {self._policy}"
                )
            part = self._part(mine[number])
            after = Position(epoch, number + 1)
            report = Report.of_placement(part.placement, self._lengths[part.indices])
            if after.batch == len(mine):
                after, report = Position(epoch + 1), report + Report(dropped=dropped)
            self._tasks.append(_Task(self._pool.submit(self._read, part), after, report))

    def _plan(self, epoch: int) -> tuple[list[np.ndarray], int]:
        """Return the batches of this process and the number of examples that no process gets."""
        if self._planned[0] != epoch:
            batches = plan(
                self._lengths,
                self._source.shards,
                self._policy,
                seed=self._seed,
                epoch=epoch,
                interleave=self._interleave,
            )
            if self._parts > 1:
                for batch in batches:  # now, not after hours at the last batch of an epoch
                    self._check_rows(batch)
            batches = batches[: len(batches) // self._turns * self._turns]
            dropped = len(self._lengths) - sum(map(len, batches))
            self._planned = epoch, (batches[self._process % self._turns :: self._turns], dropped)
        return self._planned[1]

    def _check_rows(self, batch: np.ndarray) -> None:
        rows = self._policy.place(self._lengths[batch]).shape[0]
        if rows % self._parts:
            raise ValueError(
                f"Loader: split_rows splits the rows of each batch between {self._parts} "
                f"processes, but a batch has {rows} rows; use a batch size that is a multiple of "
                f"{self._parts}, and fill_remainder=True or drop_remainder=True; the policy is "
                f"{self._policy}"
            )

    def _part(self, batch: np.ndarray) -> _Part:
        placement = self._policy.place(self._lengths[batch])
        if self._parts == 1:
            return _Part(batch, placement, int(batch[0]))
        inside, placement = placement.part(self._process, self._parts)
        return _Part(batch[inside], placement, int(batch[0]))

    def _read(self, part: _Part) -> Batch:
        indices = part.indices
        examples = self._source.read(indices if len(indices) else np.array([part.like]))
        return self._collation.batch(examples, indices, self._lengths[indices], part.placement)
