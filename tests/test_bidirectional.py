"""Both directions against two runs of `unroll` on rows reversed by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqjax
from seqjax import GRU, LSTM, Bidirectional, ConvLSTM, Dropout, OutputProjection, Stack, unroll
from seqjax.wrappers import Directions
from tests.drawn import params_of

B, T, D = 3, 5, 2
LENGTHS = jnp.array([T, 2, 0])
XS = jax.random.normal(jax.random.key(1), (B, T, D), jnp.float64)
LOWER, UPPER = Bidirectional(LSTM(3), GRU(4)), Bidirectional(GRU(2), LSTM(2))
STACK = Stack([LOWER, UPPER])
PARAMS = params_of(STACK, D)


def close(actual, expected):
    compare = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)
    jax.tree.map(compare, actual, expected)


def flip(rows):
    return jnp.stack(
        [jnp.concatenate([r[:n][::-1], r[n:]]) for r, n in zip(rows, LENGTHS, strict=True)]
    )


def random_state(cell, seed):
    state = cell.initial_state((B,), jnp.float64)
    return jax.tree.map(lambda a: jax.random.normal(jax.random.key(seed), a.shape, a.dtype), state)


def test_the_backward_cell_sees_each_row_reversed_within_its_length():
    params = PARAMS[0]
    state = Directions(random_state(LOWER.forward, 2), random_state(LOWER.backward, 3))
    run = functools.partial(unroll, lengths=LENGTHS)
    final, ys = run(LOWER.forward, params.forward, XS, initial_state=state.forward)
    back_final, back_ys = run(
        LOWER.backward, params.backward, flip(XS), initial_state=state.backward
    )
    expected = Directions(final, back_final), jnp.concatenate([ys, flip(back_ys)], -1)
    mask = jnp.arange(T).reshape(1, T) < LENGTHS.reshape(B, 1)
    for given in ({"lengths": LENGTHS}, {"mask": mask}, {"lengths": LENGTHS, "method": "static"}):
        close(unroll(LOWER, params, XS, initial_state=state, **given), expected)


def test_in_reverse_the_directions_change_places():
    params = PARAMS[0]
    state, ys = unroll(LOWER, params, XS, lengths=LENGTHS, reverse=True)
    swapped = Bidirectional(LOWER.backward, LOWER.forward)
    other, other_ys = unroll(swapped, Directions(*params[::-1]), XS, lengths=LENGTHS)
    close(state, Directions(*other[::-1]))
    close(ys, jnp.concatenate([other_ys[..., 4:], other_ys[..., :4]], -1))


def test_a_layer_sees_both_directions_of_the_one_below():
    lower, middle = unroll(LOWER, PARAMS[0], XS, lengths=LENGTHS)
    upper, ys = unroll(UPPER, PARAMS[1], middle, lengths=LENGTHS)
    state, joined = unroll(STACK, PARAMS, XS, lengths=LENGTHS)
    close((state, joined), ((lower, upper), ys))
    major = unroll(STACK, PARAMS, XS.swapaxes(0, 1), lengths=LENGTHS, time_major=True)
    close((major[0], major[1].swapaxes(0, 1)), (state, joined))


def test_cells_of_one_direction_and_readouts_go_on_top():
    cell = OutputProjection(Stack([LOWER, LSTM(3)]), 2)
    params = cell.init(jax.random.key(0), D, jnp.float64)
    _, ys = unroll(cell, params, XS, lengths=LENGTHS)
    _, middle = unroll(LOWER, params.cell[0], XS, lengths=LENGTHS)
    _, top = unroll(LSTM(3), params.cell[1], middle, lengths=LENGTHS)
    counts = (jnp.arange(T)[None] < LENGTHS[:, None])[..., None]
    close(ys, jnp.where(counts, top @ params.kernel, 0))


def test_outputs_of_several_axes_are_joined_by_their_channels():
    cell = Bidirectional(ConvLSTM((4, 1), 2, (3,)), ConvLSTM((4, 1), 3, (3,)))
    assert cell.output_size == (4, 5)
    params = cell.init(jax.random.key(0), (4, 1), jnp.float64)
    _, ys = unroll(cell, params, jnp.ones((B, T, 4, 1)))
    assert ys.shape == (B, T, 4, 5)


def test_a_carried_state_and_a_key_reach_every_cell():
    run = functools.partial(unroll, STACK, PARAMS, XS)
    close(run(initial_state=STACK.initial_state((B,), jnp.float64)), run())
    cell = Dropout(GRU(3), input_rate=0.5)
    both = Bidirectional(cell, cell)
    params = both.init(jax.random.key(0), D, jnp.float64)
    same = params._replace(backward=params.forward)
    _, ys = unroll(both, same, XS[:, :1], key=jax.random.key(4))
    assert (ys[..., :3] != ys[..., 3:]).any(), "each direction has noise of its own"
    _, silent = unroll(both, same, XS[:, :1], deterministic=True)
    assert (ys != silent).any()


def test_a_step_is_a_clear_error():
    for cell, state in ((LOWER, None), (STACK, None), (OutputProjection(LOWER, 2), None)):
        params = cell.init(jax.random.key(0), D, jnp.float64)
        with pytest.raises(ValueError, match="reads a sequence from both ends"):
            seqjax.step(cell, params, state, XS[:, 0])
    with pytest.raises(ValueError, match="reads a sequence from both ends"):
        LOWER.step(PARAMS[0], None, XS[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bidirectional(LSTM, GRU(2)), "Bidirectional: cell must be a cell, got <class"),
        (
            lambda: Bidirectional(GRU(2), ConvLSTM((4, 1), 2, (3,))),
            "must agree in all axes but the last",
        ),
        (lambda: seqjax.Zoneout(LOWER, 0.1), "Zoneout: the cell must run step by step, which"),
        (lambda: seqjax.WithState(LOWER), "WithState: the cell must run step by step"),
        (lambda: Dropout(LOWER, state_rate=0.1), "Dropout with a state_rate: the cell must run"),
        (
            lambda: unroll(LOWER, tuple(PARAMS[0]), XS),
            "params must have the structure that Bidirectional",
        ),
        (lambda: unroll(STACK, PARAMS[:1], XS), "params must"),
        (lambda: unroll(STACK, PARAMS, XS, initial_state=()), "initial_state must have the struct"),
    ],
)
def test_bad_input_is_a_clear_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()
