"""Several sequences in a row give what each gives alone: outputs, gradients, final state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import GRU, LSTM, Bidirectional, Reset, ResetInputs, Stack, unroll
from seqjax.types import LinearCell
from tests.cells.registry import EXAMPLES

LENGTHS = (3, 1, 2)
T = sum(LENGTHS) + 1  # the last step is padding
STARTS = jnp.zeros((1, T), bool).at[0, jnp.array([0, 3, 4])].set(True)
ENDS = jnp.zeros((1, T), bool).at[0, jnp.array([2, 3, 5])].set(True)
FILLED = jnp.array([T - 1])
QUICK = ("RGLRU", "Stack")
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in EXAMPLES]


def close(actual, expected):
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-11, atol=1e-11), actual, expected
    )


def at(tree, index):
    return jax.tree.map(lambda a: a[index], tree)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_each_sequence_of_a_packed_row_runs_as_if_alone(name, reverse):
    cell, input_size, _ = EXAMPLES[name]
    params = cell.init(jax.random.key(0), input_size, jnp.float64)
    xs = EXAMPLES[name].draw_inputs(jax.random.key(1), (1, T))
    packed = ResetInputs(ENDS if reverse else STARTS, xs)
    stale = None
    if cell.can_step:  # the backward cell of both directions has no reset at its first step
        stale = jax.tree.map(lambda s: s + 1, cell.initial_state((1,), jnp.float64))
    methods = ("scan", "associative") if isinstance(cell, LinearCell) else ("scan",)
    for method in methods:
        final, ys = unroll(
            Reset(cell),
            params,
            packed,
            lengths=FILLED,
            initial_state=stale,
            method=method,
            reverse=reverse,
            deterministic=True,
        )
        begin, states = 0, []
        for length in LENGTHS:
            steps = np.s_[:, begin : begin + length]
            state, alone = unroll(cell, params, at(xs, steps), reverse=reverse, deterministic=True)
            close(at(ys, steps), alone)
            states.append(state)
            begin += length
        if cell.can_step:
            close(final, states[0] if reverse else states[-1])


def test_no_gradient_flows_from_one_sequence_to_another():
    cell = Reset(Stack([LSTM(3), GRU(4)]))
    params = cell.init(jax.random.key(0), 2, jnp.float64)
    xs = jax.random.normal(jax.random.key(1), (1, T, 2), jnp.float64)

    @jax.grad
    def of_the_last_sequence(xs):
        _, ys = unroll(cell, params, ResetInputs(STARTS, xs), lengths=FILLED)
        return ys[:, 4:].sum()

    reached = jnp.any(of_the_last_sequence(xs)[0] != 0, axis=-1)
    assert reached.tolist() == [False] * 4 + [True] * 2 + [False]


@pytest.mark.parametrize("name", EXAMPLES)
def test_initial_states_are_the_zeros_that_a_reset_sets(name):
    state = EXAMPLES[name].cell.initial_state((2,), jnp.float32)
    assert not any(leaf.any() for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize(
    ("xs", "message"),
    [
        (jnp.ones((1, T, 2)), "xs must be ResetInputs, got a ArrayImpl"),
        (
            ResetInputs(STARTS[:, 1:], jnp.ones((1, T, 2))),
            r"starts must be bool of shape \(1, 7\).*got bool of shape \(1, 6\)",
        ),
        (
            ResetInputs(STARTS.astype(int), jnp.ones((1, T, 2))),
            r"starts must be bool .* got int64 of shape \(1, 7\)",
        ),
    ],
)
def test_bad_starts_are_clear_errors(xs, message):
    cell = Reset(GRU(3))
    with pytest.raises(ValueError, match=message):
        unroll(cell, cell.init(jax.random.key(0), 2), xs)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_backward_cell_starts_over_at_the_ends(reverse):
    inside, outside = (
        Bidirectional(Reset(GRU(3)), Reset(LSTM(2))),
        Reset(Bidirectional(GRU(3), LSTM(2))),
    )
    params = outside.init(jax.random.key(0), 2, jnp.float64)
    xs = jax.random.normal(jax.random.key(1), (1, T, 2), jnp.float64)
    starts, ends = ResetInputs(STARTS, xs), ResetInputs(ENDS, xs)
    expected = [
        unroll(Reset(GRU(3)), params.forward, starts, lengths=FILLED),
        unroll(Reset(LSTM(2)), params.backward, ends, lengths=FILLED, reverse=True),
    ]
    if reverse:  # the forward cell reads backward, from where the backward cell ends
        expected = [
            unroll(Reset(GRU(3)), params.forward, ends, lengths=FILLED, reverse=True),
            unroll(Reset(LSTM(2)), params.backward, starts, lengths=FILLED),
        ]
    for layer in (inside, outside):
        states, ys = unroll(
            layer, params, ends if reverse else starts, lengths=FILLED, reverse=reverse
        )
        close(tuple(states), tuple(state for state, _ in expected))
        close(ys, jnp.concatenate([ys for _, ys in expected], -1))
