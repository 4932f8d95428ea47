"""The layout of a state over devices. The carry of a scan needs the same type at every step."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType

from seqjax.operations.affine import vary
from seqjax.types import Array, PyTree, State


def lay_out_like_next(
    body: Callable[[State, PyTree], tuple[State, PyTree]], state: State, steps: PyTree
) -> State:
    """Lay the initial state out over the devices like the state after one step."""
    if jax.sharding.get_abstract_mesh().empty:
        return state
    first = jax.tree.map(lambda a: a[0], steps)
    after, _ = types_of(body, state, first)

    def lay_out(s: Array, a: jax.ShapeDtypeStruct) -> Array:
        if a.manual_axis_type:  # inside of jax.shard_map
            s = vary(s, frozenset(a.manual_axis_type.varying))
        if a.sharding is not None and AxisType.Explicit in a.sharding.mesh.axis_types:
            return jax.sharding.reshard(s, a.sharding)
        return s  # JAX chooses the layout

    return jax.tree.map(lay_out, state, after)


def types_of(function: Callable[..., Any], *arguments: PyTree) -> Any:
    """The shapes, dtypes and layouts of the results of a function.

    `jax.eval_shape` leaves out the sharding on a mesh with an automatic axis, although a type that
    varies over another axis needs it.

    >>> types_of(lambda x: x + 1, jax.numpy.ones(2, "float32"))
    ShapeDtypeStruct(shape=(2,), dtype=float32)
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)

    def whole(shape: jax.ShapeDtypeStruct, aval: Any) -> jax.ShapeDtypeStruct:
        if aval.sharding.mesh.empty:
            return shape
        return shape.update(sharding=aval.sharding)

    return jax.tree.map(
        whole, shapes, jax.tree.unflatten(jax.tree.structure(shapes), closed.out_avals)
    )
