"""The product of inputs or states with a kernel, in the precision of the kernel."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from seqjax.arrays import as_int32
from seqjax.types import Array, PyTree


def accumulation_dtype(dtype: Any) -> Any:
    """Return the dtype in which products of ``dtype`` are summed and states are kept.

    This is float32 for 16-bit floats and ``dtype`` itself otherwise.

    >>> accumulation_dtype(jnp.bfloat16).name, accumulation_dtype(jnp.float64).name
    ('float32', 'float64')
    """
    dtype = jnp.dtype(dtype)
    return jnp.dtype(jnp.float32) if dtype.itemsize < 4 else dtype


def affine(xs: Array, kernel: Array, bias: Array | None = None) -> Array:
    """Compute ``xs @ kernel + bias``; integer ``xs`` select rows of ``kernel``.

    A kernel with one axis holds one or more diagonals side by side and multiplies elementwise.

    The product runs in the precision of the kernel. A bfloat16 kernel casts ``xs`` to bfloat16 and
    accumulates in float32, and the products of the gradients do the same. Mixed precision therefore
    only needs a cast of the parameters.

    Args:
      xs: floats ``[..., D]``, or integer tokens ``[...]`` in ``[0, D)``, which are looked up rather
        than encoded as one-hot vectors. A token outside this range gives a row of NaN.
      kernel: ``[D, N]``, or for floating ``xs`` diagonals ``[N]``, with N a multiple of D.
      bias: ``[N]``, or None.

    Returns:
      ``[..., N]`` in the ``accumulation_dtype`` of the kernel.

    >>> kernel = jnp.arange(6.0, dtype=jnp.float32).reshape(3, 2)
    >>> print(affine(jnp.array([2, 0]), kernel))
    [[4. 5.]
     [0. 1.]]
    >>> print(affine(jnp.eye(3, dtype=jnp.float32)[2], kernel))
    [4. 5.]
    >>> print(affine(jnp.ones(2, jnp.float32), kernel[1:].reshape(-1)))
    [2. 3. 4. 5.]
    """
    dtype = accumulation_dtype(kernel.dtype)
    if bias is not None and bias.shape != kernel.shape[-1:]:
        raise ValueError(
            f"affine: bias must have shape {kernel.shape[-1:]}, the columns of the kernel, got "
            f"{bias.shape}"
        )
    if jnp.issubdtype(xs.dtype, jnp.integer):
        ys = _rows(kernel, xs).astype(dtype)
    elif kernel.ndim == 1:
        ys = jnp.concatenate([xs] * (kernel.shape[0] // xs.shape[-1]), axis=-1)
        ys = ys * broadcast_like(kernel, ys)
    else:
        # the gradient of the kernel sums over all rows; with two axes of rows, XLA first transposes
        # a copy of the larger factor
        rows = xs.reshape(-1, xs.shape[-1]) if xs.ndim > 2 and rows_may_be_merged() else xs
        if kernel.dtype == dtype:
            ys = rows @ kernel
        else:
            rows = rows.astype(kernel.dtype)
            if _has_explicit_layouts():  # autodiff then infers the shardings of the gradients
                ys = jnp.matmul(rows, kernel, preferred_element_type=dtype)
            else:
                ys = _low_product(rows, kernel)
        ys = ys.reshape(*xs.shape[:-1], ys.shape[-1])
    return ys if bias is None else ys + broadcast_like(bias, ys)


def grouped(xs: Array, kernel: Array, groups: int, gates: int) -> Array:
    """Compute ``xs @ kernel`` for a block-diagonal kernel, one product per group.

    Args:
      xs: floats ``[..., D]``, with the features of each group adjacent.
      kernel: ``[D / groups, gates * H]``, the blocks of each gate side by side.
      groups: the number of groups.
      gates: the number of gates.

    Returns:
      ``[..., gates * H]``.

    >>> print(grouped(jnp.array([1.0, 10.0]), jnp.array([[1.0, 2, 3, 4]]), groups=2, gates=2))
    [ 1. 20.  3. 40.]
    """

    def one(xs: Array, columns: Array) -> Array:  # [..., D / groups], [D / groups, gates, n]
        ys = affine(xs, columns.reshape(columns.shape[0], -1))
        return ys.reshape(*ys.shape[:-1], gates, -1)

    xs = xs.reshape(*xs.shape[:-1], groups, -1)
    kernel = kernel.reshape(kernel.shape[0], gates, groups, -1)
    ys = jax.vmap(one, in_axes=(-2, -2), out_axes=-2)(xs, kernel)  # [..., gates, groups, n]
    return ys.reshape(*ys.shape[:-3], -1)


def broadcast_like(param: Array, xs: Array) -> Array:
    """Broadcast a parameter ``[N]`` to the shape and dtype of ``xs``, ``[..., N]``.

    >>> print(broadcast_like(jnp.array([1, 2]), jnp.zeros((2, 2), jnp.float32)))
    [[1. 2.]
     [1. 2.]]
    """
    return jnp.broadcast_to(param.astype(xs.dtype), xs.shape)


def split_gates(z: Array, gates: int) -> tuple[Array, ...]:
    """Split ``[..., G * H]`` into G arrays ``[..., H]``.

    Split once for all steps before the loop, because slicing a wide array inside the loop is
    slower.

    >>> [gate.shape for gate in split_gates(jnp.zeros((5, 3, 8)), 4)]
    [(5, 3, 2), (5, 3, 2), (5, 3, 2), (5, 3, 2)]
    """
    if z.shape[-1] % gates:
        raise ValueError(f"the last axis must hold {gates} gates of one size, got shape {z.shape}")
    return tuple(jnp.split(z, gates, axis=-1))


def varying(tree: PyTree) -> frozenset[str]:
    """Return the ``jax.shard_map`` axes over whose devices any of the arrays varies.

    >>> varying(jnp.zeros(2))
    frozenset()
    """
    kinds = (jax.typeof(leaf).manual_axis_type for leaf in jax.tree.leaves(tree))
    return frozenset().union(*(kind.varying for kind in kinds if kind))


def vary(x: Array, axes: frozenset[str]) -> Array:
    """Mark ``x`` as varying over the devices along ``axes``.

    The carry of a loop must vary over the same axes before the first step as after it.

    >>> print(vary(jnp.ones(2), frozenset()))
    [1. 1.]
    """
    more = axes - varying(x)
    return jax.lax.pcast(x, tuple(more), to="varying") if more else x


@jax.custom_jvp
def _low_product(rows: Array, kernel: Array) -> Array:
    """Multiply 16-bit factors and accumulate in float32.

    JAX's own derivative would multiply the float32 gradient of the product by 16-bit factors in
    float32. This derivative rounds tangents and gradients to 16 bits first.
    """
    return _product(rows, kernel, jnp.float32)


@_low_product.defjvp
def _low_product_tangent(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (rows, kernel), (d_rows, d_kernel) = primals, tangents
    pairs = (d_rows, kernel), (rows, d_kernel)
    first, second = (_product(*pair, kernel.dtype).astype(jnp.float32) for pair in pairs)
    return _low_product(rows, kernel), first + second


def _product(rows: Array, kernel: Array, dtype: Any) -> Array:
    numbers = (((rows.ndim - 1,), (0,)), ((), ()))
    return jax.lax.dot_general(rows, kernel, numbers, preferred_element_type=dtype)


def rows_may_be_merged() -> bool:
    """Whether no axis can be split over devices, so that merging axes moves no data."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return jax.device_count() == 1
    # inside jax.shard_map, all axes are manual
    return mesh.size == 1 or all(kind == AxisType.Manual for kind in mesh.axis_types)


def _has_explicit_layouts() -> bool:
    """Whether array types carry their sharding over a mesh."""
    return AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types


def _rows(kernel: Array, tokens: Array) -> Array:
    tokens = as_int32(tokens)
    tokens = jnp.where(tokens < 0, kernel.shape[0], tokens)  # -1 is invalid, not the last row
    layout = None
    if _has_explicit_layouts():
        mesh = jax.sharding.get_abstract_mesh()
        spec = jax.typeof(tokens).sharding.spec
        layout = NamedSharding(mesh, PartitionSpec(*spec, None))
    return kernel.at[tokens].get(mode="fill", fill_value=jnp.nan, out_sharding=layout)
