"""The linear recurrences against plain NumPy, and where they are delicate."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import LRU, RGLRU, MinGRU, MinLSTM, unroll
from tests.cells.plain import check
from tests.oracle import sigmoid


def mingru(p, state, x):
    z, n = np.split(x @ p.input_kernel + p.bias, 2)
    h = (1 - sigmoid(z)) * state.h + sigmoid(z) * n
    return [h], h


def minlstm(p, state, x):
    i, f, n = np.split(x @ p.input_kernel + p.bias, 3)
    i, f = sigmoid(i), sigmoid(f)
    h = f / (f + i) * state.h + i / (f + i) * np.tanh(n)
    return [h], h


def lru(p, state, x):
    b_real, b_imag = np.split(p.input_kernel, 2, axis=1)
    c_real, c_imag = np.split(p.output_kernel, 2, axis=0)
    a = np.exp(-np.exp(p.log_decay) + 1j * np.exp(p.log_phase))
    h = a * state.h + np.exp(p.log_gain) * (x @ (b_real + 1j * b_imag))
    return [h], (h @ (c_real + 1j * c_imag)).real + x @ p.skip_kernel


def rglru(p, state, x):
    r, i = np.split(x @ p.input_kernel + p.bias, 2)
    a = sigmoid(p.decay) ** (8 * sigmoid(r))
    h = a * state.h + np.sqrt(1 - a**2) * (sigmoid(i) * x)
    return [h], h


def test_minimal_cells_equal_a_plain_loop():
    check(MinGRU(4), mingru)
    check(MinLSTM(4, activation=jnp.tanh), minlstm)


def test_linear_recurrent_units_equal_a_plain_loop():
    check(LRU(4, 2), lru, analytic=False)
    check(RGLRU(3), rglru)


@pytest.mark.parametrize(("i", "f", "share"), [(-800.0, -800.0, 0.5), (-800.0, -900.0, 0.0)])
def test_two_shut_gates_of_a_minimal_lstm_still_share(i, f, share):
    cell = MinLSTM(1)
    params = cell.init(jax.random.key(0), 1)._replace(bias=jnp.array([i, f, 0.0], jnp.float32))

    def run(params):
        state = cell.initial_state((1,))._replace(h=jnp.ones((1, 1), jnp.float32))
        return unroll(cell, params, jnp.zeros((1, 1, 1), jnp.float32), initial_state=state)[1].sum()

    value, grads = jax.value_and_grad(run)(params)
    assert value == share
    assert all(jnp.isfinite(grad).all() for grad in grads)


def test_a_decay_that_rounds_to_one_has_finite_gradients():
    cell = RGLRU(2)
    params = cell.init(jax.random.key(0), 2)
    for decay in (200.0, -200.0, 20.0):
        moved = params._replace(decay=jnp.full(2, decay, jnp.float32))
        xs = jnp.ones((1, 5, 2), jnp.float32)
        value, grads = jax.value_and_grad(lambda p, xs=xs: unroll(cell, p, xs)[1].sum())(moved)
        assert jnp.isfinite(value)
        assert all(jnp.isfinite(grad).all() for grad in grads)


def test_an_lru_starts_on_its_ring_and_keeps_the_variance():
    cell = LRU(2000, 1, r_min=0.5, r_max=0.9, max_phase=0.3)
    params = cell.init(jax.random.key(0), 1)
    radius = np.exp(-np.exp(params.log_decay))
    phase = np.exp(params.log_phase)
    assert 0.5 <= radius.min() < 0.51
    assert 0.89 < radius.max() <= 0.9
    assert 0 <= phase.min() < 0.01
    assert 0.29 < phase.max() <= 0.3
    # uniform on the ring's area: |a|^2 is uniform
    np.testing.assert_allclose((radius**2).mean(), (0.25 + 0.81) / 2, atol=0.01)
    np.testing.assert_allclose(np.exp(params.log_gain) ** 2, 1 - radius**2, rtol=1e-4)


def test_an_rglru_starts_with_slow_decays():
    power = sigmoid(np.asarray(RGLRU(1000).init(jax.random.key(0), 1000).decay)) ** 8
    assert 0.899 < power.min() < 0.91
    assert 0.99 < power.max() < 0.9995


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MinGRU(0), "MinGRU: units must be a whole number"),
        (lambda: MinLSTM(0), "MinLSTM: units must be a whole number"),
        (lambda: LRU(0, 2), "LRU: units must be a whole number"),
        (lambda: LRU(2, 0), "LRU: size must be a whole number"),
        (lambda: LRU(2, 2, r_min=0.9, r_max=0.9), "0 <= r_min < r_max <= 1, got r_min=0.9"),
        (lambda: LRU(2, 2, r_max=1.1), "0 <= r_min < r_max <= 1"),
        (lambda: LRU(2, 2, max_phase=0.0), r"max_phase must lie in \(0, 2 pi\], got 0.0"),
        (lambda: LRU(2, 2, max_phase=3 * math.pi), "max_phase must lie in"),
        (lambda: RGLRU(0), "RGLRU: units must be a whole number"),
        (lambda: RGLRU(3).init(jax.random.key(0), 2), "units=3 features, got 2"),
    ],
)
def test_bad_options_say_how_to_mend_them(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_an_rglru_takes_no_tokens():
    cell = RGLRU(3)
    with pytest.raises(ValueError, match="embed tokens first"):
        unroll(cell, cell.init(jax.random.key(0), 3), jnp.zeros((2, 5), int))
