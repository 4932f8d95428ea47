"""What is known at all steps before the loop over tangents starts."""

from collections.abc import Sequence

import jax
from jax.extend import core
from jax.extend.core import primitives

from seqjax.engine.equations import depends_on, evaluate
from seqjax.engine.linearise import Linearised
from seqjax.engine.sums import Timed
from seqjax.types import Array


def known_values(
    form: Linearised,
    fixed: Sequence[Array],
    states: Sequence[Array | None],
    zs: Sequence[Array],
    kept: Sequence[Array | None],
) -> dict[core.Var, Timed]:
    """All values that the equations of tangents read."""
    known = {v: Timed(x, False) for v, x in form.constants.items()}
    known |= {v: Timed(x, False) for v, x in zip(form.inputs[0], fixed, strict=True)}
    for variables, arrays in zip(form.inputs[1:], (states, zs, kept), strict=True):
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


def with_kernel_transposed(
    equation: core.JaxprEqn, others: dict[int, Timed]
) -> tuple[core.JaxprEqn, dict[int, Timed]]:
    """Transpose a kernel ``[H, N]`` to ``[N, H]`` for the transposed loop.

    XLA folds a transposition inside of a loop into the product, which then reads the kernel across
    its rows and takes up to 1.5 times as long.
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
