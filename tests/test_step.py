"""One public step: the numbers of `unroll`, and clear errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import GRU, LSTM, Dropout, Reset, Stack, step, unroll
from seqjax.wrappers import ResetInputs
from tests.drawn import params_of

B, T, D = 3, 5, 2
CELL = Stack([LSTM(4), GRU(3)])
PARAMS = params_of(CELL, D)
XS = jax.random.normal(jax.random.key(1), (T, B, D), jnp.float64)


def close(actual, expected):
    compare = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)
    jax.tree.map(compare, actual, expected)


def test_steps_with_starts_are_one_unroll_with_resets():
    starts = np.random.default_rng(0).random((T, B)) < 0.4
    state, ys = None, []
    for x, start in zip(XS, starts, strict=True):
        state, y = step(CELL, PARAMS, state, x, start=start)
        ys.append(y)
    inputs = ResetInputs(jnp.asarray(starts), XS)
    close((state, jnp.stack(ys)), unroll(Reset(CELL), PARAMS, inputs, time_major=True))


@pytest.mark.parametrize("batch", [(), (3,), (1, 3)])
def test_one_example_or_any_batch(batch):
    x = XS[0, 0] if not batch else XS[0].reshape(*batch, D)
    state, y = step(CELL, PARAMS, None, x)
    assert y.shape == (*batch, 3)
    close(step(CELL, PARAMS, CELL.initial_state(batch, jnp.float64), x), (state, y))


def test_tokens_and_jit_and_vmap():
    tokens = jnp.array([0, 1, 1])
    expected = step(CELL, PARAMS, None, jax.nn.one_hot(tokens, D, dtype=jnp.float64))
    close(step(CELL, PARAMS, None, tokens), expected)
    close(jax.jit(functools.partial(step, CELL))(PARAMS, None, tokens), expected)
    close(jax.vmap(lambda token: step(CELL, PARAMS, None, token))(tokens), expected)


def test_noise_follows_the_key():
    cell = Dropout(GRU(3), input_rate=0.5)
    params = cell.init(jax.random.key(0), D, jnp.float64)
    run = functools.partial(step, cell, params, None, XS[0])
    loud, again, other = (run(key=jax.random.key(n))[1] for n in (0, 0, 1))
    close(loud, again)
    assert (loud != other).any()
    assert (loud != run(deterministic=True)[1]).any()


def test_equal_cells_compile_once():
    from seqjax.engine.step import _step

    _step.clear_cache()
    for _ in range(2):
        step(Stack([LSTM(4), GRU(3)]), PARAMS, None, XS[0])
    assert _step._cache_size() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": LSTM}, "cell must be a seqjax cell"),
        ({"x": XS[0, :, :1]}, "these parameters are for 2 input features"),
        ({"x": jnp.array([0, 1, 2])}, r"x must lie in \[0, 1\], the vocabulary, got 2 at index 2"),
        ({"x": jnp.array(7)}, r"x must lie in \[0, 1\], the vocabulary, got 7"),
        ({"x": XS[0] > 0}, "xs must hold floats or integer tokens"),
        ({"state": CELL.initial_state((2,), jnp.float64)}, "must be float64 of shape"),
        ({"state": CELL.initial_state((B,), jnp.float32)}, "must be float64 of shape"),
        ({"state": CELL.initial_state((B,), jnp.float64)[:1]}, "state must have the structure"),
        ({"start": jnp.zeros(2, bool)}, r"start must be bool of shape \(3,\)"),
        ({"start": jnp.zeros(B)}, r"start must be bool of shape \(3,\)"),
        ({"params": PARAMS[:1]}, "params must"),
        ({"key": 1}, "key must be one key"),
    ],
)
def test_bad_input_is_a_clear_error(changes, message):
    arguments = {"cell": CELL, "params": PARAMS, "state": None, "x": XS[0], **changes}
    with pytest.raises(ValueError, match=message):
        step(**arguments)
