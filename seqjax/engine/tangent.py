"""The derivative of a loop over time, derived from the equations of one step.

The tangent of a step is linear in the tangents of its state, its input and the parameters. So the
coefficients of all steps are known before the loop over tangents starts, and the terms from inputs
and parameters are computed for all steps at once. Only the tangent of the state needs the loop::

    d_state[t+1] = coefficients[t] * d_state[t] + (coefficients[t] * d_state[t]) @ kernel + added[t]

JAX transposes that loop into the backward pass, which has the same form. The gradient of a kernel
becomes one product over all steps, after the loop.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from jax.extend import core

from seqjax.engine.builder import Builder, Instruction
from seqjax.engine.equations import aval_of
from seqjax.engine.known import known_values
from seqjax.engine.linearise import Linearised
from seqjax.engine.rules import RULES
from seqjax.engine.sums import Sum, Timed
from seqjax.types import Array


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
    builder = Builder(len(of_state), known, sums, uses)
    for equation in form.linear:
        rule = RULES.get(equation.primitive.name)
        if rule is None or not rule(builder, equation):
            builder.apply_in_the_loop(equation)
        for v in equation.outvars:
            builder.share(v)
    builder.close_products()
    after = [builder.total(builder.sum_of(v), aval_of(v)) for v in form.after]
    y = [builder.total(builder.sum_of(v), aval_of(v)) for v in form.y]
    return TangentStep(builder.instructions, after, y, builder.values)
