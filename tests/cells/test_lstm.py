"""The LSTM and its variants: every option against plain NumPy, and each other where they meet."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import (
    GLSTM,
    LSTM,
    SLSTM,
    CoupledInputForgetGateLSTM,
    GridLSTM,
    IndRNN,
    IndyLSTM,
    Mogrifier,
    WeightNorm,
    unroll,
)
from seqjax.cells import LayerNorm, LSTMState
from seqjax.testing import close, randomise
from tests import oracle

B, T, D = 2, 4, 3
LENGTHS = [3, T]
INF = float("inf")


def make(cell, input_size=D):
    params = randomise(cell.init(jax.random.key(0), input_size, jnp.float64), 1)
    state = randomise(cell.initial_state((B,), jnp.float64), 2)
    xs = jnp.asarray(np.random.default_rng(3).normal(0, 1, (B, T, input_size)))
    return params, state, xs


def norm(x, gain, shift):
    deviation = x - x.mean()
    return gain * deviation / np.sqrt((deviation**2).mean() + 1e-12) + shift


def clip(x, bound):
    """Of the real part: `oracle.complex_step` differentiates by the imaginary one."""
    return np.where(np.abs(x.real) <= bound, x, bound * np.sign(x.real))


def step(params, state, x, cell_clip=INF, projection_clip=INF):
    c, h = state
    units = len(c)
    z = x @ params.input_kernel + h @ params.recurrent_kernel
    bias, gates = params.bias, len(z) // units
    if params.norm is None:
        z = np.split(z + bias, gates)
    else:
        gains = np.split(params.norm.gate_gain, gates)
        split = zip(np.split(z, gates), gains, np.split(bias, gates), strict=True)
        z = [norm(*gate) for gate in split]
    p_i, p_f, p_o = (0 if p is None else p for p in params.peepholes)
    f = oracle.sigmoid(z[-3] + p_f * c)
    i = oracle.sigmoid(z[0] + p_i * c) if gates == 4 else 1 - f
    c = f * c + i * np.tanh(z[-2])
    if params.norm is not None:
        c = norm(c, params.norm.memory_gain, params.norm.memory_shift)
    c = clip(c, cell_clip)
    h = oracle.sigmoid(z[-1] + p_o * c) * np.tanh(c)
    if params.projection_kernel is not None:
        h = clip(h @ params.projection_kernel, projection_clip)
    return [c, h], h


NORM = {"layer_norm": LayerNorm(0.9, 0.1)}
OPTIONS = {
    "none": {},
    "peepholes": {"peepholes": True},
    "cell_clip": {"cell_clip": 0.3},
    "projection": {"projection_size": 2, "projection_clip": 0.2},
    "layer_norm": NORM,
    "layer_norm peepholes": {**NORM, "peepholes": True},
    "all": {
        **NORM,
        "peepholes": True,
        "cell_clip": 0.8,
        "projection_size": 2,
        "projection_clip": 0.4,
    },
}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, id=name, marks=[pytest.mark.slow] * (name not in ("none", "all")))
        for name, options in OPTIONS.items()
    ],
)
@pytest.mark.parametrize(
    "cls", [LSTM, pytest.param(CoupledInputForgetGateLSTM, marks=pytest.mark.slow)]
)
def test_every_option_equals_a_plain_numpy_loop_in_value_and_gradient(cls, options):
    cell = cls(3, **options)
    args = make(cell)
    leaves, structure = jax.tree.flatten(args)
    leaves = [np.asarray(leaf) for leaf in leaves]
    bounds = {k: v for k, v in options.items() if k.endswith("clip")}
    plain_step = functools.partial(step, **bounds)
    rng = np.random.default_rng(4)
    cots = jax.tree.map(lambda a: rng.normal(size=a.shape), unroll(cell, args[0], args[2]))

    def plain(leaves):
        params, state, xs = jax.tree.unflatten(structure, leaves)
        mask = np.arange(T) < np.array(LENGTHS)[:, None]
        rows = []
        for row in range(B):
            first = [leaf[row] for leaf in state]
            states, ys = oracle.unroll([plain_step], [params], [first], xs[row], mask[row], False)
            rows.append([*states[0], ys])
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def plain_loss(leaves):
        outs = zip(jax.tree.leaves(cots), plain(leaves), strict=True)
        return sum((cot * out).sum() for cot, out in outs)

    @functools.partial(jax.grad, has_aux=True)
    def loss(args):
        params, state, xs = args
        out = unroll(cell, params, xs, lengths=jnp.array(LENGTHS), initial_state=state)
        return sum(jax.tree.leaves(jax.tree.map(lambda c, o: (c * o).sum(), cots, out))), out

    grads, out = loss(args)
    close(jax.tree.leaves(out), plain(leaves))
    close(jax.tree.leaves(grads), oracle.complex_step(plain_loss, leaves), 1e-10)


def test_recurrent_dropout_drops_candidates_and_scales_those_kept():
    cell = LSTM(64, recurrent_dropout=0.25)
    params, state, xs = make(cell)
    kept = cell.draw_noise(jax.random.key(5), (T, B), D)
    assert kept.mean() == pytest.approx(0.75, abs=0.05)
    assert (kept[0] != kept[1]).any()
    final, _ = cell.step(params, state, cell.project(params, xs[:, 0], kept[0]))
    zero = cell.step(params, state, cell.project(params, xs[:, 0], jnp.zeros_like(kept[0])))[0]
    whole, _ = cell.step(params, state, cell.project(params, xs[:, 0]))
    close(final.c - zero.c, jnp.where(kept[0], (whole.c - zero.c) / 0.75, 0))
    assert LSTM(4).draw_noise(jax.random.key(5), (T, B), D) is None


@pytest.mark.parametrize("straight_through", [False, True])
def test_straight_through_is_about_the_gradient_of_the_memory_only(straight_through):
    cell = LSTM(2, cell_clip=0.5, straight_through=straight_through)
    params, _, xs = make(cell)
    z = cell.project(params, xs[0, 0])

    def memory(c):
        return cell.step(params, LSTMState(c, jnp.zeros(2)), z)[0].c

    start = jnp.array([30.0, -0.01])  # one far beyond the clip, one within
    c, grad = memory(start), jax.jacobian(memory)(start)
    assert c[0] == 0.5
    assert abs(c[1]) < 0.5
    assert (grad[0, 0] != 0) == straight_through
    assert grad[1, 1] != 0


def test_initial_values_open_the_memory_and_follow_the_layer_norm():
    params = LSTM(2, forget_bias=3.0, peepholes=True).init(jax.random.key(0), D)
    close(params.bias, np.array([0, 0, 3, 3, 0, 0, 0, 0]))
    close(params.peepholes, jax.tree.map(np.zeros_like, params.peepholes))
    layer_norm = LayerNorm(gain=0.5, shift=0.25)
    cell = CoupledInputForgetGateLSTM(2, layer_norm=layer_norm, peepholes=True)
    params = cell.init(jax.random.key(0), D)
    close(params.bias, np.array([1.25, 1.25, 0.25, 0.25, 0.25, 0.25]))
    close(params.norm.gate_gain, np.full(6, 0.5))
    close(params.norm.memory_gain, np.full(2, 0.5))
    close(params.norm.memory_shift, np.full(2, 0.25))
    assert params.peepholes.i is None
    kernel = LSTM(6, projection_size=4).init(jax.random.key(0), D).recurrent_kernel
    close(kernel[:, :6] @ kernel[:, :6].T, np.eye(4), 1e-5)


def test_indy_lstm_is_the_lstm_with_diagonal_recurrent_kernels():
    params, state, xs = make(IndyLSTM(4, peepholes=True))
    gates = jnp.split(params.recurrent_kernel, 4)
    dense = params._replace(recurrent_kernel=jnp.concatenate([jnp.diag(u) for u in gates], 1))
    expected = unroll(LSTM(4, peepholes=True), dense, xs, initial_state=state)
    close(unroll(IndyLSTM(4, peepholes=True), params, xs, initial_state=state), expected)


def test_group_lstm_is_an_lstm_for_each_group():
    groups, units = 2, 3
    cell = GLSTM(groups * units, groups=groups)
    params, state, xs = make(cell, 8)
    out = unroll(cell, params, xs, initial_state=state)

    def part(tree, group, parts=1):
        """The group's share of the last axis, in each of its equal parts."""

        def one(a):
            shares = a.reshape(*a.shape[:-1], parts, groups, -1)[..., group, :]
            return shares.reshape(*a.shape[:-1], -1)

        return jax.tree.map(one, tree)

    for n in range(groups):
        own = unroll(LSTM(units), part(params, n, 4), part(xs, n), initial_state=part(state, n))
        close(own, part(out, n))


