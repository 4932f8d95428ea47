"""The LSTMs over frequency: every option against plain NumPy, and bad arguments."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import GRU, LSTM, BidirectionalGridLSTM, GridLSTM, TimeFreqLSTM, unroll
from seqjax.testing import close, randomise
from tests.oracle import sigmoid

T, D, H = 3, 9, 2
SIZES = {"units": H, "frequencies": D, "window": 3, "stride": 2}
BLOCKS = [(0, 5), (2, 9)]


def make(cell):
    params = randomise(cell.init(jax.random.key(0), D, jnp.float64), 1)
    state = randomise(cell.initial_state((), jnp.float64), 2)
    return params, state, np.random.default_rng(3).normal(0, 1, (T, D))


def numpy_block(cell, params, state, windows):
    """One step of one block, window by window and gate by gate."""
    bound = np.inf if cell.cell_clip is None else cell.cell_clip
    names = "igo" if cell.coupled else "ifgo"
    w, u, b, holes = (None if p is None else np.asarray(p) for p in params)
    c_f, h_f, cs, hs, ys = np.zeros(H), np.zeros(H), [], [], []
    for x, c_t, h_t in zip(windows, *state, strict=True):
        z = x @ w + np.concatenate([h_t, h_f]) @ u + b
        z = dict(zip(names, z.reshape(len(names), -1, H), strict=True))

        def gate(name, n, of_time, of_frequency, z=z):
            n = 0 if cell.shared else n
            if holes is None:
                return sigmoid(z[name][n])
            p = holes[names.replace("g", "").index(name), n]
            return sigmoid(z[name][n] + p[0] * of_time + p[1] * of_frequency)

        new = []
        for n, c in enumerate((c_t, c_f)):
            i = gate("i", n, c_t, c_f)
            f = 1 - i if cell.coupled else gate("f", n, c_t, c_f)
            g = np.tanh(z["g"][0 if cell.shared else n])
            new.append(np.clip(f * c + i * g, -bound, bound))
        h_t, h_f = (gate("o", n, *new) * np.tanh(new[n]) for n in range(2))
        c_f = new[1]
        cs.append(new[0])
        hs.append(h_t)
        ys += [h_t, h_f]
    return (np.stack(cs), np.stack(hs)), np.concatenate(ys)


def numpy_run(cell, params, state, xs, *, offset=0, reverse=False):
    """All steps of all blocks; the offset is TensorFlow's, with its two ways to pad."""
    state, outputs = list(state), []
    for x in xs:
        padded = np.pad(x, (0, offset) if offset > 0 else (-offset, 0))
        ys = []
        for n, (start, stop) in enumerate(cell._blocks):
            count = (stop - start - cell.window) // cell.stride + 1
            starts = [start + max(offset, 0) + q * cell.stride for q in range(count)]
            windows = [padded[s : s + cell.window] for s in starts]
            windows = windows[::-1] if reverse else windows
            state[n], y = numpy_block(cell, params[n], state[n], windows)
            ys.append(y)
        outputs.append(np.concatenate(ys))
    return state, np.stack(outputs)


@pytest.mark.parametrize(
    "options",
    [
        {"blocks": [(0, 8)]},
        {"blocks": BLOCKS, "peepholes": True, "cell_clip": 0.3},
        {"peepholes": True, "coupled": True},
        {"peepholes": True, "shared": True, "cell_clip": 0.3},
        {"coupled": True, "shared": True},
    ],
    ids=str,
)
def test_grid_lstm_equals_a_numpy_loop(options):
    cell = GridLSTM(**SIZES, **options)
    params, state, xs = make(cell)
    final, ys = unroll(cell, params, jnp.asarray(xs), initial_state=state)
    expected, expected_ys = numpy_run(cell, params, state, xs)
    close(ys, expected_ys)
    close([tuple(s) for s in final], expected)


@pytest.mark.parametrize("offset", [-2, 0, 3])
def test_bidirectional_grid_lstm_equals_a_numpy_loop(offset):
    grid = GridLSTM(**SIZES, blocks=BLOCKS, peepholes=True)
    cell = BidirectionalGridLSTM(grid, offset)
    params, state, xs = make(cell)
    _, ys = unroll(cell, params, jnp.asarray(xs), initial_state=state)
    _, up = numpy_run(grid, params.forward, state.forward, xs)
    _, down = numpy_run(grid, params.backward, state.backward, xs, offset=offset, reverse=True)
    close(ys, np.concatenate([up, down], -1))


def test_the_forget_bias_is_that_of_both_lstms():
    (params,) = GridLSTM(**SIZES, forget_bias=2.0).init(jax.random.key(0), D)
    close(params.bias, np.repeat([0, 2.0, 0, 0], 2 * H))


def test_the_windows_of_a_time_freq_lstm_drop_different_units():
    cell = TimeFreqLSTM(LSTM(40, recurrent_dropout=0.5), frequencies=9, window=3, stride=3)
    noise = cell.draw_noise(jax.random.key(0), (T, 2), 9)
    assert noise.shape == (T, 2, 3, 40)
    assert (noise[:, :, 0] != noise[:, :, 1]).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TimeFreqLSTM(GRU(2), 9, 3, 2),
            "cell must be an LSTM with a dense input kernel, got GRU",
        ),
        (lambda: TimeFreqLSTM(LSTM(2), 9, 10, 2), "window must be at most the 9 frequencies"),
        (lambda: TimeFreqLSTM(LSTM(2), 9, 3, 0), "stride must be a whole number of at least 1"),
        (
            lambda: TimeFreqLSTM(LSTM(2), 9, 3, 2).init(jax.random.key(0), 8),
            "input_size must be 9, the size of this cell, got 8",
        ),
        (lambda: GridLSTM(0, 9, 3, 2), "units must be a whole number of at least 1, got 0"),
        (lambda: GridLSTM(2, 0, 3, 2), "frequencies must be a whole number of at least 1, got 0"),
        (lambda: GridLSTM(2, 9, 3, 2, [(0, 10)]), "within the 9 frequencies, got (0, 10)"),
        (lambda: GridLSTM(2, 9, 3, 2, [(4, 4)]), "within the 9 frequencies, got (4, 4)"),
        (
            lambda: GridLSTM(2, 9, 3, 2, [(0, 9), (0, 2)]),
            "window must be at most the 2 frequencies",
        ),
        (lambda: GridLSTM(2, 9, 3, 2, cell_clip=-1.0), "cell_clip must be a number above 0"),
        (
            lambda: GridLSTM(2, 9, 3, 2).init(jax.random.key(0), 8),
            "input_size must be 9, the size of this cell, got 8",
        ),
        (lambda: BidirectionalGridLSTM(LSTM(2)), "cell must be a GridLSTM, got LSTM"),
        (
            lambda: BidirectionalGridLSTM(GridLSTM(2, 9, 3, 2), 0.5),
            "backward_offset must be a whole number, got 0.5",
        ),
    ],
)
def test_bad_arguments_are_value_errors(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
