"""Decoding: against plain Python loops and the enumeration of all sequences."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import (
    GRU,
    LSTM,
    Cell,
    ContextAttention,
    LanguageModel,
    Stack,
    WithState,
    step,
    unroll,
    with_context,
)
from seqjax.attention import Additive
from seqjax.decoding import Beam, Decoded, beam_search, decode
from seqjax.decoding.live import FEWEST
from seqjax.sampling import Sampling, draw
from seqjax.testing import close, randomise
from seqjax.types import HiddenState

V, END, L = 4, 2, 4
STARTS = jnp.array([1, 2, 3], jnp.int32)
KEY = jax.random.key(1)
GRU_MODEL = LanguageModel(GRU(5), V)
MODELS = {
    "GRU": GRU_MODEL,
    "stack": LanguageModel(Stack([LSTM(4), LSTM(3)]), V, embedding_size=2),
    "attention": LanguageModel(
        ContextAttention(LSTM(4), Additive(3), memory_size=3, size=4, heads=2), V, embedding_size=2
    ),
}
MEMORY = jax.random.normal(jax.random.key(7), (3, 5, 3), jnp.float64)
MEMORY_LENGTHS = np.array([5, 2, 0])
NARROW = Beam(3, length_penalty=0.7)
COVERING = Beam(3, n_best=4, length_penalty=0.7, coverage_penalty=0.5)
PRUNED = dataclasses.replace(COVERING, width=5, threshold=1.5)
DIVERSE = Beam(6, n_best=4, length_penalty=0.3, groups=3, diversity=0.9)


def params_of(name, seed=0):
    """Parameters so large that sequences differ in probability."""
    params = MODELS[name].init(jax.random.key(0), V, jnp.float64)
    return jax.tree.map(lambda a: 2 * np.asarray(a), randomise(params, seed))


PARAMS = params_of("GRU")


def bind(name, params, rows=(0, 1, 2)):
    if name != "attention":
        return params
    rows = np.array(rows)
    return with_context(MODELS[name], params, MEMORY[rows], lengths=MEMORY_LENGTHS[rows])


def search(name, params, beam, **options):
    arguments = {"end": END, "max_length": L} | options
    return beam_search(MODELS[name], bind(name, params), STARTS, beam, **arguments)


def greedy(name, params, **options):
    arguments = {"end": END, "max_length": L} | options
    return decode(MODELS[name], bind(name, params), STARTS, **arguments)


class Everything:
    """Every sequence of a row: the log-probability of each token, and the coverage so far."""

    def __init__(self, name, params, row):
        inner = np.array(list(itertools.product(range(V), repeat=L)), np.int32)
        inputs = np.concatenate([np.full((len(inner), 1), STARTS[row]), inner[:, :-1]], 1)
        bound = bind(name, params, [row] * len(inner))
        _, (logits, states) = unroll(WithState(MODELS[name]), bound, inputs)
        gains = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), inner[..., None], -1)
        covered = np.zeros((*inner.shape, 0))
        if name == "attention":
            weights = np.asarray(states.alignment.weights)[..., : MEMORY_LENGTHS[row]]
            covered = weights.mean(-2).cumsum(1)
        self.gains, self.covered = {}, {}  # of sequences that may go on after an end symbol
        for tokens, gain, cover in zip(inner.tolist(), gains[..., 0], covered, strict=True):
            for count in range(1, L + 1):
                self.gains[*tokens[:count]] = gain[count - 1]
                self.covered[*tokens[:count]] = cover[count - 1]

    def whole(self):
        """The sequences that end, or are cut off."""
        return [t for t in self.gains if END not in t[:-1] and (t[-1] == END or len(t) == L)]

    def score(self, tokens):
        return sum(self.gains[tokens[:count]] for count in range(1, len(tokens) + 1))

    def rank(self, tokens, beam):
        penalty = ((5 + len(tokens)) / 6) ** beam.length_penalty
        coverage = np.log(np.minimum(self.covered[tokens], 1)).sum()
        return self.score(tokens) / penalty + beam.coverage_penalty * coverage

    def ranked(self, sequences, beam):
        return sorted(sequences, key=lambda tokens: -self.rank(tokens, beam))

    def greedy(self):
        tokens = ()
        while len(tokens) < L and END not in tokens:
            tokens += (max(range(V), key=lambda v: self.gains[*tokens, v]),)
        return tokens

    def beam_search(self, beam, keep_greedy=True):
        """The n-best list, without an early end of the search."""
        places, room = beam.width // beam.groups, -(-(beam.n_best or beam.width) // beam.groups)
        live = [[()] for _ in range(beam.groups)]
        listed = [[] for _ in range(beam.groups)]
        best = self.greedy()
        for count in range(1, L + 1):
            chosen = []
            for group in range(beam.groups):
                candidates = sorted(
                    ((*t, v) for t in live[group] for v in range(V)),
                    key=lambda t: -self.score(t) + beam.diversity * chosen.count(t[-1]),
                )
                kept = best[:count] if keep_greedy and group == 0 else None
                if beam.threshold is not None:
                    likeliest = max(map(self.score, candidates + listed[group]), default=0)
                    candidates = [
                        t
                        for t in candidates
                        if t == kept or self.score(t) >= likeliest - beam.threshold
                    ]
                listed[group] += [
                    t
                    for n, t in enumerate(candidates)
                    if t[-1] == END and (n < places or t == kept)
                ]
                listed[group] = self.ranked(listed[group], beam)[:room]
                candidates = [t for t in candidates if t[-1] != END]
                live[group], rest = candidates[:places], candidates[places:]
                if kept in rest:
                    live[group][-1] = kept
                chosen += [t[-1] for t in live[group]]
        found = []
        for group in range(beam.groups):
            found += self.ranked(listed[group] + live[group], beam)[:room]
        return self.ranked(dict.fromkeys(found), beam)[: beam.n_best or beam.width]


def sequences_of(decoded):
    """The hypotheses of one row, each with its end symbol, without those that do not exist."""
    tokens, lengths, finished, scores = (np.asarray(part) for part in decoded)
    assert (tokens[np.arange(tokens.shape[-1]) >= lengths[..., None]] == END).all()
    exists = scores > -np.inf
    assert not lengths[~exists].any()
    assert not finished[~exists].any()
    counts = lengths + finished.astype(int)
    return [
        tuple(t[:count].tolist()) for t, count in zip(tokens[exists], counts[exists], strict=True)
    ]


def at(tree, row):
    return jax.tree.map(lambda a: np.asarray(a)[row], tree)


def found_in(decoded, row):
    return sequences_of(at(decoded, row))


def check_found(decoded, row, everything, expected):
    assert found_in(decoded, row) == expected
    scores = np.array([everything.score(t) for t in expected])
    close(np.asarray(decoded.scores[row][: len(expected)]), scores, 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "beam"),
    [
        ("GRU", Beam(108, n_best=125)),  # 121 sequences; 108 candidates at the last step
        ("stack", Beam(108, n_best=20, length_penalty=1.1)),
        ("attention", Beam(108, n_best=5, length_penalty=0.7, coverage_penalty=0.5)),
    ],
)
def test_a_wide_beam_finds_the_best_of_all_sequences(name, beam):
    for seed in range(3):
        params = params_of(name, seed)
        decoded = search(name, params, beam)
        for row in range(3):
            everything = Everything(name, params, row)
            expected = everything.ranked(everything.whole(), beam)
            check_found(decoded, row, everything, expected[: beam.n_best])


@pytest.mark.parametrize(
    ("name", "beam"),
    [
        ("GRU", NARROW),
        pytest.param("attention", COVERING, marks=pytest.mark.slow),
        ("attention", PRUNED),
        pytest.param("GRU", DIVERSE, marks=pytest.mark.slow),
        pytest.param("GRU", dataclasses.replace(DIVERSE, threshold=0.7), marks=pytest.mark.slow),
        pytest.param("stack", Beam(6, threshold=0.0), marks=pytest.mark.slow),
    ],
)
def test_a_narrow_beam_equals_a_plain_loop(name, beam):
    for seed in range(4):
        params = params_of(name, seed)
        decoded = search(name, params, beam)
        for row in range(3):
            everything = Everything(name, params, row)
            check_found(decoded, row, everything, everything.beam_search(beam))


def test_a_threshold_drops_hypotheses():
    found = [search("stack", params_of("stack"), Beam(12, threshold=t)) for t in (None, 99.0, 1.0)]
    close(found[1], found[0])
    counts = [(np.asarray(decoded.scores) > -np.inf).sum(-1) for decoded in found]
    assert (counts[2] > 0).all()
    assert (counts[2] < counts[0]).all()


@pytest.mark.parametrize(
    ("name", "beam"),
    [("GRU", NARROW), ("attention", COVERING), ("GRU", dataclasses.replace(NARROW, threshold=0.1))],
)
def test_the_best_hypothesis_never_ranks_below_the_greedy_one(name, beam):
    for seed in range(10):
        params = params_of(name, seed)
        best, one = search(name, params, beam), greedy(name, params)
        for row in range(3):
            everything = Everything(name, params, row)
            first = found_in(best, row)[0]
            (expected,) = sequences_of(at(one, [row]))
            assert everything.rank(first, beam) >= everything.rank(expected, beam) - 1e-12


@dataclasses.dataclass(frozen=True)
class Chain(Cell):
    """A Markov chain: the logits of the next token are a row of its parameters ``[V, V]``."""

    size: int

    @property
    def output_size(self):
        return self.size

    def init(self, key, input_size, dtype=jnp.float32):
        return jax.random.normal(key, (input_size, input_size), dtype)

    def input_size(self, params):
        return params.shape[0]

    def initial_state(self, batch_shape=(), dtype=jnp.float32):
        return HiddenState(jnp.zeros((*batch_shape, 1), dtype))

    def project(self, params, xs, noise=None):
        return params[xs]

    def step(self, params, state, z):
        return state, z


STEPS = []


@dataclasses.dataclass(frozen=True)
class CountedChain(Chain):
    """A chain that counts its steps."""

    def step(self, params, state, z):
        jax.debug.callback(lambda: STEPS.append(1))
        return state, z


@pytest.mark.parametrize("beam", [None, Beam(2, n_best=1), Beam(3, 1, length_penalty=1.0)])
def test_the_loop_ends_when_no_row_can_improve(beam):
    chain = jnp.zeros((V, V)).at[jnp.array([0, 1, 3]), jnp.array([1, 3, END])].set(20.0)
    arguments = CountedChain(V), chain, jnp.array([0, 1]), *([beam] if beam else [])
    STEPS.clear()
    found = (beam_search if beam else decode)(*arguments, end=END, max_length=50)
    jax.effects_barrier()
    assert len(STEPS) == 3
    assert found.lengths.reshape(-1).tolist() == [2, 1]


def test_the_greedy_hypothesis_keeps_its_place_when_others_look_better():
    end, a, then, b, start = 0, 1, 2, 3, 6
    chain = np.full((7, 7), 1 / 7)
    chain[start] = [0.0, 0.36, 0.0, 0.34, 0.15, 0.15, 0.0]
    chain[a] = [0.1, 0.1, 0.4, 0.1, 0.1, 0.1, 0.1]
    chain[b] = [0.01, 0.01, 0.01, 0.01, 0.47, 0.48, 0.01]
    chain[then] = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    with np.errstate(divide="ignore"):
        logits = jnp.asarray(np.log(chain))
    # after two tokens both (b, 4) and (b, 5) are likelier than the greedy (a, then)
    options = {"end": end, "max_length": 9}
    one = decode(Chain(7), logits, np.array([start]), **options)
    found = beam_search(Chain(7), logits, np.array([start]), Beam(2, n_best=1), **options)
    np.testing.assert_array_equal(one.tokens[0], [a, then] + [end] * 7)
    np.testing.assert_array_equal(found.tokens[:, 0], one.tokens)
    close(found.scores[0], np.log([0.36 * 0.4]), 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_of_equal_candidates_the_earlier_and_then_the_lower_token_wins(dtype):
    chain, start = jnp.zeros((4, 4), dtype), jnp.array([0])
    one = decode(Chain(4), chain, start, end=END, max_length=3)
    np.testing.assert_array_equal(one.tokens, [[0, 0, 0]])
    found = beam_search(Chain(4), chain, start, Beam(5), end=END, max_length=3)
    assert found.scores.dtype == dtype
    # each token costs log(4); of the 5 best candidates of each step, one or two end
    expected = [(END,), (0, END), (0, 0, END), (0, 0, 0), (0, 0, 1)]
    assert found_in(found, 0) == expected


def test_a_beam_of_width_1_is_greedy():
    for seed in range(8):
        params = params_of("GRU", seed)
        found = search("GRU", params, Beam(1))
        close(jax.tree.map(lambda a: a[:, 0], found), greedy("GRU", params), 1e-12)


@pytest.mark.parametrize("alone", [False, True])
def test_decode_equals_a_loop_over_step_in_python(alone):
    """Greedily, and by drawing with a key for each position."""
    for sampling in (Sampling(temperature=0.0), Sampling(temperature=0.7, top_k=3)):
        starts = STARTS[0] if alone else STARTS
        decoded = decode(
            GRU_MODEL, PARAMS, starts, end=END, max_length=12, sampling=sampling, key=KEY
        )
        state, token, done = None, starts, np.zeros(starts.shape, bool)
        tokens, scores, lengths = [], np.zeros(starts.shape), np.zeros(starts.shape, int)
        for position in range(12):
            state, logits = step(GRU_MODEL, PARAMS, state, token)
            token = draw(jax.random.fold_in(KEY, position), logits, sampling)
            gains = jnp.take_along_axis(jax.nn.log_softmax(logits), token[..., None], -1)[..., 0]
            scores = scores + np.where(done, 0, gains)
            tokens.append(np.where(done, END, token))
            done = done | (tokens[-1] == END)
            lengths += ~done
        close(decoded, Decoded(np.stack(tokens, -1), lengths, done, scores), 1e-12)


def test_the_randomness_of_a_row_does_not_depend_on_the_number_of_rows():
    options = {"end": END, "max_length": 9, "sampling": Sampling(), "key": KEY}
    many = decode(GRU_MODEL, PARAMS, jnp.tile(STARTS, 4), **options)
    few = decode(GRU_MODEL, PARAMS, STARTS, **options)
    close(jax.tree.map(lambda a: a[:3], many), few)
    assert len({tuple(row) for row in many.tokens[1::3].tolist()}) > 1


def test_an_end_symbol_at_the_first_step():
    chain = jnp.zeros((V, V)).at[1, END].set(50.0)
    decoded = decode(Chain(V), chain, jnp.array([1, 0]), end=END, max_length=5)
    assert decoded.lengths.tolist() == [0, 5]
    assert decoded.finished.tolist() == [True, False]
    assert (decoded.tokens[0] == END).all()
    found = beam_search(Chain(V), chain, jnp.array([1, 1]), Beam(2, 1), end=END, max_length=5)
    assert found_in(found, 0) == [(END,)]
    assert found.finished.all()


def test_a_beam_may_be_wider_than_the_number_of_hypotheses():
    found = search("GRU", PARAMS, Beam(6, n_best=7), max_length=1)
    assert sorted(found_in(found, 1)) == [(0,), (1,), (2,), (3,)]
    assert (np.asarray(found.scores[:, 4:]) == -np.inf).all()
    assert (np.asarray(found.tokens[:, 4:]) == END).all()
    assert np.isfinite(found.scores[:, :4]).all()
    one = greedy("GRU", PARAMS, max_length=1)
    np.testing.assert_array_equal(found.tokens[:, 0], one.tokens)


@pytest.mark.parametrize(("name", "beam"), [("attention", COVERING), ("GRU", DIVERSE)])
def test_each_row_of_a_batch_is_as_if_alone(name, beam):
    params = params_of(name)
    batch, ones = search(name, params, beam), greedy(name, params)
    options = {"end": END, "max_length": L}
    for row in range(3):
        bound, start = bind(name, params, [row]), STARTS[row : row + 1]
        close(at(beam_search(MODELS[name], bound, start, beam, **options), 0), at(batch, row))
        close(at(decode(MODELS[name], bound, start, **options), 0), at(ones, row))


@pytest.mark.parametrize(
    ("name", "beam"),
    # without a length penalty, which would let all rows run to the last step
    [
        pytest.param("attention", Beam(3, coverage_penalty=0.5), marks=pytest.mark.slow),
        pytest.param("attention", Beam(8, threshold=1.0), marks=pytest.mark.slow),
        ("GRU", Beam(4, groups=2, diversity=0.9)),
    ],
)
def test_hypotheses_in_smaller_arrays_are_as_if_together(name, beam):
    of_part = FEWEST // beam.width  # rows that always run together
    rows, places, model = 6 * of_part, 5, MODELS[name]  # all sizes down to an eighth
    of_memory, of_tokens = np.random.default_rng(0), np.random.default_rng(1)
    memory = of_memory.normal(size=(rows, places, 3))
    given = {
        "start": of_tokens.integers(0, V, rows),
        "forbidden": of_tokens.random((rows, V)) < 0.1,
        "prefix": of_tokens.choice([0, 1, 3], (rows, 2)),
        "prefix_lengths": of_tokens.integers(0, 3, rows),
        "forbidden_prefixes": of_tokens.integers(0, V, (rows, 2, 2)),
    }
    given["forbidden"][:, [END, 0]] = False  # something must be possible
    lengths = of_memory.integers(0, places + 1, rows)

    likely_end = 2 * np.eye(V)[END]  # rows end at different steps, nearly all before the last

    def found_in_rows(part):
        params = params_of(name)
        params = params._replace(readout_bias=params.readout_bias + likely_end)
        if name == "attention":
            params = with_context(model, params, memory[part], lengths=lengths[part])
        arguments = {key: value[part] for key, value in given.items()}
        start = jnp.asarray(arguments.pop("start"))
        return beam_search(model, params, start, beam, end=END, max_length=40, **arguments)

    parts = [np.arange(n, n + of_part) for n in range(0, rows, of_part)]
    expected = [found_in_rows(part) for part in parts]
    expected = jax.tree.map(lambda *arrays: np.concatenate(arrays), *expected)
    assert len({*expected.lengths[:, 0].tolist()}) > 2
    close(found_in_rows(np.arange(rows)), expected)


def test_hypotheses_are_sorted_and_distinct():
    for seed in range(6):
        for beam in (Beam(6), DIVERSE, dataclasses.replace(DIVERSE, diversity=0.0)):
            found = search("GRU", params_of("GRU", seed), beam)
            for row in range(3):
                sequences = found_in(found, row)
                assert len({*sequences}) == len(sequences)
            if not beam.length_penalty:
                assert (np.diff(found.scores, axis=-1) <= 0).all()
