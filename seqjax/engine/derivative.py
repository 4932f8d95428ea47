"""A scan with a derivative whose loop computes only terms that depend on the state."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from seqjax.engine.equations import evaluate, read, take_apart
from seqjax.engine.layout import lay_out_like_next
from seqjax.engine.linearise import find_kept, is_inexact, linearise
from seqjax.engine.tangent import tangent_step
from seqjax.operations.masking import select
from seqjax.types import Array, Params, Projected, PyTree, State

Step = Callable[[Params, State, Projected], tuple[State, PyTree]]


def masked_step(
    step: Step, params: Params, state: State, z: Projected, mask: Array | None
) -> tuple[State, PyTree]:
    """One step that keeps the state where ``mask`` is False."""
    after, y = step(params, state, z)
    return (after if mask is None else select(mask, after, state)), y


def scan_with_derivative(
    step: Step,
    params: Params,
    state: State,
    zs: Projected,
    mask: Array | None,
    reverse: bool = False,
) -> tuple[State, PyTree]:
    """Run ``step`` over all time steps, as `jax.lax.scan` does, with a custom derivative.

    The forward loop saves the states and the results of the products of each step. The derivative
    is in `seqjax.engine.tangent`; it supports forward and reverse mode, of any order.

    Args:
      step: ``(params, state, z) -> (state, y)``.
      params: the parameters of ``step``.
      state: arrays ``[B, ...]``.
      zs: the projected inputs, arrays ``[T, B, ...]``.
      mask: ``bool[T, B]``, True at valid steps; the state does not change at others. Defaults to
        all steps.
      reverse: run from the last step to the first.

    Returns:
      ``(final_state, ys)``. The values of ``ys`` outside of the mask are undefined.

    >>> from seqjax import LSTM
    >>> cell = LSTM(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> zs = cell.project(params, jnp.ones((7, 2, 3), jnp.float32))
    >>> state, ys = scan_with_derivative(cell.step, params, cell.initial_state((2,)), zs, None)
    >>> ys.shape, bool((ys[-1] == state.h).all())
    ((7, 2, 4), True)
    """

    def plain(state: State, values: tuple[Projected, Array | None]) -> tuple[State, PyTree]:
        return masked_step(step, params, state, *values)

    state = lay_out_like_next(plain, state, (zs, mask))
    first_z = jax.tree.map(lambda a: a[0], zs)
    taken = take_apart(step, params, state, first_z)
    if taken is None:
        return jax.lax.scan(plain, state, (zs, mask), reverse=reverse)
    parts, fixed, structure_of_y = taken
    to_keep = find_kept(parts)
    # an output that is also a part of the next state is stored once
    shared = {n: parts.after.index(y) for n, y in enumerate(parts.y) if y in parts.after}

    def run(
        keep: _Kept, fixed: list[Array], state: list[Array], zs: list[Array], mask: Array | None
    ) -> tuple[list[Array], list[Array], _Kept]:
        """The final state, all outputs, and the values of all steps that ``keep`` names."""
        states = {*keep.states, *shared.values()}

        def body(
            before: list[Array], values: tuple[list[Array], Array | None]
        ) -> tuple[list[Array], tuple[list[Array], _Kept]]:
            z, m = values
            inputs = zip((*parts.fixed, *parts.state, *parts.z), (*fixed, *before, *z), strict=True)
            found = evaluate(parts.equations, dict(inputs))
            after = [jnp.asarray(read(found, v)) for v in parts.after]
            if m is not None:
                after = select(m, after, before)
            ys = [read(found, v) for n, v in enumerate(parts.y) if n not in shared]
            kept = _Kept(
                {n: after[n] for n in states},
                {n: found[to_keep[n]] for n in keep.values},
            )
            return after, (ys, kept)

        final, (ys, kept) = jax.lax.scan(body, state, (zs, mask), reverse=reverse)
        own = iter(ys)
        outputs = [
            kept.states[shared[n]] if n in shared else next(own) for n in range(len(parts.y))
        ]
        return final, outputs, kept

    def outputs(
        fixed: list[Array], state: list[Array], zs: list[Array], mask: Array | None
    ) -> tuple[list[Array], list[Array]]:
        final, ys, _ = run(_Kept({}, {}), fixed, state, zs, mask)
        return final, ys

    def derivative(primals: Any, tangents: Any) -> Any:
        fixed, first, zs, mask = primals
        form = linearise(parts, to_keep, (fixed, first, [z[0] for z in zs]))
        if form is None:
            return jax.jvp(outputs, primals, jax.tree.map(_instantiated, primals, tangents))
        used = _Kept(*(
            {n: v for n, v in enumerate(variables) if v in form.used}
            for variables in (form.inputs[1], form.inputs[3])
        ))  # fmt: skip
        final, ys, kept = run(used, fixed, first, zs, mask)
        before = [
            _shifted(first[n], kept.states[n], reverse) if n in used.states else None
            for n in range(len(first))
        ]
        values = [kept.values.get(n) for n in range(len(to_keep))]
        d_fixed, d_state, d_zs = map(_known_tangents, (fixed, first, zs), tangents[:3])
        plan = tangent_step(form, fixed, before, zs, values, d_fixed, d_zs)

        def body(
            d: list[Array], values: tuple[list[Array], Array | None]
        ) -> tuple[list[Array], list[Array]]:
            own, m = values
            made = list(d)
            for instruction in plan.instructions:
                made.append(instruction(made, own))
            after = [instruction(made, own) for instruction in plan.after]
            if m is not None:
                after = select(m, after, d)
            return after, [instruction(made, own) for instruction in plan.y]

        inexact = filter(is_inexact, first)
        d_first = [
            jnp.zeros_like(x) if d is None else d for x, d in zip(inexact, d_state, strict=True)
        ]
        steps = plan.values, mask
        d_first = lay_out_like_next(body, d_first, steps)
        # jax.lax.scan can infer a symbolic number of steps only from its inputs
        length = None if jax.tree.leaves(steps) else jax.tree.leaves(zs)[0].shape[0]
        d_final, d_ys = jax.lax.scan(body, d_first, steps, length, reverse=reverse)
        return (final, ys), (_with_gaps(final, d_final), _with_gaps(ys, d_ys))

    loop = jax.custom_jvp(outputs)
    loop.defjvp(derivative, symbolic_zeros=True)
    leaves, structure = jax.tree.flatten(state)
    final, ys = loop(fixed, leaves, jax.tree.leaves(zs), mask)
    return jax.tree.unflatten(structure, final), jax.tree.unflatten(structure_of_y, ys)


class _Kept(NamedTuple):
    """Arrays of the state and other values of a step, by index."""

    states: dict[int, Any]
    values: dict[int, Any]


def _instantiated(x: Array, d: Any) -> Any:
    """A tangent, with zeros for a symbolic one."""
    if not isinstance(d, SymbolicZero):
        return d
    return jnp.zeros_like(x) if is_inexact(x) else np.zeros(x.shape, jax.dtypes.float0)


def _known_tangents(values: list[Array], tangents: list[Any]) -> list[Array | None]:
    """The tangents of the inexact arrays in ``values``; None for a tangent of 0."""
    return [
        None if isinstance(d, SymbolicZero) else d
        for x, d in zip(values, tangents, strict=True)
        if is_inexact(x)
    ]


def _shifted(first: Array, after: Array, reverse: bool) -> Array:
    """The states before each step, ``[T, B, ...]``, from the states after each step."""
    if reverse:
        return jnp.concatenate([after[1:], first[None]])
    return jnp.concatenate([first[None], after[:-1]])


def _with_gaps(values: list[Array], tangents: list[Array]) -> list[Any]:
    """The tangents of all ``values``: the given ones for inexact values, float0 for others."""
    given = iter(tangents)
    return [next(given) if is_inexact(x) else np.zeros(x.shape, jax.dtypes.float0) for x in values]
