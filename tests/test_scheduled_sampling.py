"""Scheduled sampling: against teacher forcing and a Python loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax import (
    GRU,
    LSTM,
    Bidirectional,
    ContextAttention,
    Dropout,
    LanguageModel,
    WithState,
    sequence_loss,
    step,
    unroll,
    with_context,
)
from seqjax.attention import Additive
from seqjax.decoding import decode, inverse_sigmoid_schedule, scheduled_sampling
from seqjax.decoding.scheduled import _scheduled_sampling
from seqjax.sampling import Sampling, draw
from seqjax.testing import close
from tests.drawn import params_of

V, T = 5, 6
MODEL = LanguageModel(
    ContextAttention(LSTM(4), Additive(3), memory_size=3, size=4), V, embedding_size=2
)
UNBOUND = params_of(MODEL, V)
MEMORY = jax.random.normal(jax.random.key(2), (3, 4, 3), jnp.float64)
SOURCES = np.array([4, 2, 0])
PARAMS = with_context(MODEL, UNBOUND, MEMORY, lengths=SOURCES)
TOKENS = np.random.default_rng(0).integers(0, V, (3, T)).astype(np.int32)
LENGTHS = np.array([6, 3, 0])
KEY = jax.random.key(3)
GREEDY = Sampling(temperature=0.0)


def run(probability, tokens=TOKENS, sampling=GREEDY, **options):
    return scheduled_sampling(MODEL, PARAMS, tokens, KEY, probability, sampling=sampling, **options)


def test_a_probability_of_0_is_teacher_forcing():
    for options in ({}, {"lengths": LENGTHS}):
        close(run(0.0, **options), unroll(MODEL, PARAMS, TOKENS, **options), 1e-10)
    state, _ = unroll(MODEL, PARAMS, TOKENS[:, :2])
    close(
        run(0.0, TOKENS[:, 2:], state=state),
        unroll(MODEL, PARAMS, TOKENS[:, 2:], initial_state=state),
        1e-10,
    )


def test_a_probability_of_1_reads_its_own_outputs():
    _, logits = run(1.0)
    own = logits.argmax(-1).astype(jnp.int32)
    inputs = jnp.concatenate([TOKENS[:, :1], own[:, :-1]], 1)
    close(run(1.0), unroll(MODEL, PARAMS, inputs), 1e-10)
    decoded = decode(MODEL, PARAMS, TOKENS[:, 0], end=0, max_length=T)
    for row in range(3):
        count = int(decoded.lengths[row]) + 1
        np.testing.assert_array_equal(own[row, :count], decoded.tokens[row, :count])


def test_draws_equal_a_python_loop():
    sampling = Sampling(temperature=0.8)
    _, logits = run(0.5, sampling=sampling)
    _, draw_key = jax.random.split(KEY)
    state, drawn, replaced = None, None, 0
    for t in range(T):
        flip_key, key = jax.random.split(jax.random.fold_in(draw_key, t))
        flips = jax.random.uniform(flip_key, (3,), jnp.float32) < 0.5
        token = TOKENS[:, t] if t == 0 else np.where(flips, drawn, TOKENS[:, t])
        state, expected = step(MODEL, PARAMS, state, token)
        close(logits[:, t], expected, 1e-10)
        drawn = draw(key, expected, sampling)
        replaced += int(flips.sum()) if t else 0
    assert 3 <= replaced <= 12  # of 15


def test_the_share_of_replaced_inputs_is_the_probability():
    model = LanguageModel(GRU(1), 3)
    params = model.init(jax.random.key(0), 3)
    # the model always draws 2, so the state after a step shows which token it read
    params = params._replace(readout_bias=jnp.array([0.0, 0.0, 99.0], jnp.float32))
    tokens = np.zeros((200, 30), np.int32)
    state = WithState(model)
    states = unroll(state, params, np.array([[0, 0], [0, 2]]))[1].state.h[:, 1, 0]
    step_of = scheduled_sampling(model, params, tokens[:, :2], KEY, 0.3)[0].h[:, 0]
    share = float((jnp.abs(step_of - states[1]) < jnp.abs(step_of - states[0])).mean())
    assert abs(share - 0.3) < 0.1


@pytest.mark.slow
def test_gradients_equal_those_with_the_drawn_inputs_fixed():
    targets = np.roll(TOKENS, -1, 1)

    def loss(params, memory, forward):
        bound = with_context(MODEL, params, memory, lengths=SOURCES)
        return sequence_loss(forward(bound)[1], targets, lengths=LENGTHS)

    def own(bound):
        return scheduled_sampling(MODEL, bound, TOKENS, KEY, 1.0, lengths=LENGTHS, sampling=GREEDY)

    drawn = own(PARAMS)[1].argmax(-1).astype(jnp.int32)
    inputs = jnp.concatenate([TOKENS[:, :1], drawn[:, :-1]], 1)
    expected = jax.grad(loss, (0, 1))(
        UNBOUND, MEMORY, lambda bound: unroll(MODEL, bound, inputs, lengths=LENGTHS)
    )
    close(jax.grad(loss, (0, 1))(UNBOUND, MEMORY, own), expected, 1e-10)


def test_padding_is_inert():
    garbage = np.where(np.arange(T) < LENGTHS[:, None], TOKENS, 10**6).astype(np.int32)
    close(run(0.5, garbage, lengths=LENGTHS), run(0.5, lengths=LENGTHS), 0)
    state, logits = run(0.5, lengths=LENGTHS)
    assert (logits[1, 3:] == 0).all()
    assert (logits[2] == 0).all()
    first = MODEL.first_state(PARAMS, (3,), jnp.float64)
    close(*jax.tree.map(lambda a: a[2], (state, first)))


def test_new_probabilities_do_not_compile_a_new_program():
    run(0.25)
    before = _scheduled_sampling._cache_size()
    schedule = inverse_sigmoid_schedule(10.0)
    for probability in (0, 0.5, np.float64(1.0), schedule(3), jnp.asarray(0.1, jnp.float32)):
        run(probability)
    assert _scheduled_sampling._cache_size() == before
    under_jit = jax.jit(lambda count: run(schedule(count)))
    close(under_jit(7), run(schedule(7)), 1e-10)


def test_noisy_layers_draw_noise():
    model = LanguageModel(Dropout(GRU(4), 0.5), V, embedding_size=3)
    params = model.init(jax.random.key(0), V)
    noise_key, _ = jax.random.split(KEY)
    _, logits = scheduled_sampling(model, params, TOKENS, KEY, 0.0)
    close(logits, unroll(model, params, TOKENS, key=noise_key)[1], 1e-6)


def test_schedules():
    schedule = inverse_sigmoid_schedule(50.0)
    steps = np.arange(0, 1000, 37)
    expected = 1 - 50 / (50 + np.exp(steps / 50))
    np.testing.assert_allclose([schedule(s) for s in steps], expected, rtol=1e-5)
    assert schedule(10**9) == 1
    count = optax.scale_by_schedule(schedule).init(None).count
    assert schedule(count).dtype == jnp.float32
    for k in (0.5, float("inf"), "fast"):
        with pytest.raises(ValueError, match="inverse_sigmoid_schedule: k must be"):
            inverse_sigmoid_schedule(k)


BOTH = Bidirectional(GRU(2), GRU(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": BOTH, "params": BOTH.init(jax.random.key(0), V)}, "cannot run step by step"),
        ({"model": WithState(MODEL)}, "must be one array of logits"),
        ({"params": UNBOUND}, "the parameters hold no context"),
        ({"tokens": TOKENS[:2]}, r"context of params has the batch axes \(3,\)"),
        ({"tokens": TOKENS * 1.0}, r"tokens must be integers \[B, T\], got float64"),
        ({"tokens": TOKENS + 1}, r"tokens must lie in \[0, 4\], the vocabulary, got 5"),
        ({"tokens": TOKENS[:0]}, "batch must not be empty"),
        ({"key": 0}, "key must be one key"),
        ({"probability": 1.5}, r"probability must lie in \[0, 1\], got 1.5"),
        ({"probability": float("nan")}, "probability must lie in"),
        ({"probability": [0.5]}, r"probability must be a number .* of shape \(1,\)"),
        ({"probability": True}, "probability must be a number"),
        ({"lengths": [7, 0, 0]}, r"lengths must lie in \[0, 6\]"),
        ({"state": MODEL.first_state(PARAMS, (3,))}, "must be float64"),
        ({"sampling": None}, "sampling must be a Sampling"),
    ],
)
def test_arguments_that_do_not_fit_are_value_errors(changes, message):
    arguments = {
        "model": MODEL, "params": PARAMS, "tokens": TOKENS, "key": KEY, "probability": 0.5
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        scheduled_sampling(**(arguments | changes))
