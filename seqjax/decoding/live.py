"""One step of the live hypotheses of a beam search, in arrays that are just large enough."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.decoding.request import Request, map_rows, next_logits
from seqjax.types import Array, Cell, State

FEWEST = 32  # each size compiles another step, which pays off for more hypotheses only


class States(NamedTuple):
    """The states of the hypotheses ``[B, K]``, in any order.

    Attributes:
      rows: arrays ``[B * K, ...]``.
      places: ``int32[B, K]``, the row of each hypothesis.
    """

    rows: State
    places: Array


def step_live(
    model: Cell, request: Request, states: States, tokens: Array, is_live: Array
) -> tuple[States, Array]:
    """Step the live hypotheses; the states and logits of the others are arbitrary.

    All hypotheses run together if more than two thirds are live. The axis of the beam is then under
    `jax.vmap`, so the hypotheses of a row share its context. Otherwise the live ones run alone,
    with a copy of the context for each, in the smallest arrays that hold them. Each size is two
    thirds of the next larger one.

    Args:
      model: the model.
      request: with arrays ``[B, ...]``.
      states: the states.
      tokens: ``int32[B, K]``, the inputs.
      is_live: ``bool[B, K]``.

    Returns:
      The next states and the logits ``[B, K, V]``.
    """
    B, K = is_live.shape
    total = B * K
    sizes = [total]
    while not jax.export.is_symbolic_dim(B) and sizes[-1] * 2 // 3 >= FEWEST:
        sizes.append(sizes[-1] * 2 // 3)

    def together(states: States) -> tuple[States, Array]:
        def one(state: State, token: Array) -> tuple[State, Array]:
            return next_logits(model, request.params, state, token)

        given = jax.tree.map(lambda a: a[states.places], states.rows)
        state, logits = jax.vmap(one, in_axes=1, out_axes=1)(given, tokens)
        rows = jax.tree.map(lambda a: a.reshape(total, *a.shape[2:]), state)
        return States(rows, jnp.arange(total, dtype=jnp.int32).reshape(B, K)), logits

    def alone(size: int) -> Callable[[States], tuple[States, Array]]:
        def step(states: States) -> tuple[States, Array]:
            (chosen,) = jnp.nonzero(is_live.reshape(-1), size=size)
            own = map_rows(lambda a: a[chosen // K], request)
            given = jax.tree.map(lambda a: a[states.places.reshape(-1)[chosen]], states.rows)
            state, logits = next_logits(model, own.params, given, tokens.reshape(-1)[chosen])

            def padded(a: Array) -> Array:
                return jnp.pad(a, [(0, total - size)] + [(0, 0)] * (a.ndim - 1))

            places = jnp.cumsum(is_live.reshape(-1), dtype=jnp.int32).reshape(B, K) - 1
            places = places.clip(0)  # before the first live one
            return States(jax.tree.map(padded, state), places), logits[places]

        return step

    level = sum((is_live.sum() <= size).astype(jnp.int32) for size in sizes[1:])
    return jax.lax.switch(level, [together, *map(alone, sizes[1:])], states)