def test_one_group_is_an_lstm_whose_candidate_is_tanh():
    cell = GLSTM(4, activation=jax.nn.relu)
    params, state, xs = make(cell)
    run = functools.partial(unroll, params=params, xs=xs, initial_state=state)
    close(run(GLSTM(4)), run(LSTM(4)))
    z = cell.project(params, xs[:, 0])
    relu, tanh = cell.step(params, state, z)[0], LSTM(4).step(params, state, z)[0]
    close(relu.c, tanh.c)
    assert (relu.h != tanh.h).any()


def test_weight_norm_starts_as_the_cell_and_sees_directions_only():
    inside = LSTM(4, peepholes=True, projection_size=3)
    cell = WeightNorm(inside)
    params = cell.init(jax.random.key(0), D, jnp.float64)
    xs = make(inside)[2]
    close(unroll(cell, params, xs), unroll(inside, params.cell, xs))
    assert params.gains.bias is None
    assert params.gains.projection_kernel.shape == (3,)
    longer = params.cell._replace(recurrent_kernel=7 * params.cell.recurrent_kernel)
    close(unroll(cell, params._replace(cell=longer), xs), unroll(cell, params, xs))
    gains = params.gains._replace(recurrent_kernel=7 * params.gains.recurrent_kernel)
    close(unroll(cell, params._replace(gains=gains), xs), unroll(inside, longer, xs))


