"""Values that all processes exchange, and that must be the same in all."""

import functools
import itertools
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from seqjax.checks import describe
from seqjax.hosts import runtime

# JAX is imported by the functions, because a command line shows its options without it

_HEADER = 4  # bytes of the length
_PAUSE = 0.1  # seconds between two looks at who is here
_SHORT = 256  # bytes of the header and of a value that is sent in one message

_meetings = itertools.count()  # of await_all


def check_agreement(values: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless ``values``, JSON data, are the same in all processes.

    All processes must call it, and all raise the same error. In one process it does nothing.

    >>> check_agreement({"checksum of the text": "5e1f"})
    """
    first, *others = gather(values)
    for process, other in enumerate(others, start=1):
        for name in {**first, **other}:
            theirs, ours = other.get(name, "nothing"), first.get(name, "nothing")
            if theirs != ours:
                raise ValueError(
                    f"process {process} has {name} {theirs}, but process 0 has {ours}; start all "
                    "processes with the same versions and options"
                )


def gather(value: Any) -> list[Any]:
    """Return the values of all processes, in their order.

    All processes must call it, and it returns when all have. Numbers arrive bit for bit, tuples as
    lists. The time does not depend on the size of a value of up to 250 characters.

    Args:
      value: JSON data, which may differ between processes.

    Raises:
      ValueError: ``value`` is not JSON data.

    >>> gather({"seconds": 0.5})
    [{'seconds': 0.5}]
    """
    try:
        data = np.frombuffer(json.dumps(value).encode(), np.uint8)
    except (TypeError, ValueError):
        raise ValueError(f"gather: value must be JSON data, got {describe(value)}") from None
    length = np.frombuffer(len(data).to_bytes(_HEADER, "little"), np.uint8)
    row = np.zeros(_SHORT, np.uint8)
    start = np.concatenate([length, data])[:_SHORT]
    row[: len(start)] = start
    rows = gather_rows(row)
    sizes = [int.from_bytes(row[:_HEADER].tobytes(), "little") for row in rows]
    rows = rows[:, _HEADER:]
    if max(sizes) > _SHORT - _HEADER:
        padded = np.zeros(max(sizes), np.uint8)
        padded[: len(data)] = data
        rows = gather_rows(padded)
    return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]


def await_all() -> None:
    """Wait until all processes have called it, however long the others take.

    On CPUs an exchange between devices, such as `gather`, fails when another process comes more
    than half an hour later. After independent work of any length, call this first. All processes
    must call it as many times. In one process it does nothing.

    >>> await_all()
    """
    processes, number = runtime.processes(), next(_meetings)
    if processes == 1:
        return
    name = f"seqjax/await_all/{number}"
    runtime.put(f"{name}/{runtime.process()}", "here")
    while len(runtime.entries(name)) < processes:
        time.sleep(_PAUSE)


def gather_rows(row: np.ndarray) -> np.ndarray:
    """``uint8[P, N]`` from the ``uint8[N]`` of each process; all must call it.

    >>> gather_rows(np.array([7, 8], np.uint8))
    array([[7, 8]], dtype=uint8)
    """
    import jax

    if jax.process_count() == 1:
        return row[None]
    program, rows = _gathering()
    shape = (jax.process_count(), len(row))
    together = jax.make_array_from_callback(shape, rows, lambda _: row[None])
    return np.asarray(program(together).addressable_data(0))


@functools.cache
def _gathering() -> tuple[Callable[[Any], Any], Any]:
    """A program that copies one row of each process to all, and the sharding of the rows."""
    import jax
    from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

    # processes may have different numbers of devices
    first = {device.process_index: device for device in reversed(jax.devices())}
    devices = [first[process] for process in range(jax.process_count())]
    mesh = Mesh(np.array(devices), ("process",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("process"))
    return jax.jit(lambda row: row, out_shardings=NamedSharding(mesh, PartitionSpec())), rows
