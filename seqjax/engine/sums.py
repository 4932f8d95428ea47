"""Values of all time steps at once, and tangents as sums with such coefficients."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.extend.core import primitives

from seqjax.engine.equations import bind
from seqjax.operations.affine import rows_may_be_merged
from seqjax.types import Array


class Timed(NamedTuple):
    """A value for all time steps, or one value for every step.

    Attributes:
      value: an array ``[T, ...]`` if ``varies``, else an array ``[...]`` or a number.
      varies: whether the value differs between steps.
    """

    value: Any
    varies: bool


class Sum(NamedTuple):
    """A tangent at each time step: ``sum(coefficient * part) + added``.

    Attributes:
      terms: the coefficient of each part of the loop, by the index of the part; None for 1.
      added: the term that does not depend on the state; None for 0.
    """

    terms: dict[int, Timed | None]
    added: Timed | None = None


def for_all_steps(function: Callable[..., Array], *operands: Timed) -> Timed:
    """Apply a function of the values of one step. The result varies if one of the operands does."""
    varies = any(operand.varies for operand in operands)
    axes = [0 if operand.varies else None for operand in operands]
    applied = jax.vmap(function, axes) if varies else function
    return Timed(applied(*(operand.value for operand in operands)), varies)


def _elementwise(function: Callable[..., Array], *operands: Timed) -> Timed:
    """`for_all_steps` for an elementwise function, which takes less time to trace."""
    varies = any(operand.varies for operand in operands)
    rank = max(jnp.ndim(x.value) - x.varies for x in operands)

    def aligned(x: Timed) -> Any:
        if x.varies and jnp.ndim(x.value) <= rank:  # a scalar of each step
            return x.value.reshape(len(x.value), *(1,) * rank)
        return x.value[None] if varies and not x.varies and jnp.ndim(x.value) else x.value

    return Timed(function(*map(aligned, operands)), varies)


def _multiply(a: Timed | None, b: Timed) -> Timed:
    return b if a is None else _elementwise(lambda x, y: x * y, a, b)


def scale(total: Sum, factor: Timed) -> Sum:
    """``factor * total``."""
    added = None if total.added is None else _multiply(total.added, factor)
    return Sum({n: _multiply(c, factor) for n, c in total.terms.items()}, added)


def where(condition: Timed, total: Sum, dtype: jnp.dtype) -> Sum:
    """``total`` where the condition is True, and 0 elsewhere."""
    one = Timed(jnp.ones((), dtype), False)

    def keep(c: Timed | None) -> Timed:
        return _elementwise(lambda m, x: jnp.where(m, x, jnp.zeros_like(x)), condition, c or one)

    added = None if total.added is None else keep(total.added)
    return Sum({n: keep(c) for n, c in total.terms.items()}, added)


def add(first: Sum, second: Sum) -> Sum:
    """``first + second``, with one coefficient for each part."""
    one = Timed(1, False)
    terms = dict(first.terms)
    for n, c in second.terms.items():
        terms[n] = add_timed(terms[n] or one, c or one) if n in terms else c
    return Sum(terms, add_timed(first.added, second.added))


def add_timed(first: Timed | None, second: Timed | None) -> Timed | None:
    """``first + second``, where None means 0."""
    if first is None or second is None:
        return first if second is None else second
    return _elementwise(lambda x, y: x + y, first, second)


def at_all_steps(equation: core.JaxprEqn, operands: Sequence[Timed]) -> list[Timed]:
    """Apply a primitive for all time steps at once."""
    varies = any(operand.varies for operand in operands)
    values = [operand.value for operand in operands]
    if not varies:
        return [Timed(x, False) for x in bind(equation, values)]
    if _rows_are_first(equation, operands):
        # merging time and batch saves XLA a copy when it computes the gradient of the kernel
        T, B = values[0].shape[:2]
        merged = bind(equation, [values[0].reshape(T * B, *values[0].shape[2:]), values[1]])[0]
        axis = len(equation.params["dimension_numbers"][1][0])
        split = merged.reshape(*merged.shape[:axis], T, B, *merged.shape[axis + 1 :])
        return [Timed(jnp.moveaxis(split, axis, 0), True)]
    axes = [0 if operand.varies else None for operand in operands]
    results = jax.vmap(lambda *values: bind(equation, values), axes)(*values)
    return [Timed(x, True) for x in results]


def _rows_are_first(equation: core.JaxprEqn, operands: Sequence[Timed]) -> bool:
    if equation.primitive is not primitives.dot_general_p or not rows_may_be_merged():
        return False
    (contracted, _), (batch, _) = equation.params["dimension_numbers"]
    return operands[0].varies and not operands[1].varies and 0 not in (*contracted, *batch)