BAD = [
    (lambda: LSTM(0), "LSTM: units must be a whole number of at least 1, got 0"),
    (lambda: LSTM(4, projection_size=2.5), "LSTM: projection_size must be a whole number"),
    (lambda: LSTM(4, cell_clip=0), "LSTM: cell_clip must be a number above 0, or None"),
    (lambda: LSTM(4, projection_size=2, projection_clip=-1.0), "projection_clip must be a number"),
    (lambda: LSTM(4, projection_clip=1.0), "projection_clip=1.0 does nothing without projection_"),
    (lambda: LSTM(4, straight_through=True), "straight_through=True does nothing without cell_"),
    (lambda: LSTM(4, layer_norm=True), r"layer_norm must be a LayerNorm, such as LayerNorm\(\)"),
    (lambda: LSTM(4, recurrent_dropout=1.0), "recurrent_dropout must be a probability in"),
    (lambda: LSTM(4).init(jax.random.key(0), 0), "LSTM: input_size must be a whole number"),
    (lambda: CoupledInputForgetGateLSTM(0), "CoupledInputForgetGateLSTM: units must be"),
    (
        lambda: IndyLSTM(4, projection_size=2),
        "projection_size must be None, .* got 2; wrap the cell",
    ),
    (lambda: GLSTM(4, groups=0), "GLSTM: groups must be a whole number"),
    (lambda: GLSTM(4, groups=3), "GLSTM: units must be a multiple of groups=3, got 4"),
    (lambda: GLSTM(4, groups=2, projection_size=3), "output_size must be a multiple of groups=2"),
    (lambda: GLSTM(4, groups=2).init(jax.random.key(0), 5), "input_size must be a multiple of"),
    (
        lambda: unroll(GLSTM(4), GLSTM(4).init(jax.random.key(0), 5), jnp.array([[1, 2]])),
        r"GLSTM: inputs must be features, .* got tokens of shape \(1, 2\)",
    ),
    (lambda: WeightNorm(4), "WeightNorm: cell must be a cell, got 4"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_what_does_not_fit_is_refused_with_what_was_given_and_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_weight_norm_measures_each_column_of_each_block_and_no_diagonal():
    gains = WeightNorm(SLSTM(4, heads=2)).init(jax.random.key(0), 3).gains
    assert gains.recurrent_kernel.shape == (16,)
    assert WeightNorm(IndRNN(4)).init(jax.random.key(0), 3).gains.recurrent_kernel is None
    gains = WeightNorm(Mogrifier(LSTM(4), rounds=1)).init(jax.random.key(0), 3).gains
    assert gains.kernels[0][0].shape == (3,)


def test_other_frequencies_move_the_default_block_of_a_grid():
    cell = dataclasses.replace(GridLSTM(4, 8, 2, 2), frequencies=12)
    assert cell == GridLSTM(4, 12, 2, 2)
    assert cell.output_size == 2 * 4 * 6
