"""The derivative of a loop over time, derived from the equations of one step.

The tangent of a step is linear in the tangents of its state, its input and the parameters. So the
coefficients of all steps are known before the loop over tangents starts, and what inputs and
parameters add to each step is computed for all steps at once. Only the tangent of the state waits::

    d_state[t+1] = coefficients[t] * d_state[t] + (coefficients[t] * d_state[t]) @ kernel + added[t]

JAX transposes that loop into the backward pass, which has the same form: the gradient of a kernel
becomes one product over all steps, after the loop.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.extend.core import primitives

from seqjax.engine.equations import (
    Atom,
    Step,
    bind,
    depends_on,
    evaluate,
    needed_for,
    read,
    trace,
)
from seqjax.operations.affine import rows_may_be_merged, vary
from seqjax.types import Array


class Timed(NamedTuple):
    """A value for all steps, ``[T, ...]``, or one that is the same at every step, ``[...]``."""

    value: Array
    varies: bool


class Sum(NamedTuple):
    """A tangent at each step: ``sum of coefficient * part, + added``."""

    terms: dict[int, Timed | None]  # the index of a part of the loop -> its coefficient; None is 1
    added: Timed | None = None  # what does not depend on the state; None is 0


# computes a part of a step from the parts before it and from the step's own values
Instruction = Callable[[list[Array], list[Array]], Array]


class TangentStep(NamedTuple):
    """A step of the loop over tangents."""

    instructions: list[Instruction]  # each makes one more part; the first parts are the state's
    after: list[Instruction]
    y: list[Instruction]
    values: list[Array]  # [T, ...], of which each step gets its own


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
    return [e for e in step.equations if e.outvars[0] in waiting and _is_product(e)]


def _is_product(equation: core.JaxprEqn) -> bool:
    if equation.primitive in (primitives.dot_general_p, primitives.conv_general_dilated_p):
        return True
    if equation.primitive is primitives.custom_jvp_call_p:
        return any(map(_is_product, equation.params["call_jaxpr"].jaxpr.eqns))
    return False


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

    def outputs(fixed: list[Array], state: list[Array], z: list[Array], kept: list[Array]):
        def rule(equation: core.JaxprEqn, operands: list[Array]) -> list[Array] | None:
            if id(equation) not in positions:
                return None
            return [_product_of(equation)(kept[positions[id(equation)]], *operands)]

        inputs = zip((*step.fixed, *step.state, *step.z), (*fixed, *state, *z), strict=True)
        found = evaluate(step.equations, dict(inputs), rule)
        return [[read(found, v) for v in group] for group in (step.after, step.y)]

    def tangents(values: list[list[Array]], d_values: list[list[Array]]) -> list[list[Array]]:
        *groups, kept = values

        def of_inexact(inexact: list[list[Array]]) -> list[list[Array]]:
            whole = []
            for group, some in zip(groups, inexact, strict=True):
                some = iter(some)
                whole.append([next(some) if is_inexact(x) else x for x in group])
            return [
                [x for x in map(jnp.asarray, g) if is_inexact(x)] for g in outputs(*whole, kept)
            ]

        inexact = [[x for x in group if is_inexact(x)] for group in groups]
        return jax.jvp(of_inexact, (inexact,), (d_values,))[1]

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


def tangent_step(
    form: Linearised,
    fixed: Sequence[Array],
    states: Sequence[Array | None],
    zs: Sequence[Array],
    products: Sequence[Array | None],
    d_fixed: Sequence[Array | None],
    d_zs: Sequence[Array | None],
) -> TangentStep:
    """Compute, for all steps at once, what the loop over tangents multiplies with and adds.

    Args:
      form: from `linearise`.
      fixed: what does not change from step to step.
      states: before each step, ``[T, B, ...]``; None for those not in ``form.used``.
      zs: what each step needs of its input, ``[T, B, ...]``.
      products: of each step, ``[T, B, ...]``; None for those not in ``form.used``.
      d_fixed: the tangents of the inexact ones of ``fixed``; None is 0.
      d_zs: those of ``zs``.
    """
    known = _values(form, fixed, states, zs, products)
    of_fixed, of_state, of_z = form.tangents
    sums = {v: Sum({n: None}) for n, v in enumerate(of_state)}
    for variables, tangents, varies in ((of_fixed, d_fixed, False), (of_z, d_zs, True)):
        for v, d in zip(variables, tangents, strict=True):
            sums[v] = Sum({}, None if d is None else Timed(d, varies))
    builder = _Builder(len(of_state), known, sums)
    uses = Counter(v for e in form.linear for v in e.invars if isinstance(v, core.Var))
    uses.update(v for v in (*form.after, *form.y) if isinstance(v, core.Var))
    for equation in form.linear:
        builder.add(equation, uses)
    after = [builder.total(builder.sum_of(v), v.aval) for v in form.after]
    y = [builder.total(builder.sum_of(v), v.aval) for v in form.y]
    return TangentStep(builder.instructions, after, y, builder.values)


def _values(
    form: Linearised,
    fixed: Sequence[Array],
    states: Sequence[Array | None],
    zs: Sequence[Array],
    products: Sequence[Array | None],
) -> dict[core.Var, Timed]:
    """All values that tangents are multiplied with."""
    known = {v: Timed(x, False) for v, x in zip(form.inputs[0], fixed, strict=True)}
    for variables, arrays in zip(form.inputs[1:], (states, zs, products), strict=True):
        known |= {
            v: Timed(x, True) for v, x in zip(variables, arrays, strict=True) if v in form.used
        }
    known = {v: x for v, x in known.items() if v in form.used}
    varying = depends_on([v for v, x in known.items() if x.varies], form.equations)
    wanted = {v for e in form.linear for v in e.invars if isinstance(v, core.Var)}
    computed = {v for e in form.equations for v in e.outvars}

    constant = [e for e in form.equations if e.outvars[0] not in varying]
    found = evaluate(constant, {v: x.value for v, x in known.items() if not x.varies})
    known |= {v: Timed(found[v], False) for v in wanted & computed - varying}

    outputs = [v for e in form.equations for v in e.outvars if v in wanted and v in varying]
    inputs = [v for v, x in known.items() if x.varies]
    if not outputs:
        return known

    def one(*arrays: Array) -> list[Array]:
        values = evaluate(
            [e for e in form.equations if e.outvars[0] in varying],
            found | dict(zip(inputs, arrays, strict=True)),
        )
        return [values[v] for v in outputs]

    all_steps = jax.vmap(one)(*(known[v].value for v in inputs))
    return known | {v: Timed(x, True) for v, x in zip(outputs, all_steps, strict=True)}


class _Builder:
    """Turns the linear equations into the instructions of a loop."""

    def __init__(self, inputs: int, known: dict[core.Var, Timed], sums: dict[core.Var, Sum]):
        self.inputs = inputs  # parts that are there before the first instruction
        self.known = known
        self.sums = sums
        self.instructions: list[Instruction] = []
        self.values: list[Array] = []

    def sum_of(self, atom: Atom) -> Sum:
        """The tangent of a variable; a literal or a value among tangents is a zero."""
        return self.sums.get(atom, Sum({})) if isinstance(atom, core.Var) else Sum({})

    def value_of(self, atom: Atom) -> Timed:
        """What a tangent is multiplied with."""
        return Timed(atom.val, False) if isinstance(atom, core.Literal) else self.known[atom]

    def add(self, equation: core.JaxprEqn, uses: Counter[core.Var]) -> None:
        """Find the tangents that an equation computes."""
        name = equation.primitive.name
        combine = _COMBINED.get(name)
        if combine is None or not combine(self, equation):
            self._apply_in_the_loop(equation)
        for v in equation.outvars:
            # what several others need is added up once
            if uses[v] > 1 and len(self.sums[v].terms) > 1:
                self.sums[v] = Sum({self._part(self.total(self.sums[v], v.aval)): None})

    def total(self, total: Sum, aval: jax.core.ShapedArray) -> Instruction:
        """The instruction that adds up a sum."""
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
        """How a step gets its own of the values of all steps."""
        if not value.varies:
            return lambda step: value.value
        self.values.append(value.value)
        place = len(self.values) - 1
        return lambda step: step[place]

    def _part(self, instruction: Instruction) -> int:
        self.instructions.append(instruction)
        return self.inputs + len(self.instructions) - 1

    def _apply_in_the_loop(self, equation: core.JaxprEqn) -> None:
        """Apply a linear primitive to the parts in the loop, and to what is added before it."""
        linear = {n: self.sums[v] for n, v in enumerate(equation.invars)
                  if isinstance(v, core.Var) and v in self.sums}  # fmt: skip
        others = {n: self.value_of(v) for n, v in enumerate(equation.invars) if n not in linear}
        waits = any(total.terms for total in linear.values())
        outputs = [Sum({}) for _ in equation.outvars]
        if waits and _is_product(equation):  # one product of the whole sum, in the loop
            within, before = linear, {}
        else:
            within = {n: total._replace(added=None) for n, total in linear.items()}
            before = {n: total.added for n, total in linear.items()}
        if waits:
            outputs = [Sum({part: None}) for part in self._applied(equation, within, others)]
        if any(added is not None for added in before.values()):
            for n, added in before.items():
                aval = equation.invars[n].aval
                others[n] = (
                    Timed(jnp.zeros(aval.shape, aval.dtype), False) if added is None else added
                )
            added = _at_all_steps(equation, [others[n] for n in range(len(equation.invars))])
            outputs = [o._replace(added=a) for o, a in zip(outputs, added, strict=True)]
        self.sums |= zip(equation.outvars, outputs, strict=True)

    def _applied(
        self, equation: core.JaxprEqn, linear: dict[int, Sum], others: dict[int, Timed]
    ) -> list[int]:
        operands = {n: self.total(total, equation.invars[n].aval) for n, total in linear.items()}
        equation, others = _with_kernel_transposed(equation, others)
        own = {n: self._own(value) for n, value in others.items()}

        def apply(parts: list[Array], step: list[Array]) -> list[Array]:
            given = {n: operand(parts, step) for n, operand in operands.items()}
            given |= {n: value(step) for n, value in own.items()}
            return bind(equation, [given[n] for n in range(len(given))])

        whole = self._part(apply)
        return [self._part(lambda parts, step, n=n: parts[whole][n])
                for n in range(len(equation.outvars))]  # fmt: skip


def _zeros(aval: jax.core.ShapedArray) -> Array:
    """Zeros of a type, which inside of `jax.shard_map` says over which devices they differ."""
    kind = aval.manual_axis_type
    return vary(jnp.zeros(aval.shape, aval.dtype), frozenset(kind.varying if kind else ()))


def _with_kernel_transposed(
    equation: core.JaxprEqn, others: dict[int, Timed]
) -> tuple[core.JaxprEqn, dict[int, Timed]]:
    """Lay a kernel ``[H, N]`` out as ``[N, H]``, for the transposed loop to multiply with it so.

    XLA would fold a transposition in the body of a loop into the product, which then reads the
    kernel across its rows: slower by up to a half.
    """
    if equation.primitive is not primitives.dot_general_p or 1 not in others or others[1].varies:
        return equation, others
    (lhs_contracted, contracted), (lhs_batch, batch) = equation.params["dimension_numbers"]
    kernel = others[1].value
    free = [n for n in range(kernel.ndim) if n not in contracted and n not in batch]
    order = [*batch, *free, *contracted]
    names = tuple(range(len(batch))), tuple(range(len(order) - len(contracted), len(order)))
    numbers = (lhs_contracted, names[1]), (lhs_batch, names[0])
    params = {**equation.params, "dimension_numbers": numbers}
    return equation.replace(params=params), {**others, 1: Timed(kernel.transpose(order), False)}


def _at_all_steps(equation: core.JaxprEqn, operands: Sequence[Timed]) -> list[Timed]:
    """Apply a primitive for all steps at once."""
    varies = any(operand.varies for operand in operands)
    values = [operand.value for operand in operands]
    if not varies:
        return [Timed(x, False) for x in bind(equation, values)]
    if _rows_are_first(equation, operands):
        # rows of all steps as one axis: XLA would copy the larger factor of the kernel's gradient
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


# The primitives whose tangents are sums of the same parts as those of their operands:


def _scaled(builder: _Builder, equation: core.JaxprEqn) -> bool:
    first, second = equation.invars
    if isinstance(first, core.Var) and first in builder.sums:
        total, factor = builder.sums[first], builder.value_of(second)
    else:
        total, factor = builder.sums[second], builder.value_of(first)
    builder.sums[equation.outvars[0]] = _scale(total, factor)
    return True


def _divided(builder: _Builder, equation: core.JaxprEqn) -> bool:
    total, divisor = builder.sum_of(equation.invars[0]), builder.value_of(equation.invars[1])
    inverse = Timed(1 / divisor.value, divisor.varies)
    builder.sums[equation.outvars[0]] = _scale(total, inverse)
    return True


def _negated(builder: _Builder, equation: core.JaxprEqn) -> bool:
    builder.sums[equation.outvars[0]] = _scale(builder.sum_of(equation.invars[0]), _MINUS_ONE)
    return True


def _added(builder: _Builder, equation: core.JaxprEqn) -> bool:
    first, second = map(builder.sum_of, equation.invars)
    builder.sums[equation.outvars[0]] = _add(first, second)
    return True


def _subtracted(builder: _Builder, equation: core.JaxprEqn) -> bool:
    first, second = map(builder.sum_of, equation.invars)
    builder.sums[equation.outvars[0]] = _add(first, _scale(second, _MINUS_ONE))
    return True


def _selected(builder: _Builder, equation: core.JaxprEqn) -> bool:
    which, *cases = equation.invars
    if which.aval.dtype != bool or which.aval.ndim != equation.outvars[0].aval.ndim:
        return False
    condition = builder.value_of(which)
    other, chosen = (builder.sum_of(case) for case in cases)
    opposite = Timed(~condition.value, condition.varies)
    dtype = equation.outvars[0].aval.dtype
    builder.sums[equation.outvars[0]] = _add(
        _where(condition, chosen, dtype), _where(opposite, other, dtype)
    )
    return True


def _unchanged(builder: _Builder, equation: core.JaxprEqn) -> bool:
    if equation.invars[0].aval.dtype != equation.outvars[0].aval.dtype:
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


def _apply(function: Callable[..., Array], *operands: Timed) -> Timed:
    """Apply a function of arrays of one shape, for all steps where one of them varies."""
    varies = any(operand.varies for operand in operands)
    values = [
        x.value[None] if varies and not x.varies and jnp.ndim(x.value) else x.value
        for x in operands
    ]
    return Timed(function(*values), varies)


def _multiply(a: Timed | None, b: Timed) -> Timed:
    return b if a is None else _apply(lambda x, y: x * y, a, b)


def _scale(total: Sum, factor: Timed) -> Sum:
    added = None if total.added is None else _multiply(total.added, factor)
    return Sum({n: _multiply(c, factor) for n, c in total.terms.items()}, added)


def _where(condition: Timed, total: Sum, dtype: jnp.dtype) -> Sum:
    one = Timed(jnp.ones((), dtype), False)

    def keep(c: Timed | None) -> Timed:
        return _apply(lambda m, x: jnp.where(m, x, jnp.zeros_like(x)), condition, c or one)

    added = None if total.added is None else keep(total.added)
    return Sum({n: keep(c) for n, c in total.terms.items()}, added)


def _add(first: Sum, second: Sum) -> Sum:
    def plus(a: Timed | None, b: Timed | None) -> Timed:
        one = Timed(1, False)
        return _apply(lambda x, y: x + y, one if a is None else a, one if b is None else b)

    terms = dict(first.terms)
    for n, c in second.terms.items():
        terms[n] = plus(terms[n], c) if n in terms else c
    if first.added is None or second.added is None:
        return Sum(terms, first.added if second.added is None else second.added)
    return Sum(terms, plus(first.added, second.added))
