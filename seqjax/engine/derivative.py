"""A scan whose derivative is a loop over tangents, which does only what waits for the state."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import primitives

from seqjax.engine.equations import evaluate, read, take_apart
from seqjax.engine.layout import lay_out_like_next
from seqjax.engine.tangent import find_products, is_inexact, linearise, tangent_step
from seqjax.operations.masking import select
from seqjax.types import Array, Params, Projected, PyTree, State

Step = Callable[[Params, State, Projected], tuple[State, PyTree]]


def scan_with_derivative(
    step: Step,
    params: Params,
    state: State,
    zs: Projected,
    mask: Array | None,
    reverse: bool = False,
) -> tuple[State, PyTree]:
    """Run ``step`` over all steps, as `jax.lax.scan` does, with a derivative of its own.

    The forward loop keeps the states and the products of each step. See `seqjax.engine.tangent` for
    the derivative, which supports forward and reverse mode of any order.

    Args:
      step: ``(params, state, z) -> (state, y)``.
      params: its parameters.
      state: arrays ``[B, ...]``.
      zs: what the steps need of the inputs, arrays ``[T, B, ...]``.
      mask: ``bool[T, B]``, or None: every step counts. The state stands still at the others.
      reverse: from the last step to the first.

    Returns:
      ``(final_state, ys)``. Where the mask does not hold, ``ys`` has no meaning.

    >>> from seqjax import LSTM
    >>> cell = LSTM(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> zs = cell.project(params, jnp.ones((7, 2, 3), jnp.float32))
    >>> state, ys = scan_with_derivative(cell.step, params, cell.initial_state((2,)), zs, None)
    >>> ys.shape, bool((ys[-1] == state.h).all())
    ((7, 2, 4), True)
    """

    def plain(state: State, values: tuple[Projected, Array | None]) -> tuple[State, PyTree]:
        z, m = values
        after, y = step(params, state, z)
        return (after if m is None else select(m, after, state)), y

    state = lay_out_like_next(plain, state, (zs, mask))
    first_z = jax.tree.map(lambda a: a[0], zs)
    parts, fixed, structure_of_y = take_apart(step, params, state, first_z)
    if any(e.primitive is primitives.custom_vjp_call_p for e in parts.equations):
        # such an equation has no tangent
        return jax.lax.scan(plain, state, (zs, mask), reverse=reverse)
    products = find_products(parts)
    # an output that is also a part of the new state is stored once
    shared = {n: parts.after.index(y) for n, y in enumerate(parts.y) if y in parts.after}

    def body(kept_states: Sequence[int], kept_products: Sequence[int], fixed: Sequence[Array]):
        def one(before: list[Array], values: tuple[list[Array], Array | None]):
            z, m = values
            inputs = zip((*parts.fixed, *parts.state, *parts.z), (*fixed, *before, *z), strict=True)
            found = evaluate(parts.equations, dict(inputs))
            new = [jnp.asarray(read(found, v)) for v in parts.after]
            after = new if m is None else select(m, new, before)
            ys = [read(found, v) for n, v in enumerate(parts.y) if n not in shared]
            states = {n: after[n] for n in {*kept_states, *shared.values()}}
            return after, (ys, states, {n: found[products[n].outvars[0]] for n in kept_products})

        return one

    def all_ys(ys: list[Array], states: dict[int, Array]) -> list[Array]:
        own = iter(ys)
        return [states[shared[n]] if n in shared else next(own) for n in range(len(parts.y))]

    def run(kept_states: Sequence[int], kept_products: Sequence[int], fixed, state, zs, mask):
        one = body(kept_states, kept_products, fixed)
        return jax.lax.scan(one, state, (zs, mask), reverse=reverse)

    @jax.custom_jvp
    def loop(fixed: list[Array], state: list[Array], zs: list[Array], mask: Array | None):
        final, (ys, states, _) = run((), (), fixed, state, zs, mask)
        return final, all_ys(ys, states)

    def derivative(primals, tangents):
        fixed, first, zs, mask = primals
        form = linearise(parts, products, (fixed, first, [z[0] for z in zs]))
        kept_states = [n for n, v in enumerate(form.inputs[1]) if v in form.used]
        kept_products = [n for n, v in enumerate(form.inputs[3]) if v in form.used]
        final, (ys, states, kept) = run(kept_states, kept_products, fixed, first, zs, mask)
        before = [
            _shifted(first[n], states[n], reverse) if n in kept_states else None
            for n in range(len(first))
        ]
        d_fixed, d_first, d_zs = (
            [None if isinstance(d, SymbolicZero) else d for x, d in zip(xs, ds, strict=True)
             if is_inexact(x)]
            for xs, ds in zip((fixed, first, zs), tangents[:3], strict=True)
        )  # fmt: skip
        d_first = [
            jnp.zeros_like(x) if d is None else d
            for x, d in zip(filter(is_inexact, first), d_first, strict=True)
        ]
        plan = tangent_step(
            form, fixed, before, zs, [kept.get(n) for n in range(len(products))], d_fixed, d_zs
        )

        def tangent_body(d: list[Array], values: tuple[list[Array], Array | None]):
            own, m = values
            made = list(d)
            for instruction in plan.instructions:
                made.append(instruction(made, own))
            after = [instruction(made, own) for instruction in plan.after]
            after = after if m is None else select(m, after, d)
            return after, [instruction(made, own) for instruction in plan.y]

        steps = plan.values, mask
        d_first = lay_out_like_next(tangent_body, d_first, steps)
        d_final, d_ys = jax.lax.scan(tangent_body, d_first, steps, zs[0].shape[0], reverse=reverse)
        outputs = final, all_ys(ys, states)
        return outputs, (_with_gaps(final, d_final), _with_gaps(outputs[1], d_ys))

    loop.defjvp(derivative, symbolic_zeros=True)
    leaves, structure = jax.tree.flatten(state)
    final, ys = loop(fixed, leaves, jax.tree.leaves(zs), mask)
    return jax.tree.unflatten(structure, final), jax.tree.unflatten(structure_of_y, ys)


def _shifted(first: Array, after: Array, reverse: bool) -> Array:
    """The states before each step, ``[T, B, ...]``, from those after it."""
    if reverse:
        return jnp.concatenate([after[1:], first[None]])
    return jnp.concatenate([first[None], after[:-1]])


def _with_gaps(values: list[Array], tangents: list[Array]) -> list[Array]:
    """Tangents of inexact values in their places among all of ``values``."""
    given = iter(tangents)
    return [next(given) if is_inexact(x) else np.zeros(x.shape, jax.dtypes.float0) for x in values]
