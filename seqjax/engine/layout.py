"""The layout of a state over devices. The carry of a scan needs the same type at every step."""

from collections.abc import Callable

import jax

from seqjax.operations.affine import vary
from seqjax.types import Array, PyTree, State


def lay_out_like_next(
    body: Callable[[State, PyTree], tuple[State, PyTree]], state: State, steps: PyTree
) -> State:
    """Lay the initial state out over the devices like the state after one step."""
    if jax.sharding.get_abstract_mesh().empty:
        return state
    first = jax.tree.map(lambda a: a[0], steps)
    after, _ = jax.eval_shape(body, state, first)

    def lay_out(s: Array, a: jax.ShapeDtypeStruct) -> Array:
        if a.manual_axis_type:  # inside of jax.shard_map
            return vary(s, frozenset(a.manual_axis_type.varying))
        return jax.sharding.reshard(s, a.sharding)

    return jax.tree.map(lay_out, state, after)
