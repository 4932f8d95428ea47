"""The cells with one or two gates against plain NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import (
    CFN,
    GRU,
    LSTM,
    MGU,
    NAS,
    SRU,
    UGRNN,
    IndRNN,
    IndyGRU,
    InputProjection,
    IntersectionRNN,
    MinimalRNN,
    Mogrifier,
    unroll,
)
from tests.cells.plain import check
from tests.oracle import gru_step, lstm_step, sigmoid


def ugrnn(p, state, x, activation=np.tanh):
    u, n = np.split(x @ p.input_kernel + state.h @ p.recurrent_kernel + p.bias, 2)
    h = sigmoid(u) * state.h + (1 - sigmoid(u)) * activation(n)
    return [h], h


def intersection(p, state, x, activation=np.tanh):
    gh, n, gy, y = np.split(x @ p.input_kernel + state.h @ p.recurrent_kernel + p.bias, 4)
    gh, gy = sigmoid(gh), sigmoid(gy)
    return [gh * state.h + (1 - gh) * np.tanh(n)], gy * x + (1 - gy) * activation(y)


def nas(p, state, x):
    x = np.split(x @ p.input_kernel, 8)
    bias = 0 if p.bias is None else p.bias
    m = np.split(state.h @ p.recurrent_kernel + bias, 8)

    def relu(a):
        return np.where(a.real > 0, a, 0)

    l0 = np.tanh(sigmoid(x[0] + m[0]) * relu(x[1] + m[1]))
    l1 = np.tanh(sigmoid(x[2] + m[2]) + relu(x[3] * m[3]))
    l2 = np.tanh(np.tanh(x[4] + m[4]) * sigmoid(x[5] + m[5]))
    l3 = sigmoid(np.tanh(x[6] + m[6]) + sigmoid(x[7] + m[7]))
    c = np.tanh(l0 + state.c) * l1
    h = np.tanh(c * np.tanh(l2 + l3))
    if p.projection_kernel is not None:
        h = h @ p.projection_kernel
    return [c, h], h


def sru(p, state, x, activation=np.tanh):
    f, r, n, s = np.split(x @ p.input_kernel, 4)
    b_f, b_r = np.split(p.bias, 2)
    f, r = sigmoid(f + b_f), sigmoid(r + b_r)
    c = f * state.c + (1 - f) * n
    return [c], r * activation(c) + (1 - r) * s


def indrnn(p, state, x, activation=np.tanh):
    h = activation(x @ p.input_kernel + p.recurrent_kernel * state.h + p.bias)
    return [h], h


def indygru(p, state, x, activation=np.tanh):
    h = state.h
    z_r, z_u, z_n = np.split(x @ p.input_kernel + p.bias, 3)
    (u_r, u_u), u_n = np.split(p.gate_kernel, 2), p.candidate_kernel
    r, u = sigmoid(z_r + u_r * h), sigmoid(z_u + u_u * h)
    h = u * h + (1 - u) * activation(z_n + u_n * (r * h))
    return [h], h


def minimal(p, state, x, activation=np.tanh):
    n = activation(x @ p.input_kernel)
    gate_kernel = np.concatenate([p.gate_kernel, p.recurrent_kernel])
    u = sigmoid(np.concatenate([n, state.h]) @ gate_kernel + p.bias)
    h = u * state.h + (1 - u) * n
    return [h], h


def cfn(p, state, x, activation=np.tanh):
    *gates, n = np.split(x @ p.input_kernel, 3)
    theta, eta = np.split(np.concatenate(gates) + state.h @ p.recurrent_kernel + p.bias, 2)
    h = sigmoid(theta) * activation(state.h) + (1 - sigmoid(eta)) * activation(n)
    return [h], h


def mgu(p, state, x, activation=np.tanh):
    z_f, z_n = np.split(x @ p.input_kernel + p.bias, 2)
    f = sigmoid(z_f + state.h @ p.gate_kernel)
    n = activation(z_n + (f * state.h) @ p.candidate_kernel)
    h = (1 - f) * state.h + f * n
    return [h], h


def mogrified(step):
    def mogrify(p, state, x):
        h = state.h
        for n, factors in enumerate(p.kernels, start=1):
            if n % 2 == 1:
                x = 2 * sigmoid(functools.reduce(np.matmul, factors, h)) * x
            else:
                h = 2 * sigmoid(functools.reduce(np.matmul, factors, x)) * h
        return step(jax.tree.leaves(p.cell), [*state[:-1], h], x)

    return mogrify


@pytest.mark.parametrize(
    ("cell", "step"),
    [
        (UGRNN(4), ugrnn),
        (IntersectionRNN(3, activation=jnp.tanh), intersection),
        (NAS(4), nas),
        (NAS(4, projection_size=2, use_bias=True), nas),
        pytest.param(NAS(4, projection_size=2), nas, marks=pytest.mark.slow),
        pytest.param(NAS(4, use_bias=True), nas, marks=pytest.mark.slow),
        (SRU(4), sru),
        (IndRNN(4), indrnn),
        (IndyGRU(4), indygru),
        (MinimalRNN(4), minimal),
        (CFN(4), cfn),
        (MGU(4), mgu),
        (Mogrifier(LSTM(4)), mogrified(lstm_step)),
        (Mogrifier(LSTM(4), rounds=4), mogrified(lstm_step)),
        pytest.param(Mogrifier(GRU(4), rounds=1), mogrified(gru_step), marks=pytest.mark.slow),
        (Mogrifier(LSTM(4), rounds=3, rank=2), mogrified(lstm_step)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_equals_a_plain_loop(cell, step):
    check(cell, step)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "step"),
    [
        (UGRNN, ugrnn),
        (IntersectionRNN, intersection),
        (SRU, sru),
        (IndRNN, indrnn),
        (IndyGRU, indygru),
        (MinimalRNN, minimal),
        (CFN, cfn),
        (MGU, mgu),
    ],
)
def test_the_activation_is_where_the_plain_loop_has_it(cell, step):
    check(cell(3, activation=jnp.sin), functools.partial(step, activation=np.sin))


def test_an_intersection_rnn_behind_a_projection_takes_inputs_of_any_size():
    """The original projects inputs of another size than its units by itself."""

    def step(p, state, x):
        return intersection(p.cell, state, x @ p.kernel + p.bias)

    check(InputProjection(IntersectionRNN(4, activation=jnp.tanh), 4), step)


@pytest.mark.parametrize("cls", [UGRNN, NAS, SRU, IndRNN, IndyGRU, MinimalRNN, CFN, MGU])
def test_sizes_must_be_whole_numbers(cls):
    with pytest.raises(ValueError, match=rf"{cls.__name__}: units must be a whole number.*got 0"):
        cls(0)
    with pytest.raises(ValueError, match="input_size must be a whole number"):
        cls(4).init(jax.random.key(0), 0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: IntersectionRNN(2.5), "IntersectionRNN: units must be a whole number"),
        (lambda: NAS(4, projection_size=0), "NAS: projection_size must be a whole number"),
        (lambda: Mogrifier(LSTM(4), rounds=0), "Mogrifier: rounds must be a whole number"),
        (lambda: Mogrifier(LSTM(4), rank=0), "Mogrifier: rank must be a whole number"),
        (lambda: Mogrifier(3), "Mogrifier: cell must be a cell, got 3"),
        (
            lambda: Mogrifier(SRU(4)),
            "Mogrifier: the state of the cell must have a real hidden vector, .* use a cell",
        ),
        (
            lambda: IntersectionRNN(4).init(jax.random.key(0), 3),
            "units=4 features, got 3; wrap the cell in an InputProjection",
        ),
    ],
)
def test_bad_options_say_how_to_mend_them(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("cell", [IntersectionRNN(3), Mogrifier(LSTM(4))], ids=type)
def test_cells_that_gate_their_input_take_no_tokens(cell):
    params = cell.init(jax.random.key(0), 3)
    with pytest.raises(ValueError, match="embed tokens first"):
        unroll(cell, params, jnp.zeros((2, 5), int))


def test_forget_biases_are_initial_biases():
    params = UGRNN(2, forget_bias=0.5).init(jax.random.key(0), 3)
    np.testing.assert_array_equal(params.bias, [0.5, 0.5, 0, 0])
    params = IntersectionRNN(2).init(jax.random.key(0), 2)
    np.testing.assert_array_equal(params.bias, [1, 1, 0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(IndyGRU(1).init(jax.random.key(0), 3).bias, [1, 1, 0])
