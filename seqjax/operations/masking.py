"""Masks: how they follow from lengths, and how the loop and the losses apply them."""

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import as_int32, given_array, is_known
from seqjax.types import Array, PyTree


def lengths_to_mask(lengths: Array, num_steps: int) -> Array:
    """Return a mask of the first ``lengths`` of ``num_steps`` steps.

    Args:
      lengths: ``int[B]``.
      num_steps: T.

    Returns:
      ``bool[B, T]``.

    >>> print(lengths_to_mask(jnp.array([2, 0, 3]), 3).astype(int))
    [[1 1 0]
     [0 0 0]
     [1 1 1]]
    """
    lengths = as_int32(lengths)  # a narrower dtype may not hold num_steps
    steps = jnp.arange(num_steps, dtype=jnp.int32)
    return jnp.expand_dims(lengths, -1) > steps.reshape((1,) * lengths.ndim + (-1,))


def select(mask: Array, new: PyTree, old: PyTree) -> PyTree:
    """Select ``new`` where ``mask`` is true and ``old`` elsewhere.

    Args:
      mask: ``bool[B]``.
      new: a tree of arrays ``[B, ...]``.
      old: a tree of arrays of the same shapes.

    >>> print(select(jnp.array([True, False]), jnp.ones((2, 2)), jnp.zeros((2, 2))))
    [[1. 1.]
     [0. 0.]]
    """

    def one(n: Array, o: Array) -> Array:
        return jnp.where(mask.reshape(mask.shape + (1,) * (n.ndim - mask.ndim)), n, o)

    return jax.tree.map(one, new, old)


def zero_outside(mask: Array, tree: PyTree) -> PyTree:
    """Set arrays to zero where ``mask`` is false; NaN there affects neither values nor gradients.

    Args:
      mask: ``bool[B]``.
      tree: a tree of arrays ``[B, ...]``.

    >>> print(zero_outside(jnp.array([True, False]), jnp.array([1.0, jnp.nan])))
    [1. 0.]
    """
    return select(mask, tree, jax.tree.map(jnp.zeros_like, tree))


def resolve_mask(
    lengths: Array | None,
    mask: Array | None,
    leading_shape: tuple[int, ...],
    time_axis: int,
    name: str = "lengths",
) -> Array | None:
    """Check ``lengths`` or ``mask`` against inputs of ``leading_shape`` and return the mask.

    Args:
      lengths: ``int[B]`` in ``[0, T]``, or None.
      mask: ``bool[*leading_shape]``, or None.
      leading_shape: the time and batch axes of the inputs, in their order.
      time_axis: the index of the time axis.
      name: the name of ``lengths`` in messages.

    Returns:
      ``bool[*leading_shape]``, or None if both are None and every step is valid.

    Raises:
      ValueError: both are given, one has the wrong shape or dtype, or a length is outside
        ``[0, T]``. The values of lengths are checked only outside ``jax.jit``.

    >>> resolve_mask(jnp.array([1, 4]), None, (2, 3), 1)
    Traceback (most recent call last):
    ...
    ValueError: lengths must lie in [0, 3], the number of time steps, got 4 at index 1
    """
    if lengths is not None and mask is not None:
        raise ValueError("lengths and mask were both given; give only one of them")
    if mask is not None:
        mask = given_array("mask", mask)
        if mask.shape != leading_shape or mask.dtype != bool:
            raise ValueError(
                f"mask must be bool of shape {leading_shape}, the batch and time axes of the "
                f"inputs, got {mask.dtype} of shape {mask.shape}"
            )
        return jnp.asarray(mask)
    if lengths is None:
        return None
    lengths = given_array(name, lengths)
    num_steps = leading_shape[time_axis]
    batch_shape = leading_shape[:time_axis] + leading_shape[time_axis + 1 :]
    if lengths.shape != batch_shape or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(
            f"{name} must be integers of shape {batch_shape}, the batch axes of the inputs, "
            f"got {lengths.dtype} of shape {lengths.shape}"
        )
    check_range(name, lengths, 0, num_steps, ", the number of time steps")
    return jnp.moveaxis(lengths_to_mask(as_int32(lengths), num_steps), -1, time_axis)


def check_tokens(
    name: str, tokens: Array | np.ndarray, size: int, mask: Array | None = None
) -> None:
    """Raise ``ValueError`` if a token is outside ``[0, size)`` where ``mask`` is true.

    Pass the tokens before their conversion to JAX, which wraps wide integers around. Tokens whose
    values are not available pass: traced tokens inside ``jax.jit``, and tokens on other hosts.

    >>> check_tokens("xs", jnp.array([1, 5]), 5)
    Traceback (most recent call last):
    ...
    ValueError: xs must lie in [0, 4], the vocabulary, got 5 at index 1
    """
    if not (is_known(tokens) and is_known(mask)):
        return
    if mask is not None:
        tokens = np.where(mask, tokens, np.zeros((), tokens.dtype))
    check_range(name, tokens, 0, size - 1, ", the vocabulary")


def check_range(name: str, values: Array | np.ndarray, low: int, high: int, what: str) -> None:
    """Raise ``ValueError`` if a known value lies outside ``[low, high]``.

    >>> check_range("ids", jnp.array([1, 5]), 0, 4, ", the ids")
    Traceback (most recent call last):
    ...
    ValueError: ids must lie in [0, 4], the ids, got 5 at index 1
    """
    if not is_known(values):
        return
    host = np.asarray(values)
    outside = np.argwhere((host < low) | (host > high))
    if len(outside):  # not outside.size, which is 0 for a scalar
        where = tuple(int(i) for i in outside[0])
        at = f" at index {where[0] if len(where) == 1 else where}" if where else ""
        raise ValueError(f"{name} must lie in [{low}, {high}]{what}, got {host[where]}{at}")
