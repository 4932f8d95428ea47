"""`unroll` with ``remat``: the same numbers from less memory."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import (
    GRU,
    LSTM,
    Bidirectional,
    Cell,
    Dropout,
    LanguageModel,
    MinGRU,
    Stack,
    unroll,
)

B, T, D, H = 2, 7, 3, 4
CELLS = {
    "noisy stack": Stack([Dropout(LSTM(H), 0.3, 0.3, 0.3, locked=True), Dropout(GRU(H), 0.5)]),
    "linear": MinGRU(H),
}


def inputs(cell: Cell):
    params = cell.init(jax.random.key(0), D, jnp.float64)
    return params, jax.random.normal(jax.random.key(1), (B, T, D), jnp.float64)


def close(tree, expected, tolerance):
    compare = functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance)
    jax.tree.map(compare, tree, expected)


@pytest.mark.parametrize(
    ("method", "masked"),
    [
        ("auto", True),
        *(
            pytest.param(method, masked, marks=pytest.mark.slow)
            for method, masked in (("auto", False), ("scan", False), ("scan", True))
        ),
    ],
)
@pytest.mark.parametrize("name", [pytest.param("noisy stack", marks=pytest.mark.slow), "linear"])
def test_changes_no_value_and_no_gradient(name, masked, method):
    cell = CELLS[name]
    params, xs = inputs(cell)
    lengths = jnp.array([7, 2]) if masked else None

    def loss(params, xs, **options):
        state, ys = unroll(
            cell, params, xs, lengths=lengths, key=jax.random.key(2), reverse=masked,
            method=method, **options,
        )  # fmt: skip
        return (ys**2).sum() + sum(leaf.sum() for leaf in jax.tree.leaves(state)), (state, ys)

    def gradient(**options):
        of = functools.partial(loss, **options)
        return jax.jit(jax.grad(of, argnums=(0, 1), has_aux=True))(params, xs)

    expected = gradient()
    for size in (1, 3, 7, 100):  # 3 leaves a last chunk of one step
        close(gradient(remat=size), expected, 1e-12)


def test_time_major_and_both_directions():
    cell = LSTM(H)
    both = Bidirectional(cell, cell)
    params, xs = inputs(both)
    run = functools.partial(unroll, both, params)
    expected = run(xs)
    close(run(xs, remat=2), expected, 1e-12)
    xs = jnp.moveaxis(xs, 1, 0)
    state, ys = run(xs, remat=2, time_major=True)
    close((state, jax.tree.map(lambda y: jnp.moveaxis(y, 0, 1), ys)), expected, 1e-12)


@pytest.mark.parametrize("method", ["auto", "scan"])
def test_a_step_of_training_takes_less_memory(method):
    steps = 400
    model = LanguageModel(Stack([LSTM(32)] * 2), 11)
    params = model.init(jax.random.key(0), 11)
    tokens = jnp.zeros((4, steps), jnp.int32)

    def loss(params, remat):
        return unroll(model, params, tokens, method=method, remat=remat)[1].sum()

    def temporary_bytes(remat):
        compiled = jax.jit(jax.grad(loss), static_argnums=1).lower(params, remat).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    whole, chunks = temporary_bytes(None), temporary_bytes(math.isqrt(steps))
    assert chunks < whole / 4


def test_a_chunk_of_no_steps_is_an_error():
    cell = LSTM(H)
    with pytest.raises(ValueError, match="remat must be a whole number of at least 1, got 0"):
        unroll(cell, *inputs(cell), remat=0)
