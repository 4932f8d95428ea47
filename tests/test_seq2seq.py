"""Encoder-decoder models: the parts that they are made of, padding, and bad arguments."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqjax
from seqjax import (
    GRU,
    LSTM,
    MLSTM,
    Bidirectional,
    ContextAttention,
    Dropout,
    InputProjection,
    LanguageModel,
    Stack,
)
from seqjax.attention import General
from seqjax.seq2seq import EncoderDecoder, shift_right
from seqjax.testing import close, randomise

B, S, T, V, W = 3, 5, 4, 6, 7
ENCODER = InputProjection(Bidirectional(LSTM(3), GRU(2)), 4)
PLAIN = LanguageModel(Stack([LSTM(4), GRU(3)]), V, embedding_size=3)
ATTENDING = LanguageModel(
    ContextAttention(Stack([LSTM(4), GRU(3)]), General(), memory_size=5, size=3), V, 3
)
SOURCE = jax.random.randint(jax.random.key(1), (B, S), 0, W)
TARGETS = jax.random.randint(jax.random.key(2), (B, T), 0, V)
N, M = jnp.array([5, 2, 0]), jnp.array([4, 3, 1])


def make(decoder, **options):
    model = EncoderDecoder(ENCODER, decoder, **options)
    return model, randomise(model.init(jax.random.key(0), W, jnp.float64), 3)


def test_logits_equal_those_of_encoder_bridge_and_decoder():
    model, params = make(ATTENDING)
    inputs = shift_right(TARGETS, start=0)
    logits = model.logits(params, SOURCE, inputs, source_lengths=N, target_lengths=M)
    final, memory = seqjax.unroll(ENCODER, params.encoder, SOURCE, lengths=N)
    ends = np.concatenate([final.forward.c, final.forward.h, final.backward.h], -1)
    bound = seqjax.with_context(ATTENDING, params.decoder, memory, lengths=N)
    state = ATTENDING.first_state(bound, (B,), jnp.float64)
    c, h, top = (ends @ np.asarray(kernel) + np.asarray(bias) for kernel, bias in params.bridge)
    lstm, gru = state.cell
    state = state._replace(cell=(lstm._replace(c=c, h=jnp.tanh(h)), gru._replace(h=jnp.tanh(top))))
    _, expected = seqjax.unroll(ATTENDING, bound, inputs, lengths=M, initial_state=state)
    close(logits, expected, 1e-12)


@pytest.mark.parametrize(
    ("decoder", "bridge"),
    [
        (ATTENDING, True),
        pytest.param(ATTENDING, False, marks=pytest.mark.slow),
        (PLAIN, True),
    ],
)
def test_a_row_alone_gives_the_same_logits_and_padding_does_not_matter(decoder, bridge):
    model, params = make(decoder, bridge=bridge)
    inputs = shift_right(TARGETS, start=0)
    run = jax.jit(
        lambda source, inputs, n, m: model.logits(
            params, source, inputs, source_lengths=n, target_lengths=m
        )
    )
    logits = run(SOURCE, inputs, N, M)
    for row in range(B):
        n, m = max(int(N[row]), 1), int(M[row])
        alone = run(SOURCE[row, :n][None], inputs[row, :m][None], N[row : row + 1], M[row][None])
        close(logits[row, :m], alone[0], 1e-12)
    source = SOURCE.at[1, 2:].set(1)
    close(run(source, inputs, N, M), logits, 0)


@pytest.mark.slow
def test_every_parameter_has_a_gradient_and_the_source_matters():
    for decoder in (ATTENDING, PLAIN):
        model, params = make(decoder)

        def loss(params, source, model=model):
            logits = model.logits(params, source, shift_right(TARGETS, 0))
            return seqjax.sequence_loss(logits, TARGETS)

        value, grads = jax.value_and_grad(loss)(params, SOURCE)
        assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(grads))
        assert value != loss(params, (SOURCE + 1) % W)


def test_noise_needs_a_key_in_training_and_none_in_evaluation():
    noisy = LanguageModel(Dropout(GRU(3), 0.5), V, embedding_size=3)
    model = EncoderDecoder(Dropout(GRU(3), 0.5), noisy)
    params = model.init(jax.random.key(0), W)
    source = jax.nn.one_hot(SOURCE, W, dtype=jnp.float32)
    inputs = shift_right(TARGETS, 0)
    with pytest.raises(ValueError, match="draws noise"):
        model.logits(params, source, inputs)
    first, again, other = (
        model.logits(params, source, inputs, key=jax.random.key(n)) for n in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    model.logits(params, source, inputs, deterministic=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EncoderDecoder(3, PLAIN), "cell must be a seqjax cell"),
        (lambda: EncoderDecoder(ENCODER, PLAIN, bridge=False), "would not see the source"),
        (lambda: EncoderDecoder(ENCODER, PLAIN, bridge=1), "bridge must be"),
        (lambda: EncoderDecoder(ENCODER, Bidirectional(GRU(2), GRU(2))), "cannot run step by step"),
        (
            lambda: EncoderDecoder(MLSTM(4), PLAIN),
            "the state of the encoder has neither hidden vectors nor memories",
        ),
        (
            lambda: make(PLAIN)[0].logits({}, SOURCE, TARGETS),
            "params must be EncoderDecoderParams from EncoderDecoder.init, got a dict",
        ),
        (lambda: shift_right(jnp.ones((2, 3), jnp.float32), 0), "targets must be integers [B, T]"),
    ],
)
def test_bad_arguments_are_value_errors(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
