"""Rows of a batch on the devices of a mesh, each device with a loop over its own rows."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

from seqjax.engine.validation import is_context
from seqjax.operations.affine import vary, varying
from seqjax.types import Array, Noise, Params, PyTree, State

AXIS = "data"
SMALL = 2**16  # elements; to copy a smaller array costs less than a reduction of its own
Run = Callable[
    [Params, State, PyTree, Noise, Array | None, Array | None], tuple[State, PyTree]
]  # of params, state, xs, noise, mask and lengths


def split_rows(run: Run, batch_shape: tuple[int, ...], typed: bool = True) -> Run:
    """Make each device of the mesh in context run its own rows.

    XLA would partition the loop by itself. It would then reduce the gradient of a kernel before it
    transposes it, and copy gradients of all steps because it cannot merge time and rows, which
    costs up to 10% of a training step on CPUs. It also cannot partition the kernels of cuDNN.

    Args:
      run: ``(params, state, xs, noise, mask, lengths) -> (state, outputs)``, for time-major arrays.
        Its rows are independent of each other. Noise of all rows is drawn before, and so does not
        depend on the number of devices.
      batch_shape: the batch axes of ``xs``, of which the first is split.
      typed: whether all operations of ``run`` say which of their results vary over devices. The
        kernels of cuDNN do not; JAX would take what they save for the backward pass to be the same
        on all devices.

    Returns:
      ``run`` inside of `jax.shard_map` if `jax.set_mesh` has set a mesh with an automatic axis
      ``"data"`` whose size divides the first batch axis, else ``run`` itself.

    >>> def run(params, state, xs, noise, mask, lengths):
    ...     return state, params * xs
    >>> split_rows(run, (4,)) is run  # no mesh is set
    True
    """
    mesh = jax.sharding.get_abstract_mesh()
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    devices = mesh.shape.get(AXIS, 1)
    if devices == 1 or kinds[AXIS] != AxisType.Auto or not batch_shape or batch_shape[0] % devices:
        return run

    def local(params: Params, *arguments: PyTree) -> tuple[State, PyTree]:
        if typed:
            # with varying parameters the gradients are reduced once, not at every use
            params = vary_together(params)
        return run(params, *arguments)

    def split(params: Params, *arguments: PyTree) -> tuple[State, PyTree]:
        rows, steps = PartitionSpec(AXIS), PartitionSpec(None, AXIS)
        of_params = jax.tree.map(
            lambda part: rows if is_context(part) else PartitionSpec(), params, is_leaf=is_context
        )
        mapped = jax.shard_map(
            local,
            in_specs=(of_params, rows, steps, steps, steps, rows),
            out_specs=(rows, steps),
            axis_names={AXIS},
            check_vma=typed,
        )
        return mapped(params, *arguments)

    return split


def vary_together(params: Params) -> Params:
    """Mark parameters as varying over devices, the small ones of a dtype as parts of one array.

    The gradients of small parameters are then reduced as one array. The runtime of CPUs reduces
    arrays one after another, and each takes several messages between processes.
    """
    leaves, structure = jax.tree.flatten(params)
    small: dict[jnp.dtype, list[int]] = {}
    for n, leaf in enumerate(leaves):
        if leaf.size <= SMALL and AXIS not in varying(leaf):
            small.setdefault(leaf.dtype, []).append(n)
    for places in small.values():
        parts = [leaves[n] for n in places]
        together = vary(jnp.concatenate([part.ravel() for part in parts]), frozenset({AXIS}))
        split = jax.lax.split(together, [part.size for part in parts])
        for n, part, flat in zip(places, parts, split, strict=True):
            leaves[n] = flat.reshape(part.shape)
    return jax.tree.unflatten(structure, [vary(leaf, frozenset({AXIS})) for leaf in leaves])
