"""The grid of cells: its dimensions against plain NumPy, and bad arguments."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import GRU, LSTM, BasicRNN, ConvLSTM, GridRNN, OutputProjection, unroll
from seqjax.testing import close, randomise

T, D, H = 3, 4, 2


def numpy_step(cell, params, state, x):
    """The dimensions one by one, with a basic RNN along each."""
    h = [None] * cell.dims
    recurrent = [d for d in range(cell.dims) if d not in cell.non_recurrent]
    for d, s in zip(recurrent, state, strict=True):
        h[d] = s
    parts = np.split(x, len(cell.inputs))
    for d, part, kernels in zip(cell.inputs, parts, params.input_kernels, strict=True):
        h[d] = part @ kernels.h
    for group in (True, False):
        new = list(h)
        for d in [d for d in range(cell.dims) if (d not in cell.priority) == group]:
            if d in recurrent:
                w, u, b = params.cells[0 if cell.tied else recurrent.index(d)]
                new[d] = np.tanh(np.concatenate(h[:-1]) @ w + h[-1] @ u + b)
            else:
                kernel, b = params.dense[0 if cell.tied else cell.non_recurrent.index(d)]
                new[d] = np.maximum(np.concatenate(h) @ kernel + b, 0)
        h = new
    return [h[d] for d in recurrent], np.concatenate([h[d] for d in cell.outputs])


@pytest.mark.parametrize(
    "options",
    [
        {"dims": 2, "tied": True},
        {"dims": 2, "non_recurrent": (0,)},
        {"dims": 3, "inputs": (0, 2), "outputs": (0, 2), "priority": (1, 2)},
        {"dims": 3, "inputs": (1, 2), "non_recurrent": (1, 2), "priority": (), "outputs": (1,)},
        {"dims": 3, "inputs": (0, 1), "non_recurrent": (0, 1), "tied": True},
    ],
    ids=str,
)
def test_the_grid_equals_a_numpy_loop(options):
    cell = GridRNN(BasicRNN(H), **options)
    params = randomise(cell.init(jax.random.key(0), D, jnp.float64), 1)
    state = randomise(cell.initial_state((), jnp.float64), 2)
    xs = np.random.default_rng(3).normal(0, 1, (T, D))
    final, ys = unroll(cell, params, jnp.asarray(xs), initial_state=state)
    expected, outputs = [np.asarray(s.h) for s in state], []
    for x in xs:
        expected, y = numpy_step(cell, params, expected, x)
        outputs.append(y)
    close(ys, np.stack(outputs))
    close([s.h for s in final], expected)


def test_tied_dimensions_share_one_cell_and_the_input_overwrites_the_state():
    cell = GridRNN(LSTM(H), 3, tied=True)
    params = cell.init(jax.random.key(0), D, jnp.float64)
    assert len(params.cells) == 1
    state = randomise(cell.initial_state((), jnp.float64), 2)
    other = (randomise(state[0], 3), *state[1:])
    xs = jnp.ones((T, D))
    close(
        unroll(cell, params, xs, initial_state=state), unroll(cell, params, xs, initial_state=other)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GridRNN(3), "cell must be a cell, got 3"),
        (lambda: GridRNN(OutputProjection(GRU(2), 3)), "must hold its output as h"),
        (lambda: GridRNN(LSTM(2), 0), "dims must be a whole number of at least 1, got 0"),
        (lambda: GridRNN(LSTM(2), 2, outputs=(2,)), "outputs must lie in [0, 2), got 2"),
        (lambda: GridRNN(LSTM(2), 2, inputs=()), "inputs must hold at least 1 dimension"),
        (lambda: GridRNN(LSTM(2), 2, outputs=()), "outputs must hold at least 1 dimension"),
        (lambda: GridRNN(LSTM(2), 2, non_recurrent=(1,)), "must be input dimensions"),
        (
            lambda: GridRNN(LSTM(2), 2, inputs=(0, 1)).init(jax.random.key(0), 3),
            "input_size must be a multiple of the 2 input dimensions, got 3",
        ),
        (lambda: GridRNN(ConvLSTM((4, 1), 2, (3,))), "one feature axis"),
    ],
)
def test_bad_arguments_are_value_errors(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
