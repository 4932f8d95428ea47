"""The instructions of the loop over tangents, and the arrays that it scans over."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from seqjax.engine.equations import Atom, aval_of, bind, is_product
from seqjax.engine.known import with_kernel_transposed
from seqjax.engine.sums import Sum, Timed, add_timed, at_all_steps, for_all_steps, scale
from seqjax.operations.affine import vary
from seqjax.types import Array

# computes a part of a step from the parts before it and from the values of the step
Instruction = Callable[[list[Any], list[Array]], Any]


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


class Builder:
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

    def added_to_product(self, operand: Atom, other: Sum, result: core.Var) -> Sum | None:
        """Add ``other`` in the loop if ``operand`` is (a piece of) a product; else return None."""
        total = self.sum_of(operand)
        if other.terms or other.added is None or [*total.terms.values()] != [None] or total.added:
            return None
        (part,) = total.terms
        if part not in self.open or aval_of(operand).shape != aval_of(result).shape:
            return None
        product, piece = self.open[part]
        if piece is None:
            product.added = add_timed(product.added, other.added)
        else:
            product.added_to[piece] = add_timed(product.added_to.get(piece), other.added)
        return total

    def apply_in_the_loop(self, equation: core.JaxprEqn) -> None:
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
                others[n] = _of_full_shape(added, aval_of(equation.invars[n]))
            of_added = at_all_steps(equation, [others[n] for n in range(len(equation.invars))])
            outputs = [o._replace(added=a) for o, a in zip(outputs, of_added, strict=True)]
        self.sums |= zip(equation.outvars, outputs, strict=True)

    def share(self, v: core.Var) -> None:
        """Compute the tangent of a variable once, if it is a sum that several equations read.

        If it is (a piece of) a product, no term can be added to the product any more.
        """
        if self.uses[v] <= 1:
            return
        for part in self.sums[v].terms:
            self.open.pop(part, None)
        if len(self.sums[v].terms) > 1:
            self.sums[v] = Sum({self._part(self.total(self.sums[v], aval_of(v))): None})

    def close_products(self) -> None:
        """Join the terms added to each product into one array for all steps."""
        for product in self.products:
            added = product.added
            if product.split is not None and product.added_to:
                added = add_timed(added, _joined(product.split, product.added_to))
            if added is not None:
                product.of_step = self._own(added)

    def total(self, total: Sum, aval: jax.core.ShapedArray) -> Instruction:
        """The instruction that computes a sum."""
        terms = [(n, None if c is None else self._own(c)) for n, c in total.terms.items()]
        added = None if total.added is None else self._own(total.added)

        def add_up(parts: list[Array], step: list[Array]) -> Array:
            summands = [parts[n] if c is None else c(step) * parts[n] for n, c in terms]
            summands += [] if added is None else [added(step)]
            result = summands[0] if summands else _zeros(aval)
            for summand in summands[1:]:
                result = result + summand
            return jnp.broadcast_to(result, aval.shape)  # a summand of full shape may be zero

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


def _joined(split: core.JaxprEqn, added_to: dict[int, Timed | None]) -> Timed:
    """The terms added to the pieces of a product, as one term added to the product."""
    terms = [_of_full_shape(added_to.get(n), aval_of(v)) for n, v in enumerate(split.outvars)]

    def join(*values: Array) -> Array:
        return jnp.concatenate(values, split.params["axis"])

    return for_all_steps(join, *terms)


def _of_full_shape(added: Timed | None, aval: jax.core.ShapedArray) -> Timed:
    """A term, which may have axes of size 1 and be None for 0, in the shape of its variable."""
    if added is None:
        return Timed(_zeros(aval), False)
    return for_all_steps(lambda x: jnp.broadcast_to(x, aval.shape), added)


def _plus(result: Array, product: _Product, step: list[Array]) -> Array:
    return result if product.of_step is None else result + product.of_step(step)


def _zeros(aval: jax.core.ShapedArray) -> Array:
    """Zeros of a type, varying over the same axes of `jax.shard_map`."""
    kind = aval.manual_axis_type
    return vary(jnp.zeros(aval.shape, aval.dtype), frozenset(kind.varying if kind else ()))
