"""Meshes and shardings that split an axis (seeds or examples) over devices."""

import functools
import math
from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from seqjax.arrays import given_array
from seqjax.checks import check_size
from seqjax.machine import usable_cores
from seqjax.types import PyTree


def one_cpu_device_per_core() -> None:
    """Make each CPU core that this process may use a JAX device.

    XLA runs a program of many small operations on one core. With one device per core, work that
    `split_leading_axis` or `seqjax.training.data_parallel_steps` splits runs on all cores. Call
    this function before JAX creates its first array. It affects CPUs only.

    Block on each call of a program with collectives, such as `jax.lax.psum`, before the next call:
    queued programs can deadlock.

    Raises:
      RuntimeError: JAX has already started.
    """
    jax.config.update("jax_num_cpu_devices", usable_cores())


def data_mesh(rows: int, *, alone: bool = False) -> Mesh:
    """A mesh with one axis, ``"data"``, over as many devices as divide ``rows``.

    With 6 devices, 16 rows are split over 4. In several processes of `jax.distributed`, each has
    the same number of devices in the mesh.

    Args:
      rows: the number of rows to split.
      alone: use only the devices of this process, for a program that it runs alone among several.

    Raises:
      ValueError: ``rows`` is not a whole number of at least 1, or cannot be split between the
        processes.

    >>> data_mesh(1).size
    1
    """
    check_size("data_mesh", "rows", rows)
    processes: dict[int, list[jax.Device]] = {}
    for device in jax.local_devices() if alone else jax.devices():
        processes.setdefault(device.process_index, []).append(device)
    if rows % len(processes):
        raise ValueError(
            f"the {rows} rows of a batch cannot be split between {len(processes)} processes; give "
            "a multiple of the number of processes"
        )
    most = min(map(len, processes.values()))
    each = _largest_divisor(rows // len(processes), most)
    return _mesh([device for n in sorted(processes) for device in processes[n][:each]])


def _largest_divisor(rows: int, most: int) -> int:
    return max(n for n in range(1, most + 1) if rows % n == 0)


def _mesh(devices: Sequence[jax.Device]) -> Mesh:
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def split_leading_axis(tree: PyTree) -> PyTree:
    """Split the leading axis of every array evenly over the devices of this process.

    The number of devices is the largest that divides every leading axis. Compiled programs then
    split the computation in the same way.

    Raises:
      ValueError: ``tree`` holds no array, or an array whose leading axis is missing or empty.

    >>> split_leading_axis(jax.numpy.arange(4.0)).shape
    (4,)
    """
    arrays = jax.tree.map(functools.partial(given_array, "tree"), tree)
    sizes = [leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(arrays)]
    if not sizes or 0 in sizes:
        raise ValueError(
            f"tree must hold arrays with a leading axis that is not empty, got leading axes {sizes}"
        )
    own = jax.local_devices()
    mesh = _mesh(own[: _largest_divisor(math.gcd(*sizes), len(own))])
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("data")))
