"""CRC-32 of files and of the bytes of arrays, also of arrays that no process holds whole.

The checksum of an array is the CRC-32 of its bytes in row-major order. It does not depend on the
number of processes or devices, or on how the array is split over them. Because a CRC is linear over
GF(2), each process computes the contributions of its pieces, and their sum is the checksum::

    crc(array) = crc(0^N)  xor  sum over pieces of  linear(piece) x^(8 tail)  mod P
    linear(piece) = crc(piece) xor crc(0^len(piece))

where N is the size of the array in bytes, 0^N are N zero bytes, and ``tail`` is the number of bytes
after the piece. A piece of a split array consists of runs of adjacent bytes.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from seqjax.checkpoint.trees import named
from seqjax.types import PyTree

_POLYNOMIAL = 0xEDB88320  # of CRC-32; the lowest power of x is the highest bit
_ONE = 1 << 31
_PIECE = 1 << 24  # bytes of an array or a file that one thread takes at a time


class Local(NamedTuple):
    """The checksums that one process knows.

    Attributes:
      whole: the checksum of each array that the process holds whole, by name.
      parts: for each other array the contributions of its pieces, ``[replica, contribution]``.
    """

    whole: dict[str, int]
    parts: dict[str, list[list[int]]]


class DifferentArraysError(ValueError):
    """Raised when processes or devices hold different values of one array."""


def local(tree: PyTree) -> Local:
    """The checksums of the arrays in ``tree``, as far as this process holds them."""
    names, leaves = named(tree)
    # zlib releases the interpreter lock; a thread that waits for others needs a pool of its own
    with ThreadPoolExecutor() as pool, ThreadPoolExecutor() as pieces:
        values = pool.map(lambda leaf: _of_leaf(leaf, pieces), leaves)
        found = dict(zip(names, values, strict=True))
    return Local(
        {name: one for name, one in found.items() if isinstance(one, int)},
        {name: one for name, one in found.items() if isinstance(one, list)},
    )


def of_files(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """The checksum of each file, by its name in ``folder``.

    Raises:
      OSError: a file cannot be read.
    """
    with ThreadPoolExecutor() as pool:
        return {name: _of_file(folder / name, pool) for name in names}


def combined(processes: Sequence[Sequence[Any]], sizes: dict[str, int]) -> dict[str, int]:
    """The checksum of each array, by name.

    Args:
      processes: the `Local` of each process, also as decoded from JSON.
      sizes: the bytes of each array.

    Raises:
      DifferentArraysError: processes or replicas differ in an array.

    >>> combined([Local({"step": 7}, {}), Local({"step": 8}, {})], {"step": 4})
    Traceback (most recent call last):
    ...
    seqjax.checkpoint.checksums.DifferentArraysError: step differs between processes 0 and 1
    """
    locals_ = [Local(*process) for process in processes]
    for number, process in enumerate(locals_):
        for name, one in process.whole.items():
            if locals_[0].whole.get(name) != one:
                raise DifferentArraysError(f"{name} differs between processes 0 and {number}")
    checksums = dict(locals_[0].whole)
    for name in locals_[0].parts:
        replicas: dict[int, int] = {}
        for process in locals_:
            for replica, contribution in process.parts[name]:
                replicas[replica] = replicas.get(replica, _zeros(sizes[name])) ^ contribution
        if len({*replicas.values()}) > 1:
            raise DifferentArraysError(f"{name} differs between its replicas")
        checksums[name] = replicas[0]
    return {name: checksums[name] for name in sizes}


def contribution(block: np.ndarray, start: Sequence[int], shape: Sequence[int]) -> int:
    """The contribution of the block at ``start`` to the checksum of an array of ``shape``.

    >>> array = np.arange(6, dtype="int16").reshape(2, 3)
    >>> left = contribution(array[:, :1], (0, 0), array.shape)
    >>> right = contribution(array[:, 1:], (0, 1), array.shape)
    >>> left ^ right ^ _zeros(array.nbytes) == zlib.crc32(array.tobytes())
    True
    """
    if block.size == 0:
        return 0
    axes = len(shape)
    while axes and block.shape[axes - 1] == shape[axes - 1]:
        axes -= 1
    outer = max(axes - 1, 0)  # the axes before those of which a run is made
    strides = [block.itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    runs = np.ascontiguousarray(block).reshape(math.prod(block.shape[:outer]), -1).view(np.uint8)
    length = runs.shape[1]
    values: Any = np.array([zlib.crc32(run.data) for run in runs], np.uint32) ^ _zeros(length)
    values = values.reshape(block.shape[:outer])
    for axis in reversed(range(outer)):
        powers = _powers(strides[axis], block.shape[axis])[::-1]
        values = np.bitwise_xor.reduce(_times(values, powers), axis=-1)
    after = [n - 1 for n in block.shape[:outer]] + [0] * (len(shape) - outer)
    offset = sum((at + n) * stride for at, n, stride in zip(start, after, strides, strict=True))
    tail = block.itemsize * math.prod(shape) - offset - length
    return _times(int(values), _power(tail))


def _of_leaf(leaf: Any, pool: Executor) -> int | list[list[int]]:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        if not leaf.is_fully_replicated:
            return _of_shards(leaf)
        leaf = leaf.addressable_data(0)
    data = np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data
    return _of_pieces(len(data), lambda start: data[start : start + _PIECE], pool)


def _of_file(path: Path, pool: Executor) -> int:
    def read(start: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(_PIECE)

    return _of_pieces(path.stat().st_size, read, pool)


def _of_pieces(size: int, read: Callable[[int], bytes | memoryview], pool: Executor) -> int:
    """The CRC-32 of ``size`` bytes, of which ``read(start)`` returns the piece at ``start``."""
    starts, total = range(0, size, _PIECE), 0
    for start, one in zip(
        starts, pool.map(lambda start: zlib.crc32(read(start)), starts), strict=True
    ):
        total = _times(total, _power(min(_PIECE, size - start))) ^ one
    return total


def _of_shards(array: jax.Array) -> list[list[int]]:
    """The contributions of the shards that this process holds, ``[replica, contribution]``."""
    found: dict[int, int] = {}
    for shard in array.addressable_shards:
        start = [axis.start or 0 for axis in shard.index]
        one = contribution(np.asarray(shard.data), start, array.shape)
        found[shard.replica_id] = found.get(shard.replica_id, 0) ^ one
    return [[replica, one] for replica, one in found.items()]


def _zeros(count: int) -> int:
    """The CRC-32 of ``count`` zero bytes."""
    return _times(0xFFFFFFFF, _power(count)) ^ 0xFFFFFFFF


def _times(a: Any, b: Any) -> Any:
    """The product of polynomials modulo that of CRC-32, of integers or of arrays ``uint32``."""
    product = 0 * a
    for bit in range(31, -1, -1):
        product = product ^ b * (a >> bit & 1)
        b = b >> 1 ^ (b & 1) * _POLYNOMIAL
    return product


def _power(count: int) -> int:
    """x^(8 count), by squaring."""
    result, square = _ONE, _ONE >> 8
    while count:
        if count & 1:
            result = _times(result, square)
        square = _times(square, square)
        count >>= 1
    return result


def _powers(stride: int, count: int) -> np.ndarray:
    """x^(8 stride n) for n in range(count), ``uint32[count]``."""
    powers, step = np.array([_ONE], np.uint32), _power(stride)
    while len(powers) < count:
        powers = np.concatenate([powers, _times(powers, step)])
        step = _times(step, step)
    return powers[:count]
