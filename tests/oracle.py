"""Recurrent networks as plain NumPy loops, written from the papers and from nothing of ours.

Everything works on complex numbers too, so that `complex_step` differentiates it to the last digit.
"""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rnn_step(params, state, x):
    w_x, w_h, b = params
    h = np.tanh(x @ w_x + state[0] @ w_h + b)
    return [h], h


def gru_step(params, state, x):
    w, gates, candidate, b, *after = params
    h, units = state[0], len(candidate)
    zx = x @ w + b
    zh = h @ gates
    r = sigmoid(zx[:units] + zh[:units])
    u = sigmoid(zx[units : 2 * units] + zh[units:])
    inner = r * (h @ candidate + after[0]) if after else (r * h) @ candidate
    h = u * h + (1 - u) * np.tanh(zx[2 * units :] + inner)
    return [h], h


def lstm_step(params, state, x):
    w_x, w_h, b = params
    c, h = state
    i, f, g, o = np.split(x @ w_x + h @ w_h + b, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return [c, h], h


def unroll(steps, params, states, xs, mask, reverse):
    """One row: xs [T, D], mask [T], and a step, parameters and a state for each layer."""
    states = [list(state) for state in states]
    ys = [None] * len(xs)
    order = reversed(range(len(xs))) if reverse else range(len(xs))
    for t in order:
        y = xs[t]
        for n, step in enumerate(steps):
            new, y = step(params[n], states[n], y)
            if mask[t]:
                states[n] = new
        ys[t] = y if mask[t] else np.zeros_like(y)
    return states, np.stack(ys)


def complex_step(function, arrays):
    """Exact gradient of a real function of a list of arrays, by the complex-step derivative."""
    grads = []
    for n, array in enumerate(arrays):
        grad = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            moved = [a.astype(complex) for a in arrays]
            moved[n][index] += 1e-30j
            grad[index] = function(moved).imag / 1e-30
        grads.append(grad)
    return grads
