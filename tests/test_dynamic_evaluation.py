"""Dynamic evaluation: against a NumPy loop, causal, and with nothing to gain where nothing is."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import seqjax
from seqjax.dynamic_evaluation import mean_squared_gradient, rms, sgd
from seqjax.testing import close
from seqjax.training import init_train_state, train_steps
from seqjax.truncation import chunks
from tests.drawn import params_of

V = 5
MODEL = seqjax.LanguageModel(seqjax.GRU(8), V)
PARAMS = params_of(MODEL, V)
TOKENS = np.random.default_rng(1).integers(0, V, (1, 61))
START = MODEL.initial_state((1,), jnp.float64)


def loss_fn(params, carry, batch):
    carry, logits = seqjax.unroll(MODEL, params, batch["xs"], initial_state=carry)
    return seqjax.sequence_loss(logits, batch["ys"]), carry


def chunks_of(tokens, num_steps=10):
    streams = {"xs": jnp.asarray(tokens[:, :-1]), "ys": jnp.asarray(tokens[:, 1:])}
    return chunks(streams, num_steps)


def run(rule, tokens, params=PARAMS):
    state = init_train_state(params, rule, START)
    return train_steps(loss_fn, rule, state, chunks_of(tokens))


def numpy_run(tokens, rates, decays):
    """The rule as a loop over chunks."""
    params, carry, losses = PARAMS, START, []
    for n in range(6):
        chunk = jax.tree.map(lambda a, n=n: a[n], chunks_of(tokens))
        (loss, carry), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, carry, chunk)
        losses.append(float(loss))
        params = jax.tree.map(
            lambda p, g, start, rate, decay: p - rate * np.asarray(g) + decay * (start - p),
            params, grads, PARAMS, rates, decays,
        )  # fmt: skip
        params = jax.tree.map(jnp.asarray, params)
    return params, np.array(losses)


def everywhere(value):
    return jax.tree.map(lambda p: np.full(p.shape, value), PARAMS)


def test_gradient_descent_equals_a_numpy_loop():
    state, losses = run(sgd(0.3, decay=0.05), TOKENS)
    params, expected = numpy_run(TOKENS, everywhere(0.3), everywhere(0.05))
    close(losses, expected, 1e-12)
    close(state.params, params, 1e-12)


def test_rms_equals_a_numpy_loop_with_statistics_of_a_loop():
    text = chunks_of(np.random.default_rng(2).integers(0, V, (1, 81)))
    found = mean_squared_gradient(loss_fn, PARAMS, START, text)
    squares, carry = [], START
    for n in range(8):
        chunk = jax.tree.map(lambda a, n=n: a[n], text)
        grads, carry = jax.grad(loss_fn, has_aux=True)(PARAMS, carry, chunk)
        squares.append(jax.tree.map(np.square, grads))
    expected = jax.tree.map(lambda *s: np.mean(s, axis=0), *squares)
    close(found, expected, 1e-12)
    roots = jax.tree.map(np.sqrt, expected)
    mean = np.mean(np.concatenate([r.ravel() for r in jax.tree.leaves(roots)]))
    rates = jax.tree.map(lambda r: 0.01 / (r + 1e-8), roots)
    decays = jax.tree.map(lambda r: np.minimum(0.5 * r / mean, 1), roots)
    assert any((d == 1).any() for d in jax.tree.leaves(decays))
    state, losses = run(rms(found, 0.01, decay=0.5), TOKENS)
    params, values = numpy_run(TOKENS, rates, decays)
    close(losses, values, 1e-12)
    close(state.params, params, 1e-12)


@pytest.mark.parametrize("chunk", [0, 2, 5])
def test_a_score_depends_on_earlier_characters_only(chunk):
    rule = sgd(0.5, decay=0.01)
    _, losses = run(rule, TOKENS)
    other = TOKENS.copy()
    other[:, chunk * 10 + 1 :] = (other[:, chunk * 10 + 1 :] + 1) % V
    _, changed = run(rule, other)
    np.testing.assert_array_equal(changed[:chunk], losses[:chunk])
    assert changed[chunk] != losses[chunk]


def test_without_a_learning_rate_it_is_static_evaluation():
    _, losses = run(sgd(0.0, decay=0.3), TOKENS)
    tokens = jnp.asarray(TOKENS)
    _, logits = seqjax.unroll(MODEL, PARAMS, tokens[:, :-1])
    each = seqjax.sequence_loss(logits, tokens[:, 1:], average_over_time=False)
    close(losses, each.reshape(6, 10).mean(1), 1e-12)


def test_it_gains_on_a_text_that_repeats_itself_and_nothing_on_text_of_the_model():
    repeated = np.tile([0, 3, 1, 1, 4], 121)[None, :601]
    start = seqjax.sampling.prime(MODEL, PARAMS, jnp.zeros((1, 1), jnp.int32))
    _, own = seqjax.sampling.generate(MODEL, PARAMS, start, jax.random.key(3), 6000)
    own = np.concatenate([np.zeros((1, 1), int), own], 1)
    static, dynamic = sgd(0.0), sgd(0.1, decay=1e-3)
    gains = []
    for text in (repeated, own):
        (_, before), (_, after) = (run(rule, text) for rule in (static, dynamic))
        gains.append(float(before.mean() - after.mean()))
    assert gains[0] > 0.1
    assert gains[1] < 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sgd(-1.0), "learning_rate must lie in [0, 1.797"),
        (lambda: sgd(1.0, decay=1.5), "decay must lie in [0, 1.0], got 1.5"),
        (lambda: rms(PARAMS, 1.0, epsilon=0.0), "epsilon must be above 0, got 0.0"),
        (lambda: rms((), 1.0), "statistics must hold at least one array"),
        (lambda: rms(jnp.ones(3), 1.0).init(jnp.ones(2)), "statistics must have the shapes"),
        (lambda: sgd(1.0).update(jnp.ones(2), sgd(1.0).init(jnp.ones(2))), "needs the parameters"),
        (lambda: mean_squared_gradient(3, PARAMS, None, jnp.ones(2)), "must be a function, got 3"),
        (lambda: mean_squared_gradient(loss_fn, PARAMS, None, ()), "arrays [K, ...] with one K"),
    ],
)
def test_bad_arguments_are_value_errors(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_the_rules_work_in_a_chain():
    rule = optax.chain(optax.clip_by_global_norm(0.1), sgd(0.3, decay=0.05))
    _, losses = run(rule, TOKENS)
    assert np.isfinite(losses).all()
