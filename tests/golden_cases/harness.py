"""What a golden case is, and the helpers that cases are made of."""

import posixpath
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from seqjax import Cell, unroll
from seqjax.interop.tensorflow import split_scope

Inputs = dict[str, jax.Array]  # the ``var.*``, ``in.*`` and ``aux.*`` arrays of a vector, by key


class Case(NamedTuple):
    """How to compute with seqjax what the original computed."""

    # inputs -> (outputs, final state leaves), differentiable in every floating input; outputs is
    # one array for the key ``out.outputs``, or a dict by the names behind ``out.outputs.``
    run: Callable[[Inputs], tuple[jax.Array | dict[str, jax.Array], Sequence[jax.Array]]]
    nan_padding: bool = False  # the original's gradients are NaN, ours those of zero padding
    gradients: bool = True  # whether the vector's gradients are the original's derivative


def variables(inputs: Inputs) -> dict[str, jax.Array]:
    """The variables by their TensorFlow names, below the scope that they have in common."""
    named = {
        key.removeprefix("var.").replace("__", "/"): array
        for key, array in inputs.items()
        if key.startswith("var.")
    }
    scope = posixpath.commonpath([posixpath.dirname(name) for name in named])
    return split_scope(named, scope)[0]


def state_leaves(inputs: Inputs) -> list[jax.Array]:
    """``in.state.0``, ``in.state.1``, ..."""
    count = sum(key.startswith("in.state.") for key in inputs)
    return [inputs[f"in.state.{n}"] for n in range(count)]


def unflatten_state(cell: Cell, leaves: Sequence[jax.Array]):
    """The leaves as a state of ``cell``."""
    return jax.tree.unflatten(jax.tree.structure(cell.initial_state()), leaves)


def run_unroll(cell: Cell, params, inputs: Inputs, *, state=None, **options):
    """Unroll over ``in.x`` from ``in.state.*``, or from ``state``; what `Case.run` returns."""
    state = unflatten_state(cell, state_leaves(inputs)) if state is None else state
    state, ys = unroll(
        cell,
        params,
        inputs["in.x"],
        lengths=inputs.get("in.sequence_length"),
        initial_state=state,
        **options,
    )
    return ys, jax.tree.leaves(state)
