"""Our cells inside of flax, and flax's cells inside of ours, against each on its own ground."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import GRU, LSTM, BasicRNN, Dropout, OutputProjection, Stack, unroll
from seqjax.interop import flax_linen
from seqjax.interop.linen import FromLinen, ToLinen

B, T, D, H = 3, 5, 2, 4
XS = jax.random.normal(jax.random.key(1), (B, T, D), jnp.float64)
LENGTHS = jnp.array([T, 2, 1])  # flax has no row of length 0
PADDING = np.arange(T)[None] >= np.asarray(LENGTHS)[:, None]
FLOAT64 = {"param_dtype": jnp.float64}


def close(actual, expected):
    compare = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)
    jax.tree.map(compare, actual, expected)


def run_flax(module, params):
    """Final carry and outputs, which flax leaves as they come in the padding."""
    rnn = nn.RNN(module, return_carry=True)
    carry, ys = rnn.apply({"params": {"cell": params}}, XS, seq_lengths=LENGTHS)
    return carry, jnp.where(PADDING[..., None], 0, ys)


@pytest.mark.parametrize(
    "cell",
    [
        Stack([GRU(3), LSTM(H)]),
        pytest.param(LSTM(H), marks=pytest.mark.slow),
        pytest.param(OutputProjection(BasicRNN(H), 2), marks=pytest.mark.slow),
    ],
)
def test_our_cells_run_in_flax(cell):
    params = cell.init(jax.random.key(0), D, jnp.float64)

    def ours(params):
        return unroll(cell, params, XS, lengths=LENGTHS)

    def theirs(params):
        return run_flax(ToLinen(cell, **FLOAT64), {"cell": params})

    close(jax.jit(theirs)(params), ours(params))
    close(*(jax.jit(jax.grad(lambda p, f=f: (f(p)[1] ** 2).sum()))(params) for f in (theirs, ours)))


def test_flax_draws_our_parameters():
    rnn = nn.RNN(ToLinen(GRU(H)))
    params = rnn.init(jax.random.key(0), XS.astype(jnp.float32))["params"]["cell"]["cell"]
    expected = GRU(H).init(jax.random.key(0), D)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, expected)
    assert type(params) is type(expected)


@pytest.mark.parametrize("split", [False, True])
def test_noise_in_flax_is_locked_unless_its_rng_is_split(split):
    cell = Dropout(BasicRNN(40, activation=lambda a: 0 * a + 1), output_rate=0.5)
    rnn = nn.RNN(ToLinen(cell, **FLOAT64), split_rngs={"params": False, "dropout": split})
    params = {"params": {"cell": {"cell": cell.init(jax.random.key(0), D, jnp.float64)}}}
    ys = jax.jit(rnn.apply)(params, XS, rngs={"dropout": jax.random.key(3)})
    assert {*np.unique(ys)} == {0.0, 2.0}
    assert (ys[:, :1] != ys).any() == split
    assert (rnn.apply(params, XS) == 1).all()


@pytest.mark.parametrize(
    ("module", "cell", "convert"),
    [
        (nn.SimpleCell(H, **FLOAT64), BasicRNN(H), flax_linen.from_simple),
        (nn.LSTMCell(H, **FLOAT64), LSTM(H), flax_linen.from_lstm),
        (nn.OptimizedLSTMCell(H, **FLOAT64), LSTM(H), flax_linen.from_lstm),
        (nn.GRUCell(H, **FLOAT64), GRU(H, reset_after=True), flax_linen.from_gru),
    ],
)
def test_flax_cells_run_in_unroll_and_equal_ours(module, cell, convert):
    wrapped = FromLinen(module, in_features=D)
    params = wrapped.init(jax.random.key(0), D, jnp.float64)
    params = jax.tree.map(lambda a: a + 0.1, params)  # no bias at zero
    assert wrapped.output_size == H
    expected = jax.jit(functools.partial(run_flax, module))(params)
    for method in ("scan", "static"):
        close(unroll(wrapped, params, XS, lengths=LENGTHS, method=method), expected)
    state, ys = unroll(cell, convert(params), XS, lengths=LENGTHS)
    close((jax.tree.leaves(state), ys), (jax.tree.leaves(expected[0]), expected[1]))


def test_flax_cells_stack_with_ours_and_have_gradients():
    module = nn.MGUCell(H, **FLOAT64)
    cell = Stack([LSTM(D), FromLinen(module, D), Dropout(FromLinen(module, H), input_rate=0.5)])
    params = cell.init(jax.random.key(0), D, jnp.float64)
    run = functools.partial(unroll, cell, xs=XS, lengths=LENGTHS, key=jax.random.key(2))
    grads = jax.jit(jax.grad(lambda p: (run(p)[1] ** 2).sum()))(params)
    assert all(leaf.any() for leaf in jax.tree.leaves(grads))
    assert hash(cell) == hash(Stack([*cell.layers]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FromLinen(GRU(H), D), "module must be a linen cell, got GRU"),
        (lambda: FromLinen(nn.GRUCell(H), 0), "FromLinen: in_features must be a whole number"),
        (
            lambda: FromLinen(nn.GRUCell(H), D).init(jax.random.key(0), 3),
            "input_size must equal in_features=2, got 3",
        ),
    ],
)
def test_what_does_not_fit_is_a_clear_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()
