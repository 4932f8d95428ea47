"""Sampling: against plain NumPy, and independent of how it is cut into calls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import GRU, LSTM, Bidirectional, Dropout, LanguageModel, Stack, WithState, unroll
from seqjax.sampling import Generation, Sampling, _generate, draw, generate, prime
from tests.drawn import params_of

V = 5
MODEL = LanguageModel(Stack([LSTM(4), Dropout(GRU(3), 0.5)]), V, embedding_size=2)
PARAMS = params_of(MODEL, V, jnp.float32)
TOKENS = jnp.array([[0, 1, 2], [4, 3, 3]], jnp.int32)
KEY = jax.random.key(1)


def test_a_token_depends_on_all_before_it_as_in_one_unroll():
    _, tokens = generate(MODEL, PARAMS, prime(MODEL, PARAMS, TOKENS), jax.random.key(1), 8)
    whole = jnp.concatenate([TOKENS, tokens], 1)
    _, logits = unroll(MODEL, PARAMS, whole, deterministic=True)
    for n in range(8):
        key = jax.random.fold_in(jax.random.key(1), n)
        expected = jax.random.categorical(key, logits[:, TOKENS.shape[1] + n - 1])
        np.testing.assert_array_equal(tokens[:, n], expected)


def test_drawing_in_parts_gives_the_same_and_compiles_once_a_length():
    key, start = jax.random.key(1), prime(MODEL, PARAMS, TOKENS)
    _, whole = generate(MODEL, PARAMS, start, key, 9)
    before = _generate._cache_size()
    parts, generation = [], start
    for length in (4, 4, 1):
        generation, part = generate(MODEL, PARAMS, generation, key, length)
        parts.append(part)
    np.testing.assert_array_equal(jnp.concatenate(parts, 1), whole)
    assert _generate._cache_size() == before + 2
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


def test_one_row_without_a_batch_and_no_tokens_at_all():
    start = prime(MODEL, PARAMS, TOKENS[0])
    generation, none = generate(MODEL, PARAMS, start, KEY, 0)
    assert none.shape == (0,)
    assert int(generation.position) == 0
    _, tokens = generate(MODEL, PARAMS, generation, KEY, np.int64(3))
    assert tokens.shape == (3,)


def test_it_runs_inside_of_jit():
    def run(tokens):
        return generate(MODEL, PARAMS, prime(MODEL, PARAMS, tokens), KEY, 5)[1]

    np.testing.assert_array_equal(jax.jit(run)(TOKENS), run(TOKENS))


BOTH = Bidirectional(GRU(2), GRU(2))
OTHER = LanguageModel(GRU(3), V + 1)
WITH_STATE = WithState(LanguageModel(GRU(3), V))


def params_of(model, size=V):
    return model.init(jax.random.key(0), size)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("LSTM", PARAMS, TOKENS), "cell must be a seqjax cell"),
        ((MODEL, PARAMS.cell, TOKENS), "params must have the structure"),
        ((BOTH, params_of(BOTH), TOKENS), "reads a sequence from both ends"),
        ((LSTM(V + 1), params_of(LSTM(V + 1)), TOKENS), "has size 6 but its vocabulary has size 5"),
        ((WITH_STATE, params_of(WITH_STATE), TOKENS), "must be one array of logits"),
        ((MODEL, PARAMS, jnp.zeros((2, 0), jnp.int32)), "tokens must hold at least one token"),
        ((MODEL, PARAMS, 3), "tokens must hold at least one token"),
        ((MODEL, PARAMS, jnp.zeros((2, 3, V), jnp.float32)), r"integers \[B, P\], got float32"),
        ((MODEL, PARAMS, TOKENS + 1), r"xs must lie in \[0, 4\], the vocabulary, got 5"),
    ],
)
def test_a_prime_that_cannot_be_is_a_value_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        prime(*arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": True}, "length must be a whole number of at least 0, got True"),
        ({"length": -1}, "length must be a whole number of at least 0, got -1"),
        ({"length": 2.5}, "length must be a whole number of at least 0, got 2.5"),
        ({"length": "3"}, "length must be a whole number of at least 0, got '3'"),
        ({"sampling": 0.8}, "sampling must be a Sampling, such as .* got 0.8"),
        ({"sampling": None}, "sampling must be a Sampling"),
        ({"key": 0}, "key must be one key"),
        ({"key": jax.random.split(KEY)}, "key must be one key"),
        ({"model": BOTH, "params": params_of(BOTH)}, "reads a sequence from both ends"),
        ({"params": PARAMS.cell}, "params must have the structure"),
        ({"model": OTHER, "params": params_of(OTHER, V + 1)}, r"must be \[B, 6\] .* call prime"),
        ({"state": None}, "the state of generation must have the structure"),
        ({"state": MODEL.initial_state((1,))}, r"the state of gen.* of shape \(2, 4\) .*, got"),
        ({"logits": jnp.zeros((), jnp.float32)}, r"logits must be floating \[B, V\], got float32"),
        (
            {"logits": jnp.full((2, V), jnp.nan, jnp.float32)},
            "logits of row 0 must be finite, got nan",
        ),
        ({"position": 3.0}, r"position of generation must be int32\[\], got"),
        ({"generation": (None, None, 0)}, "a Generation from seqjax.sampling.prime, got a tuple"),
    ],
)
def test_a_generation_that_cannot_be_is_a_value_error(changes, message):
    start = prime(MODEL, PARAMS, TOKENS)
    of_start = {name: changes[name] for name in changes if name in Generation._fields}
    arguments = {"model": MODEL, "params": PARAMS, "key": KEY, "length": 2} | {
        name: changes[name] for name in changes if name not in Generation._fields
    }
    arguments.setdefault("generation", start._replace(**of_start))
    with pytest.raises(ValueError, match=message):
        generate(**arguments)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (1.0, r"logits must be floating \[B, V\], got"),
        (np.zeros((2, 3), np.int32), r"logits must be floating \[B, V\], got int32"),
        (np.zeros((2, 0), np.float32), "logits must hold at least one token"),
        (np.array([[0, 1], [0, np.nan]], np.float32), "logits of row 1 must be finite, got nan"),
        (np.array([0, np.inf], np.float32), "maximum of the logits must be finite, got inf"),
        (
            np.full((2, 2, 3), -np.inf, np.float32),
            r"logits of row \(0, 0\) must be finite, got -inf",
        ),
    ],
)
@pytest.mark.parametrize("temperature", [0, 1])
def test_logits_that_allow_no_draw_are_a_value_error(logits, message, temperature):
    with pytest.raises(ValueError, match=message):
        draw(KEY, logits, Sampling(temperature))


def test_a_token_whose_logit_is_minus_infinity_is_never_drawn():
    logits = jnp.tile(jnp.array([0, -jnp.inf, 0], jnp.float32), (1000, 1))
    assert {*draw(KEY, logits, Sampling()).tolist()} == {0, 2}


def test_a_draw_without_a_key_or_a_sampling_is_a_value_error():
    with pytest.raises(ValueError, match="key must be one key"):
        draw(None, jnp.zeros(3, jnp.float32), Sampling())
    with pytest.raises(ValueError, match="sampling must be a Sampling"):
        draw(KEY, jnp.zeros(3, jnp.float32), 0.5)
