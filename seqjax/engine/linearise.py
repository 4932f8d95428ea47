"""The equations of the tangent of a step, linear in the tangents of the step's arguments."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

from seqjax.engine.equations import (
    Atom,
    Step,
    bind,
    depends_on,
    evaluate,
    is_block,
    is_product,
    needed_for,
    read,
    trace,
)
from seqjax.engine.layout import types_of
from seqjax.types import Array


class Linearised(NamedTuple):
    """The equations of a step and of its tangent.

    Attributes:
      equations: the equations of values.
      linear: the equations of tangents, each linear in the tangents.
      constants: the arrays that rules of `jax.custom_jvp` use.
      inputs: variables of the values of fixed, state, z and kept.
      tangents: variables of the tangents of the inexact arrays of fixed, state and z.
      after: tangents of the next state.
      y: tangents of the output.
      used: the variables that the tangents depend on.
    """

    equations: tuple[core.JaxprEqn, ...]
    linear: tuple[core.JaxprEqn, ...]
    constants: dict[core.Var, Array]
    inputs: tuple[tuple[core.Var, ...], ...]
    tangents: tuple[tuple[core.Var, ...], ...]
    after: tuple[Atom, ...]
    y: tuple[Atom, ...]
    used: set[core.Var]


def is_inexact(x: Array) -> bool:
    """Whether ``x`` is floating or complex, and so has a tangent."""
    return jnp.issubdtype(x.dtype, jnp.inexact)


# If one of these is applied to a product, its result is saved instead; it is not larger.
_PASSED_ON = frozenset({"add", "sub", "split", "reshape", "squeeze", "transpose"})


def find_kept(step: Step) -> list[core.Var]:
    """The values of a step to save for the derivative: the products that depend on the state.

    Recomputing a product would be too expensive. Where a term is added to a product, the sum is
    saved, so that the term need not be saved.
    """
    waiting = depends_on(step.state, step.equations)
    kept = []
    for equation in step.equations:
        if equation.outvars[0] in waiting and is_product(equation):
            kept += _last_before_use(step, equation.outvars[0])
    return list(dict.fromkeys(kept))


def _last_before_use(step: Step, v: core.Var) -> list[core.Var]:
    """The last values computed from ``v`` by primitives in ``_PASSED_ON`` alone."""
    uses = [e for e in step.equations if any(u is v for u in e.invars)]
    is_result = any(u is v for u in (*step.after, *step.y))
    if len(uses) != 1 or is_result or uses[0].primitive.name not in _PASSED_ON:
        return [v]
    return [kept for out in uses[0].outvars for kept in _last_before_use(step, out)]


def linearise(
    step: Step, kept: Sequence[core.Var], arguments: Sequence[list[Array]]
) -> Linearised | None:
    """Differentiate the equations of a step, given the saved values.

    None if the rule of a `jax.custom_jvp` computes tangents in a block, which may hold values too.

    Args:
      step: the equations.
      kept: the variables whose values are saved, see `find_kept`.
      arguments: the values of fixed, state and z at one step; only their types matter.
    """

    def with_kept(*groups: list[Array]) -> list[list[Array]]:
        inputs = (*step.fixed, *step.state, *step.z)
        values = [value for group in groups for value in group]
        found = evaluate(step.equations, dict(zip(inputs, values, strict=True)))
        return [*groups, [found[v] for v in kept]]

    values = types_of(with_kept, *arguments)

    def outputs(groups: list[list[Array]], values: list[Array]) -> list[list[Array]]:
        given = dict(zip(kept, values, strict=True))

        def rule(equation: core.JaxprEqn, operands: list[Array]) -> list[Array] | None:
            if not any(v in given for v in equation.outvars):
                return None
            pairs = zip(equation.outvars, bind(equation, operands), strict=True)
            return [_with_value(given[v], x) if v in given else x for v, x in pairs]

        inputs = (*step.fixed, *step.state, *step.z)
        arrays = [array for group in groups for array in group]
        found = evaluate(step.equations, dict(zip(inputs, arrays, strict=True)), rule)
        return [[read(found, v) for v in group] for group in (step.after, step.y)]

    def tangents(values: list[list[Array]], d_values: list[list[Array]]) -> list[list[Array]]:
        *groups, given = values

        def of_inexact(inexact: list[list[Array]]) -> list[list[Array]]:
            whole = []
            for group, some in zip(groups, inexact, strict=True):
                own = iter(some)
                whole.append([next(own) if is_inexact(x) else x for x in group])
            return [
                [x for x in map(jnp.asarray, g) if is_inexact(x)] for g in outputs(whole, given)
            ]

        inexact = [[x for x in group if is_inexact(x)] for group in groups]
        d: list[list[Array]] = jax.jvp(of_inexact, (inexact,), (d_values,))[1]
        return d

    d_values = [[x for x in group if is_inexact(x)] for group in values[:-1]]
    closed, structure = trace(tangents, values, d_values)
    jaxpr = closed.jaxpr
    invars, outvars = iter(jaxpr.invars), iter(jaxpr.outvars)
    inputs = tuple(tuple(next(invars) for _ in group) for group in values)
    d_inputs = tuple(tuple(next(invars) for _ in group) for group in d_values)
    sizes = [child.num_leaves for child in structure.children()]
    after, y = (tuple(next(outvars) for _ in range(size)) for size in sizes)
    needed, variables = needed_for([*after, *y], jaxpr.eqns)
    waiting = depends_on([v for group in d_inputs for v in group], needed)
    linear = tuple(e for e in needed if e.outvars[0] in waiting)
    if any(map(is_block, linear)):
        return None
    return Linearised(
        tuple(e for e in needed if e.outvars[0] not in waiting),
        linear,
        dict(zip(jaxpr.constvars, closed.consts, strict=True)),
        inputs, d_inputs, after, y, variables,
    )  # fmt: skip


@jax.custom_jvp
def _with_value(value: Array, computed: Array) -> Array:
    """``value``, with the derivative of ``computed``; ``computed`` becomes dead code."""
    return value


@_with_value.defjvp
def _with_value_tangent(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    return primals[0], tangents[1]
