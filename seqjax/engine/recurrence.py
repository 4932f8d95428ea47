"""A loop over time whose backward pass, too, does only what has to wait for the state."""

import functools

import jax
import jax.numpy as jnp

from seqjax.operations.affine import vary, varying
from seqjax.operations.masking import select, zero_outside
from seqjax.types import Array, FactoredCell, Params, Projected, PyTree, State


def factored_loop(
    mask: Array | None, cell: FactoredCell, params: Params, state: State, zs: Projected
) -> tuple[State, Array]:
    """Run all steps of a `FactoredCell`, with a backward pass of its own.

    The backward loop carries the gradient of the state and nothing else: the derivatives of all
    steps are there before it starts, and the gradients of the parameters are made after it, in one
    product over all steps. Autodiff of a loop computes both within.

    Args:
      mask: ``bool[T, B]``, or None: every step counts.
      cell: with `FactoredCell.is_factored` for these ``params``.
      params: its parameters.
      state: arrays ``[B, H]``.
      zs: what `Cell.project` makes of the inputs, arrays ``[T, B, ...]``.

    Returns:
      ``(final_state, hs)``: the ``h`` of the state after each step, ``[T, B, H]``; where the mask
      does not hold that is the ``h`` before it.

    >>> from seqjax import LSTM
    >>> cell = LSTM(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> zs = cell.project(params, jnp.ones((7, 2, 3), jnp.float32))
    >>> state, hs = factored_loop(None, cell, params, cell.initial_state((2,)), zs)
    >>> hs.shape, bool((hs[-1] == state.h).all())
    ((7, 2, 4), True)
    """
    # inside of jax.shard_map the gradients that `_backward` makes vary over the devices as the
    # inputs do; so do these, and autodiff adds the gradients up where they stopped to be one
    axes = varying((state, zs, mask))
    params = jax.tree.map(lambda p: vary(p, axes), params)
    return _loop(cell, params, state, zs, mask)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _loop(
    cell: FactoredCell, params: Params, state: State, zs: Projected, mask: Array | None
) -> tuple[State, Array]:
    def body(state: State, step: tuple[Projected, Array | None]) -> tuple[State, Array]:
        z, m = step
        after, _ = cell.advance(params, state, z)
        after = _where(m, after, state)
        return after, after.h

    return jax.lax.scan(body, state, (zs, mask))


def _forward(
    cell: FactoredCell, params: Params, state: State, zs: Projected, mask: Array | None
) -> tuple[tuple[State, Array], PyTree]:
    def body(state: State, step: tuple[Projected, Array | None]) -> tuple[State, PyTree]:
        z, m = step
        after, saved = cell.advance(params, state, z)
        after = _where(m, after, state)
        return after, (after, saved)

    final, (states, saved) = jax.lax.scan(body, state, (zs, mask))
    return (final, states.h), (params, state, states, saved, zs, mask)


def _backward(
    cell: FactoredCell, residuals: PyTree, cotangents: tuple[State, Array]
) -> tuple[Params, State, Projected, None]:
    params, first, after, saved, zs, mask = residuals
    before = jax.tree.map(lambda s, a: jnp.concatenate([s[None], a[:-1]]), first, after)
    factors = cell.factors(params, before, after, saved, zs)
    # within the loop XLA would fold the transposition into each product, slower by up to a half
    kernels = cell.transposed_kernels(params)

    def body(d: State, step: PyTree) -> tuple[State, PyTree]:
        factors, d_y, m = step
        d = d._replace(h=d.h + d_y)
        d_before, d_saved = cell.retreat(kernels, d, factors)
        return _where(m, d_before, d), d_saved

    d_final, d_ys = cotangents
    d_first, d_saved = jax.lax.scan(body, d_final, (factors, d_ys, mask), reverse=True)
    if mask is not None:
        d_saved = zero_outside(mask, d_saved)
    _, pull = jax.vjp(lambda p, z: cell.preactivations(p, before, after, saved, z), params, zs)
    d_params, d_zs = pull(d_saved)
    return d_params, d_first, d_zs, None


_loop.defvjp(_forward, _backward)


def _where(mask: Array | None, new: PyTree, old: PyTree) -> PyTree:
    return new if mask is None else select(mask, new, old)
