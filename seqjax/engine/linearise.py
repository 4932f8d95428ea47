"""The equations of a step's tangent, which are linear in the tangents of what the step is given."""

from collections.abc import Callable, Sequence
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
    is_product,
    needed_for,
    read,
    trace,
)
from seqjax.types import Array


class Linearised(NamedTuple):
    """The equations of a step and of its tangent."""

    equations: tuple[core.JaxprEqn, ...]  # of values alone
    linear: tuple[core.JaxprEqn, ...]  # of tangents, each linear in them
    inputs: tuple[tuple[core.Var, ...], ...]  # of fixed, state, z and products
    tangents: tuple[tuple[core.Var, ...], ...]  # of fixed, state and z, the inexact ones
    after: tuple[Atom, ...]  # tangents of the next state
    y: tuple[Atom, ...]  # tangents of the output
    used: set[core.Var]  # the inputs that the tangents depend on


def is_inexact(x: Array) -> bool:
    """Whether ``x`` has a tangent."""
    return jnp.issubdtype(x.dtype, jnp.inexact)


def find_products(step: Step) -> list[core.JaxprEqn]:
    """The products that wait for the state: too expensive to compute again for the derivative."""
    waiting = depends_on(step.state, step.equations)
    return [e for e in step.equations if e.outvars[0] in waiting and is_product(e)]


def linearise(
    step: Step, products: Sequence[core.JaxprEqn], arguments: Sequence[list[Array]]
) -> Linearised:
    """Differentiate the equations of a step, given the values of its products.

    Args:
      step: the equations.
      products: those of them whose values are kept.
      arguments: the values of fixed, state and z at one step, of which the types matter.
    """
    positions = {id(equation): n for n, equation in enumerate(products)}

    def with_products(*groups: list[Array]) -> list[list[Array]]:
        inputs = (*step.fixed, *step.state, *step.z)
        values = [value for group in groups for value in group]
        found = evaluate(step.equations, dict(zip(inputs, values, strict=True)))
        return [*groups, [found[e.outvars[0]] for e in products]]

    values = jax.eval_shape(with_products, *arguments)

    def outputs(groups: list[list[Array]], kept: list[Array]) -> list[list[Array]]:
        def rule(equation: core.JaxprEqn, operands: list[Array]) -> list[Array] | None:
            if id(equation) not in positions:
                return None
            return [_product_of(equation)(kept[positions[id(equation)]], *operands)]

        inputs = (*step.fixed, *step.state, *step.z)
        given = [value for group in groups for value in group]
        found = evaluate(step.equations, dict(zip(inputs, given, strict=True)), rule)
        return [[read(found, v) for v in group] for group in (step.after, step.y)]

    def tangents(values: list[list[Array]], d_values: list[list[Array]]) -> list[list[Array]]:
        *groups, kept = values

        def of_inexact(inexact: list[list[Array]]) -> list[list[Array]]:
            whole = []
            for group, some in zip(groups, inexact, strict=True):
                given = iter(some)
                whole.append([next(given) if is_inexact(x) else x for x in group])
            return [[x for x in map(jnp.asarray, g) if is_inexact(x)] for g in outputs(whole, kept)]

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
    if jaxpr.constvars:
        raise TypeError("a step must not hold arrays other than its arguments")
    needed, variables = needed_for([*after, *y], jaxpr.eqns)
    waiting = depends_on([v for group in d_inputs for v in group], needed)
    return Linearised(
        tuple(e for e in needed if e.outvars[0] not in waiting),
        tuple(e for e in needed if e.outvars[0] in waiting),
        inputs, d_inputs, after, y, variables,
    )  # fmt: skip


def _product_of(equation: core.JaxprEqn) -> Callable[..., Array]:
    """A product that takes its value as given and has the derivative of its operands."""

    @jax.custom_jvp
    def product(kept: Array, *operands: Array) -> Array:
        return kept

    @product.defjvp
    def tangent(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
        kept, *operands = primals
        _, d = jax.jvp(lambda *operands: bind(equation, operands)[0], operands, [*tangents[1:]])
        return kept, d

    return product
