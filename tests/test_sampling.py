"""Sampling: against plain NumPy, and independent of how it is cut into calls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import GRU, LSTM, Dropout, LanguageModel, Stack, unroll
from seqjax.sampling import Sampling, draw, generate, prime

V = 5
MODEL = LanguageModel(Stack([LSTM(4), Dropout(GRU(3), 0.5)]), V, embedding_size=2)
PARAMS = MODEL.init(jax.random.key(0), V)
TOKENS = jnp.array([[0, 1, 2], [4, 3, 3]], jnp.int32)


def test_a_token_depends_on_all_before_it_as_in_one_unroll():
    _, tokens = generate(MODEL, PARAMS, prime(MODEL, PARAMS, TOKENS), jax.random.key(1), 8)
    whole = jnp.concatenate([TOKENS, tokens], 1)
    _, logits = unroll(MODEL, PARAMS, whole)
    for n in range(8):
        key = jax.random.fold_in(jax.random.key(1), n)
        expected = jax.random.categorical(key, logits[:, TOKENS.shape[1] + n - 1])
        np.testing.assert_array_equal(tokens[:, n], expected)


def test_drawing_in_parts_gives_the_same_and_compiles_once_a_length():
    key, start = jax.random.key(1), prime(MODEL, PARAMS, TOKENS)
    _, whole = generate(MODEL, PARAMS, start, key, 9)
    before = generate._cache_size()
    parts, generation = [], start
    for length in (4, 4, 1):
        generation, part = generate(MODEL, PARAMS, generation, key, length)
        parts.append(part)
    np.testing.assert_array_equal(jnp.concatenate(parts, 1), whole)
    assert generate._cache_size() == before + 2
    assert int(generation.position) == 9


def plain_probabilities(logits, sampling):
    """One token at a time, from the likeliest on."""
    p = np.exp((logits - logits.max()) / sampling.temperature)
    p /= p.sum()
    kept, total = [], 0.0
    for n in np.argsort(-p, kind="stable")[: sampling.top_k]:
        if total >= sampling.top_p:
            break
        kept.append(n)
        total += p[n] / np.sort(p)[::-1][: sampling.top_k].sum()
    out = np.zeros_like(p)
    out[kept] = p[kept] / p[kept].sum()
    return out


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.5),
        Sampling(top_k=2),
        Sampling(top_p=0.7),
        Sampling(temperature=2.0, top_k=4, top_p=0.6),
        Sampling(top_k=100, top_p=1e-9),
    ],
)
def test_frequencies_are_the_plain_probabilities(sampling):
    logits = np.array([0.3, 2.0, -1.0, 1.1, 0.0], np.float32)
    drawn = draw(jax.random.key(0), jnp.tile(logits, (20_000, 1)), sampling)
    expected = plain_probabilities(logits.astype(np.float64), sampling)
    frequencies = np.bincount(drawn, minlength=V) / 20_000
    np.testing.assert_allclose(frequencies, expected, atol=0.015)
    assert (frequencies[expected == 0] == 0).all()


def test_temperature_0_takes_the_likeliest():
    logits = jax.random.normal(jax.random.key(0), (7, V), jnp.float32)
    tokens = draw(jax.random.key(1), logits, Sampling(temperature=0.0))
    np.testing.assert_array_equal(tokens, logits.argmax(-1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be at least 0, got -1.0"),
        ({"temperature": float("nan")}, "temperature must be a finite number"),
        ({"top_k": 0}, "top_k must be a whole number of at least 1, got 0"),
        ({"top_p": 0.0}, "top_p must lie in"),
        ({"top_p": 1.1}, "top_p must lie in"),
    ],
)
def test_bad_options_are_value_errors(options, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**options)


def test_a_prime_without_tokens_is_a_value_error():
    with pytest.raises(ValueError, match="at least one token to start from"):
        prime(MODEL, PARAMS, jnp.zeros((2, 0), jnp.int32))
