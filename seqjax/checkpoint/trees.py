"""Trees of arrays as checkpoints hold them: names, types, keys as plain arrays, and copies."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from seqjax.types import PyTree


def named(tree: PyTree) -> tuple[list[str], list[Any]]:
    """The names and the leaves of ``tree``."""
    paths = [path for path, _ in jax.tree.leaves_with_path(tree)]
    return [*map(jax.tree_util.keystr, paths)], jax.tree.leaves(tree)


def plain(tree: PyTree) -> PyTree:
    """Return the tree with random keys as plain arrays.

    Raises:
      ValueError: a leaf is not an array.
    """
    for name, leaf in zip(*named(tree), strict=True):
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


def with_keys(like: PyTree, tree: PyTree) -> PyTree:
    """The inverse of `plain`, where ``like`` has the keys."""

    def one(want: Any, have: Any) -> Any:
        if not _is_key(want):
            return have
        implementation = []  # of the generator; traced, because ``want`` may be a mere type
        jax.eval_shape(lambda key: implementation.append(jax.random.key_impl(key)), want)
        return jax.random.wrap_key_data(have, impl=implementation[0])

    return jax.tree.map(one, like, tree)


def types_of(tree: PyTree) -> dict[str, str]:
    """Return the dtype and the shape of each array, by name."""
    return {
        name: f"{leaf.dtype}{list(np.shape(leaf))}" for name, leaf in zip(*named(tree), strict=True)
    }


def sizes_of(tree: PyTree) -> dict[str, int]:
    """Return the number of bytes of each array, by name."""
    return {name: leaf.nbytes for name, leaf in zip(*named(tree), strict=True)}


def template(leaf: Any) -> jax.ShapeDtypeStruct:
    """The shape, the dtype and the sharding of an array to read.

    Raises:
      ValueError: the sharding does not divide the shape.
    """
    # defaults to one device, because the devices that it was saved from may not exist here
    sharding = getattr(leaf, "sharding", None) or SingleDeviceSharding(jax.local_devices()[0])
    sharding.shard_shape(np.shape(leaf))  # raises if it does not divide the shape
    return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=sharding)


def copy_on_host(leaf: Any) -> Any:
    """A copy in the memory of the host, which stays when the array is donated."""
    if not isinstance(leaf, jax.Array):
        return np.array(leaf)
    sharding = leaf.sharding.with_memory_kind("pinned_host")
    return jax.device_put(leaf, sharding, may_alias=False)


def of_one_host(leaf: Any) -> Any:
    """The same array in NumPy, if it lives on the devices of this process among several."""
    local = isinstance(leaf, jax.Array) and leaf.is_fully_addressable
    return np.asarray(leaf) if local and jax.process_count() > 1 else leaf


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) and jnp.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    )
