"""Several sequences in a row give what each gives alone: outputs, gradients, final state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import GRU, LRU, LSTM, Bidirectional, Reset, Residual, Stack, unroll
from seqjax.types import LinearCell
from seqjax.wrappers import ResetInputs
from tests.cells.registry import BROAD, EXAMPLES

LENGTHS = (3, 1, 2)
T = sum(LENGTHS) + 1  # the last step is padding
LONGEST = max(LENGTHS)
STARTS = jnp.zeros((1, T), bool).at[0, jnp.array([0, 3, 4])].set(True)
ENDS = jnp.zeros((1, T), bool).at[0, jnp.array([2, 3, 5])].set(True)
FILLED = jnp.array([T - 1])
QUICK = ("RGLRU", "Stack")
CASES = [
    pytest.param(name, reverse, marks=[pytest.mark.slow] * (name not in QUICK))
    for names, reverse in ((EXAMPLES, False), (BROAD, True))
    for name in names
]


def close(actual, expected):
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-11, atol=1e-11), actual, expected
    )


def at(tree, index):
    return jax.tree.map(lambda a: a[index], tree)


@pytest.mark.parametrize(("name", "reverse"), CASES)
def test_each_sequence_of_a_packed_row_runs_as_if_alone(name, reverse):
    cell, input_size, *_ = EXAMPLES[name]
    params = EXAMPLES[name].bind(cell.init(jax.random.key(0), input_size, jnp.float64), 1)
    xs = EXAMPLES[name].draw_inputs(jax.random.key(1), (1, T))
    packed = ResetInputs(ENDS if reverse else STARTS, xs)
    stale = None
    if cell.can_step:  # the backward cell of both directions has no reset at its first step
        stale = jax.tree.map(lambda s: s + 1, cell.first_state(params, (1,), jnp.float64))
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
            # padded to one shape, so that all are one program
            state, alone = unroll(
                cell,
                params,
                at(xs, np.s_[:, begin : begin + LONGEST]),
                lengths=jnp.array([length]),
                reverse=reverse,
                deterministic=True,
            )
            close(at(ys, np.s_[:, begin : begin + length]), at(alone, np.s_[:, :length]))
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
        (
            jnp.ones((1, T, 2)),
            r"inputs must be ResetInputs\(starts, inputs\), got float64\[1, 7, 2\]",
        ),
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


@pytest.mark.parametrize(
    "above", [Reset(GRU(3)), Reset(LRU(3, 2)), Bidirectional(Reset(GRU(3)), GRU(3))]
)
def test_starts_do_not_pass_through_other_cells(above):
    cell = Stack([GRU(3), above])
    with pytest.raises(ValueError, match=r"got float64.*so wrap a whole stack, Reset\(Stack"):
        unroll(cell, cell.init(jax.random.key(0), 2, jnp.float64), jnp.ones((1, T, 2)))
    around, xs = Residual(Reset(GRU(2))), ResetInputs(STARTS, jnp.ones((1, T, 2)))
    with pytest.raises(ValueError, match=r"Residual: .* got a ResetInputs; only features pass"):
        unroll(around, around.init(jax.random.key(0), 2, jnp.float64), xs)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_backward_cell_starts_over_at_the_ends(reverse, nested):
    inside, outside = (
        Bidirectional(Reset(GRU(3)), Reset(LSTM(2))),
        Reset(Bidirectional(GRU(3), LSTM(2))),
    )
    if nested:  # the backward cell of the outer layer runs its own backward cell forward
        inside = Bidirectional(inside, inside)
        outside = Reset(Bidirectional(outside.cell, outside.cell))
    params = outside.init(jax.random.key(0), 2, jnp.float64)
    xs = jax.random.normal(jax.random.key(1), (1, T, 2), jnp.float64)
    packed = {False: ResetInputs(STARTS, xs), True: ResetInputs(ENDS, xs)}
    stale = jax.tree.map(lambda s: s + 1, outside.initial_state((1,), jnp.float64))

    def directions(cell, params, state, reverse):
        if isinstance(cell, Bidirectional):
            return [
                *directions(cell.forward, params.forward, state.forward, reverse),
                *directions(cell.backward, params.backward, state.backward, not reverse),
            ]
        options = {"lengths": FILLED, "initial_state": state, "reverse": reverse}
        return [unroll(cell, params, packed[reverse], **options)]

    expected = directions(inside, params, stale, reverse)
    for layer in (inside, outside):
        options = {"lengths": FILLED, "initial_state": stale, "reverse": reverse}
        states, ys = unroll(layer, params, packed[reverse], **options)
        close(jax.tree.leaves(states), jax.tree.leaves([state for state, _ in expected]))
        close(ys, jnp.concatenate([ys for _, ys in expected], -1))


@pytest.mark.parametrize("cell", [GRU(3), LRU(3, 4)])
def test_the_backward_cell_starts_over_whatever_the_holes(cell):
    draw = np.random.default_rng(0)
    rows, steps = 32, 6
    starts, mask = draw.random((2, rows, steps)) < [[[0.4]], [[0.6]]]
    layer = Reset(Bidirectional(cell, cell))
    params = layer.init(jax.random.key(0), 2, jnp.float64)
    xs = jnp.asarray(draw.normal(size=(rows, steps, 2)))
    mask = jnp.asarray(mask)
    stale = jax.tree.map(lambda s: s + 1, layer.initial_state((rows,), jnp.float64))
    packed = ResetInputs(jnp.asarray(starts), xs)
    _, ys = unroll(layer, params, packed, mask=mask, initial_state=stale)
    _, backward = jnp.split(ys, 2, axis=-1)
    step = jax.jit(lambda state, x: unroll(cell, params.backward, x[None], initial_state=state))
    for row in range(rows):
        valid = np.flatnonzero(mask[row])
        state, expected = at(stale.backward, row), np.zeros_like(backward[row])
        for t, next_valid in zip(valid[::-1], np.roll(valid, -1)[::-1], strict=True):
            if starts[row, next_valid]:  # the next sequence, or the row, starts there
                state = cell.initial_state((), jnp.float64)
            state, y = step(state, xs[row, t])
            expected[t] = y[0]
        close(backward[row], expected)
