"""The convolutional LSTM: against plain NumPy over each number of axes, and bad arguments."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import ConvLSTM, Stack, unroll
from seqjax.testing import close, randomise
from tests.oracle import sigmoid

T = 2
TANH_SIGMOID = (jnp.tanh, np.tanh), (jax.nn.sigmoid, sigmoid)
SOFTSIGN_HARD_SIGMOID = (
    (jax.nn.soft_sign, lambda x: x / (1 + np.abs(x))),
    (jax.nn.hard_sigmoid, lambda x: np.clip(x / 6 + 0.5, 0, 1)),
)


def convolve(x, kernel):
    """Place by place; an even window reaches further to the end."""
    window, space = kernel.shape[:-2], x.shape[:-1]
    padded = np.pad(x, [((k - 1) // 2, k // 2) for k in window] + [(0, 0)])
    out = np.zeros((*space, kernel.shape[-1]))
    for place in np.ndindex(space):
        for offset in np.ndindex(window):
            out[place] += padded[tuple(np.add(place, offset))] @ kernel[offset]
    return out


@pytest.mark.parametrize(
    ("space", "window", "skip", "use_bias", "activations"),
    [
        ((5,), (4,), True, False, TANH_SIGMOID),
        ((3, 4), (3, 2), False, True, SOFTSIGN_HARD_SIGMOID),
        ((2, 3, 2), (1, 3, 2), True, True, TANH_SIGMOID),
    ],
)
def test_conv_lstm_equals_a_numpy_loop(space, window, skip, use_bias, activations):
    shape = (*space, 2)
    (activation, act), (gate_activation, gate) = activations
    cell = ConvLSTM(
        shape, 3, window, skip_connection=skip, use_bias=use_bias, forget_bias=0.7,
        activation=activation, gate_activation=gate_activation,
    )  # fmt: skip
    params = randomise(cell.init(jax.random.key(0), shape, jnp.float64), 1)
    state = randomise(cell.initial_state((), jnp.float64), 2)
    xs = np.random.default_rng(3).normal(0, 1, (T, *shape))
    final, ys = unroll(cell, params, jnp.asarray(xs), initial_state=state)
    w, u = map(np.asarray, params[:2])
    b = np.asarray(params.bias) if use_bias else np.repeat([0, 0.7, 0, 0], 3)
    c, h = state
    for x, y in zip(xs, ys, strict=True):
        i, f, g, o = np.split(convolve(x, w) + convolve(h, u) + b, 4, -1)
        c = gate(f) * c + gate(i) * act(g)
        h = gate(o) * act(c)
        close(y, np.concatenate([h, x], -1) if skip else h)
    close(final, type(final)(c, h))


def test_kernels_are_drawn_for_the_window_and_the_forget_gate_starts_open():
    params = ConvLSTM((8, 8, 16), 32, (3, 3), forget_bias=2.0).init(jax.random.key(0), (8, 8, 16))
    for kernel, rows in ((params.input_kernel, 16), (params.recurrent_kernel, 32)):
        bound = np.sqrt(6 / (9 * (rows + 32)))
        assert 0.95 * bound < np.abs(kernel).max() <= bound
    close(params.bias, np.repeat([0, 2.0, 0, 0], 32))


def test_layers_stack_over_channels():
    lower = ConvLSTM((4, 4, 1), 2, (3, 3), skip_connection=True)
    cell = Stack([lower, ConvLSTM((4, 4, 3), 5, (2, 2))])
    params = cell.init(jax.random.key(0), (4, 4, 1))
    _, ys = unroll(cell, params, jnp.ones((2, T, 4, 4, 1), jnp.float32))
    assert ys.shape == (2, T, 4, 4, 5)


def test_a_bfloat16_cell_has_gradients():
    cell = ConvLSTM((4, 1), 2, (3,))
    params = cell.init(jax.random.key(0), (4, 1), jnp.bfloat16)
    xs = jnp.ones((2, T, 4, 1), jnp.float32)
    grads = jax.grad(lambda p: unroll(cell, p, xs)[1].sum())(params)
    assert all(g.dtype == jnp.bfloat16 and g.any() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvLSTM((4, 1), 0, (3,)), "filters must be a whole number of at least 1, got 0"),
        (lambda: ConvLSTM((4, 0), 2, (3,)), "input_shape[1] must be a whole number"),
        (lambda: ConvLSTM((4, 1), 2, (0,)), "window[0] must be a whole number"),
        (lambda: ConvLSTM((4, 1), 2, (3, 3)), "window must have one size for each"),
        (lambda: ConvLSTM((1,), 2, ()), "window must have one size for each"),
        (
            lambda: ConvLSTM((4, 1), 2, (3,)).init(jax.random.key(0), (5, 1)),
            "input_size must be (4, 1), the size of this cell, got (5, 1)",
        ),
        (lambda: run_with(jnp.ones((2, T, 5, 1))), "are for (4, 1) input features"),
        (lambda: run_with(jnp.ones((2, T), int)), "must hold floats"),
    ],
)
def test_bad_arguments_are_value_errors(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def run_with(xs):
    cell = ConvLSTM((4, 1), 2, (3,))
    return unroll(cell, cell.init(jax.random.key(0), (4, 1)), xs)
