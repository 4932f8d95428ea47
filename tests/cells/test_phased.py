"""The phased LSTM: its equations against plain NumPy, its gradient, and bad arguments."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import PhasedLSTM, Reset, Stack, unroll
from seqjax.cells import TimedInputs
from seqjax.testing import close, randomise
from seqjax.wrappers import ResetInputs
from tests.oracle import sigmoid

T, D, H = 6, 3, 4


def make(**options):
    cell = PhasedLSTM(H, **{"ratio_on": 0.6, "period_range": (2.0, 9.0), **options})
    params = randomise(cell.init(jax.random.key(0), D, jnp.float64), 1)
    rng = np.random.default_rng(3)
    times, features = rng.uniform(0, 30, T), rng.normal(0, 1, (T, D))
    return cell, params, TimedInputs(jnp.asarray(times), jnp.asarray(features))


@pytest.mark.parametrize("peepholes", [False, True])
def test_phased_lstm_equals_a_numpy_loop(peepholes):
    cell, params, xs = make(peepholes=peepholes, leak=0.2)
    state = randomise(cell.initial_state((), jnp.float64), 2)
    _, ys = unroll(cell, params, xs, initial_state=state)
    c, h = state
    branches, outputs = set(), []
    params = jax.tree.map(np.asarray, params)
    lstm = params.lstm
    holes = lstm.peepholes if peepholes else np.zeros((3, H, H))
    for time, x in zip(*map(np.asarray, xs), strict=True):
        z = x @ lstm.input_kernel + h @ lstm.recurrent_kernel + lstm.bias
        i, f, g, o = np.split(z, 4)
        new_c = sigmoid(f + c @ holes[1]) * c + sigmoid(i + c @ holes[0]) * np.tanh(g)
        new_h = sigmoid(o + new_c @ holes[2]) * np.tanh(new_c)
        k = []
        for period, phase, on in zip(params.period, params.phase, params.ratio_on, strict=True):
            r = (time - phase) / period - np.floor((time - phase) / period)
            branch = int(r >= on / 2) + int(r >= on)
            branches.add(branch)
            k.append([2 * r / on, 2 - 2 * r / on, 0.2 * r][branch])
        k = np.array(k)
        c, h = k * new_c + (1 - k) * c, k * new_h + (1 - k) * h
        outputs.append(h)
    assert branches == {0, 1, 2}
    close(ys, np.stack(outputs))


def test_an_untrained_ratio_gets_no_gradient():
    for trainable in (True, False):
        cell, params, xs = make(trainable_ratio_on=trainable)
        grads = jax.grad(lambda p, cell=cell, xs=xs: unroll(cell, p, xs)[1].sum())(params)
        assert grads.ratio_on.any() == trainable
        assert grads.period.all()


def test_periods_and_phases_start_in_their_ranges():
    cell = PhasedLSTM(4, period_range=(2.0, 8.0))  # many small ones, as large kernels take long
    params = jax.vmap(lambda key: cell.init(key, D))(jax.random.split(jax.random.key(0), 250))
    assert 2 <= params.period.min() <= params.period.max() <= 8
    close(jnp.log2(params.period).mean(), 2.0, 0.05)
    assert ((params.phase >= 0) & (params.phase <= params.period)).all()


@pytest.mark.parametrize("wrap", [lambda cell: cell, lambda cell: Stack([cell])])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda xs: xs.features, "xs must be TimedInputs(times, features), got float"),
        (lambda xs: xs._replace(times=xs.times[:2]), "times must be floats of shape (6,)"),
        (lambda xs: xs._replace(times=jnp.arange(6)), "got int64 of shape (6,)"),
        (lambda xs: xs._replace(features=jnp.ones((6, 2))), "are for 3 input features"),
    ],
)
def test_bad_inputs_are_value_errors(wrap, spoil, message):
    cell, params, xs = make()
    stack = wrap(cell)
    with pytest.raises(ValueError, match=re.escape(message)):
        unroll(stack, (params,) if stack is not cell else params, spoil(xs))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 0}, "units must be a whole number of at least 1, got 0"),
        ({"leak": -0.1}, "leak must lie in [0, 1], got -0.1"),
        ({"ratio_on": 1.1}, "ratio_on must lie in [0, 1], got 1.1"),
        ({"period_range": (0.0, 1.0)}, "period_range must be two positive numbers"),
        ({"period_range": (2.0, 1.0)}, "the lower one first, got (2.0, 1.0)"),
    ],
)
def test_bad_arguments_are_value_errors(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        PhasedLSTM(**{"units": 2, **options})


def test_late_times_are_as_exact_as_float32_can_be():
    cell, params, xs = make()
    params = jax.tree.map(lambda a: a.astype(jnp.float32), params)
    period = np.asarray(params.period, np.float64)
    times = 1e6 + np.arange(T, dtype=np.float32)  # whole numbers, which float32 holds exactly
    params = params._replace(
        phase=jnp.zeros_like(params.phase), ratio_on=jnp.ones_like(period, "f4")
    )
    r = np.mod(times[:, None], period) / period
    k = np.where(r < 0.5, 2 * r, 2 - 2 * r)
    z = cell.project(params, TimedInputs(jnp.asarray(times), xs.features.astype(jnp.float32)))
    close(z.openness, k, 1e-5)


def test_times_have_a_precision_of_their_own():
    cell, params, xs = make()
    params, features = jax.tree.map(lambda a: a.astype(jnp.float32), (params, xs.features))
    timed = TimedInputs(xs.times, features)
    assert timed.times.dtype == jnp.float64
    for model, inputs in ((cell, timed), (Reset(cell), ResetInputs(jnp.zeros(T, bool), timed))):
        state, ys = unroll(model, params, inputs)
        assert ys.dtype == state.c.dtype == jnp.float32
