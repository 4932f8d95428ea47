"""Clipping, with the gradient of the clip or with that of the identity."""

import functools

import jax
import jax.numpy as jnp

from seqjax.types import Array


def clip(a: Array, bound: float, straight_through: bool = False) -> Array:
    """Clip to ``[-bound, bound]``; with ``straight_through``, the gradient ignores the clip.

    >>> print(jax.vmap(jax.grad(clip), (0, None))(jnp.array([1.0, 3.0]), 2.0))
    [1. 0.]
    >>> print(jax.vmap(jax.grad(clip), (0, None, None))(jnp.array([1.0, 3.0]), 2.0, True))
    [1. 1.]
    """
    return _clip_straight_through(a, bound) if straight_through else jnp.clip(a, -bound, bound)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _clip_straight_through(a: Array, bound: float) -> Array:
    return jnp.clip(a, -bound, bound)


@_clip_straight_through.defjvp
def _pass(bound: float, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return _clip_straight_through(*primals, bound), *tangents
