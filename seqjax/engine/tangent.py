"""The derivative of a loop over time, derived from the equations of one step.

The tangent of a step is linear in the tangents of its state, its input and the parameters. So the
coefficients of all steps are known before the loop over tangents starts, and the terms from inputs
and parameters are computed for all steps at once. Only the tangent of the state needs the loop::

    d_state[t+1] = coefficients[t] * d_state[t] + (coefficients[t] * d_state[t]) @ kernel + added[t]

JAX transposes that loop into the backward pass, which has the same form. The gradient of a kernel
becomes one product over all steps, after the loop.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

from seqjax.engine.equations import Atom, aval_of, bind, is_product
from seqjax.engine.known import known_values, with_kernel_transposed
from seqjax.engine.linearise import Linearised
from seqjax.engine.sums import Sum, Timed, add, add_timed, at_all_steps, scale, where
from seqjax.operations.affine import vary
from seqjax.types import Array

# computes a part of a step from the parts before it and from the values of the step
Instruction = Callable[[list[Any], list[Array]], Any]


class TangentStep(NamedTuple):
    """A step of the loop over tangents.

    The tangents of the state are the first parts of a step.

    Attributes:
      instructions: each computes one more part.
      after: compute the tangents of the next state.
      y: compute the tangents of the output.
      values: arrays ``[T, ...]`` that the loop scans over.
    """

    instructions: list[Instruction]
    after: list[Instruction]
    y: list[Instruction]
    values: list[Array]


def tangent_step(
    form: Linearised,
    fixed: Sequence[Array],
    states: Sequence[Array | None],
    zs: Sequence[Array],
    kept: Sequence[Array | None],
    d_fixed: Sequence[Array | None],
    d_zs: Sequence[Array | None],
) -> TangentStep:
    """Compute, for all steps at once, the coefficients and terms of the loop over tangents.

    Args:
      form: from `linearise`.
      fixed: values that are the same at every step.
      states: the states before each step, ``[T, B, ...]``; None for those not in ``form.used``.
      zs: the projected inputs, ``[T, B, ...]``.
      kept: the saved values, ``[T, B, ...]``; None for those not in ``form.used``.
      d_fixed: the tangents of the inexact arrays in ``fixed``; None for 0.
      d_zs: the tangents of the inexact arrays in ``zs``; None for 0.
    """
    known = known_values(form, fixed, states, zs, kept)
    of_fixed, of_state, of_z = form.tangents
    sums = {v: Sum({n: None}) for n, v in enumerate(of_state)}
    for variables, tangents, varies in ((of_fixed, d_fixed, False), (of_z, d_zs, True)):
        for v, d in zip(variables, tangents, strict=True):
            sums[v] = Sum({}, None if d is None else Timed(d, varies))
    uses = Counter(v for e in form.linear for v in e.invars if isinstance(v, core.Var))
    uses.update(v for v in (*form.after, *form.y) if isinstance(v, core.Var))
    builder = _Builder(len(of_state), known, sums, uses)
    for equation in form.linear:
        builder.add(equation)
    builder.close_products()
    after = [builder.total(builder.sum_of(v), aval_of(v)) for v in form.after]
    y = [builder.total(builder.sum_of(v), aval_of(v)) for v in form.y]
    return TangentStep(builder.instructions, after, y, builder.values)


class _Product:
    """A product in the loop, and the term added to it at each step.

    The term is one array, added within the loop. The gradient of the term then equals that of the
    product, which the transposed loop computes in any case.
    """

    def __init__(self) -> None:
        self.added: Timed | None = None  # the term added to the product
        self.added_to: dict[int, Timed | None] = {}  # the terms of its pieces
        self.split: core.JaxprEqn | None = None
        self.of_step: Callable[[list[Array]], Array] | None = None


class _Builder:
    """Converts the linear equations into the instructions of a loop."""

    def __init__(
        self,
        inputs: int,
        known: dict[core.Var, Timed],
        sums: dict[core.Var, Sum],
        uses: Counter[core.Var],
    ):
        self.inputs = inputs  # the number of parts before the first instruction
        self.known = known
        self.sums = sums
        self.uses = uses
        self.instructions: list[Instruction] = []
        self.values: list[Array] = []
        self.products: list[_Product] = []
        # parts that are a product (None), or a piece of one (its index)
        self.open: dict[int, tuple[_Product, int | None]] = {}

    def sum_of(self, atom: Atom) -> Sum:
        """The tangent of a variable; 0 for literals and for variables without a tangent."""
        return self.sums.get(atom, Sum({})) if isinstance(atom, core.Var) else Sum({})

    def value_of(self, atom: Atom) -> Timed:
        """The value of a variable or literal."""
        return Timed(atom.val, False) if isinstance(atom, core.Literal) else self.known[atom]

    def add(self, equation: core.JaxprEqn) -> None:
        """Compute the tangents of the results of an equation."""
        name = equation.primitive.name
        combine = _COMBINED.get(name)
        if combine is None or not combine(self, equation):
            self._apply_in_the_loop(equation)
        for v in equation.outvars:
            # a sum that several equations read is computed once
            if self.uses[v] > 1 and len(self.sums[v].terms) > 1:
                self.sums[v] = Sum({self._part(self.total(self.sums[v], aval_of(v))): None})

    def scaled(self, total: Sum, factor: Timed, equation: core.JaxprEqn) -> Sum:
        """``factor * total``, with as few arrays as possible that the loop scans over.

        Multiplying each coefficient by the factor may turn numbers into arrays. Then the sum is
        computed in the loop instead, and has the factor as its only coefficient.
        """
        product = scale(total, factor)
        result = aval_of(equation.outvars[0])

        def arrays(coefficients: Iterable[Timed | None]) -> int:
            return sum(
                c is not None and c.varies and c.value.shape[1:] == result.shape
                for c in coefficients
            )

        if arrays(product.terms.values()) <= arrays([*total.terms.values(), factor]):
            return product
        part = self._part(self.total(total._replace(added=None), result))
        return Sum({part: factor}, product.added)

    def added_to_product(self, operand: Atom, other: Sum) -> Sum | None:
        """Add ``other`` in the loop if ``operand`` is (a piece of) a product; else return None."""
        total = self.sum_of(operand)
        if other.terms or other.added is None or [*total.terms.values()] != [None] or total.added:
            return None
        (part,) = total.terms
        if part not in self.open or self.uses[operand] != 1:  # type: ignore[index]
            return None
        product, piece = self.open[part]
        if piece is None:
            product.added = add_timed(product.added, other.added)
        else:
            product.added_to[piece] = add_timed(product.added_to.get(piece), other.added)
        return total

    def close_products(self) -> None:
        """Join the terms added to each product into one array for all steps."""
        for product in self.products:
            added = product.added
            if product.split is not None and product.added_to:
                pieces = [
                    product.added_to.get(n) or Timed(_zeros(aval_of(v)), False)
                    for n, v in enumerate(product.split.outvars)
                ]
                axis = product.split.params["axis"] + 1
                steps = next(p.value.shape[0] for p in pieces if p.varies)
                arrays = [
                    p.value if p.varies else jnp.broadcast_to(p.value, (steps, *p.value.shape))
                    for p in pieces
                ]
                added = add_timed(added, Timed(jnp.concatenate(arrays, axis), True))
            if added is not None:
                product.of_step = self._own(added)

    def total(self, total: Sum, aval: jax.core.ShapedArray) -> Instruction:
        """The instruction that computes a sum."""
        terms = [(n, None if c is None else self._own(c)) for n, c in total.terms.items()]
        added = None if total.added is None else self._own(total.added)

        def add_up(parts: list[Array], step: list[Array]) -> Array:
            summands = [parts[n] if c is None else c(step) * parts[n] for n, c in terms]
            summands += [] if added is None else [jnp.broadcast_to(added(step), aval.shape)]
            result = summands[0] if summands else _zeros(aval)
            for summand in summands[1:]:
                result = result + summand
            return result

        return add_up

    def _own(self, value: Timed) -> Callable[[list[Array]], Array]:
        """The function that picks the value of a step from the scanned values."""
        if not value.varies:
            return lambda step: value.value
        self.values.append(value.value)
        place = len(self.values) - 1
        return lambda step: step[place]

    def _part(self, instruction: Instruction) -> int:
        self.instructions.append(instruction)
        return self.inputs + len(self.instructions) - 1

    def _apply_in_the_loop(self, equation: core.JaxprEqn) -> None:
        """Apply a linear primitive to the parts in the loop, and to the other terms before it."""
        linear = {n: self.sums[v] for n, v in enumerate(equation.invars)
                  if isinstance(v, core.Var) and v in self.sums}  # fmt: skip
        others = {n: self.value_of(v) for n, v in enumerate(equation.invars) if n not in linear}
        waits = any(total.terms for total in linear.values())
        outputs = [Sum({}) for _ in equation.outvars]
        if waits and is_product(equation):  # one product of the whole sum
            within, before = linear, {}
        else:
            within = {n: total._replace(added=None) for n, total in linear.items()}
            before = {n: total.added for n, total in linear.items()}
        if waits:
            outputs = [Sum({part: None}) for part in self._applied(equation, within, others)]
        if any(added is not None for added in before.values()):
            for n, added in before.items():
                aval = aval_of(equation.invars[n])
                others[n] = (
                    Timed(jnp.zeros(aval.shape, aval.dtype), False) if added is None else added
                )
            of_added = at_all_steps(equation, [others[n] for n in range(len(equation.invars))])
            outputs = [o._replace(added=a) for o, a in zip(outputs, of_added, strict=True)]
        self.sums |= zip(equation.outvars, outputs, strict=True)

    def _applied(
        self, equation: core.JaxprEqn, linear: dict[int, Sum], others: dict[int, Timed]
    ) -> list[int]:
        operands = {
            n: self.total(total, aval_of(equation.invars[n])) for n, total in linear.items()
        }
        equation, others = with_kernel_transposed(equation, others)
        own = {n: self._own(value) for n, value in others.items()}

        def apply(parts: list[Array], step: list[Array]) -> list[Array]:
            given = {n: operand(parts, step) for n, operand in operands.items()}
            given |= {n: value(step) for n, value in own.items()}
            return bind(equation, [given[n] for n in range(len(given))])

        whole = self._part(apply)
        operand = next(iter(linear.values()))
        if is_product(equation) or self._is_product_in_another_dtype(equation, operand):
            product = _Product()
            self.products.append(product)
            one = self._part(lambda parts, step: _plus(parts[whole][0], product, step))
            self.open[one] = product, None
            return [one]

        def pick(n: int) -> Instruction:
            return lambda parts, step: parts[whole][n]

        results = [self._part(pick(n)) for n in range(len(equation.outvars))]
        if equation.primitive.name == "split" and [*operand.terms.values()] == [None]:
            (part,) = operand.terms
            product, piece = self.open.get(part, (_Product(), 0))
            if piece is None and product.split is None:
                product.split = equation
                self.open |= {result: (product, n) for n, result in enumerate(results)}
        return results

    def _is_product_in_another_dtype(self, equation: core.JaxprEqn, operand: Sum) -> bool:
        """Whether an equation casts a product, such as a 16-bit one to the dtype of the state."""
        if equation.primitive.name != "convert_element_type" or [*operand.terms.values()] != [None]:
            return False
        (part,) = operand.terms
        return part in self.open and self.open[part][1] is None


def _plus(result: Array, product: _Product, step: list[Array]) -> Array:
    return result if product.of_step is None else result + product.of_step(step)


def _zeros(aval: jax.core.ShapedArray) -> Array:
    """Zeros of a type, varying over the same axes of `jax.shard_map`."""
    kind = aval.manual_axis_type
    return vary(jnp.zeros(aval.shape, aval.dtype), frozenset(kind.varying if kind else ()))


# Rules for primitives whose tangent is a sum of the same parts as the tangents of their operands.


def _scaled(builder: _Builder, equation: core.JaxprEqn) -> bool:
    first, second = equation.invars
    if isinstance(first, core.Var) and first in builder.sums:
        total, factor = builder.sums[first], builder.value_of(second)
    else:
        total, factor = builder.sum_of(second), builder.value_of(first)
    builder.sums[equation.outvars[0]] = builder.scaled(total, factor, equation)
    return True


def _divided(builder: _Builder, equation: core.JaxprEqn) -> bool:
    total, divisor = builder.sum_of(equation.invars[0]), builder.value_of(equation.invars[1])
    inverse = Timed(1 / divisor.value, divisor.varies)
    builder.sums[equation.outvars[0]] = builder.scaled(total, inverse, equation)
    return True


def _negated(builder: _Builder, equation: core.JaxprEqn) -> bool:
    builder.sums[equation.outvars[0]] = scale(builder.sum_of(equation.invars[0]), _MINUS_ONE)
    return True


def _added(builder: _Builder, equation: core.JaxprEqn) -> bool:
    (left, right), (first, second) = equation.invars, map(builder.sum_of, equation.invars)
    within = builder.added_to_product(left, second) or builder.added_to_product(right, first)
    builder.sums[equation.outvars[0]] = within or add(first, second)
    return True


def _subtracted(builder: _Builder, equation: core.JaxprEqn) -> bool:
    first, second = map(builder.sum_of, equation.invars)
    builder.sums[equation.outvars[0]] = add(first, scale(second, _MINUS_ONE))
    return True


def _selected(builder: _Builder, equation: core.JaxprEqn) -> bool:
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


def _unchanged(builder: _Builder, equation: core.JaxprEqn) -> bool:
    if aval_of(equation.invars[0]).dtype != aval_of(equation.outvars[0]).dtype:
        return False
    builder.sums[equation.outvars[0]] = builder.sum_of(equation.invars[0])
    return True


_COMBINED: dict[str, Callable[[_Builder, core.JaxprEqn], bool]] = {
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
