"""The attention cell: its sizes against plain NumPy, and bad arguments."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import GRU, LSTM, AttentionCell, ConvLSTM, GridLSTM, unroll
from seqjax.testing import close, randomise
from tests.oracle import lstm_step

T, D = 4, 3


def test_attention_equals_a_numpy_loop():
    cell = AttentionCell(LSTM(2), length=3, size=4, vector_size=5, inner_input_size=6)
    params = randomise(cell.init(jax.random.key(0), D, jnp.float64), 1)
    state = randomise(cell.initial_state((), jnp.float64), 2)
    xs = np.random.default_rng(3).normal(0, 1, (T, D))
    _, ys = unroll(cell, params, jnp.asarray(xs), initial_state=state)
    inner, attention, memory = list(state.cell), state.attention, list(state.memory)
    outputs = []
    for x in xs:
        x = x @ params.input_kernel + attention @ params.attention_kernel + params.bias
        inner, h = lstm_step(params.cell[:3], inner, x)
        query = np.concatenate(inner) @ params.query_kernel + params.query_bias
        scores = [
            np.tanh(m @ params.memory_kernel + query) @ params.score_kernel[:, 0] for m in memory
        ]
        weights = np.exp(scores) / np.exp(scores).sum()
        attention = sum(w * m for w, m in zip(weights, memory, strict=True))
        y = np.concatenate([h, attention]) @ params.output_kernel + params.output_bias
        memory = [*memory[1:], y]
        outputs.append(y)
    close(ys, np.stack(outputs))


def test_the_query_holds_states_of_any_shape():
    cell = AttentionCell(GridLSTM(2, frequencies=6, window=2, stride=2), length=2)
    params = cell.init(jax.random.key(0), 6)
    assert params.query_kernel.shape == (2 * 3 * 2, cell.output_size)
    _, ys = unroll(cell, params, jnp.ones((2, T, 6), jnp.float32))
    assert ys.shape == (2, T, cell.output_size)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttentionCell(3, 2), "cell must be a cell, got 3"),
        (lambda: AttentionCell(GRU(2), 0), "length must be a whole number of at least 1, got 0"),
        (lambda: AttentionCell(GRU(2), 2, size=0), "size must be a whole number of at least 1"),
        (lambda: AttentionCell(GRU(2), 2, vector_size=-1), "vector_size must be a whole number"),
        (lambda: AttentionCell(GRU(2), 2, inner_input_size=0), "inner_input_size must be a whole"),
        (lambda: AttentionCell(GRU(2), 2).init(jax.random.key(0), 0), "input_size must be a whole"),
        (lambda: AttentionCell(ConvLSTM((4, 1), 2, (3,)), 2), "one feature axis"),
    ],
)
def test_bad_arguments_are_value_errors(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
