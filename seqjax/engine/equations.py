"""The equations of one step, as a jaxpr that the engine can split and evaluate."""

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
    """The equations of one step that depend on its state or its input.

    Attributes:
      equations: the equations, in the order of evaluation.
      fixed: variables that have the same value at every step.
      state: variables of the state.
      z: variables of the projected input.
      after: the next state.
      y: the output.
    """

    equations: tuple[core.JaxprEqn, ...]
    fixed: tuple[core.Var, ...]
    state: tuple[core.Var, ...]
    z: tuple[core.Var, ...]
    after: tuple[Atom, ...]
    y: tuple[Atom, ...]


def take_apart(
    step: Callable[..., tuple[State, PyTree]], params: Params, state: State, z: Projected
) -> tuple[Step, list[Array], jax.tree_util.PyTreeDef] | None:
    """Trace ``step``, and compute all values that depend on the parameters alone.

    Args:
      step: ``(params, state, z) -> (state, y)``, such as `Cell.step`.
      params: the parameters of ``step``.
      state: a state.
      z: the projected input of one step.

    Returns:
      The equations of the step, the values of `Step.fixed`, and the tree structure of ``y``. None
      if the step has a block (see `is_block`), or side effects such as `jax.debug.print`.
    """
    arguments = params, state, z
    closed, structure = trace(step, *arguments)
    jaxpr = closed.jaxpr
    if jaxpr.effects:
        return None
    counts = [len(jax.tree.leaves(part)) for part in arguments]
    inputs = list(jaxpr.invars)
    of_params = inputs[: counts[0]]
    of_state = inputs[counts[0] : counts[0] + counts[1]]
    of_z = inputs[counts[0] + counts[1] :]
    values = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    values |= zip(of_params, jax.tree.leaves(params), strict=True)
    changing = depends_on([*of_state, *of_z], jaxpr.eqns)
    equations = tuple(e for e in jaxpr.eqns if e.outvars[0] in changing)
    if any(map(is_block, equations)):
        return None
    evaluate([e for e in jaxpr.eqns if e.outvars[0] not in changing], values)
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
    """Trace a function into equations, with every call of `jax.jit` inlined."""
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
    """Evaluate ``closed``, with every call of `jax.jit` inlined."""
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
    """Evaluate ``equations`` in order, and add their results to ``values``.

    Args:
      equations: the equations to evaluate.
      values: the values of the variables that the equations read.
      rule: computes an equation in another way, or returns None to evaluate it as it is.
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
    """The value of a variable or literal."""
    return atom.val if isinstance(atom, core.Literal) else values[atom]


def aval_of(atom: Atom) -> jax.core.ShapedArray:
    """The shape and dtype of a variable or literal."""
    return cast(jax.core.ShapedArray, atom.aval)


def is_product(equation: core.JaxprEqn) -> bool:
    """Whether an equation is a matrix product or a convolution."""
    if equation.primitive in (primitives.dot_general_p, primitives.conv_general_dilated_p):
        return True
    if equation.primitive is primitives.custom_jvp_call_p:
        return any(map(is_product, equation.params["call_jaxpr"].jaxpr.eqns))
    return False


# their tangents have equations of their own
_SEPARATE = frozenset({
    primitives.custom_jvp_call_p, primitives.linear_solve_p, primitives.scatter_p,
    primitives.scatter_add_p, primitives.scatter_max_p, primitives.scatter_min_p,
    primitives.scatter_mul_p,
})  # fmt: skip


def is_block(equation: core.JaxprEqn) -> bool:
    """Whether an equation holds others, such as a loop, a branch or a `jax.checkpoint`.

    JAX differentiates a block into one equation that computes both values and tangents.
    """
    parts = jax.tree.leaves(equation.params)
    holds = any(isinstance(part, core.Jaxpr | core.ClosedJaxpr) for part in parts)
    return holds and equation.primitive not in _SEPARATE


def depends_on(variables: Sequence[core.Var], equations: Sequence[core.JaxprEqn]) -> set[core.Var]:
    """``variables`` and all variables that depend on them."""
    found = set(variables)
    for equation in equations:
        if any(_is_in(v, found) for v in equation.invars):
            found.update(equation.outvars)
    return found


def needed_for(
    wanted: Sequence[Atom], equations: Sequence[core.JaxprEqn]
) -> tuple[list[core.JaxprEqn], set[core.Var]]:
    """The equations and all variables that ``wanted`` depends on."""
    variables = {v for v in wanted if isinstance(v, core.Var)}
    found = []
    for equation in reversed(equations):
        if any(v in variables for v in equation.outvars):
            found.append(equation)
            variables.update(v for v in equation.invars if isinstance(v, core.Var))
    return found[::-1], variables


def _is_in(atom: Atom, group: Any) -> TypeGuard[core.Var]:
    return isinstance(atom, core.Var) and atom in group
