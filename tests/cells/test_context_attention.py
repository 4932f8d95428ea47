"""Attention to a context: each mechanism against plain NumPy, and bad arguments."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqjax
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
from seqjax.attention import Additive, Dot, General, LocationSensitive, Monotonic
from seqjax.testing import close, randomise
from seqjax.wrappers import KeepFeatures
from tests.drawn import params_of
from tests.oracle import complex_step, lstm_step, sigmoid

B, S, T, D, H, M = 3, 5, 4, 3, 2, 2
LENGTHS = np.array([5, 2, 0])


def additive(params, query, memory, _):
    return [
        np.tanh(query @ params.query_kernel + m @ params.memory_kernel) @ params.score_kernel[:, 0]
        for m in memory
    ]


def normalised(params, query, memory, _):
    v = params.score_kernel[:, 0]
    v = params.gain[0] * v / (v * v).sum() ** 0.5
    inner = [query @ params.query_kernel + m @ params.memory_kernel + params.bias for m in memory]
    return [np.tanh(x) @ v for x in inner]


def dot(params, query, memory, _):
    return [query @ m for m in memory]


def scaled_dot(params, query, memory, _):
    return [query @ m / np.sqrt(M) for m in memory]


def general(params, query, memory, _):
    return [query @ (m @ params.memory_kernel) for m in memory]


def scaled_general(params, query, memory, before):
    return [params.gain[0] * s for s in general(params, query, memory, before)]


def location(read):
    def scores(params, query, memory, history):
        a = np.concatenate([[0], read(history), [0]])
        return [
            np.tanh(
                query @ params.query_kernel
                + m @ params.memory_kernel
                + params.bias
                + (a[s : s + 3] @ params.filter_kernel) @ params.location_kernel
            )
            @ params.score_kernel[:, 0]
            for s, m in enumerate(memory)
        ]

    return scores


def softmax(scores):
    e = np.exp(np.array(scores))
    return e / e.sum()


def monotonic(weigh):
    def weights(params, query, memory, history):
        before, q, w = history[-1], 0, []
        p = [weigh(s + params.score_bias[0]) for s in additive(params.mechanism, query, memory, 0)]
        for s in range(len(memory)):
            q = before[s] + (q * (1 - p[s - 1]) if s else 0)
            w.append(p[s] * q)
        return np.array(w)

    return weights


def by_scores(scores):
    return lambda *arguments: softmax(scores(*arguments))


CASES = {
    "additive": (Additive(4), by_scores(additive)),
    "additive, normalised": (Additive(4, weight_norm=True), by_scores(normalised)),
    "dot": (Dot(), by_scores(dot)),
    "dot, scaled": (Dot(scaled=True), by_scores(scaled_dot)),
    "general": (General(), by_scores(general)),
    "general, scaled": (General(scaled=True), by_scores(scaled_general)),
    "location": (
        LocationSensitive(4, filters=2, width=3),
        by_scores(location(lambda history: history[-1])),
    ),
    "cumulative location": (
        LocationSensitive(4, filters=2, width=3, cumulative=True),
        by_scores(location(lambda history: sum(history))),
    ),
    "monotonic": (Monotonic(Additive(4), score_bias=0.5), monotonic(sigmoid)),
    "hard monotonic": (
        Monotonic(Additive(4), score_bias=0.5, hard=True),
        monotonic(lambda score: 1.0 * (score.real > 0)),
    ),
}


def numpy_run(cell, weigh, params, memory, xs):
    """One row by plain loops: memory [S, M] without padding, xs [T, D]; outputs and weights."""
    c, h = np.zeros(H), np.zeros(H)
    attention = np.zeros(cell.attention_size)
    heads = range(cell.heads)
    monotone = isinstance(cell.mechanism, Monotonic)
    start = np.eye(max(len(memory), 1))[0] if monotone else np.zeros(len(memory))
    history = [[start[: len(memory)]] for _ in heads]
    ys, alignments = [], []
    for x in xs:
        if cell.input_feeding:
            x = np.concatenate([x, attention])
        (c, h), _ = lstm_step(params.cell[:3], (c, h), x)
        found = []
        for n in heads:
            own = jax.tree.map(lambda p, n=n: p[n], params.mechanism)
            values = memory
            if params.value_kernel is not None:
                size = cell.value_size
                values = memory @ params.value_kernel[:, n * size : (n + 1) * size]
            width = cell.value_size or M
            if len(memory):
                weights = weigh(own, h, memory, history[n])
                found.append(weights @ values)
                history[n].append(weights)
            else:
                found.append(np.zeros(width))
                history[n].append(np.zeros(0))
        attention = np.concatenate(found)
        if params.attention_kernel is not None:
            attention = np.tanh(np.concatenate([h, attention]) @ params.attention_kernel)
        ys.append({"attention": attention, "cell": h, "both": np.concatenate([h, attention])})
        alignments.append([history[n][-1] for n in heads])
    return np.stack([y[cell.outputs] for y in ys]), alignments


def make(mechanism, **options):
    cell = ContextAttention(LSTM(H), mechanism, M, **options)
    params = randomise(cell.init(jax.random.key(0), D, jnp.float64), 1)
    rng = np.random.default_rng(2)
    return cell, params, rng.normal(0, 1, (B, S, M)), rng.normal(0, 1, (B, T, D))


OPTIONS = (
    {"input_feeding": False},
    {"size": 3, "heads": 2, "activation": jnp.tanh, "outputs": "both"},
    {"size": 3, "value_size": 2, "activation": jnp.tanh, "input_feeding": False, "heads": 2},
)


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "layer", "values"])
@pytest.mark.parametrize("name", CASES)
def test_attention_equals_a_numpy_loop(name, options):
    mechanism, weigh = CASES[name]
    cell, params, memory, xs = make(mechanism, **options)
    padded = np.where((np.arange(S) < LENGTHS[:, None])[..., None], memory, np.nan)
    bound = with_context(cell, params, jnp.asarray(padded), lengths=jnp.asarray(LENGTHS))
    _, (ys, states) = unroll(WithState(cell), bound, jnp.asarray(xs))
    _, at_once = unroll(cell, bound, jnp.asarray(xs))
    close(at_once, ys, 1e-12)
    params = jax.tree.map(np.asarray, params)
    for row, length in enumerate(LENGTHS):
        expected, alignments = numpy_run(cell, weigh, params, memory[row, :length], xs[row])
        close(ys[row], expected, 1e-10)
        close(states.alignment.weights[row, :, :, :length], np.array(alignments), 1e-10)
        assert not states.alignment.weights[row, :, :, length:].any()


QUICK = ("additive", "dot", "location", "monotonic")
DIFFERENTIABLE = [
    pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK))
    for name in CASES
    if "hard" not in name
]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_equal_those_of_a_numpy_loop(name):
    mechanism, weigh = CASES[name]
    cell, params, memory, xs = make(mechanism, size=2, activation=jnp.tanh)
    length = 3
    leaves, structure = jax.tree.flatten(params)

    def loss(leaves, memory):
        params = jax.tree.unflatten(structure, leaves)
        bound = with_context(cell, params, memory[None], lengths=jnp.array([length]))
        return jnp.square(unroll(cell, bound, jnp.asarray(xs[:1]))[1]).sum()

    def plain(arrays):
        params = jax.tree.unflatten(structure, arrays[:-1])
        ys, _ = numpy_run(cell, weigh, params, arrays[-1][:length], xs[0])
        return (ys * ys).sum()

    own, of_memory = jax.grad(loss, (0, 1))(leaves, jnp.asarray(memory[0]))
    expected = complex_step(plain, [*map(np.asarray, leaves), memory[0]])
    for grad, want in zip([*own, of_memory], expected, strict=True):
        close(grad, want, 1e-10)


def test_a_stack_with_attention_at_the_bottom_reads_the_context_in_every_layer():
    cell = Stack(
        [
            ContextAttention(LSTM(H), Additive(4), M, outputs="both"),
            KeepFeatures(LSTM(H), size=M),
            LSTM(H),
        ]
    )
    params = cell.init(jax.random.key(0), D, jnp.float64)
    assert [p.input_kernel.shape[0] for p in (params[0].cell, *params[1:])] == [D + M, H + M, H + M]
    rng = np.random.default_rng(0)
    memory, xs = rng.normal(size=(B, S, M)), rng.normal(size=(B, T, D))
    bound = with_context(cell, params, jnp.asarray(memory))
    _, ys = unroll(cell, bound, jnp.asarray(xs))
    params = jax.tree.map(np.asarray, params)
    lowest = ContextAttention(LSTM(H), Additive(4), M, outputs="both")
    for row in range(B):
        below, _ = numpy_run(lowest, by_scores(additive), params[0], memory[row], xs[row])
        states = [(np.zeros(H), np.zeros(H))] * 2
        for t, y in enumerate(below):
            states[0], h = lstm_step(params[1][:3], states[0], y)
            states[1], top = lstm_step(params[2][:3], states[1], np.concatenate([h, y[-M:]]))
            close(ys[row, t], top, 1e-10)


def test_noise_of_monotonic_attention_is_normal_and_differs_between_positions():
    mechanism = Monotonic(Dot(), noise=1.0)
    seeds = mechanism.draw_noise(jax.random.key(0), (2000, 1))
    params, query = mechanism.init(jax.random.key(0), 1, 1), jnp.zeros((2000, 1, 1), jnp.float32)
    keys, mask = jnp.zeros((S, 1), jnp.float32), jnp.ones((1, S), bool)
    before = mechanism.first((2000, 1), S)
    weights = mechanism.align(params, query, keys, mask, before, seeds).weights[:, 0]
    scores = jax.scipy.special.logit(weights[:, 0])
    assert abs(scores.mean()) < 0.1
    assert abs(scores.std() - 1) < 0.1
    stopped_second = weights[:, 1] / (1 - weights[:, 0])
    assert abs(np.corrcoef(weights[:, 0], stopped_second)[0, 1]) < 0.1


def test_the_context_is_projected_once_and_new_contexts_do_not_recompile():
    cell, params, memory, xs = make(Additive(4))
    xs, count = jnp.asarray(xs), 0

    @jax.jit
    def run(params, memory):
        nonlocal count
        count += 1
        return unroll(cell, with_context(cell, params, memory), xs)[1]

    first = run(params, jnp.asarray(memory))
    assert (first != run(params, jnp.asarray(2 * memory))).any()
    assert count == 1
    bound = with_context(cell, params, jnp.asarray(memory))
    assert bound.context.keys.shape == (B, 1, S, 4)


CELL = ContextAttention(GRU(4), Additive(3), memory_size=2)
PARAMS = params_of(CELL, 3, jnp.float32)
MEMORY = jnp.ones((2, 5, 2), jnp.float32)
XS = jnp.ones((2, 4, 3), jnp.float32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ContextAttention(3, Dot(), 2), "cell must be a cell, got 3"),
        (lambda: ContextAttention(GRU(2), "dot", 2), "must be an attention mechanism, such as"),
        (lambda: ContextAttention(GRU(2), Dot(), 0), "memory_size must be a whole number"),
        (lambda: ContextAttention(GRU(2), Dot(), 2, heads=0), "heads must be a whole number"),
        (lambda: ContextAttention(GRU(2), Dot(), 2, size=0), "size must be a whole number"),
        (lambda: ContextAttention(GRU(2), Dot(), 2, outputs="all"), "outputs must be one of"),
        (lambda: ContextAttention(GRU(3), Dot(), 2).init(jax.random.key(0), 3), "one width"),
        (lambda: Additive(0), "size must be a whole number of at least 1"),
        (lambda: Additive(3, weight_norm="yes"), "weight_norm must be"),
        (lambda: LocationSensitive(3, width=4), "width must be odd, got 4"),
        (lambda: Monotonic(LocationSensitive(3)), "must be a content mechanism"),
        (lambda: Monotonic(Dot(), noise=-1.0), "noise must be at least 0, got -1.0"),
        (lambda: KeepFeatures(GRU(2), 0), "size must be a whole number"),
        (lambda: KeepFeatures(GRU(2), 4).init(jax.random.key(0), 3), "at least as many input"),
        (lambda: unroll(CELL, PARAMS, XS), "the parameters hold no context; bind one with"),
        (lambda: seqjax.step(CELL, PARAMS, None, XS[:, 0]), "hold no context"),
        (
            lambda: unroll(CELL, with_context(CELL, PARAMS, MEMORY[:1]), XS),
            "the context of params has the batch axes (1,), but the inputs have (2,)",
        ),
        (
            lambda: unroll(
                CELL,
                with_context(CELL, PARAMS, MEMORY),
                XS,
                initial_state=CELL.initial_state((2,)),
            ),
            "initial_state.alignment.weights must be float32 of shape (2, 1, 5)",
        ),
        (lambda: with_context(GRU(3), GRU(3).init(jax.random.key(0), 3), MEMORY), "no cell inside"),
        (lambda: with_context(CELL, PARAMS, MEMORY[..., :1]), "memory must be [B, S, 2]"),
        (lambda: with_context(CELL, PARAMS, MEMORY[0, 0]), "memory must be floating [..., S, M]"),
        (lambda: with_context(CELL, PARAMS, MEMORY.astype(int)), "memory must be floating"),
        (lambda: with_context(CELL, PARAMS, MEMORY, lengths=jnp.array([6, 1])), "lie in [0, 5]"),
        (
            lambda: with_context(CELL, with_context(CELL, PARAMS, MEMORY), MEMORY),
            "params hold a context already",
        ),
        (
            lambda: unroll(
                LanguageModel(CELL, 3), LanguageModel(CELL, 3).init(jax.random.key(0), 3), XS
            ),
            "hold no context",
        ),
    ],
)
def test_bad_arguments_are_value_errors(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
