"""Comparing and changing the arrays of pytrees."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.types import Array, PyTree


def close(actual: PyTree, expected: PyTree, tolerance: float = 1e-12) -> None:
    """Raise ``AssertionError`` unless two pytrees are equal up to ``tolerance``.

    >>> close({"h": jnp.ones(2)}, {"h": np.ones(2)})
    """
    compare = functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance)
    jax.tree.map(compare, actual, expected)


def at(tree: PyTree, index: Any) -> PyTree:
    """Index every array."""
    return jax.tree.map(lambda a: a[index], tree)


def cast(tree: PyTree, dtype: Any) -> PyTree:
    """Convert the floating arrays to a dtype."""
    return jax.tree.map(
        lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree
    )


def energy(tree: PyTree) -> Array:
    """The sum of the squared absolute values of the inexact arrays."""
    floats = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return jnp.stack([(jnp.abs(a) ** 2).sum() for a in floats]).sum()


def pad(xs: PyTree, padding: np.ndarray, value: float) -> PyTree:
    """Put ``value`` where ``padding``, ``bool[B, T]``, is true."""

    def one(a: Array) -> Array:
        if not jnp.issubdtype(a.dtype, jnp.floating):
            return a
        where = padding.reshape(padding.shape + (1,) * (a.ndim - 2))
        return jnp.where(np.broadcast_to(where, a.shape), value, a)

    return jax.tree.map(one, xs)


def split_floats(tree: PyTree) -> tuple[list[Array], Callable[[list[Array]], PyTree]]:
    """The inexact arrays of a pytree, and a function that puts them back."""
    leaves, structure = jax.tree.flatten(tree)
    places = [n for n, a in enumerate(leaves) if jnp.issubdtype(a.dtype, jnp.inexact)]

    def restore(floats: list[Array]) -> PyTree:
        given = dict(zip(places, floats, strict=True))
        return jax.tree.unflatten(structure, [given.get(n, a) for n, a in enumerate(leaves)])

    return [leaves[n] for n in places], restore


def randomise(tree: PyTree, seed: int) -> PyTree:
    """Add noise to every inexact array, so that no initial zero hides a term.

    >>> bool((randomise({"bias": jnp.zeros(2)}, seed=0)["bias"] != 0).all())
    True
    """
    rng = np.random.default_rng(seed)

    def draw(a: Array) -> Array:
        if not jnp.issubdtype(a.dtype, jnp.inexact):
            return a
        noise = rng.normal(0, 0.3, a.shape)
        if jnp.issubdtype(a.dtype, jnp.complexfloating):
            return a + jnp.asarray(noise + 1j * rng.normal(0, 0.3, a.shape), a.dtype)
        return a + jnp.asarray(noise, a.dtype)

    return jax.tree.map(draw, tree)
