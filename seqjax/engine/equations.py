"""The equations of one step, as data that the engine can take apart."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeGuard, cast

import jax
from jax.extend import core
from jax.extend.core import primitives

from seqjax.types import Array, Params, Projected, PyTree, State

Atom = core.Var | core.Literal
Values = dict[core.Var, Array]
Rule = Callable[[core.JaxprEqn, list[Array]], list[Array] | None]


class Step(NamedTuple):
    """One step as equations in the order of their evaluation, without those of parameters alone."""

    equations: tuple[core.JaxprEqn, ...]
    fixed: tuple[core.Var, ...]  # what does not change from step to step
    state: tuple[core.Var, ...]
    z: tuple[core.Var, ...]
    after: tuple[Atom, ...]  # the next state
    y: tuple[Atom, ...]  # the output


def take_apart(
    step: Callable[..., tuple[State, PyTree]], params: Params, state: State, z: Projected
) -> tuple[Step, list[Array], jax.tree_util.PyTreeDef]:
    """Trace ``step``, and compute what needs the parameters alone.

    Args:
      step: ``(params, state, z) -> (state, y)``, such as `Cell.step`.
      params: its parameters.
      state: a state.
      z: what one step needs of its input.

    Returns:
      The equations of the step, the values of `Step.fixed`, and the structure of ``y``.
    """
    arguments = params, state, z
    closed, structure = trace(step, *arguments)
    jaxpr = closed.jaxpr
    counts = [len(jax.tree.leaves(part)) for part in arguments]
    inputs = list(jaxpr.invars)
    of_params = inputs[: counts[0]]
    of_state = inputs[counts[0] : counts[0] + counts[1]]
    of_z = inputs[counts[0] + counts[1] :]
    values = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    values |= zip(of_params, jax.tree.leaves(params), strict=True)
    changing = depends_on([*of_state, *of_z], jaxpr.eqns)
    evaluate([e for e in jaxpr.eqns if e.outvars[0] not in changing], values)
    equations = tuple(e for e in jaxpr.eqns if e.outvars[0] in changing)
    used = dict.fromkeys(v for e in equations for v in e.invars if _is_in(v, values))
    used |= dict.fromkeys(v for v in jaxpr.outvars if _is_in(v, values))
    fixed = tuple(used)
    size = len(of_state)
    parts = Step(
        equations, fixed, tuple(of_state), tuple(of_z),
        tuple(jaxpr.outvars[:size]), tuple(jaxpr.outvars[size:]),
    )  # fmt: skip
    return parts, [values[v] for v in fixed], structure.children()[1]


def trace(
    function: Callable[..., Any], *arguments: PyTree
) -> tuple[core.ClosedJaxpr, jax.tree_util.PyTreeDef]:
    """Trace a function into equations none of which is a call of `jax.jit`."""
    leaves, tree = jax.tree.flatten(arguments)
    structures = []

    def flat(*leaves: Array) -> list[Array]:
        outputs, structure = jax.tree.flatten(function(*jax.tree.unflatten(tree, leaves)))
        structures.append(structure)
        return outputs

    closed = jax.make_jaxpr(flat)(*leaves)
    while any(equation.primitive is primitives.jit_p for equation in closed.jaxpr.eqns):
        closed = jax.make_jaxpr(lambda *leaves: run(closed, leaves))(*leaves)  # noqa: B023
    return closed, structures[0]


def run(closed: core.ClosedJaxpr, arguments: Sequence[Array]) -> list[Array]:
    """Evaluate ``closed``; what calls of `jax.jit` hold becomes a part of it."""
    jaxpr = closed.jaxpr
    values = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    values |= zip(jaxpr.invars, arguments, strict=True)
    evaluate(jaxpr.eqns, values, _open)
    return [read(values, v) for v in jaxpr.outvars]


def _open(equation: core.JaxprEqn, operands: list[Array]) -> list[Array] | None:
    if equation.primitive is primitives.jit_p:
        return run(equation.params["jaxpr"], operands)
    return None


def evaluate(
    equations: Sequence[core.JaxprEqn], values: Values, rule: Rule | None = None
) -> Values:
    """Evaluate ``equations`` one after the other, and add what they compute to ``values``.

    Args:
      equations: what to evaluate.
      values: those of the variables that the equations read.
      rule: may compute an equation in another way, or return None.
    """
    for equation in equations:
        operands = [read(values, v) for v in equation.invars]
        outputs = rule(equation, operands) if rule else None
        if outputs is None:
            outputs = bind(equation, operands)
        values |= zip(equation.outvars, outputs, strict=True)
    return values


def bind(equation: core.JaxprEqn, operands: Sequence[Array]) -> list[Array]:
    """Apply the primitive of ``equation`` to ``operands``."""
    params = equation.primitive.get_bind_params(equation.params)
    outputs = equation.primitive.bind(*operands, **params)
    return list(outputs) if equation.primitive.multiple_results else [outputs]


def read(values: Values, atom: Atom) -> Array:
    """The value of a variable or of a literal."""
    return atom.val if isinstance(atom, core.Literal) else values[atom]


def aval_of(atom: Atom) -> jax.core.ShapedArray:
    """The shape and dtype of a variable or literal."""
    return cast(jax.core.ShapedArray, atom.aval)


def is_product(equation: core.JaxprEqn) -> bool:
    """Whether an equation is a product, with many more operations than results."""
    if equation.primitive in (primitives.dot_general_p, primitives.conv_general_dilated_p):
        return True
    if equation.primitive is primitives.custom_jvp_call_p:
        return any(map(is_product, equation.params["call_jaxpr"].jaxpr.eqns))
    return False


def depends_on(variables: Sequence[core.Var], equations: Sequence[core.JaxprEqn]) -> set[core.Var]:
    """The variables that depend on ``variables``, these included."""
    found = set(variables)
    for equation in equations:
        if any(_is_in(v, found) for v in equation.invars):
            found.update(equation.outvars)
    return found


def needed_for(
    wanted: Sequence[Atom], equations: Sequence[core.JaxprEqn]
) -> tuple[list[core.JaxprEqn], set[core.Var]]:
    """The equations that ``wanted`` needs, and all variables that it depends on."""
    variables = {v for v in wanted if isinstance(v, core.Var)}
    found = []
    for equation in reversed(equations):
        if any(v in variables for v in equation.outvars):
            found.append(equation)
            variables.update(v for v in equation.invars if isinstance(v, core.Var))
    return found[::-1], variables


def _is_in(atom: Atom, group: Any) -> TypeGuard[core.Var]:
    return isinstance(atom, core.Var) and atom in group
