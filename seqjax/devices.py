"""Many devices for work that splits along an axis: seeds, or examples."""

import math
import os

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from seqjax.types import PyTree


def one_cpu_device_per_core() -> None:
    """Let JAX see each core of this machine as a device of its own.

    XLA runs a program of many small operations on one core; with a device a core, work that
    `split_leading_axis` or `seqjax.training.data_parallel_steps` splits runs on all of them. In a
    program where each device waits for the others (`jax.lax.psum`), wait for a call before the
    next: queued ones may wait for each other for ever. Takes effect only before JAX starts, that is
    before the first array is made, and only on CPU.

    Raises:
      RuntimeError: JAX has started.
    """
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


def data_mesh(rows: int) -> Mesh:
    """As many devices as divide ``rows``, along the one axis ``"data"``: 16 rows take 4 of 6.

    >>> data_mesh(1).size
    1
    """
    count = max(n for n in range(1, jax.device_count() + 1) if rows % n == 0)
    devices = jax.devices()[:count]
    return jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def split_leading_axis(tree: PyTree) -> PyTree:
    """Split the leading axis of every array evenly over the devices, and what is computed of it.

    >>> split_leading_axis(jax.numpy.arange(4.0)).shape
    (4,)
    """
    mesh = data_mesh(math.gcd(*(leaf.shape[0] for leaf in jax.tree.leaves(tree))))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("data")))
