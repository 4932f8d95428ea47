"""Meshes and shardings that split an axis (seeds or examples) over devices."""

import functools
import math
import os

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from seqjax.arrays import given_array
from seqjax.checks import check_size
from seqjax.types import PyTree


def one_cpu_device_per_core() -> None:
    """Make each CPU core a JAX device.

    XLA runs a program of many small operations on one core. With one device per core, work that
    `split_leading_axis` or `seqjax.training.data_parallel_steps` splits runs on all cores. Call
    this function before JAX creates its first array. It affects CPUs only.

    Block on each call of a program with collectives, such as `jax.lax.psum`, before the next call:
    queued programs can deadlock.

    Raises:
      RuntimeError: JAX has already started.
    """
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


def data_mesh(rows: int) -> Mesh:
    """A mesh with one axis, ``"data"``, over as many devices as divide ``rows``.

    With 6 devices, 16 rows are split over 4.

    Raises:
      ValueError: ``rows`` is not a whole number of at least 1.

    >>> data_mesh(1).size
    1
    """
    check_size("data_mesh", "rows", rows)
    count = max(n for n in range(1, jax.device_count() + 1) if rows % n == 0)
    devices = jax.devices()[:count]
    return jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def split_leading_axis(tree: PyTree) -> PyTree:
    """Split the leading axis of every array evenly over the devices.

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
    mesh = data_mesh(math.gcd(*sizes))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("data")))
