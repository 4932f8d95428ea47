"""Batches of records that are read in one pass, by ``tf.data``, from any file system it opens.

`seqjax.data.records.RecordSource` reads records in any order and knows all lengths beforehand. A
`RecordStream` needs neither an index nor a local file. It reads what is too large to index, or lies
on a file system that TensorFlow opens, such as ``gs://bucket/train-*.tfrecord``.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from seqjax.checks import check_count, check_size
from seqjax.data.batching import Example, Report, permutation
from seqjax.data.collation import Batch, Collation
from seqjax.data.parsing import Parser, is_flat
from seqjax.data.policies import Bucketed, Packed, Padded
from seqjax.data.schema import Schema
from seqjax.data.stream_files import find_files
from seqjax.data.stream_state import ITERATOR, read_state, write_state
from seqjax.data.tensorflow import tensorflow_without_gpus
from seqjax.data.tfrecord import Compression, CorruptRecordError


class _Record(NamedTuple):
    number: int  # of the record in the order of this epoch
    payload: bytes
    example: Example
    length: int


class RecordStream(Iterator[Batch]):
    """An iterator over the batches of a stream of records, which can resume at any batch.

    ``tf.data`` reads the files, takes their records in turns and shuffles them in a buffer. Records
    are parsed in windows. The policy forms the batches of a window; examples that do not fill a
    batch are carried over to the next window, and the last batches of an epoch may be smaller.

    The batches depend only on the arguments and on the files. Process i of n reads every n-th file
    of an epoch, starting with file i, so each example is in one process. The processes may have
    different numbers of batches.

    Args:
      path: a directory that `seqjax.data.records.write` made, a file, or a pattern of
        ``tf.io.gfile.glob``, whose files are read in the order of their names.
      policy: `seqjax.data.Padded`, `seqjax.data.Bucketed` or `seqjax.data.Packed`.
      schema: the features to read. Optional for a directory, which stores it.
      seed: shuffles the files and the records in the buffer, differently in each epoch; defaults to
        the order of the files.
      epochs: the epoch at which to stop; defaults to no end.
      shuffle_buffer: the number of records in the buffer, with a seed.
      interleave: the number of files that take turns; defaults to 16 with a seed, otherwise 1.
      window: the number of records that are parsed at once.
      compression: the compression of the files. A directory stores it.
      pad_values: see `seqjax.data.Loader`.
      widths: see `seqjax.data.Loader`.
      process: the index of this process, in ``[0, processes)``.
      processes: the number of processes that share the files.
      resume: a folder that `RecordStream.save` wrote for a stream of the same arguments and files.

    Raises:
      CorruptRecordError: a record is damaged or does not match the schema; the message names the
        file and the record.
      ValueError: an argument is invalid, there is no such file, there are fewer files than
        processes, or ``resume`` is no state of this stream.
      ImportError: TensorFlow is not installed.

    >>> import tempfile
    >>> from seqjax.data.records import Feature, write
    >>> directory = Path(tempfile.mkdtemp())
    >>> schema = Schema(sequence={"x": Feature(np.int32)})
    >>> _ = write(directory / "train", schema, ({"x": range(n)} for n in (3, 1, 2, 5)))
    >>> stream = RecordStream(directory / "train", Padded(2), epochs=1)
    >>> next(stream).features["x"]
    array([[0, 1, 2],
           [0, 0, 0]], dtype=int32)
    >>> stream.save(directory / "state")
    >>> resumed = RecordStream(directory / "train", Padded(2), epochs=1, resume=directory / "state")
    >>> [batch.lengths for batch in resumed]
    [array([2, 5], dtype=int32)]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        policy: Padded | Bucketed | Packed,
        schema: Schema | None = None,
        *,
        seed: int | None = None,
        epochs: int | None = None,
        shuffle_buffer: int = 10_000,
        interleave: int | None = None,
        window: int = 1024,
        compression: Compression | None = None,
        pad_values: Mapping[str, Any] | None = None,
        widths: Mapping[str, int | Sequence[int]] | None = None,
        process: int = 0,
        processes: int = 1,
        resume: str | os.PathLike[str] | None = None,
    ) -> None:
        owner = "RecordStream"
        if not isinstance(policy, Padded | Bucketed | Packed):
            raise ValueError(
                f"{owner}: policy must be a Padded, Bucketed or Packed, such as "
                f"Padded(batch_size=32), got {policy!r}"
            )
        if seed is not None:
            check_count(owner, "seed", seed, high=2**64 - 1)
        for name, size in (("epochs", epochs), ("interleave", interleave)):
            if size is not None:
                check_size(owner, name, size)
        for name, size in (
            ("shuffle_buffer", shuffle_buffer), ("window", window), ("processes", processes),
        ):  # fmt: skip
            check_size(owner, name, size)
        check_count(owner, "process", process, high=processes - 1)
        if not isinstance(compression, Compression | None):
            raise ValueError(f"compression must be a Compression or None, got {compression!r}")
        self._files, self.schema = find_files(os.fspath(path), schema, compression)
        if len(self._files.paths) < processes:
            raise ValueError(
                f"{path}: {processes} processes cannot share {len(self._files.paths)} files; write "
                "the records to more files"
            )
        self._policy, self._seed, self._epochs = policy, seed, epochs
        self._shuffle_buffer, self._window = shuffle_buffer, window
        self._interleave = interleave or (1 if seed is None else 16)
        self._process, self._processes = process, processes
        self._collation = Collation.of(owner, self.schema, pad_values, widths)
        self._parser: Parser | None = None
        self._error: ValueError | None = None
        self._report = Report()
        # of this epoch: its number, the records that were read, and the batches that were formed
        self._epoch = self._count = self._formed = 0
        self._pending: list[list[_Record]] = []  # batches that are formed, and not returned yet
        self._carried: list[_Record] = []
        self._start_epoch()
        if resume is not None:
            self._restore(Path(resume))

    @property
    def report(self) -> Report:
        """The report of all batches so far, without those before a resumed run."""
        return self._report

    def __next__(self) -> Batch:
        while not self._pending:
            if self._error is not None:  # what was read with it would be left out
                raise self._error
            if self._epochs is not None and self._epoch >= self._epochs:
                raise StopIteration
            try:
                self._read_window()
            except ValueError as error:
                self._error = error
                raise
        numbers, _, examples, steps = zip(*self._pending[0], strict=True)
        lengths = np.array(steps)
        placement = self._policy.place(lengths)
        batch = self._collation.batch([*examples], np.array(numbers), lengths, placement)
        self._pending.pop(0)  # only now, so that an error loses no batch
        self._report += Report.of_placement(placement, lengths)
        return batch

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Save the state after the last batch that was returned, for ``resume``.

        The state holds the records in the shuffle buffer and in the window, so it takes their size.
        The folder appears whole or not at all.

        Raises:
          ValueError: the folder exists or cannot be written, or the stream has ended in an error.
        """
        tf = tensorflow_without_gpus()
        folder = Path(folder)
        if self._error is not None:
            raise ValueError(
                f"{folder}: a stream that ended in an error has no state to continue from; resume "
                f"from an earlier one; the error was: {self._error}"
            )
        groups = [*self._pending, self._carried]
        payloads = [record.payload for group in groups for record in group]
        try:
            about = {
                "options": self._options(),
                "epoch": self._epoch,
                "count": self._count,
                "formed": self._formed,
                "numbers": [[record.number for record in group] for group in groups],
            }
            write_state(folder, about, payloads, self._checkpoint().write)
        except (OSError, tf.errors.OpError) as error:
            raise ValueError(f"{folder}: cannot be written: {error}") from None

    def _restore(self, folder: Path) -> None:
        state, payloads = read_state(folder)
        differ = {
            name: (state["options"][name], value)
            for name, value in self._options().items()
            if state["options"][name] != value
        }
        if differ:
            raise ValueError(
                f"{folder}: is the state of a stream with other arguments or files: "
                + ", ".join(f"{name} was {a}, is {b}" for name, (a, b) in differ.items())
            )
        self._epoch, self._count, self._formed = state["epoch"], state["count"], state["formed"]
        self._start_epoch()
        self._checkpoint().read(str(folder / ITERATOR)).assert_consumed()
        groups = []
        for numbers in state["numbers"]:
            of_group, payloads = payloads[: len(numbers)], payloads[len(numbers) :]
            groups.append(self._parsed(numbers, of_group))
        *self._pending, self._carried = groups

    def _options(self) -> dict[str, Any]:
        """What a state must agree on."""
        sizes = json.dumps(self._files.sizes()).encode()
        return {
            "files": f"{len(self._files.paths)} with names and sizes of sha256 "
            + hashlib.sha256(sizes).hexdigest()[:16],
            "schema": json.dumps(self.schema.to_json()),
            "policy": str(self._policy),
            "pad_values": str(self._collation.pad_values),
            "widths": str(self._collation.widths),
            "seed": self._seed,
            "shuffle_buffer": self._shuffle_buffer,
            "interleave": self._interleave,
            "window": self._window,
            "process": self._process,
            "processes": self._processes,
        }

    def _checkpoint(self) -> Any:
        return tensorflow_without_gpus().train.Checkpoint(iterator=self._iterator)

    def _start_epoch(self) -> None:
        """Make the pipeline of ``tf.data`` for the current epoch."""
        tf = tensorflow_without_gpus()
        files, seed = self._files.paths, 0
        if self._seed is not None:
            bits = np.random.PCG64([self._seed, self._epoch])
            files = [files[k] for k in permutation(bits, len(files))]
            seed = int(bits.random_raw() >> 1)
        files = files[self._process :: self._processes]
        names = tf.data.Dataset.from_tensor_slices(files)
        records = names.interleave(
            lambda name: tf.data.TFRecordDataset(name, self._files.compression),
            cycle_length=min(self._interleave, len(files)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        if self._seed is not None:
            records = records.shuffle(
                self._shuffle_buffer, seed=seed, reshuffle_each_iteration=False
            )
        self._iterator = iter(records.batch(self._window).prefetch(1))

    def _read_window(self) -> None:
        """Form the batches of the next window, or the last ones of the epoch."""
        tf = tensorflow_without_gpus()
        try:
            payloads = next(self._iterator, None)
        except tf.errors.OpError as error:
            raise CorruptRecordError(self._files.damage() or error.message) from None
        records = self._carried
        if payloads is not None:
            found = payloads.numpy().tolist()
            records = records + self._parsed(range(self._count, self._count + len(found)), found)
            self._count += len(found)
        order = np.arange(len(records))
        lengths = np.array([record.length for record in records], np.int64)
        try:
            policy = self._policy
            if payloads is not None:  # what does not fill a batch is carried over
                policy = dataclasses.replace(policy, drop_remainder=True, fill_remainder=False)
            batches = policy.batches(order, lengths)
            fitting = dataclasses.replace(policy, drop_remainder=False).batches(order, lengths)
        except ValueError as error:  # an example is longer than the policy allows
            name = self._files.name(records[int(np.argmax(lengths))].payload)
            raise ValueError(f"{name}: {error}") from None
        self._pending = [[records[k] for k in batch] for batch in batches]
        self._formed += len(batches)
        of_batches = np.concatenate([order[:0], *batches])
        if payloads is not None:
            of_all = np.concatenate([order[:0], *fitting])  # others are longer than allowed
            self._carried = [records[k] for k in np.setdiff1d(of_all, of_batches)]
            self._report += Report(dropped=len(records) - len(of_all))
            return
        self._report += Report(dropped=len(records) - len(of_batches))
        if not self._formed:
            raise ValueError(
                f"epoch {self._epoch} has no batch: process {self._process} of {self._processes} "
                f"found {self._count} examples, and the policy is {self._policy}"
            )
        self._epoch += 1
        self._count = self._formed = 0
        self._carried = []
        self._start_epoch()

    def _parsed(self, numbers: Sequence[int], payloads: list[bytes]) -> list[_Record]:
        if not payloads:
            return []
        if self._parser is None:
            flat = bool(self.schema.sequence) and is_flat(payloads[0])
            self._parser = Parser(self.schema, flat=flat)
        examples, lengths = self._parser.parse_named(
            payloads, lambda k: self._files.name(payloads[k])
        )
        columns = numbers, payloads, examples, lengths.tolist()
        return [_Record(*row) for row in zip(*columns, strict=True)]

    def __iter__(self) -> Self:
        return self
