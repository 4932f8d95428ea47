"""Decoding: against plain Python loops and the enumeration of all sequences."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import (
    GRU,
    LSTM,
    ContextAttention,
    LanguageModel,
    Stack,
    WithState,
    unroll,
    with_context,
)
from seqjax.attention import Additive
from seqjax.decoding import Beam, beam_search
from seqjax.testing import close, randomise

V, END, L = 4, 2, 4
STARTS = jnp.array([1, 2, 3], jnp.int32)
MODELS = {
    "GRU": LanguageModel(GRU(5), V),
    "stack": LanguageModel(Stack([LSTM(4), LSTM(3)]), V, embedding_size=2),
    "attention": LanguageModel(
        ContextAttention(LSTM(4), Additive(3), memory_size=3, size=4, heads=2), V, embedding_size=2
    ),
}
MEMORY = jax.random.normal(jax.random.key(7), (3, 5, 3), jnp.float64)
MEMORY_LENGTHS = np.array([5, 2, 0])


def params_of(name, seed=0):
    """Parameters large enough that sequences differ in probability."""
    model = MODELS[name]
    return jax.tree.map(
        lambda a: 2 * a, randomise(model.init(jax.random.key(0), V, "float64"), seed)
    )


def bind(name, params, rows=(0, 1, 2)):
    if name != "attention":
        return params
    rows = np.array(rows)
    return with_context(MODELS[name], params, MEMORY[rows], lengths=MEMORY_LENGTHS[rows])


def every_sequence(name, params, row):
    """Each sequence of a row, with its log-probability, and the coverage of each position."""
    inner = np.array(list(itertools.product(range(V), repeat=L)), np.int32)
    inputs = np.concatenate([np.full((len(inner), 1), STARTS[row]), inner[:, :-1]], 1)
    bound = bind(name, params, [row] * len(inner))
    _, (logits, states) = unroll(WithState(MODELS[name]), bound, inputs)
    gains = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), inner[..., None], -1)
    weights = np.asarray(states.alignment.weights).mean(-2) if name == "attention" else None
    found = {}
    for n, tokens in enumerate(inner.tolist()):
        count = tokens.index(END) + 1 if END in tokens else L
        score = gains[n, :count].sum()
        covered = weights[n, :count, : MEMORY_LENGTHS[row]].sum(0) if weights is not None else []
        found[tuple(tokens[:count])] = score, np.asarray(covered)
    return found


def rank(tokens, score, covered, beam):
    penalty = ((5 + len(tokens)) / 6) ** beam.length_penalty
    return score / penalty + beam.coverage_penalty * np.log(np.minimum(covered, 1)).sum()


def ranked(sequences, beam, possible=lambda tokens: True):
    """All possible sequences, the best first."""
    ranks = {t: rank(t, *found, beam) for t, found in sequences.items() if possible(t)}
    return sorted(ranks, key=lambda tokens: -ranks[tokens])


def hypotheses(decoded, row):
    """The sequences of one row, each with its end symbol, and their scores."""
    tokens, lengths, finished, scores = (np.asarray(part[row]) for part in decoded)
    assert (tokens[np.arange(L) >= lengths[:, None]] == END).all()
    exists = scores > -np.inf
    assert not lengths[~exists].any()
    assert not finished[~exists].any()
    return [
        (tuple(int(t) for t in tokens[n, : lengths[n] + int(finished[n])]), scores[n])
        for n in np.flatnonzero(exists)
    ]


def check_against(decoded, row, sequences, expected):
    found = hypotheses(decoded, row)
    assert [tokens for tokens, _ in found] == expected[: decoded.scores.shape[-1]]
    close(np.array([s for _, s in found]), np.array([sequences[t][0] for t, _ in found]), 1e-10)


@pytest.mark.parametrize(
    ("name", "beam"),
    [
        ("GRU", Beam(V**L, n_best=150)),
        ("stack", Beam(V**L, n_best=20, length_penalty=1.1)),
        ("attention", Beam(V**L, n_best=5, length_penalty=0.7, coverage_penalty=0.5)),
    ],
)
def test_a_wide_beam_finds_the_best_of_all_sequences(name, beam):
    for seed in range(3):
        params = params_of(name, seed)
        decoded = beam_search(MODELS[name], bind(name, params), STARTS, beam, end=END, max_length=L)
        for row in range(3):
            sequences = every_sequence(name, params, row)
            check_against(decoded, row, sequences, ranked(sequences, beam))
