"""Both directions against two runs of `unroll` on hand-reversed rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import (
    GRU,
    LSTM,
    Dropout,
    bidirectional_stack_unroll,
    bidirectional_unroll,
    init_bidirectional_stack,
    unroll,
)
from seqjax.wrappers import Directions

B, T, D = 3, 5, 2
LENGTHS = jnp.array([T, 2, 0])
XS = jax.random.normal(jax.random.key(1), (B, T, D), jnp.float64)
LAYERS = [Directions(LSTM(3), GRU(4)), Directions(GRU(2), LSTM(2))]
PARAMS = init_bidirectional_stack(LAYERS, jax.random.key(0), D, jnp.float64)


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
    (forward, backward), params = LAYERS[0], PARAMS[0]
    state = Directions(random_state(forward, 2), random_state(backward, 3))
    run = functools.partial(unroll, lengths=LENGTHS)
    final, ys = run(forward, params.forward, XS, initial_state=state.forward)
    back_final, back_ys = run(backward, params.backward, flip(XS), initial_state=state.backward)
    expected = Directions(final, back_final), Directions(ys, flip(back_ys))
    mask = jnp.arange(T).reshape(1, T) < LENGTHS.reshape(B, 1)
    for given in ({"lengths": LENGTHS}, {"mask": mask}, {"lengths": LENGTHS, "method": "static"}):
        both = bidirectional_unroll(forward, backward, params, XS, initial_state=state, **given)
        close(both, expected)


def test_a_layer_sees_both_directions_of_the_one_below():
    _, middle = bidirectional_unroll(*LAYERS[0], PARAMS[0], XS, lengths=LENGTHS)
    middle = jnp.concatenate(middle, -1)
    _, ys = bidirectional_unroll(*LAYERS[1], PARAMS[1], middle, lengths=LENGTHS)
    ys = jnp.concatenate(ys, -1)
    state, joined = bidirectional_stack_unroll(LAYERS, PARAMS, XS, lengths=LENGTHS)
    close(joined, ys)
    assert [type(s).__name__ for layer in state for s in layer] == [
        "LSTMState",
        "HiddenState",
        "HiddenState",
        "LSTMState",
    ]
    major = bidirectional_stack_unroll(
        LAYERS, PARAMS, XS.swapaxes(0, 1), lengths=LENGTHS, initial_state=None, time_major=True
    )
    close((major[0], major[1].swapaxes(0, 1)), (state, joined))


def test_a_carried_state_and_a_key_reach_every_cell():
    zero = tuple(Directions(*(c.initial_state((B,), jnp.float64) for c in pair)) for pair in LAYERS)
    run = functools.partial(bidirectional_stack_unroll, LAYERS, PARAMS, XS)
    close(run(initial_state=zero), run())
    cell = Dropout(GRU(3), input_rate=0.5)
    layers = [Directions(cell, cell)] * 2
    params = init_bidirectional_stack(layers, jax.random.key(0), D, jnp.float64)
    same = jax.tree.map(lambda a: a, params[0]._replace(backward=params[0].forward))
    key = jax.random.key(4)
    _, ys = bidirectional_unroll(cell, cell, same, XS[:, :1], key=key)
    assert (ys.forward != ys.backward).any()
    first, again, other, silent = (
        bidirectional_stack_unroll(layers, params, XS, key=k)[1]
        for k in (key, key, jax.random.key(5), None)
    )
    close(first, again)
    assert (first != other).any()
    assert (first != silent).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"params": tuple(PARAMS[0])},
            r"params must be Directions\(forward, backward\), got a tup",
        ),
        ({"initial_state": ()}, "initial_state must be Directions"),
    ],
)
def test_bad_input_is_a_clear_error(changes, message):
    arguments = {"forward": LAYERS[0][0], "backward": LAYERS[0][1], "params": PARAMS[0], "xs": XS}
    with pytest.raises(ValueError, match=message):
        bidirectional_unroll(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"params": PARAMS[:1]}, "params must hold one entry for each of 2 layers, got 1"),
        ({"initial_state": []}, "initial_state must hold one entry for each of 2 layers, got 0"),
        ({"layers": [LSTM(3), GRU(2)]}, r"layers\[0\] must be Directions"),
        ({"layers": LAYERS[0]}, "layers must be a list of at least one Directions, got Directions"),
        ({"layers": []}, "layers must be a list of at least one Directions"),
    ],
)
def test_bad_layers_are_clear_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        bidirectional_stack_unroll(**{"layers": LAYERS, "params": PARAMS, "xs": XS, **changes})
