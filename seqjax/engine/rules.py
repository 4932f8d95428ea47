"""Primitives whose tangent is a sum of the same parts as the tangents of their operands.

A rule combines the sums of the operands before the loop, or returns False; then the primitive is
applied in the loop.
"""

from collections.abc import Callable

from jax.extend import core

from seqjax.engine.builder import Builder
from seqjax.engine.equations import aval_of
from seqjax.engine.sums import Timed, add, scale, where


def _scaled(builder: Builder, equation: core.JaxprEqn) -> bool:
    first, second = equation.invars
    if isinstance(first, core.Var) and first in builder.sums:
        total, factor = builder.sums[first], builder.value_of(second)
    else:
        total, factor = builder.sum_of(second), builder.value_of(first)
    builder.sums[equation.outvars[0]] = builder.scaled(total, factor, equation)
    return True


def _divided(builder: Builder, equation: core.JaxprEqn) -> bool:
    total, divisor = builder.sum_of(equation.invars[0]), builder.value_of(equation.invars[1])
    inverse = Timed(1 / divisor.value, divisor.varies)
    builder.sums[equation.outvars[0]] = builder.scaled(total, inverse, equation)
    return True


def _negated(builder: Builder, equation: core.JaxprEqn) -> bool:
    builder.sums[equation.outvars[0]] = scale(builder.sum_of(equation.invars[0]), _MINUS_ONE)
    return True


def _added(builder: Builder, equation: core.JaxprEqn) -> bool:
    (left, right), (result,) = equation.invars, equation.outvars
    first, second = map(builder.sum_of, equation.invars)
    within = builder.added_to_product(left, second, result)
    within = within or builder.added_to_product(right, first, result)
    builder.sums[result] = within or add(first, second)
    return True


def _subtracted(builder: Builder, equation: core.JaxprEqn) -> bool:
    first, second = map(builder.sum_of, equation.invars)
    builder.sums[equation.outvars[0]] = add(first, scale(second, _MINUS_ONE))
    return True


def _selected(builder: Builder, equation: core.JaxprEqn) -> bool:
    which, *cases = equation.invars
    result = aval_of(equation.outvars[0])
    if aval_of(which).dtype != bool or aval_of(which).ndim != result.ndim:
        return False
    condition = builder.value_of(which)
    other, chosen = (builder.sum_of(case) for case in cases)
    opposite = Timed(~condition.value, condition.varies)
    dtype = result.dtype
    builder.sums[equation.outvars[0]] = add(
        where(condition, chosen, dtype), where(opposite, other, dtype)
    )
    return True


def _unchanged(builder: Builder, equation: core.JaxprEqn) -> bool:
    if aval_of(equation.invars[0]).dtype != aval_of(equation.outvars[0]).dtype:
        return False
    builder.sums[equation.outvars[0]] = builder.sum_of(equation.invars[0])
    return True


RULES: dict[str, Callable[[Builder, core.JaxprEqn], bool]] = {
    "mul": _scaled,
    "div": _divided,
    "neg": _negated,
    "add": _added,
    "add_any": _added,
    "sub": _subtracted,
    "select_n": _selected,
    "convert_element_type": _unchanged,
    "copy": _unchanged,
}
_MINUS_ONE = Timed(-1, False)
